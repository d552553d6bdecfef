"""Likelihoods: from parameters to distributions of data in native units."""

import numpy as np
import pytest
import tensorflow as tf

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
