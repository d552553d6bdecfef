"""Flows as parts of TFP programs: distributions, Markov chains, variational inference, VAEs."""

import math

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tests.conformance import autodiff_log_det, randomize
from tests.oracles import LinearGaussian
from tfgen.bijectors import ActNorm, Chain, VectorCoupling
from tfgen.latents.posterior import MINIMUM_SCALE
from tfgen.models import VAE, Flow, RealNVP
from tfgen.objectives import ELBO

tfb, tfd = tfp.bijectors, tfp.distributions


class SmallFlow(Flow):
    """Affine couplings of linear networks: cheap to trace, and correlated Gaussians are among its
    densities."""

    def __init__(self, event_shape, **kwargs):
        super().__init__(event_shape, **kwargs)
        (size,) = self.event_shape
        couplings = [
            VectorCoupling(keras.layers.Dense(2 * size, kernel_initializer="zeros"), parity)
            for parity in (1, 0)
        ]
        self.bijector = Chain([ActNorm(), *couplings])


def random_flow():
    flow = SmallFlow([2], dtype="float64")
    randomize(flow, seed=3, scale=0.4)
    return flow


def affine_flow(loc, log_scale):
    """z -> exp(log_scale) z + loc: couplings start as the identity."""
    flow = SmallFlow([len(loc)], dtype="float64")
    first = flow.bijector.bijectors[0]
    first.shift.assign(loc)
    first.log_scale.assign(log_scale)
    return flow


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


# ---------------------------------------------------------------------- tfd


def test_transformed_distribution_with_batches():
    """A batch of bases under one layer: shapes, the change of variables, draws and their log p."""
    layer = random_flow().bijector
    loc = normal(3, 2, seed=1)
    base = tfd.MultivariateNormalDiag(loc, 0.5 * tf.ones([3, 2], tf.float64))
    distribution = tfd.TransformedDistribution(base, layer.as_tfp())
    assert distribution.batch_shape == (3,)
    assert distribution.event_shape == (2,)

    x = distribution.sample(5, seed=2)
    assert x.shape == (5, 3, 2)
    z, log_det = layer.inverse_and_log_det(tf.reshape(x, [15, 2]))
    z, log_det = tf.reshape(z, [5, 3, 2]), tf.reshape(log_det, [5, 3])
    expected = base.log_prob(z) + log_det
    np.testing.assert_allclose(distribution.log_prob(x), expected, rtol=1e-10)  # remembered draws
    np.testing.assert_allclose(distribution.log_prob(x.numpy()), expected, rtol=1e-10)
    autodiff = autodiff_log_det(lambda t: layer.inverse_and_log_det(t)[0], tf.reshape(x, [15, 2]))
    np.testing.assert_allclose(tf.reshape(log_det, [15]), autodiff, atol=1e-8)

    joint = tfd.Independent(distribution, 1)
    np.testing.assert_allclose(joint.log_prob(x), np.sum(expected, 1), rtol=1e-10)


def test_conditional_distribution_has_a_density_for_each_label():
    flow = RealNVP([2], num_classes=3, num_couplings=1, filters=4, num_blocks=1, dtype="float64")
    randomize(flow)
    labels = np.array([2, 0, 1, 2])
    distribution = flow.distribution(labels)
    assert distribution.batch_shape == (4,)
    x = normal(6, 4, 2)
    log_prob = distribution.log_prob(x)
    assert log_prob.shape == (6, 4)
    for column, label in enumerate(labels):
        one = flow.distribution(label)
        assert one.batch_shape == ()
        np.testing.assert_allclose(one.log_prob(x[:, column]), log_prob[:, column], rtol=1e-10)
        expected = flow.log_prob(x[:, column], np.full(6, label))
        np.testing.assert_allclose(log_prob[:, column], expected, rtol=1e-10)
    assert distribution.sample(5, seed=0).shape == (5, 4, 2)


def test_a_distribution_follows_the_weights():
    """The same distribution, the same tensor, another weight: no remembered value may come back."""
    flow = affine_flow([0.0, 0.0], [0.0, 0.0])
    distribution, x = flow.distribution(), tf.constant([[1.0, 2.0]], tf.float64)
    before = distribution.log_prob(x)
    shift = flow.bijector.bijectors[0].shift
    shift.assign([1.0, 2.0])
    np.testing.assert_allclose(distribution.log_prob(x) - before, [2.5], rtol=1e-12)
    with tf.GradientTape() as tape:
        log_prob = distribution.log_prob(x)
    np.testing.assert_allclose(tape.gradient(log_prob, shift.value), [0.0, 0.0], atol=1e-12)


# ---------------------------------------------------------------------- tfp.mcmc


@tf.function
def run_chain(kernel, state, num_results, trace):
    return tfp.mcmc.sample_chain(
        num_results, state, kernel=kernel, num_burnin_steps=20, trace_fn=trace, seed=[1, 2]
    )


def test_a_flow_preconditions_hamiltonian_monte_carlo():
    """Seen through the flow, its own density is N(0, I): in latent space all proposals of fine
    steps are accepted, and the chain's z have its moments."""
    flow = random_flow()
    kernel = tfp.mcmc.TransformedTransitionKernel(
        tfp.mcmc.HamiltonianMonteCarlo(flow.distribution().log_prob, 0.5, num_leapfrog_steps=3),
        flow.as_tfp(),
    )
    start = flow.sample(200, seed=1)
    x, (accepted, inner_log_prob, z) = run_chain(
        kernel,
        start,
        20,
        lambda _, results: (
            results.inner_results.is_accepted,
            results.inner_results.accepted_results.target_log_prob,
            results.transformed_state,
        ),
    )
    standard = tfd.MultivariateNormalDiag(tf.zeros(2, tf.float64))
    np.testing.assert_allclose(inner_log_prob, standard.log_prob(z), atol=1e-8)
    np.testing.assert_allclose(tf.reshape(x, [-1, 2]), flow.decode(tf.reshape(z, [-1, 2])))
    # A leapfrog step of 0.5 on N(0, I) is accepted with the same probability whatever the flow.
    assert np.mean(accepted) > 0.9
    z = np.reshape(z, [-1, 2])
    np.testing.assert_allclose(z.mean(0), 0.0, atol=0.1)
    np.testing.assert_allclose(np.cov(z.T), np.eye(2), atol=0.12)


def test_hamiltonian_monte_carlo_draws_from_the_density_of_a_flow():
    """An affine flow is a Gaussian of known moments."""
    loc, log_scale = [1.0, -2.0], [0.3, -0.4]
    flow = affine_flow(loc, log_scale)
    kernel = tfp.mcmc.HamiltonianMonteCarlo(flow.distribution().log_prob, 0.4, num_leapfrog_steps=3)
    start = tf.zeros([200, 2], tf.float64) + loc
    x, _ = run_chain(kernel, start, 30, lambda _, results: results.is_accepted)
    x = np.reshape(x, [-1, 2])
    np.testing.assert_allclose(x.mean(0), loc, atol=0.1)
    np.testing.assert_allclose(x.std(0), np.exp(log_scale), rtol=0.05)


# ---------------------------------------------------------------------- tfp.vi


def test_variational_inference_reaches_a_known_posterior():
    """z ~ N(0, I), y | z ~ N(A z, 0.5^2 I): the posterior is a correlated Gaussian, which the flow
    contains; the loss falls to -log p(y)."""
    matrix = tf.constant([[1.0, 1.0], [0.0, 0.5]], tf.float64)
    observed = tf.constant([1.0, -0.5], tf.float64)
    prior = tfd.MultivariateNormalDiag(tf.zeros(2, tf.float64))

    def joint_log_prob(z):
        likelihood = tfd.MultivariateNormalDiag(
            tf.linalg.matvec(matrix, z), 0.5 * tf.ones(2, tf.float64)
        )
        return prior.log_prob(z) + likelihood.log_prob(observed)

    flow = SmallFlow([2], dtype="float64")
    surrogate = flow.distribution()
    assert len(surrogate.trainable_variables) == len(flow.trainable_variables)
    tfp.vi.fit_surrogate_posterior(
        joint_log_prob,
        surrogate,
        optimizer=tf.optimizers.Adam(0.03),
        num_steps=150,
        sample_size=32,
        seed=[3, 4],
    )
    precision = np.eye(2) + matrix.numpy().T @ matrix.numpy() / 0.25
    covariance = np.linalg.inv(precision)
    loc = covariance @ matrix.numpy().T @ observed.numpy() / 0.25
    draws = surrogate.sample(4000, seed=5).numpy()
    np.testing.assert_allclose(draws.mean(0), loc, atol=0.08)
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.08)

    evidence = tfd.MultivariateNormalFullCovariance(
        tf.zeros(2, tf.float64), matrix.numpy() @ matrix.numpy().T + 0.25 * np.eye(2)
    ).log_prob(observed)
    loss = tfp.vi.monte_carlo_variational_loss(
        joint_log_prob, surrogate, sample_size=4000, seed=[5, 6]
    )
    assert -1e-3 < loss + evidence < 0.03


# ---------------------------------------------------------------------- VAE


class FlowVAE(VAE):
    """A VAE with a flow as prior, a flow after the Gaussian of its posterior, or both."""

    def __init__(self, event_shape, prior_flow=None, posterior_flow=None, **kwargs):
        super().__init__(event_shape, **kwargs)
        self.prior_flow = prior_flow
        self.posterior_flow = posterior_flow

    def prior(self, condition=None):
        return super().prior() if self.prior_flow is None else self.prior_flow.distribution()

    def posterior(self, x, condition=None):
        base = super().posterior(x, condition)
        if self.posterior_flow is None:
            return base
        return tfd.TransformedDistribution(base, self.posterior_flow.as_tfp())


LOC, LOG_SCALE = np.array([0.5, -1.0, 0.2]), np.array([0.3, -0.2, 0.1])


def test_an_affine_flow_prior_is_the_gaussian_prior():
    oracle = LinearGaussian.make(orthogonal=True)
    arguments = dict(model_class=FlowVAE, dtype="float64")
    model = oracle.vae(prior_flow=affine_flow(LOC, LOG_SCALE), **arguments)
    x = oracle.sample(4).astype("float64")
    terms = model.terms(x, num_samples=3, seed=1)
    gaussian = tfd.MultivariateNormalDiag(LOC, np.exp(LOG_SCALE))
    np.testing.assert_allclose(terms.log_pz, gaussian.log_prob(terms.z), rtol=1e-10)

    # Same draws, standard prior: the ELBOs differ by the priors alone.
    standard = oracle.vae(**arguments).terms(x, num_samples=3, seed=1)
    np.testing.assert_array_equal(standard.z, terms.z)
    np.testing.assert_allclose(
        terms.log_weights - standard.log_weights, terms.log_pz - standard.log_pz, atol=1e-10
    )
    covariance = (oracle.weights * np.exp(2 * LOG_SCALE)) @ oracle.weights.T
    exact = tfd.MultivariateNormalFullCovariance(
        oracle.weights @ LOC + oracle.offset, covariance + oracle.variance * np.eye(len(x[0]))
    ).log_prob(x)
    bound = model.log_prob(x, seed=2, num_samples=4000, chunk_size=4000)
    np.testing.assert_allclose(bound, exact, atol=0.1)
    np.testing.assert_allclose(
        model.sample(20_000, seed=3).numpy().mean(0),
        oracle.weights @ LOC + oracle.offset,
        atol=0.06,
    )


def test_a_flow_posterior_that_is_exact_makes_every_draw_tell_the_likelihood():
    """The encoder is put off by an affine map that the flow undoes: q is the true posterior, and
    log p(x | z) + log p(z) - log q(z | x) = log p(x) for every z."""
    oracle = LinearGaussian.make(orthogonal=True)
    flow = affine_flow(LOC, LOG_SCALE)
    model = oracle.vae(model_class=FlowVAE, posterior_flow=flow, dtype="float64")
    x = oracle.sample(4).astype("float64")
    mean = super(FlowVAE, model).posterior(x).mean()
    kernel, bias = model.posterior_part.parameters.get_weights()
    kernel[:, :3] /= np.exp(LOG_SCALE)
    bias[:3] = (bias[:3] - LOC) / np.exp(LOG_SCALE)
    scale = MINIMUM_SCALE + np.log1p(np.exp(bias[3:] + math.log(math.e - 1.0)))
    scale /= np.exp(LOG_SCALE)
    bias[3:] = np.log(np.expm1(scale - MINIMUM_SCALE)) - math.log(math.e - 1.0)
    model.posterior_part.parameters.set_weights([kernel, bias])

    terms = model.terms(x, num_samples=5, seed=1)
    np.testing.assert_allclose(terms.log_weights, np.tile(oracle.log_prob(x), (5, 1)), rtol=1e-8)
    np.testing.assert_allclose(model.encode(x), mean, rtol=1e-8)
    np.testing.assert_allclose(
        terms.kl[0], np.mean(terms.log_qz - terms.log_pz, axis=0), rtol=1e-10
    )


def test_gradients_reach_every_variable_of_both_flows():
    flows = {name: SmallFlow([2]) for name in ("prior_flow", "posterior_flow")}
    model = FlowVAE(
        [3],
        latent_shape=[2],
        encoder={"type": "MLPEncoder", "units": [4]},
        decoder={"type": "MLPDecoder", "units": [4]},
        **flows,
    )
    randomize(model, scale=0.1)
    x = normal(16, 3).astype("float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(ELBO()(model, x)["loss"])
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    reached = {
        id(variable)
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True)
        if gradient is not None and np.any(gradient != 0)
    }
    for flow in flows.values():
        assert {id(variable) for variable in flow.trainable_variables} <= reached
