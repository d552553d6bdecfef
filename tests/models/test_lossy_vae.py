"""The variational lossy autoencoder: two ways to one bound, and what the window leaves to z."""

import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.conformance import randomize
from tfgen.configurable import Configurable
from tfgen.latents import DiagonalPosterior
from tfgen.models import VAE

tfb = tfp.bijectors
tfd = tfp.distributions


def lossy(event_shape, window, **arguments):
    arguments = {"latent_shape": [2], "units": 16, "num_features": 2} | arguments
    units, num_features = arguments.pop("units"), arguments.pop("num_features")
    return VAE(
        event_shape,
        2,
        likelihood={
            "type": "AutoregressiveLikelihood",
            "features_shape": [*event_shape[:2], num_features],
            "network": {
                "type": "PixelCNN",
                "window": window,
                "filters": 8,
                "num_blocks": 1,
                "top_filters": 8,
            },
        },
        **{
            "encoder": {"type": "MLPEncoder", "units": [2 * units]},
            "decoder": {"type": "MLPDecoder", "units": [units]},
            **arguments,
        },
    )


# ---------------------------------------------------------------------- one bound, two models


class PulledBack(DiagonalPosterior):
    """z ~ N(mu, sigma^2) as eps = f^-1(z), f a given flow: an inverse autoregressive posterior."""

    def __init__(self, latent_shape, flow, **kwargs):
        super().__init__(latent_shape, **kwargs)
        self.flow = flow

    def distribution(self, model, x, condition=None):
        base = super().distribution(model, x, condition)
        return tfd.TransformedDistribution(base, tfb.Invert(self.flow.as_tfp(event_ndims=1)))


class Deeper(Configurable, keras.Layer):
    """eps -> decoder(f(eps))."""

    def __init__(self, flow, decoder, **kwargs):
        super().__init__(**kwargs)
        self.flow = flow
        self.decoder = decoder

    def call(self, eps, training=False):
        return self.decoder(self.flow.forward_and_log_det(eps)[0], training=training)


def test_an_autoregressive_prior_is_an_inverse_autoregressive_posterior():
    """Section 3.2 of the paper: the same weights, the same draws, the same importance weights."""
    latent_shape = [5]
    with_prior = lossy(
        [4, 4, 1],
        [3, 1],
        latent_shape=latent_shape,
        prior={"type": "AutoregressiveFlowPrior", "num_flows": 3, "hidden": [8]},
        dtype="float64",
    )
    randomize(with_prior, scale=0.1)
    flow = with_prior.prior_part.flow
    posterior = PulledBack(latent_shape, flow, dtype="float64")
    with_posterior = lossy(
        [4, 4, 1],
        [3, 1],
        latent_shape=latent_shape,
        posterior=posterior,
        encoder=with_prior.encoder,
        decoder=Deeper(flow, with_prior.decoder, dtype="float64"),
        dtype="float64",
    )
    posterior.parameters.set_weights(with_prior.posterior_part.parameters.get_weights())
    with_posterior.observation.set_weights(with_prior.observation.get_weights())
    with_posterior.output_bias.assign(with_prior.output_bias)

    x = np.random.default_rng(0).integers(0, 2, (6, 4, 4, 1)).astype("uint8")
    one, other = (m.terms(x, num_samples=7, seed=3) for m in (with_prior, with_posterior))
    z, _ = flow.forward_and_log_det(tf.reshape(other.z, [-1, 5]))
    np.testing.assert_allclose(tf.reshape(z, [7, 6, 5]), one.z, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(one.log_weights, other.log_weights, atol=1e-5, rtol=0.0)
    # It is no accident: prior and posterior each differ, by the same log-determinant.
    assert np.abs(one.log_pz - other.log_pz).mean() > 0.1
    np.testing.assert_allclose(one.log_pz - other.log_pz, one.log_qz - other.log_qz, atol=1e-5)


# ---------------------------------------------------------------------- what z is left with

LENGTH = 16


def global_bit_and_local_copies(num, rng):
    """Binary lines: a bit g for all, and at each place a copy of the last with probability 0.6,
    else a fresh coin, 1 with probability 0.85 for g = 1 and 0.15 for g = 0."""
    g = rng.random((num, 1)) < 0.5
    fresh = rng.random((num, LENGTH)) < np.where(g, 0.85, 0.15)
    copies = rng.random((num, LENGTH)) < 0.6
    x = fresh.copy()
    for t in range(1, LENGTH):
        x[:, t] = np.where(copies[:, t], x[:, t - 1], fresh[:, t])
    return x.reshape(num, 1, LENGTH, 1).astype("uint8")


def exact_log_prob(x):
    """Of the mixture of two Markov chains."""
    x = x.reshape(len(x), LENGTH)
    by_bit = []
    for p in (0.15, 0.85):
        coin = np.array([1.0 - p, p])
        transitions = 0.6 * np.eye(2) + 0.4 * coin
        steps = np.log(transitions)[x[:, :-1], x[:, 1:]].sum(axis=1)
        by_bit.append(np.log(coin)[x[:, 0]] + steps)
    return np.logaddexp(*by_bit) - math.log(2.0)


def test_the_data_of_the_toy():
    """The likelihood sums to one, and the sampler has its entropy."""
    x = np.array(list(itertools.product([0, 1], repeat=LENGTH)))
    log_prob = exact_log_prob(x)
    assert np.exp(log_prob).sum() == pytest.approx(1.0)
    drawn = exact_log_prob(global_bit_and_local_copies(40_000, np.random.default_rng(0)))
    entropy = -(np.exp(log_prob) * log_prob).sum()
    assert -drawn.mean() == pytest.approx(entropy, abs=4 * drawn.std() / 200)


def test_z_holds_what_the_window_does_not():
    """No window: z carries all it can. The last symbol: copies are local, z carries the bit, at
    most ln 2. All symbols before: nothing is left. And no bound is above the data's likelihood."""
    rng = np.random.default_rng(0)
    x, held_out = (
        global_bit_and_local_copies(300 * 256, rng),
        global_bit_and_local_copies(4000, rng),
    )
    kl, gap = {}, {}
    for left in (0, 1, LENGTH - 1):
        keras.utils.set_random_seed(0)
        model = lossy([1, LENGTH, 1], [2 * left + 1, 0])
        model.compile(optimizer=keras.optimizers.Adam(0.01), jit_compile=False)
        model.fit(x, batch_size=256, shuffle=False, verbose=0)
        terms = model.terms(held_out, num_samples=4, seed=0)
        kl_of_each = tf.reduce_sum(terms.kl, axis=0).numpy()
        elbo = tf.reduce_mean(terms.log_px, axis=0).numpy() - kl_of_each
        kl[left] = kl_of_each.mean()
        excess = exact_log_prob(held_out) - elbo
        gap[left] = excess.mean()
        assert excess.mean() > -3 * excess.std() / math.sqrt(len(excess))
    assert kl[0] > 1.2
    assert 0.5 < kl[1] < 0.85  # log 2 = 0.69
    assert kl[LENGTH - 1] < 0.05
    assert gap[0] > 0.5  # what a factorised decoder cannot say
    assert gap[1] < 0.15
    assert gap[LENGTH - 1] < 0.1
