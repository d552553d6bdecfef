import math

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.conformance import check_bijector, check_model, randomize
from tfgen.bijectors import Fixed, OnFirstHalf
from tfgen.models import RealNVP

tfb, tfd = tfp.bijectors, tfp.distributions

SMALL = dict(num_couplings=1, filters=4, num_blocks=1)


def normal(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def integers(shape, num_levels, seed=0):
    return np.random.default_rng(seed).integers(0, num_levels, shape).astype("uint8")


def random_model(event_shape, scale=0.3, **arguments):
    model = RealNVP(event_shape, **{**SMALL, **arguments})
    randomize(model, scale=scale)
    return model


def test_images():
    model = RealNVP([4, 4, 1], num_levels=17, patch_size=2, alpha=0.1, **SMALL)
    check_model(model, integers((8, 4, 4, 1), 17))


def test_conditional_vectors():
    model = RealNVP([3], num_classes=3, filters=4, num_blocks=1, activation="elu")
    check_model(model, normal((8, 3)).astype("float32"), np.arange(8) % 3)


@pytest.mark.parametrize(
    ("event_shape", "arguments"),
    [
        ([4, 4, 1], {"num_scales": 2, "patch_size": 2}),
        ([2, 2, 3], {"num_scales": 1, "num_couplings": 2}),
        ([5], {"num_features": 2}),
    ],
)
def test_log_det(event_shape, arguments):
    """The whole flow against its Jacobian; every weight is random."""
    model = random_model(event_shape, dtype="float64", **arguments)
    condition = normal((2, 2), seed=1) if "num_features" in arguments else None
    check_bijector(model.bijector, normal((2, *event_shape)), condition)


def test_log_det_of_colour_images_through_two_scales():
    model = random_model([4, 4, 3], dtype="float64", num_scales=2)
    check_bijector(model.bijector, normal((2, 4, 4, 3)))


@pytest.mark.parametrize(
    ("event_shape", "num_scales"),
    [((28, 28, 1), 3), ((8, 8, 1), 2), ((32, 32, 3), 2), ((2,), None)],
)
def test_shapes(event_shape, num_scales):
    model = random_model(event_shape, scale=0.1, num_scales=num_scales)
    x = normal((2, *event_shape)).astype("float32")
    z = model.encode(x)
    assert z.shape == x.shape
    np.testing.assert_allclose(model.decode(z), x, atol=1e-4)


def test_starts_as_the_identity():
    model = RealNVP([4, 4, 3], num_couplings=2, filters=4, num_blocks=1)
    x = normal((3, 4, 4, 3)).astype("float32")
    np.testing.assert_array_equal(model.encode(x), x)
    np.testing.assert_allclose(
        model.log_prob(x), tfd.Normal(0.0, 1.0).log_prob(x).numpy().sum((1, 2, 3)), rtol=1e-6
    )


def test_odd_checkerboard_is_factored_out():
    """What follows the first scale leaves the pixels with odd i + j alone and mixes the others."""
    model = RealNVP([4, 4, 1], **SMALL)
    (rest,) = (b for b in model.bijector.bijectors if isinstance(b, OnFirstHalf))
    randomize(rest)
    x = normal((2, 4, 4, 1)).astype("float32")
    changed = np.any(np.abs(model.encode(x) - x) > 1e-5, axis=(0, 3))
    rows, columns = np.indices((4, 4))
    np.testing.assert_array_equal(changed, (rows + columns) % 2 == 0)


class LogisticBase(RealNVP):
    """The base for which a logit without couplings is the uniform density on [0, 1]."""

    def base(self, condition=None):
        zeros = tf.zeros(self.latent_shape, self.float_dtype)
        return tfd.Independent(tfd.Logistic(zeros, 1.0), len(self.latent_shape))


@pytest.mark.parametrize(
    ("num_levels", "alpha", "bits_per_dim"),
    [(256, 0.0, 8.0), (32, 0.0, 5.0), (256, 0.05, 8.0 - math.log2(0.9))],
)
def test_uniform_density_in_bits_per_dim(num_levels, alpha, bits_per_dim):
    model = LogisticBase([4, 4, 3], num_levels=num_levels, alpha=alpha, dtype="float64", **SMALL)
    nats = model.log_prob(integers((5, 4, 4, 3), num_levels), seed=1)
    np.testing.assert_allclose(-nats / (48 * math.log(2.0)), bits_per_dim, atol=1e-12)


def test_uniform_integers_reach_every_level():
    """The same model sampled: logistic noise through the logit is uniform over the levels."""
    model = LogisticBase([4, 4, 3], num_levels=4, alpha=0.0, **SMALL)
    counts = np.bincount(model.sample(500, seed=2).numpy().ravel(), minlength=4)
    np.testing.assert_allclose(counts / counts.sum(), 0.25, atol=4 * math.sqrt(0.1875 / 24000))


def test_initialize_normalises_every_column_of_a_table_once():
    model = RealNVP([3], filters=4)
    x = (normal((500, 3)) * [1e-3, 1.0, 1e4] + [5.0, -2.0, 1e5]).astype("float32")
    model.initialize(x)
    z = model.encode(x)
    np.testing.assert_allclose(np.mean(z, 0), 0.0, atol=1e-3)
    np.testing.assert_allclose(np.var(z, 0), 1.0, atol=1e-3)
    expected = model.log_prob(x)
    model.initialize(x + 1.0)
    np.testing.assert_array_equal(model.log_prob(x), expected)


def test_initialisation_survives_save_and_load(tmp_path):
    model = RealNVP([3], filters=4)
    x = (normal((50, 3)) * 7.0).astype("float32")
    model.initialize(x)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    loaded.initialize(x + 3.0)
    np.testing.assert_allclose(loaded.log_prob(x), model.log_prob(x), rtol=1e-6)


def test_actnorms_of_images_are_initialised_in_order():
    """Each on the output of what precedes it, also inside the factored-out half."""
    model = random_model([4, 4, 1])
    x = 3.0 + 5.0 * normal((64, 4, 4, 1))
    model.initialize(x.astype("float32"))
    moments = []

    def record(bijector, x):
        for step in getattr(bijector, "bijectors", []):
            if type(step).__name__ == "ActNorm":
                z = step(x)[0].numpy().reshape(-1, x.shape[-1])
                moments.append((z.mean(0), z.var(0)))
            if isinstance(step, OnFirstHalf):
                record(step.bijector, tf.split(x, 2, -1)[0])
            x = step(x)[0]

    record(model.bijector, tf.constant(x, tf.float32))
    assert len(moments) == 1 + 1 + 2
    for mean, variance in moments:
        np.testing.assert_allclose(mean, 0.0, atol=1e-4)
        np.testing.assert_allclose(variance, 1.0, atol=1e-3)


@pytest.mark.parametrize("num_classes", [None, 3])
def test_density_integrates_to_one(num_classes):
    model = random_model([2], scale=0.6, num_couplings=3, num_classes=num_classes)
    label = None if num_classes is None else 2
    draws = model.sample(2000, label, seed=0).numpy()
    low, high = draws.min(0) - 3.0 * draws.std(0), draws.max(0) + 3.0 * draws.std(0)
    axes = [np.linspace(a, b, 500) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    density = np.exp(model.log_prob(grid.astype("float32"), label))
    cell = math.prod(axis[1] - axis[0] for axis in axes)
    np.testing.assert_allclose(density.sum() * cell, 1.0, atol=1e-2)


def test_gaussian_data_reach_their_entropy_and_never_beat_it():
    loc = np.array([3.0, -40.0])
    scale = np.array([[2.0, 0.0], [1.5, 0.3]])
    truth = tfd.MultivariateNormalTriL(loc, scale)
    x = truth.sample(20_000, seed=1)
    train, held_out = x[:10_000], x[10_000:]
    model = RealNVP([2], filters=16, num_blocks=1)
    model.compile(optimizer=keras.optimizers.Adam(5e-3), jit_compile=False)
    model.fit(train, batch_size=500, epochs=15, verbose=0)
    excess = truth.log_prob(held_out) - tf.cast(model.log_prob(held_out), tf.float64)
    standard_error = np.std(excess) / math.sqrt(len(excess))
    nll_error = np.std(model.log_prob(held_out)) / math.sqrt(len(excess))
    assert -np.mean(model.log_prob(held_out)) > truth.entropy() - 3.0 * nll_error
    assert -3.0 * standard_error < np.mean(excess) < 0.02


def test_density_of_a_batch_is_that_of_its_rows():
    """The same in training: no statistics of the batch, no state that a pass would change."""
    model = random_model([4, 4, 1])
    x = normal((6, 4, 4, 1)).astype("float32")
    together = model.log_prob(x)
    np.testing.assert_allclose(
        together, [model.log_prob(row[None])[0] for row in x], rtol=1e-5, atol=1e-4
    )
    np.testing.assert_array_equal(model(x, training=True), together)
    np.testing.assert_array_equal(model.log_prob(x), together)


def test_temperature_scales_every_latent():
    model = random_model([4, 4, 1], scale=0.1)
    mode = model.decode(np.zeros((1, 4, 4, 1)))
    np.testing.assert_allclose(
        model.sample(3, seed=0, temperature=0.0), np.repeat(mode, 3, 0), atol=1e-6
    )
    z = model.encode(model.sample(500, seed=0, temperature=0.5))
    full = model.encode(model.sample(500, seed=0))
    np.testing.assert_allclose(z, 0.5 * full, atol=1e-4)


def test_class_changes_likelihood_and_samples():
    model = random_model([4, 4, 1], num_classes=3, num_levels=17)
    x = np.repeat(integers((1, 4, 4, 1), 17), 3, 0)
    log_prob = model.log_prob(x, np.arange(3), seed=1).numpy()
    same_noise = [model.log_prob(x, np.full(3, label), seed=1)[label] for label in range(3)]
    np.testing.assert_allclose(log_prob, same_noise, rtol=1e-5)
    first = [model.log_prob(x, np.full(3, label), seed=1)[0] for label in range(3)]
    assert np.ptp(first) > 0.1
    assert not np.array_equal(model.sample(8, 0, seed=3), model.sample(8, 1, seed=3))


def test_composes_with_tfp():
    model = random_model([4, 4, 1], dtype="float64")
    x = normal((3, 4, 4, 1))
    np.testing.assert_allclose(model.distribution().log_prob(x), model.log_prob(x), rtol=1e-12)

    flow = model.as_tfp()
    base = tfd.Sample(tfd.Normal(tf.zeros([], tf.float64), 1.0), [4, 4, 1])
    transformed = tfd.TransformedDistribution(base, flow)
    np.testing.assert_allclose(transformed.log_prob(x), model.log_prob(x), rtol=1e-12)

    shift = tfb.Shift(tf.constant(2.0, tf.float64))
    chain = tfb.Chain([flow, shift])  # z -> z + 2 -> x
    shifted = tfd.TransformedDistribution(base, chain)
    z = model.encode(x)
    _, log_det = model.bijector.inverse_and_log_det(x)
    np.testing.assert_allclose(shifted.log_prob(x), base.log_prob(z - 2.0) + log_det, rtol=1e-12)
    np.testing.assert_allclose(chain.forward(z - 2.0), x, atol=1e-9)

    draws = transformed.sample([2, 3], seed=1)
    assert draws.shape == (2, 3, 4, 4, 1)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(transformed.log_prob(x))
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    assert all(gradient is not None for gradient in gradients)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_16_bit_networks_train_with_float32_likelihoods(policy):
    model = RealNVP([4, 4, 1], num_levels=17, num_scales=1, dtype=policy, **SMALL)
    x = integers((64, 4, 4, 1), 5)
    model.initialize(x)
    coupling = model.bijector.bijectors[-1]
    assert coupling.network.compute_dtype == policy.removeprefix("mixed_")
    before = model.log_prob(x, seed=1)
    assert before.dtype == "float32"
    model.compile(optimizer=keras.optimizers.Adam(1e-2), jit_compile=False)
    model.fit(x, batch_size=64, epochs=30, verbose=0)
    assert np.mean(model.log_prob(x, seed=1)) > np.mean(before) + 0.5
    z = model.encode(x, seed=1)
    np.testing.assert_array_equal(model.decode(z), x)


def test_extreme_values_stay_finite():
    """Tables: 1e3 standard deviations away. Log-scales are bounded, so nothing overflows."""
    model = random_model([3], num_couplings=5)
    x = (1e3 * normal((10, 3))).astype("float32")
    assert np.isfinite(model.log_prob(x)).all()
    np.testing.assert_allclose(model.decode(model.encode(x)), x, rtol=1e-3, atol=1e-1)


@pytest.mark.parametrize(
    ("event_shape", "arguments", "message"),
    [
        ([1], {}, r"event_shape must be \[D\] with D >= 2; received: \[1\]"),
        ([4], {"num_scales": 2}, "num_scales must be 1 for vectors; received: 2"),
        ([4, 4], {}, r"event_shape must be \[H, W, C\] or \[D\]; received: \[4, 4\]"),
        ([28, 28, 1], {"num_scales": 4}, r"divides 28 and 28, leaving at least 2 pixels"),
        ([2, 2, 1], {"num_scales": 2}, "num_scales must be such that .* received: 2"),
        ([4, 4, 1], {"num_scales": 0}, "num_scales must be an integer >= 1; received: 0"),
        ([4, 4, 1], {"num_couplings": 0}, "num_couplings must be an integer >= 1; received: 0"),
        ([4, 4, 1], {"filters": 0}, "filters must be an integer >= 1; received: 0"),
        ([4, 4, 1], {"num_levels": 17, "alpha": 0.7}, "alpha must be at least 0 and below 0.5"),
    ],
)
def test_impossible_arguments(event_shape, arguments, message):
    with pytest.raises(ValueError, match=message):
        RealNVP(event_shape, **arguments)


def test_logit_belongs_to_integers_only():
    def logits(model):
        return [step for step in model.bijector.bijectors if isinstance(step, Fixed)]

    assert len(logits(RealNVP([4], num_levels=17, **SMALL))) == 1
    assert len(logits(RealNVP([4], **SMALL))) == 0
