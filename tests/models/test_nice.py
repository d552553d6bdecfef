import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.conformance import check_bijector, check_model, randomize
from tests.export_checks import check_export
from tfgen.models import NICE

tfd = tfp.distributions

SMALL = dict(units=8, num_layers=1)


def normal(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def integers(shape, num_levels, seed=0):
    return np.random.default_rng(seed).integers(0, num_levels, shape).astype("uint8")


def random_model(event_shape, scale=0.3, **arguments):
    model = NICE(event_shape, **{**SMALL, **arguments})
    randomize(model, scale=scale)
    return model


def jacobian(model, x):
    """dz/dx, `[B, D, D]`."""
    x = tf.constant(x)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        z = model.encode(x)
    size = model.num_dims
    full = tape.batch_jacobian(z, x, experimental_use_pfor=False)
    return full.numpy().reshape(-1, size, size)


def test_conditional_vectors(tmp_path):
    model = NICE([3], num_classes=3, prior="gaussian", num_couplings=2, **SMALL)
    check_model(model, normal((8, 3)).astype("float32"), np.arange(8) % 3)
    check_export(model, normal((3, 3)).astype("float32"), tmp_path, np.arange(3, dtype="int32"))


@pytest.mark.parametrize(
    ("event_shape", "scale", "arguments"),
    [
        ([5], 0.3, {"num_features": 2}),
        ([2, 2, 1], 0.3, {"num_layers": 2}),
        ([3], 0.1, {"transformer": {"type": "RationalQuadraticSplineTransformer", "num_bins": 3}}),
    ],
)
def test_log_det(event_shape, scale, arguments):
    model = random_model(event_shape, scale, dtype="float64", **arguments)
    condition = normal((2, 2), seed=1) if "num_features" in arguments else None
    check_bijector(model.bijector, normal((2, *event_shape)), condition)


def test_starts_as_the_identity_under_a_logistic_prior():
    model = NICE([2, 2, 3], **SMALL)
    x = normal((3, 2, 2, 3)).astype("float32")
    np.testing.assert_array_equal(model.encode(x), x)
    logistic = -np.logaddexp(0.0, x) - np.logaddexp(0.0, -x)  # [1, section 3.4]
    np.testing.assert_allclose(model.log_prob(x), logistic.sum((1, 2, 3)), rtol=1e-5)
    gaussian = NICE([2, 2, 3], prior="gaussian", **SMALL).log_prob(x)
    np.testing.assert_allclose(gaussian, tfd.Normal(0.0, 1.0).log_prob(x).numpy().sum((1, 2, 3)))


def test_only_the_scaling_changes_the_volume():
    """The log-determinant is the sum of the log-scales, for every input."""
    model = random_model([4, 1, 1], dtype="float64")
    (scaling,) = (b for b in model.bijector.bijectors if hasattr(b, "log_scale"))
    _, log_det = model.bijector.inverse_and_log_det(normal((3, 4, 1, 1)))
    np.testing.assert_allclose(log_det, np.sum(scaling.log_scale) * np.ones(3), rtol=1e-12)


def test_odd_entries_change_first_and_three_couplings_connect_all():
    x, size = normal((8, 6)), 6
    odd = np.arange(size) % 2 == 1
    for num_couplings in (1, 2, 3):
        model = random_model([6], num_couplings=num_couplings, units=32, dtype="float64")
        depends = np.abs(jacobian(model, x)).max(0) > 0
        between = depends[odd][:, ~odd].all(), depends[~odd][:, odd].all()
        assert between == (True, num_couplings > 1)
        among_odd = depends[odd][:, odd]
        np.testing.assert_array_equal(
            among_odd, np.ones((3, 3)) if num_couplings > 2 else np.eye(3)
        )


def test_stable_at_the_tails():
    model = random_model([5])
    x = (1e3 * normal((10, 5))).astype("float32")
    assert np.isfinite(model.log_prob(x)).all()
    np.testing.assert_allclose(model.decode(model.encode(x)), x, rtol=1e-5, atol=0.05)


def test_density_integrates_to_one():
    model = random_model([2], scale=0.5)
    draws = model.sample(2000, seed=0).numpy()
    low, high = draws.min(0) - 2.0 * draws.std(0), draws.max(0) + 2.0 * draws.std(0)
    axes = [np.linspace(a, b, 400) for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    cell = math.prod(axis[1] - axis[0] for axis in axes)
    density = np.exp(model.log_prob(points.astype("float32")))
    np.testing.assert_allclose(density.sum() * cell, 1.0, atol=1e-2)


def test_temperature_zero_is_the_mode():
    model = random_model([2, 2, 1])
    mode = model.decode(np.zeros((3, 2, 2, 1)))
    np.testing.assert_allclose(model.sample(3, seed=0, temperature=0.0), mode, atol=1e-6)
    z = model.encode(model.sample(50, seed=0, temperature=0.5))
    np.testing.assert_allclose(z, 0.5 * model.encode(model.sample(50, seed=0)), atol=1e-4)


def test_constant_entries_of_real_data_have_no_finite_optimum():
    """The documented failure: the likelihood grows by 1 with each unit of the log-scale, for ever.
    Dequantised, it falls."""
    real, dequantised = NICE([2], **SMALL), NICE([2], num_levels=256, **SMALL)
    x = np.stack([np.zeros(8), normal(8)], -1).astype("float32")
    for model, data, growth in ((real, x, 1.0), (dequantised, integers((8, 2), 1), None)):
        (scaling,) = (b for b in model.bijector.bijectors if hasattr(b, "log_scale"))
        values = []
        for log_scale in (20.0, 21.0, 22.0):
            scaling.log_scale.assign([log_scale, 0.0])
            values.append(np.mean(model.log_prob(data, seed=0)))
        if growth is None:
            assert np.diff(values).max() < 0.0
        else:
            np.testing.assert_allclose(np.diff(values), growth, rtol=1e-4)


@pytest.mark.parametrize(
    ("event_shape", "arguments", "message"),
    [
        ([1], {}, "event_shape must be of two entries or more"),
        ([4], {"num_couplings": 0}, "num_couplings must be an integer >= 1"),
        ([4], {"num_layers": 0}, "num_layers must be an integer >= 1"),
        ([4], {"units": 0}, "units must be an integer >= 1"),
        ([4], {"prior": "uniform"}, "prior must be one of 'logistic', 'gaussian'"),
        ([4], {"transformer": "affine"}, "transformer must be a specification"),
    ],
)
def test_impossible_arguments(event_shape, arguments, message):
    with pytest.raises(ValueError, match=message):
        NICE(event_shape, **arguments)
