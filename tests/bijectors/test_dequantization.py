"""Bounds on toys of two dimensions, where log P(v) is an integral over a square."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.conformance import all_images, randomize
from tfgen import seeds
from tfgen.bijectors import Dequantization, UniformDequantization, VariationalDequantization
from tfgen.models import RealNVP

tfd = tfp.distributions

VARIATIONAL = {"type": "VariationalDequantization", "filters": 4, "num_couplings": 2}
SPECIFICATIONS = [{"type": "UniformDequantization"}, VARIATIONAL]
SMALL = dict(num_couplings=2, filters=8, num_blocks=1, dtype="float64")


def in_float64(make, *arguments, **named):
    """As a part of a model with that policy."""
    keras.config.set_dtype_policy("float64")
    try:
        return make(*arguments, **named)
    finally:
        keras.config.set_dtype_policy("float32")


class GivenNoise(Dequantization):
    """All noise is one number."""

    def __init__(self, num_levels, noise):
        super().__init__(num_levels)
        self.noise = noise

    def _noise(self, x, seed, dtype):
        return tf.fill(tf.shape(x), tf.cast(self.noise, dtype)), tf.zeros(tf.shape(x)[:1], dtype)


@pytest.mark.parametrize("num_levels", [2, 3, 17, 255, 256])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_most_extreme_noise_stays_inside_its_level(num_levels, dtype):
    x = tf.range(num_levels, dtype=tf.int32)[:, None]
    for noise in (0.0, 1.0 - 2.0**-24, 1.0):
        dequantization = GivenNoise(num_levels, noise)
        u, _ = dequantization.dequantize(x, seeds.as_seed(0), dtype)
        assert 0.0 < np.min(u) < np.max(u) < 1.0
        np.testing.assert_array_equal(dequantization.quantize(u), x)


@pytest.mark.parametrize("shape", [(3, 2), (2, 4, 4, 3)])
def test_variational_starts_as_uniform(shape):
    x = tf.constant(np.random.default_rng(0).integers(0, 256, shape))
    layer = in_float64(VariationalDequantization, shape[1:], 256, filters=4)
    u, log_q = layer.dequantize(x, seeds.as_seed(1), "float64")
    uniform, expected = UniformDequantization(256).dequantize(x, seeds.as_seed(1), "float64")
    np.testing.assert_allclose(u, uniform, rtol=1e-12)
    np.testing.assert_allclose(log_q, expected, rtol=1e-12)
    np.testing.assert_allclose(log_q, np.prod(shape[1:]) * math.log(256))
    np.testing.assert_array_equal(layer.quantize(u), x)


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
    """Exact for every draw, and so for the mean of several."""
    x = np.random.default_rng(0).integers(0, num_levels, (5, 2, 2, 3)).astype("uint8")
    model = LogisticBase(
        [2, 2, 3], num_levels, num_scales=1, alpha=alpha, dequantization=VARIATIONAL, **SMALL
    )
    for num_samples in (1, 3):
        nats = model.log_prob(x, seed=1, num_samples=num_samples)
        np.testing.assert_allclose(-nats / (12 * math.log(2.0)), bits_per_dim, atol=1e-11)


def grid(num):
    """Midpoints of num x num cells of the unit square."""
    points = (np.arange(num) + 0.5) / num
    return np.stack(np.meshgrid(points, points, indexing="ij"), -1).reshape(-1, 2)


def test_noise_has_a_density_that_integrates_to_one():
    layer = in_float64(VariationalDequantization, [2], 3, filters=4)
    v = np.array([2, 1])
    layer.dequantize(tf.constant(v[None]), seeds.as_seed(0), "float64")
    randomize(layer.layer, scale=0.5)

    def log_density(noise, value):
        """log q(e | v) by the inverse of the map that makes the draws."""
        condition = layer._scaled(np.broadcast_to(value, noise.shape), "float64")
        eps, log_det = layer.bijector.inverse_and_log_det(noise, condition)
        logistic = tfd.Logistic(tf.zeros([], tf.float64), 1.0)
        return (tf.reduce_sum(logistic.log_prob(eps), -1) + log_det).numpy()

    # On a grid of logits: the density may have a pole at an edge.
    noise = 1.0 / (1.0 + np.exp(-60.0 * (grid(300) - 0.5)))
    cell = 0.2**2 * np.prod(noise * (1.0 - noise), -1)
    density = np.exp(log_density(noise, v))
    np.testing.assert_allclose(np.sum(cell * density), 1.0, atol=1e-3)
    assert np.abs(density - np.exp(log_density(noise, v[::-1]))).max() > 0.1
    mean = np.sum((cell * density)[:, None] * noise, 0)
    assert np.abs(mean - 0.5).max() > 0.05, "the density is uniform: nothing was tested"

    x = np.tile(v, (4000, 1))
    u, log_q = layer.dequantize(tf.constant(x), seeds.as_seed(1), "float64")
    noise = 3.0 * u - v
    np.testing.assert_allclose(log_q, log_density(noise, v) + 2 * math.log(3.0), rtol=1e-8)
    np.testing.assert_allclose(np.mean(noise, 0), mean, atol=4 / math.sqrt(12 * 4000))


@pytest.fixture(scope="module", params=SPECIFICATIONS, ids=["uniform", "variational"])
def toy(request):
    """A flow over two dimensions of two levels, and log P(v) of the four values."""
    keras.utils.set_random_seed(0)
    model = RealNVP([2], num_levels=2, dequantization=request.param, **SMALL)
    randomize(model, scale=0.25)
    x = all_images((2,), 2)
    log_p = []
    for value in x:
        u = (value + grid(300)) / 2
        z, log_det = model.bijector.inverse_and_log_det(u)
        log_density = (model.base().log_prob(z) + log_det).numpy()
        log_p.append(math.log(np.exp(log_density).mean() / 4))
    return model, x, np.array(log_p)


def test_bound_tightens_towards_the_probability(toy):
    model, x, log_p = toy
    assert np.ptp(log_p) > 0.2
    assert np.exp(log_p).sum() < 1.0  # the margins of the logit hold the rest
    repeated = np.repeat(x, 4000, 0)
    bounds, errors = [], []
    for num_samples in (1, 4, 16):
        draws = model.log_prob(repeated, seed=num_samples, num_samples=num_samples).numpy()
        draws = draws.reshape(4, 4000)
        bounds.append(draws.mean(1))
        errors.append(draws.std(1) / math.sqrt(4000))
    assert (bounds[0] < bounds[1]).all()
    assert (bounds[1] < bounds[2]).all()
    assert (bounds[2] < log_p + 3 * errors[2]).all()
    assert (log_p - bounds[0] > 0.01).all(), "the bound is tight: nothing was tested"
    estimate = model.log_prob(x, seed=0, num_samples=40_000, chunk_size=20_000)
    np.testing.assert_allclose(estimate, log_p, atol=0.02)


def test_report_holds_the_bound_of_several_draws(toy):
    model, x, _ = toy
    x = np.repeat(x, 100, 0)
    one = model.report(x, seed=0)
    assert set(one) == {"log_prob"}
    several = model.report(x, seed=0, num_samples=50)
    np.testing.assert_array_equal(several["elbo"], one["log_prob"])
    assert np.mean(several["log_prob"]) > np.mean(one["log_prob"])
    sizes = several["effective_sample_size"].numpy()
    assert 1.0 < sizes.min() < sizes.max() <= 50.0


def test_gradient_of_the_bound_tightens_it(toy):
    """The density stays as it is; a step of the dequantisation alone closes a part of the gap."""
    model, x, log_p = toy
    layer = model.dequantization_layer
    if layer is None:
        return
    x = np.repeat(x, 200, 0)
    with tf.GradientTape() as tape:
        bound = tf.reduce_mean(model.log_prob(x, seed=0))
    variables = layer.trainable_variables
    gradients = tape.gradient(bound, [v.value for v in variables])
    before = [v.numpy() for v in variables]
    for variable, gradient in zip(variables, gradients, strict=True):
        variable.assign_add(0.1 * gradient)
    after = tf.reduce_mean(model.log_prob(x, seed=0))
    for variable, value in zip(variables, before, strict=True):
        variable.assign(value)
    assert float(bound) + 0.005 < float(after) < log_p.mean()


def test_dequantisation_is_saved_with_the_model(toy, tmp_path):
    model, x, _ = toy
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.log_prob(x, seed=0), model.log_prob(x, seed=0), rtol=1e-12)


def test_refusals():
    with pytest.raises(ValueError, match="dequantization must be None for real data"):
        RealNVP([2], dequantization=VARIATIONAL, **SMALL)
    with pytest.raises(ValueError, match="dequantization must be for 4 levels; received: 3"):
        RealNVP([2], num_levels=4, dequantization=UniformDequantization(3), **SMALL)
    with pytest.raises(ValueError, match=r"event_shape must be \[H, W, C\] or \[D\]"):
        VariationalDequantization([2, 2], 4)
    with pytest.raises(ValueError, match="num_samples must be 1 for real data"):
        RealNVP([2], **SMALL).log_prob(np.zeros((1, 2)), num_samples=2)
