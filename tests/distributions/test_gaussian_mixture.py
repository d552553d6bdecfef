"""Gaussian heads: densities, draws that follow them and do not depend on how they are compiled."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import integrate, special, stats

from tfgen import seeds
from tfgen.distributions import Gaussian, GaussianMixture

NUM_SAMPLES = 40_000


def random_parameters(num_mixtures, shape=(), seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((*shape, num_mixtures))
    mean = 3.0 * rng.standard_normal((*shape, num_mixtures))
    log_scale = 0.5 * rng.standard_normal((*shape, num_mixtures)) - 0.5
    return np.concatenate([logits, mean, log_scale], axis=-1)


def density(x, parameters, minimum_scale=1e-3):
    """log p(x) by scipy, in float64."""
    logits, mean, log_scale = np.split(parameters, 3, axis=-1)
    scale = np.sqrt(minimum_scale**2 + np.exp(2.0 * log_scale))
    log_weights = logits - special.logsumexp(logits, axis=-1, keepdims=True)
    components = stats.norm(mean, scale).logpdf(np.asarray(x)[..., None])
    return special.logsumexp(log_weights + components, axis=-1)


def distribution_function(x, parameters):
    logits, mean, log_scale = np.split(parameters, 3, axis=-1)
    scale = np.sqrt(1e-6 + np.exp(2.0 * log_scale))
    components = stats.norm(mean, scale).cdf(np.asarray(x)[..., None])
    return (special.softmax(logits, axis=-1) * components).sum(axis=-1)


def test_density():
    parameters = random_parameters(4, (5, 3))
    assert parameters.shape[1:] == GaussianMixture(4).parameters_shape(3)
    x = np.random.default_rng(1).standard_normal((5, 3)) * 4.0
    log_prob = GaussianMixture(4)(tf.constant(parameters, tf.float32)).log_prob(x)
    np.testing.assert_allclose(log_prob, density(x, parameters), rtol=1e-4, atol=1e-4)


def test_one_component_is_a_gaussian():
    mean, log_scale = 0.7, -0.3
    x = np.linspace(-3.0, 3.0, 7, dtype="float32")
    mixture = GaussianMixture(1)(tf.constant([5.0, mean, log_scale]))
    gaussian = Gaussian("network")(tf.constant([mean, log_scale]))
    np.testing.assert_allclose(mixture.log_prob(x), gaussian.log_prob(x), rtol=1e-5)


def test_integrates_to_one():
    parameters = random_parameters(5)
    distribution = GaussianMixture(5)(tf.constant(parameters, tf.float64))
    x = np.linspace(-15.0, 15.0, 30_001)
    total = integrate.trapezoid(np.exp(distribution.log_prob(x)), x)
    assert total == pytest.approx(1.0, abs=1e-8)


def test_finite_with_its_gradient_for_extreme_parameters():
    # Scales from the floor to the cap, all weight on one component, data far away.
    parameters = tf.constant(
        [
            [0.0, 0.0, 0.0, 0.0, -1e3, -1e3],
            [0.0, 0.0, 0.0, 0.0, 1e3, 1e3],
            [1e4, -1e4, 0.0, 1e4, -50.0, 50.0],
        ]
    )
    for x in (0.0, 1e4):
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            log_prob = GaussianMixture(2)(parameters).log_prob(x)
        assert np.isfinite(log_prob).all()
        assert np.isfinite(tape.gradient(log_prob, parameters)).all()


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_draws_follow_the_tempered_distribution(temperature):
    parameters = random_parameters(3, seed=3)
    logits, mean, log_scale = np.split(parameters, 3)
    log_scale = 0.5 * np.log(1e-6 + np.exp(2.0 * log_scale)) + np.log(temperature)
    tempered = np.concatenate([logits / temperature, mean, log_scale])
    batch = tf.tile(tf.constant(parameters, tf.float32)[None], [NUM_SAMPLES, 1])
    x = GaussianMixture(3).draw(batch, tf.constant([0, 1]), temperature)
    assert x.shape == (NUM_SAMPLES,)
    assert stats.kstest(x, lambda v: distribution_function(v, tempered)).pvalue > 1e-3

    x = Gaussian("network").draw(batch[:, 3:5], tf.constant([0, 2]), temperature)
    loc, scale = parameters[3], temperature * np.sqrt(1e-6 + np.exp(2.0 * parameters[4]))
    assert stats.kstest(x, stats.norm(loc, scale).cdf).pvalue > 1e-3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal_numbers_are_the_same_in_every_kind_of_graph(dtype):
    def draw(seed):
        return seeds.normal([200, 100], seed, dtype)

    seed = tf.constant([0, 7])
    x = draw(seed).numpy()
    assert x.dtype == dtype
    assert stats.kstest(x.ravel(), stats.norm.cdf).pvalue > 1e-3
    assert abs(np.corrcoef(x[:, :50].ravel(), x[:, 50:].ravel())[0, 1]) < 0.03
    for compiled in (False, True):
        again = tf.function(draw, jit_compile=compiled)(seed)
        np.testing.assert_allclose(again, x, atol=1e-5 if dtype == "float32" else 1e-12)


def test_fit_beats_a_gaussian_on_two_humps_and_equals_it_with_one_component():
    rng = np.random.default_rng(0)
    x = np.where(rng.random((4000, 3, 1)) < 0.3, -2.0, 1.0) * [[1.0], [5.0], [0.1]]
    x = x + 0.1 * rng.standard_normal(x.shape)

    def nats(likelihood):
        parameters = likelihood.fit(x)
        assert parameters.shape == (3, *likelihood.parameters_shape(1))
        return -np.mean(likelihood(tf.constant(parameters)).log_prob(x))

    gaussian = nats(Gaussian("network"))
    assert nats(GaussianMixture(1)) == pytest.approx(gaussian, rel=1e-6)
    assert nats(GaussianMixture(8)) < gaussian
    assert np.isfinite(GaussianMixture(8).fit(x[:3])).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_mixtures": 0}, "num_mixtures must be an integer >= 1; received: 0"),
        ({"minimum_scale": 0.0}, "minimum_scale must be positive; received: 0.0"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(**arguments)
