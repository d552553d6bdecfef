import math

import keras
import numpy as np
import pytest
import tensorflow_probability as tfp

from tests.conformance import check_bijector, check_model, randomize
from tests.export_checks import check_export
from tfgen.bijectors import ActNorm
from tfgen.layers import ActNormConv2D
from tfgen.models import Glow
from tfgen.models.generative_model import EVALUATION_SEED

tfd = tfp.distributions

SMALL = dict(num_scales=2, num_steps=1, filters=4)


def normal(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def integers(shape, num_levels, seed=0):
    return np.random.default_rng(seed).integers(0, num_levels, shape).astype("uint8")


def random_model(event_shape, scale=0.3, **arguments):
    model = Glow(event_shape, **{**SMALL, **arguments})
    randomize(model, scale=scale)
    return model


def test_conditional_with_recomputation(tmp_path):
    arguments = dict(num_scales=1, num_steps=1, filters=4, recompute=True)
    model = Glow([2, 2, 1], num_levels=17, num_classes=3, **arguments)
    check_model(model, integers((8, 2, 2, 1), 17), np.arange(8) % 3)
    check_export(model, integers((3, 2, 2, 1), 17), tmp_path, np.arange(3, dtype="int32"))


@pytest.mark.parametrize(
    ("event_shape", "arguments"),
    [
        ([4, 4, 3], {}),
        ([2, 2, 2], {"num_scales": 1, "num_steps": 2, "num_features": 2}),
        ([4, 4, 1], {"transformer": {"type": "AdditiveTransformer"}}),
    ],
)
def test_log_det(event_shape, arguments):
    """The whole flow against its Jacobian; every weight is random."""
    model = random_model(event_shape, scale=0.15, dtype="float64", **arguments)
    condition = normal((2, 2), seed=1) if "num_features" in arguments else None
    z = normal((2, *event_shape))
    check_bijector(model.bijector, z, condition)
    x, log_det = model.bijector.forward_and_log_det(1e3 * z, condition)
    again, _ = model.bijector.inverse_and_log_det(x, condition)
    assert np.isfinite(log_det).all()
    np.testing.assert_allclose(again, 1e3 * z, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize(("event_shape", "num_scales"), [((28, 28, 1), 2), ((16, 8, 3), 3)])
def test_round_trip_in_float32(event_shape, num_scales):
    model = random_model(event_shape, scale=0.05, num_scales=num_scales)
    x = normal((2, *event_shape)).astype("float32")
    z = model.encode(x)
    assert z.shape == x.shape
    np.testing.assert_allclose(model.decode(z), x, atol=1e-4)


def test_starts_as_a_rotation():
    """Additive couplings, split and last latent are the identity, 1x1 convolutions rotations."""
    model = Glow([4, 4, 3], transformer={"type": "AdditiveTransformer"}, **SMALL)
    x = normal((3, 4, 4, 3)).astype("float32")
    z, log_det = model.bijector.inverse_and_log_det(x)
    np.testing.assert_allclose(log_det, 0.0, atol=1e-4)
    np.testing.assert_allclose(np.square(z).sum((1, 2, 3)), np.square(x).sum((1, 2, 3)), rtol=1e-5)
    expected = tfd.Normal(0.0, 1.0).log_prob(x).numpy().sum((1, 2, 3))
    np.testing.assert_allclose(model.log_prob(x), expected, rtol=1e-5)


def test_initialisation_is_one_sequential_pass(monkeypatch):
    """Every activation normalisation, those inside networks too, behind initialised layers."""
    model = Glow([8, 8, 1], num_levels=256, num_scales=2, num_steps=2, filters=4)
    x = integers((32, 8, 8, 1), 256) // np.array([[1], [64]] * 4).reshape(8, 1, 1).astype("uint8")
    moments = []

    def recording(function):
        def record(layer, *arguments, **named):
            result = function(layer, *arguments, **named)
            y = result[0] if isinstance(result, tuple) else result
            y = y.numpy().reshape(-1, y.shape[-1])
            moments.append((y.mean(0), y.var(0)))
            return result

        return record

    model.initialize(x)
    before = model.log_prob(x, seed=EVALUATION_SEED)
    monkeypatch.setattr(ActNorm, "_inverse", recording(ActNorm._inverse))
    monkeypatch.setattr(ActNormConv2D, "call", recording(ActNormConv2D.call))
    model.encode(x, seed=EVALUATION_SEED)  # the noise of `initialize`
    assert len(moments) == 2 * 2 * (1 + 2)
    for mean, variance in moments:
        np.testing.assert_allclose(mean, 0.0, atol=1e-3)
        np.testing.assert_allclose(variance, 1.0, atol=1e-2)
    assert -np.mean(before) / (64 * math.log(2.0)) < 10.0  # bits/dim, not hundreds
    model.initialize(integers((32, 8, 8, 1), 9))
    np.testing.assert_array_equal(model.log_prob(x, seed=EVALUATION_SEED), before)


def test_initialisation_survives_save_and_load(tmp_path):
    model = Glow([4, 4, 1], **SMALL)
    x = (3.0 + 7.0 * normal((16, 4, 4, 1))).astype("float32")
    model.initialize(x)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    loaded.initialize(x - 5.0)
    np.testing.assert_allclose(loaded.log_prob(x), model.log_prob(x), rtol=1e-6)


def test_split_prior_is_a_gaussian_given_the_first_half():
    """log p(z2 | z1) by its definition, for the latent that leaves after the first scale."""
    model = random_model([4, 4, 1], dtype="float64")
    chain = model.bijector.bijectors
    split = chain[-3]
    h = normal((2, 2, 2, 4))
    first, second = np.split(h, 2, -1)
    raw, loc = np.split(split.network(first).numpy(), 2, -1)
    gaussian = tfd.Normal(loc, np.exp(7.0 * np.tanh(raw / 7.0)))
    z, log_det = split(h)
    np.testing.assert_array_equal(z[..., :2], first)
    standard = tfd.Normal(np.float64(0.0), 1.0).log_prob(z[..., 2:]).numpy().sum((1, 2, 3))
    expected = gaussian.log_prob(second).numpy().sum((1, 2, 3))
    np.testing.assert_allclose(standard + log_det, expected, rtol=1e-10)


def test_density_of_a_batch_is_that_of_its_rows():
    model = random_model([4, 4, 1])
    x = normal((6, 4, 4, 1)).astype("float32")
    together = model.log_prob(x)
    rows = [model.log_prob(row[None])[0] for row in x]
    np.testing.assert_allclose(together, rows, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(model(x, training=True), together)


def test_temperature_scales_every_latent():
    model = random_model([4, 4, 1], scale=0.1)
    mode = model.decode(np.zeros((3, 4, 4, 1)))
    np.testing.assert_allclose(model.sample(3, seed=0, temperature=0.0), mode, atol=1e-6)
    z = model.encode(model.sample(200, seed=0, temperature=0.5))
    full = model.encode(model.sample(200, seed=0))
    np.testing.assert_allclose(z, 0.5 * full, atol=1e-3)


def test_class_reaches_the_last_latent_and_the_networks():
    model = random_model([2, 2, 1], num_scales=1, num_classes=3)
    x = np.repeat(normal((1, 2, 2, 1)).astype("float32"), 3, 0)
    z = model.encode(x, np.arange(3)).numpy()
    assert np.ptp(z, 0).min() > 1e-3
    step, prior = model.bijector.bijectors[1:3]
    for layer in (prior, step):
        at = [layer(np.ones((1, 1, 1, 4)), np.eye(3)[i : i + 1])[0].numpy() for i in range(3)]
        assert np.ptp(at, 0).max() > 1e-3


def test_16_bit_networks_train_with_float32_likelihoods():
    arguments = dict(num_scales=1, num_steps=1, filters=8, dtype="mixed_float16")
    model = Glow([4, 4, 1], num_levels=17, **arguments)
    x = integers((64, 4, 4, 1), 5)
    model.initialize(x)
    network = model.bijector.bijectors[1].bijectors[-1].network
    assert network.compute_dtype == "float16"
    before = model.log_prob(x, seed=1)
    assert before.dtype == "float32"
    model.compile(optimizer=keras.optimizers.Adam(1e-2), jit_compile=False)
    model.fit(x, batch_size=64, epochs=20, verbose=0)
    assert np.mean(model.log_prob(x, seed=1)) > np.mean(before) + 0.5
    np.testing.assert_array_equal(model.decode(model.encode(x, seed=1)), x)


@pytest.mark.parametrize(
    ("event_shape", "arguments", "message"),
    [
        ([4], {}, r"event_shape must be \[H, W, C\]; received: \[4\]"),
        ([28, 28, 1], {"num_scales": 3}, r"num_scales must be such that 2\^num_scales divides"),
        ([4, 4, 1], {"num_scales": 0}, "num_scales must be an integer >= 1"),
        ([4, 4, 1], {"num_scales": 1, "num_steps": 0}, "num_steps must be an integer >= 1"),
        ([4, 4, 1], {"num_scales": 1, "filters": 0}, "filters must be an integer >= 1"),
        ([4, 4, 1], {"num_scales": 1, "transformer": "affine"}, "must be a specification"),
    ],
)
def test_impossible_arguments(event_shape, arguments, message):
    with pytest.raises(ValueError, match=message):
        Glow(event_shape, **arguments)
