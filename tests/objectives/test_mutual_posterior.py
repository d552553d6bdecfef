"""Mutual posterior divergence against TFP's own divergences, pair by pair."""

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.conformance import randomize
from tfgen.models import VAE
from tfgen.objectives import ELBO, MutualPosterior
from tfgen.objectives.mutual_posterior import mutual_divergence

tfd = tfp.distributions


def gaussians(num=5, shape=(3,), seed=0):
    rng = np.random.default_rng(seed)
    loc = tf.constant(rng.standard_normal((num, *shape)))
    return tfd.Normal(loc, tf.constant(np.exp(0.5 * rng.standard_normal((num, *shape)))))


def small(posterior="DiagonalPosterior", **arguments):
    model = VAE(
        [6],
        2,
        latent_shape=[3],
        posterior={"type": posterior, **arguments},
        encoder={"type": "MLPEncoder", "units": [5]},
        decoder={"type": "MLPDecoder", "units": [5]},
    )
    randomize(model)
    x = np.random.default_rng(0).integers(0, 2, (5, 6)).astype("uint8")
    return model, x


def loss_and_terms(objective, model, x):
    state = model.seeds.state.numpy()
    terms = objective(model, x)
    model.seeds.state.assign(state)  # the next one gets the same noise
    return tf.reduce_mean(terms["loss"]), terms


def test_divergences_are_those_of_all_ordered_pairs():
    q = gaussians()
    means, std = mutual_divergence(q)
    each, whole = [], []
    for i, j in itertools.permutations(range(5), 2):
        one, other = (tfd.MultivariateNormalDiag(q.loc[k], q.scale[k]) for k in (i, j))
        whole.append(tfd.kl_divergence(one, other))
        parts = (tfd.Normal(q.loc[k], q.scale[k]) for k in (i, j))
        each.append(tfd.kl_divergence(*parts))
    np.testing.assert_allclose(means, np.mean(each, axis=0), rtol=1e-10)
    np.testing.assert_allclose(std, np.std(whole, ddof=1), rtol=1e-10)


def test_divergences_do_not_depend_on_the_order_of_the_batch_or_the_shape_of_z():
    q = gaussians(shape=(2, 1, 2))
    order = [3, 1, 4, 0, 2]
    shuffled = tfd.Normal(tf.gather(q.loc, order), tf.gather(q.scale, order))
    flat = tfd.Normal(tf.reshape(q.loc, [5, 4]), tf.reshape(q.scale, [5, 4]))
    for other in (shuffled, flat):
        for actual, expected in zip(mutual_divergence(other), mutual_divergence(q), strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-12)


@pytest.mark.parametrize("num", [5, 2, 1])
def test_identical_posteriors(num):
    """No divergence, J log 2 of loss for every unit of `diversity`, and a finite gradient; with one
    example, which has no pairs, too."""
    loc, scale = tf.fill([num, 3], 0.7), tf.fill([num, 3], 1.3)
    with tf.GradientTape() as tape:
        tape.watch([loc, scale])
        means, std = mutual_divergence(tfd.Normal(loc, scale))
        penalty = tf.reduce_sum(tf.math.softplus(-means)) + std
    np.testing.assert_allclose(means, 0.0, atol=1e-6)
    assert float(std) <= 1.1e-6
    assert float(penalty) == pytest.approx(3 * math.log(2.0), abs=1e-5)
    assert all(np.isfinite(g).all() for g in tape.gradient(penalty, [loc, scale]))

    model, x = small()
    kernel = model.posterior_part.parameters.kernel
    kernel.assign(tf.zeros_like(kernel))
    with_term, without = (
        loss_and_terms(MutualPosterior(diversity, 1.0), model, x)[0] for diversity in (2.0, 0.0)
    )
    assert float(with_term - without) == pytest.approx(2.0 * 3 * math.log(2.0), rel=1e-5)


def test_loss_is_the_bound_and_two_penalties():
    model, x = small()
    _, terms = loss_and_terms(MutualPosterior(0.7, 0.3), model, x)
    _, plain = loss_and_terms(ELBO(), model, x)
    means, std = mutual_divergence(model.posterior(tf.constant(x)).distribution)
    penalty = 0.7 * np.sum(np.log1p(np.exp(-means))) + 0.3 * std
    np.testing.assert_allclose(terms["loss"], plain["loss"] + penalty, rtol=1e-5)
    for name in ("log_prob", "kl", "reconstruction"):
        np.testing.assert_allclose(terms[name], plain[name], rtol=1e-6)
    assert terms["mutual_divergence"].shape == (5,)
    np.testing.assert_allclose(terms["mutual_divergence"], np.sum(means), rtol=1e-6)
    np.testing.assert_allclose(terms["mutual_divergence_std"], std, rtol=1e-6)


def test_free_bits_are_of_the_whole_divergence():
    """Below the floor the rate's gradient is zero, above it that of the divergence."""
    model, x = small()
    kl = float(tf.reduce_mean(loss_and_terms(ELBO(), model, x)[1]["kl"]))
    losses = {}
    for free_bits in (0.0, 0.5 * kl, 3.0 * kl):
        objective = MutualPosterior(0.0, 0.0, free_bits)
        with tf.GradientTape() as tape:
            loss, terms = loss_and_terms(objective, model, x)
        slope = tape.gradient(loss, model.posterior_part.parameters.kernel.value)
        losses[free_bits] = float(loss), slope
        np.testing.assert_allclose(
            terms["log_prob"], -terms["reconstruction"] - terms["kl"], rtol=1e-6
        )
    plain, low, high = losses.values()
    assert low[0] == pytest.approx(plain[0], rel=1e-6)
    np.testing.assert_allclose(low[1], plain[1], atol=1e-6)
    assert high[0] - plain[0] == pytest.approx(2.0 * kl, rel=1e-4)
    assert np.abs(high[1] - plain[1]).max() > 1e-3


def test_of_a_flow_posterior_the_pairs_are_those_of_its_base():
    model, x = small("IAFPosterior", hidden=[4], context_size=2)
    _, terms = loss_and_terms(MutualPosterior(), model, x)
    base = model.posterior(tf.constant(x)).distribution.distribution
    expected = tf.reduce_sum(mutual_divergence(base)[0])
    np.testing.assert_allclose(terms["mutual_divergence"], expected, rtol=1e-6)


@pytest.mark.parametrize("posterior", ["FullCovariancePosterior", "LaplacePosterior"])
def test_posteriors_without_a_diagonal_gaussian_are_refused(posterior):
    model, x = small(posterior)
    message = "posterior must be one with a diagonal Gaussian for MutualPosterior"
    with pytest.raises(ValueError, match=message):
        MutualPosterior()(model, x)


@pytest.mark.parametrize("name", ["diversity", "smoothness", "free_bits"])
def test_refusals(name):
    with pytest.raises(ValueError, match=f"{name} must be non-negative; received: -1.0"):
        MutualPosterior(**{name: -1.0})
