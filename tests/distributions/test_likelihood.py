"""Likelihoods: from parameters to distributions of data in native units."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tfgen.distributions import Bernoulli, Categorical, DiscretizedLogisticMixture, Gaussian


def test_bernoulli_never_clamps():
    """Confident pixels cost what they cost: -|logit| where wrong, 0 where right, up to 1e4."""
    logits = tf.constant([[-1e4], [-50.0], [50.0], [1e4]])
    distribution = Bernoulli()(logits)
    np.testing.assert_allclose(distribution.log_prob([1.0, 1.0, 0.0, 0.0]), [-1e4, -50, -50, -1e4])
    np.testing.assert_array_less(-1e-20, distribution.log_prob([0.0, 0.0, 1.0, 1.0]))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        log_prob = Bernoulli()(logits).log_prob([1.0, 1.0, 0.0, 0.0])
    np.testing.assert_allclose(tape.gradient(log_prob, logits)[:, 0], [1.0, 1.0, -1.0, -1.0])


def test_categorical_without_information_is_uniform():
    log_prob = Categorical(256)(tf.zeros([3, 256])).log_prob([0.0, 17.0, 255.0])
    np.testing.assert_allclose(-log_prob / np.log(2.0), 8.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("likelihood", "mean"), [(Bernoulli(), 0.25), (Categorical(4), 1.3), (Gaussian(), 1.5)]
)
def test_draws_follow_the_distribution(likelihood, mean):
    parameters = {
        "Bernoulli": [np.log(1 / 3)],
        "Categorical": np.log([0.3, 0.25, 0.3, 0.15]),
        "Gaussian": [1.5, 0.0],
    }[type(likelihood).__name__]
    parameters = tf.tile(tf.constant(parameters, tf.float32)[None], [40_000, 1])
    x = likelihood.draw(parameters, tf.constant([0, 1]))
    assert x.shape == (40_000,)
    np.testing.assert_allclose(tf.reduce_mean(x), mean, atol=0.02)
    variance = likelihood(parameters[0]).variance()
    np.testing.assert_allclose(tf.math.reduce_variance(x), variance, rtol=0.05)


def entropy_of_columns(likelihood, x):
    """Mean negative log-likelihood of the data under `fit`, nats per value, with its shapes."""
    parameters = likelihood.fit(x)
    assert parameters.shape == (*x.shape[1:-1], *likelihood.parameters_shape(x.shape[-1]))
    log_prob = likelihood(tf.constant(parameters, tf.float32)).log_prob(x.astype("float32"))
    return -np.mean(log_prob) / (x.shape[-1] if likelihood.event_ndims else 1)


def test_fit_is_the_maximum_likelihood_of_independent_columns():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.1, 0.9, (3, 2, 1))
    x = (rng.random((5000, 3, 2, 1)) < p).astype("float64")
    mean = x.mean(0)
    expected = -(mean * np.log(mean) + (1 - mean) * np.log(1 - mean)).mean()
    assert entropy_of_columns(Bernoulli(), x) == pytest.approx(expected, rel=1e-5)
    assert entropy_of_columns(Categorical(2), x) == pytest.approx(expected, rel=1e-2)

    x = rng.standard_normal((5000, 4, 1)) * [[0.1], [1.0], [2.0], [3.0]] + 5.0
    by_dimension = 0.5 * np.log(2 * np.pi * np.e * x.var(0)).mean()
    shared = 0.5 * np.log(2 * np.pi * np.e * x.var(0).mean())
    assert entropy_of_columns(Gaussian("dimension", 1e-6), x) == pytest.approx(
        by_dimension, rel=1e-5
    )
    assert entropy_of_columns(Gaussian("scalar", 1e-6), x) == pytest.approx(shared, rel=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_fit_of_the_logistic_mixture_beats_the_uniform_distribution(channels):
    """Two-humped pixels, and one that is always black."""
    rng = np.random.default_rng(0)
    x = np.where(rng.random((500, 2, 2, channels)) < 0.4, 20, 200)
    x = x + rng.integers(-15, 16, x.shape)
    x[:, 0, 0] = 0
    nats = entropy_of_columns(DiscretizedLogisticMixture(256, num_mixtures=5), x)
    assert nats < 0.9 * np.log(256)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_logistic_mixture_shapes(channels):
    likelihood = DiscretizedLogisticMixture(8, num_mixtures=2)
    (size,) = likelihood.parameters_shape(channels)
    distribution = likelihood(tf.zeros([3, 5, size]))
    assert distribution.batch_shape == (3, 5)
    assert distribution.event_shape == (channels,)


def test_logistic_mixture_coefficients_are_bounded():
    likelihood = DiscretizedLogisticMixture(8, num_mixtures=1)
    parameters = tf.constant([0.0] * 7 + [100.0, -100.0, 0.5])
    np.testing.assert_allclose(likelihood(parameters).coefficients, [[1.0, -1.0, np.tanh(0.5)]])


def test_logistic_scales_have_a_floor_in_the_density():
    likelihood = DiscretizedLogisticMixture(256, num_mixtures=1)
    distribution = likelihood(tf.constant([[0.0, 0.1, -50.0], [0.0, 0.1, 2.0]], tf.float64))
    np.testing.assert_allclose(distribution.log_scale[:, 0, 0], [-7.0, 2.0])


@pytest.mark.parametrize("temperature", [0.3, 2.0])
@pytest.mark.parametrize("likelihood", [Bernoulli(), Categorical(6)])
def test_tempered_levels_are_powers_of_the_probabilities(likelihood, temperature):
    rng = np.random.default_rng(0)
    parameters = tf.constant(3.0 * rng.standard_normal((5, *likelihood.parameters_shape(1)[1:])))
    levels = np.arange(likelihood.num_levels, dtype="float64")[:, None]
    power = likelihood(parameters).prob(levels).numpy() ** (1.0 / temperature)
    found = likelihood(likelihood.tempered(parameters, temperature)).prob(levels)
    np.testing.assert_allclose(found, power / power.sum(axis=0), rtol=1e-10)


def logistic_mixture_parameters():
    """Two components for pixels of two channels: logits, means, log scales, coefficients."""
    return tf.constant([0.0, 1.0, -0.7, 0.6, -0.2, 0.5, -2.0, -3.0, -1.0, -2.0, 0.4, -0.8])


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_draws_of_the_logistic_mixture_follow_the_tempered_distribution(temperature):
    num_levels, num_samples = 6, 40_000
    likelihood = DiscretizedLogisticMixture(num_levels, num_mixtures=2)
    parameters = logistic_mixture_parameters()
    scaled = parameters.numpy()
    scaled[:2] /= temperature
    scaled[6:10] += np.log(temperature)
    x = np.indices((num_levels, num_levels)).reshape(2, -1).T.astype("float32")
    expected = num_samples * likelihood(tf.constant(scaled)).prob(x).numpy()
    batch = tf.tile(parameters[None], [num_samples, 1])
    drawn = likelihood.draw(batch, tf.constant([0, 1]), temperature).numpy()
    counts = np.bincount((drawn @ [num_levels, 1]).astype(int), minlength=num_levels**2)
    usual = expected >= 5
    assert counts[~usual].sum() <= 5 * expected[~usual].sum() + 10
    statistic = ((counts - expected)[usual] ** 2 / expected[usual]).sum()
    assert stats.chi2.sf(statistic, usual.sum() - 1) > 1e-3


def test_the_coldest_logistic_mixture_is_the_mode_of_its_heaviest_component():
    likelihood = DiscretizedLogisticMixture(256, num_mixtures=2)
    parameters = logistic_mixture_parameters().numpy()
    # The floor of the scales does not hold the temperature up: at e^-7 a level beside the mode
    # has a probability of some percent.
    for log_scale in (-2.0, -50.0):
        parameters[6:10] = log_scale
        batch = tf.tile(tf.constant(parameters)[None], [1000, 1])
        drawn = likelihood.draw(batch, tf.constant([0, 1]), 1e-4)
        first = np.round((-0.2 + 1.0) * 127.5)
        mean = 0.5 + np.tanh(-0.8) * (first / 127.5 - 1.0)
        np.testing.assert_array_equal(drawn, [[first, np.round((mean + 1.0) * 127.5)]] * 1000)


def test_gaussian_variance_has_a_floor():
    distribution = Gaussian(minimum_scale=0.1)(tf.constant([[0.0, -1e3], [0.0, 0.0]]))
    np.testing.assert_allclose(distribution.stddev(), [0.1, np.sqrt(1.01)], rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gaussian("pixel"), "variance must be one of 'scalar', 'dimension', 'network'"),
        (lambda: Gaussian(minimum_scale=0.0), "minimum_scale must be positive; received: 0.0"),
        (lambda: Categorical(1), "num_levels must be an integer >= 2; received: 1"),
        (lambda: DiscretizedLogisticMixture(1), "num_levels must be an integer >= 2; received: 1"),
        (
            lambda: DiscretizedLogisticMixture(4, num_mixtures=0),
            "num_mixtures must be an integer >= 1; received: 0",
        ),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make()
