"""Posteriors that can hold the exact one do; flows have the density of their own draws."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.conformance import autodiff_log_det, randomize
from tests.oracles import LinearGaussian
from tfgen.latents.posterior import positive_scale
from tfgen.models import VAE
from tfgen.objectives import ELBO

tfd = tfp.distributions

ORACLE = LinearGaussian.make(orthogonal=False)
SMALL = {
    "encoder": {"type": "MLPEncoder", "units": [6]},
    "decoder": {"type": "MLPDecoder", "units": [6]},
}


def raw_scale(scale):
    """The inverse of `positive_scale`."""
    raw = np.log(np.expm1(scale - 1e-4)) - np.log(np.e - 1.0)
    np.testing.assert_allclose(positive_scale(tf.constant(raw)), scale, rtol=1e-10)
    return raw


def exact_full_covariance():
    model = ORACLE.generator(posterior={"type": "FullCovariancePosterior"}, dtype="float64")
    factor = np.linalg.cholesky(np.linalg.inv(ORACLE.precision))
    np.fill_diagonal(factor, raw_scale(np.diag(factor)))
    part = model.posterior_part
    part.loc.set_weights([ORACLE.gain.T, -ORACLE.gain @ ORACLE.offset])
    bias = tfp.math.fill_triangular_inverse(factor).numpy()
    part.factor.set_weights([np.zeros((10, len(bias))), bias])
    return model


def exact_iaf():
    """One gated step with linear units is z -> T z, T lower triangular with a diagonal of g."""
    spec = {"type": "IAFPosterior", "num_flows": 1, "hidden": [2], "activation": "linear"}
    model = ORACLE.generator(posterior=spec, dtype="float64")
    factor = np.linalg.cholesky(np.linalg.inv(ORACLE.precision))
    gate = 1.0 / (1.0 + np.exp(-2.0))
    step = gate * factor / np.diag(factor)
    part = model.posterior_part
    (network,) = (invert.bijector.network for invert in part.flow.bijectors)
    kernel = np.zeros((2, 3, 2))  # of units, entries, (s, m)
    kernel[:, :, 1] = (np.tril(step, -1) / (1.0 - gate))[:, :2].T
    network.hidden[0].set_weights([np.eye(3)[:, :2], np.zeros(2)])
    network.outputs.set_weights([kernel.reshape(2, 6), np.zeros(6)])
    for shift in network.shifts:
        shift.set_weights([np.zeros_like(shift.get_weights()[0])])
    gain = np.linalg.solve(step, ORACLE.gain)
    scale = raw_scale(np.diag(factor) / gate)
    part.base.parameters.set_weights(
        [
            np.concatenate([gain.T, np.zeros((10, 3))], 1),
            np.concatenate([-gain @ ORACLE.offset, scale]),
        ]
    )
    return model


def exact_laplace():
    spec = {"type": "LaplacePosterior", "num_updates": 1, "damping": 1.0}
    model = ORACLE.generator(posterior=spec, dtype="float64")
    randomize(model.posterior_part)  # wherever the encoder starts
    return model


@pytest.mark.parametrize("make", [exact_full_covariance, exact_iaf, exact_laplace])
def test_an_exact_posterior_makes_every_draw_tell_the_likelihood(make):
    """log p(x | z) + log p(z) - log q(z | x) = log p(x) for every z; q has the moments of pPCA."""
    model, x = make(), ORACLE.sample(4).astype("float64")
    terms = model.terms(x, num_samples=5, seed=1)
    expected = np.tile(ORACLE.log_prob(x), (5, 1))
    np.testing.assert_allclose(terms.log_weights, expected, rtol=1e-7)
    mean = (x - ORACLE.offset) @ ORACLE.gain.T
    np.testing.assert_allclose(model.encode(x), mean, atol=1e-7)
    draws = model.posterior(tf.constant(x[:1])).sample(20_000, seed=3)[:, 0].numpy()
    covariance = np.linalg.inv(ORACLE.precision)
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.03 * covariance.max())


def test_kl_of_a_full_covariance_is_in_closed_form():
    """The bound of the exact posterior is then the likelihood once z is integrated out of it."""
    model, x = exact_full_covariance(), ORACLE.sample(3).astype("float64")
    terms = model.terms(x, num_samples=2, seed=1)
    q = tfd.MultivariateNormalFullCovariance(
        (x - ORACLE.offset) @ ORACLE.gain.T, np.linalg.inv(ORACLE.precision)
    )
    expected = q.kl_divergence(tfd.MultivariateNormalDiag(np.zeros(3), np.ones(3)))
    np.testing.assert_allclose(terms.kl, expected[None], rtol=1e-6)


# ---------------------------------------------------------------------- inverse autoregressive flow


def small_iaf(num_flows=2, **arguments):
    spec = {"type": "IAFPosterior", "num_flows": num_flows, "hidden": [7], "context_size": 3}
    model = VAE([5], latent_shape=[3], posterior=spec, dtype="float64", **{**SMALL, **arguments})
    randomize(model)
    x = np.random.default_rng(1).standard_normal((4, 5))
    return model, tf.constant(x)


@pytest.mark.parametrize("num_flows", [1, 2, 3])
def test_density_of_a_flow_draw(num_flows):
    """Three ways: beside the draw, by inverting the flow, and by autodiff's Jacobian."""
    model, x = small_iaf(num_flows)
    q = model.posterior(x)
    z, log_factors = q.sample_and_log_factors(2, tf.constant([0, 1]))
    assert z.shape == log_factors.shape == (2, 4, 3)
    log_q = tf.reduce_sum(log_factors, -1)
    np.testing.assert_allclose(q.log_prob(tf.identity(z)), log_q, atol=1e-8)

    eps = q.distribution.sample(2, seed=tf.constant([0, 1]))
    for k in range(2):
        base = tf.identity(eps[k])
        np.testing.assert_allclose(q.bijector.forward(base), z[k], atol=1e-10)
        log_det = autodiff_log_det(lambda e: q.bijector.forward(e), base)
        np.testing.assert_allclose(q.distribution.log_prob(base) - log_det, log_q[k], atol=1e-8)


def test_order_is_reversed_between_the_steps():
    """One step has a triangular Jacobian, two have a full one."""
    for num_flows, lower_only in ((1, True), (2, False)):
        model, x = small_iaf(num_flows)
        q = model.posterior(x)
        eps = tf.identity(q.distribution.sample(seed=2))
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(eps)
            z = q.bijector.forward(eps)
        jacobian = tape.batch_jacobian(z, eps, experimental_use_pfor=False).numpy()
        assert np.all(np.abs(jacobian[:, [1, 2, 2], [0, 0, 1]]) > 1e-8)
        assert np.all(jacobian[:, [0, 0, 1], [1, 2, 2]] == 0.0) == lower_only


def test_context_reaches_every_entry_and_nothing_but_the_flow():
    """The masks do not cut it off: a known fault of released code."""
    model, x = small_iaf(1)
    before, q = model.posterior(x).distribution.mean(), model.posterior(x)
    eps = tf.identity(q.distribution.sample(seed=2))
    context = tf.identity(q.bijector.condition)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(context)
        z, _ = model.posterior_part.flow.forward_and_log_det(eps, context)
    slopes = tape.batch_jacobian(z, context, experimental_use_pfor=False).numpy()
    assert np.all(np.abs(slopes).max(axis=(0, 2)) > 1e-4)
    kernel = model.posterior_part.context.kernel
    kernel.assign(kernel + 1.0)
    np.testing.assert_array_equal(model.posterior(x).distribution.mean(), before)


def test_one_kl_row_for_each_latent_where_the_prior_is_a_product():
    model, x = small_iaf()
    terms = model.terms(x, num_samples=3, seed=0)
    assert terms.kl.shape == (3, 4)
    total = tf.reduce_mean(terms.log_qz - terms.log_pz, 0)
    np.testing.assert_allclose(tf.reduce_sum(terms.kl, 0), total, rtol=1e-10)
    # Row j is E[log of q's factor j - log N(z_j)].
    z, log_factors = model.posterior(x).sample_and_log_factors(3, tf.constant([0, 0]))
    np.testing.assert_array_equal(z, terms.z)
    of_first = tf.reduce_mean(log_factors - tfd.Normal(0.0 * z, 1.0).log_prob(z), 0)[:, 0]
    np.testing.assert_allclose(terms.kl[0], of_first, rtol=1e-10)

    model, x = small_iaf(prior={"type": "AutoregressiveFlowPrior", "num_flows": 1, "hidden": [4]})
    assert model.terms(x, seed=0).kl.shape == (1, 4)


def test_flow_posterior_and_flow_prior_are_one_bound():
    """Diagonal posterior with prior f: log p(z) - log q(z) is that of the posterior pushed through
    f^-1 with the prior N(0, I), draw by draw (Chen et al. 2017, section 3.2)."""
    model, x = small_iaf()
    model.posterior_part.context.set_weights([np.zeros((6, 3)), np.zeros(3)])
    gate = {"type": "GatedTransformer"}
    prior = {"type": "AutoregressiveFlowPrior", "hidden": [7], "transformer": gate}
    other = VAE([5], latent_shape=[3], prior=prior, dtype="float64", **SMALL)
    other.encoder.set_weights(model.encoder.get_weights())
    other.posterior_part.set_weights(model.posterior_part.base.get_weights())
    steps = [invert.bijector for invert in model.posterior_part.flow.bijectors[::-1]]
    for step, copy in zip(steps, other.prior_part.flow.bijectors, strict=True):
        for name in ("hidden", "outputs"):
            layers = (getattr(s.network, name) for s in (step, copy))
            source, target = (layer[0] if isinstance(layer, list) else layer for layer in layers)
            target.set_weights(source.get_weights())
    terms, expected = (m.terms(x, num_samples=3, seed=4) for m in (model, other))
    assert not np.allclose(terms.z, expected.z)
    np.testing.assert_allclose(
        terms.log_pz - terms.log_qz, expected.log_pz - expected.log_qz, atol=1e-8
    )


def test_a_flow_learns_the_correlation_that_a_diagonal_gaussian_cannot_hold():
    """Two correlated latents: the gap of the diagonal is -log(1 - rho^2) / 2."""
    weights = np.random.default_rng(0).standard_normal((3, 2)) * 0.5 + 1.0
    oracle = LinearGaussian(weights, np.zeros(3), 0.5)
    precision = oracle.precision
    rho2 = precision[0, 1] ** 2 / (precision[0, 0] * precision[1, 1])
    gap = -0.5 * np.log(1.0 - rho2)
    assert oracle.mean_field_gap == pytest.approx(gap)
    assert gap > 0.3

    x = oracle.sample(256)
    diagonal = oracle.vae()
    spec = {"type": "IAFPosterior", "num_flows": 1, "hidden": [8]}
    model = oracle.generator(posterior=spec)
    # From the best diagonal Gaussian, before the step's shrinkage.
    model.posterior_part.base.set_weights(diagonal.posterior_part.get_weights())
    for part in (model.decoder, model.output_bias, model.output_constant):
        part.trainable = False
    model.is_initialized.assign(1.0)
    model.compile(ELBO(), keras.optimizers.Adam(0.03), jit_compile=False)
    model.fit(np.tile(x, (100, 1)), batch_size=256, shuffle=False, verbose=0)

    def gap_of(model):
        draws = model.terms(x, num_samples=200, seed=0).log_weights
        return np.mean(oracle.log_prob(x) - tf.reduce_mean(draws, 0))

    assert gap_of(diagonal) == pytest.approx(gap, abs=0.02)
    assert gap_of(model) < 0.1 * gap


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"type": "FullCovariancePosterior"}, "latent_shape must be .J. for a FullCovariance"),
        ({"type": "LaplacePosterior"}, "latent_shape must be .J. for a LaplacePosterior"),
        ({"type": "IAFPosterior", "num_flows": 0}, "num_flows must be an integer >= 1"),
    ],
)
def test_refusals(spec, message):
    with pytest.raises(ValueError, match=message):
        VAE([4, 4, 1], 2, latent_shape=[2, 2, 1], posterior=spec)
