"""The blocks of the Gaussian prior against TFP's multivariate normals."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.conformance import randomize
from tfgen.models.causal.gaussian_prior import (
    GaussianPrior,
    cholesky_inverse,
    triangular_inverse,
)

tfd = tfp.distributions


@pytest.fixture(params=[(3, 5), (4, 2)], ids=["more v", "more s"])
def prior(request):
    prior = GaussianPrior(*request.param, loc=0.5, scale=0.5, correlation=0.9, dtype="float64")
    randomize(prior)
    return prior


def points(prior, num=7):
    size = prior.semantic_size + prior.variation_size
    return tf.constant(np.random.default_rng(1).standard_normal((num, size)))


def test_marginal_times_conditional_is_the_joint(prior):
    """p(s) p(v | s) = N(mu, L L^T), spec (d); for s of two batch dimensions as well."""
    z = points(prior)
    s, v = tf.split(z, [prior.semantic_size, prior.variation_size], axis=-1)
    factor = np.tril(prior.raw.numpy(), -1) + np.diag(np.exp(np.diag(prior.raw.numpy())))
    oracle = tfd.MultivariateNormalFullCovariance(prior.loc.numpy(), factor @ factor.T)
    expected = oracle.log_prob(z)
    np.testing.assert_allclose(prior.joint().log_prob(z), expected, atol=1e-9)
    product = prior.semantic().log_prob(s) + prior.variation_given(s).log_prob(v)
    np.testing.assert_allclose(product, expected, atol=1e-9)
    nested = prior.variation_given(s[None]).log_prob(v[None])
    np.testing.assert_allclose(nested[0], prior.variation_given(s).log_prob(v), atol=1e-12)


def test_marginals_are_those_of_the_joint(prior):
    """Means and blocks of L L^T; the independent prior has them and nothing between."""
    size, covariance = prior.semantic_size, prior.joint().covariance().numpy()
    rest = slice(size, None)
    for marginal, block in ((prior.semantic(), slice(size)), (prior.variation(), rest)):
        np.testing.assert_allclose(marginal.mean(), prior.loc.numpy()[block])
        np.testing.assert_allclose(marginal.covariance(), covariance[block, block], atol=1e-12)
    s, v = tf.split(points(prior), [size, prior.variation_size], axis=-1)
    product = prior.semantic().log_prob(s) + prior.variation().log_prob(v)
    np.testing.assert_allclose(prior.independent().log_prob(points(prior)), product, atol=1e-12)


@pytest.mark.parametrize("sizes", [(2, 4), (4, 2), (3, 3)])
def test_start_has_the_requested_correlation(sizes):
    """Every standard deviation is `scale`, also of entries of v without a partner."""
    prior = GaussianPrior(*sizes, loc=0.5, scale=0.5, correlation=0.9, dtype="float64")
    covariance = prior.joint().covariance().numpy()
    np.testing.assert_allclose(np.diag(covariance), 0.25)
    expected = 0.25 * np.eye(sum(sizes))
    for i in range(min(sizes)):
        expected[i, sizes[0] + i] = expected[sizes[0] + i, i] = 0.9 * 0.25
    np.testing.assert_allclose(covariance, expected, atol=1e-12)
    np.testing.assert_allclose(prior.joint().mean(), 0.5)


def test_densities_from_matrix_products(prior):
    """Of z with two batch dimensions, values and gradients: those of the distributions."""
    z = tf.reshape(points(prior, 6), [2, 3, -1])
    for mine, distribution in (
        (prior.log_prob, prior.joint),
        (prior.independent_log_prob, prior.independent),
    ):
        gradients = []
        for function in (mine, lambda z, make=distribution: make().log_prob(z)):
            with tf.GradientTape() as tape:
                value = function(z)
            gradients.append(tape.gradient(value, [prior.raw.value, prior.loc.value]))
        np.testing.assert_allclose(mine(z), distribution().log_prob(z), atol=1e-9)
        for first, second in zip(*gradients, strict=True):
            np.testing.assert_allclose(first, second, atol=1e-8)


@pytest.mark.parametrize("size", [1, 2, 5, 13])
def test_inverse_factors(size):
    rng = np.random.default_rng(size)
    factor = np.tril(rng.standard_normal((size, size)), -1) + np.diag(rng.uniform(0.5, 2, size))
    inverse = np.linalg.inv(factor)
    np.testing.assert_allclose(triangular_inverse(tf.constant(factor)), inverse, atol=1e-9)
    found = cholesky_inverse(tf.constant(factor @ factor.T))
    np.testing.assert_allclose(found, inverse, atol=1e-9)


def test_single_precision_at_the_papers_sizes():
    """50 + 100 dimensions, correlation 0.9, weights moved: a hundredth of a nat of some hundred."""
    priors = [
        GaussianPrior(50, 100, 0.5, 0.5, 0.9, dtype=dtype) for dtype in ("float32", "float64")
    ]
    for prior in priors:
        randomize(prior, scale=0.05)
    z = priors[1].joint().sample(20, seed=(0, 1))
    for name in ("log_prob", "independent_log_prob"):
        single, double = (getattr(p, name)(tf.cast(z, p.raw.dtype)) for p in priors)
        np.testing.assert_allclose(single, double, atol=0.01)


def test_one_group_alone():
    prior = GaussianPrior(3, 0, scale=2.0, dtype="float64")
    randomize(prior)
    z = points(prior)
    np.testing.assert_allclose(prior.joint().log_prob(z), prior.semantic().log_prob(z))
    np.testing.assert_allclose(prior.log_prob(z), prior.semantic().log_prob(z))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"semantic_size": 0}, "semantic_size must be an integer >= 1"),
        ({"variation_size": -1}, "variation_size must be an integer >= 0"),
        ({"scale": 0.0}, "scale must be positive"),
        ({"correlation": 1.0}, r"correlation must be inside \(-1, 1\); received: 1.0"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        GaussianPrior(**{"semantic_size": 2, "variation_size": 2, **arguments})
