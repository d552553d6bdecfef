"""The Laplace posterior: its derivatives against autodiff, its updates, what it refuses."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tests.conformance import randomize
from tests.oracles import LinearGaussian
from tfgen.latents.laplace import LocalJoint
from tfgen.models import VAE
from tfgen.objectives import ELBO

BERNOULLI, SCALAR, DIMENSION = (
    {"type": "Bernoulli"},
    {"type": "Gaussian"},
    {"type": "Gaussian", "variance": "dimension"},
)


def small(likelihood=SCALAR, units=(9, 7), num_latents=3, seed=0, **arguments):
    """A random model of twelve values, and data."""
    is_binary = likelihood["type"] == "Bernoulli"
    model = VAE(
        [2, 2, 3],
        2 if is_binary else None,
        latent_shape=[num_latents],
        posterior={"type": "LaplacePosterior", "num_updates": 2, "damping": 1.0},
        likelihood=likelihood,
        encoder={"type": "MLPEncoder", "units": [5]},
        decoder={"type": "MLPDecoder", "units": list(units)},
        dtype="float64",
        **arguments,
    )
    randomize(model, seed=seed, scale=0.3)
    rng = np.random.default_rng(seed + 1)
    x = rng.integers(0, 2, (4, 2, 2, 3)) if is_binary else rng.standard_normal((4, 2, 2, 3))
    return model, tf.constant(x.astype("uint8") if is_binary else x)


def log_joint(model, x, z, condition=None):
    log_px = model.likelihood(z, condition).log_prob(tf.cast(x, z.dtype))
    return log_px + model.prior(condition).log_prob(z)


@pytest.mark.parametrize("conditional", [False, True])
def test_jacobian_is_that_of_the_decoder(conditional):
    model, x = small(num_features=2) if conditional else small()
    rng = np.random.default_rng(3)
    condition = tf.constant(rng.standard_normal((4, 2))) if conditional else None
    z = tf.constant(rng.standard_normal((4, 3)))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(z)
        outputs = tf.reshape(model.outputs(z, condition), [4, 12])
    expected = tape.batch_jacobian(outputs, z, experimental_use_pfor=False)
    joint = LocalJoint(model, x, condition)
    local = joint.linearize(z)
    np.testing.assert_allclose(local.outputs, outputs, atol=1e-12)
    actual = tf.linalg.matrix_transpose(tf.tensordot(local.jacobian, joint.kernel, 1))
    np.testing.assert_allclose(actual, expected, atol=1e-12)
    active = np.unique(np.sum(np.abs(local.jacobian) > 0, axis=(1, 2)))
    assert len(active) > 1, "all four in one linear region would hide a mask"


@pytest.mark.parametrize("likelihood", [BERNOULLI, SCALAR, DIMENSION])
def test_derivatives_of_the_log_joint(likelihood):
    """The gradient, and Lambda as the negative Hessian: exact inside a linear region."""
    model, x = small(likelihood)
    z = tf.constant(np.random.default_rng(3).standard_normal((4, 3)))
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(z)
        with tf.GradientTape() as inner:
            inner.watch(z)
            value = log_joint(model, x, z)
        slope = inner.gradient(value, z)
    hessian = outer.batch_jacobian(slope, z, experimental_use_pfor=False)
    gradient, factor = LocalJoint(model, x, None).derivatives(z)
    np.testing.assert_allclose(gradient, slope, atol=1e-9)
    precision = tf.matmul(factor, factor, transpose_b=True)
    np.testing.assert_allclose(precision, -hessian, atol=1e-9)


def test_damped_updates_of_a_linear_decoder():
    """Each leaves the fraction 1 - a_t of the way to the mode."""
    oracle = LinearGaussian.make(orthogonal=False)
    spec = {"type": "LaplacePosterior", "num_updates": 3, "damping": 0.5}
    model = oracle.generator(posterior=spec, dtype="float64")
    x = oracle.sample(4).astype("float64")
    start = model.posterior_part.loc(x)
    mode = (x - oracle.offset) @ oracle.gain.T
    rest = (1 - 0.5) * (1 - 0.5 / 2) * (1 - 0.5 / 3)
    np.testing.assert_allclose(model.encode(x), mode + rest * (start - mode), atol=1e-8)


@pytest.mark.parametrize("likelihood", [BERNOULLI, SCALAR])
def test_undamped_updates_climb(likelihood):
    """Newton's steps from random places: most of them gain, but one that leaves its linear region
    may lose. One that stays cannot with a Gaussian: it lands on the region's mode."""
    model, x = small(likelihood, units=[4])
    rng = np.random.default_rng(5)
    x = tf.repeat(x, 100, axis=0)
    z = tf.constant(rng.standard_normal((400, 3)))
    joint = LocalJoint(model, x, None)
    gradient, factor = joint.derivatives(z)
    after = z + tf.linalg.cholesky_solve(factor, gradient[..., None])[..., 0]
    gains = (log_joint(model, x, after) - log_joint(model, x, z)).numpy()
    assert np.mean(gains >= 0) > 0.8
    assert gains.mean() > 1.0
    active, active_after = (joint.linearize(place).jacobian != 0.0 for place in (z, after))
    stays = np.all(active == active_after, axis=(1, 2))
    assert stays.sum() > 10
    if likelihood is SCALAR:
        assert gains[stays].min() > -1e-9
        again, _ = joint.derivatives(after)
        np.testing.assert_allclose(again[stays], 0.0, atol=1e-9)


def test_updates_of_logits_that_are_linear_reach_the_mode():
    model, x = small(BERNOULLI, units=[])
    z = model.posterior_part.loc(model.features(x))
    for _ in range(8):
        gradient, factor = LocalJoint(model, x, None).derivatives(z)
        z += tf.linalg.cholesky_solve(factor, gradient[..., None])[..., 0]
    np.testing.assert_allclose(gradient, 0.0, atol=1e-10)


def test_draws_and_their_density():
    """z = mu + C^-T eps: the covariance is Lambda^-1, and E[-log q] its entropy."""
    model, x = small()
    q = model.posterior(x)
    z, log_q = q.experimental_sample_and_log_prob(20_000, seed=[0, 1])
    _, factor = LocalJoint(model, x, None).derivatives(q.mean())
    covariance = np.linalg.inv(factor @ tf.linalg.matrix_transpose(factor))
    sampled = np.cov(z[:, 0].numpy().T)
    np.testing.assert_allclose(sampled, covariance[0], atol=0.03 * covariance[0].max())
    entropy = 0.5 * np.linalg.slogdet(2 * math.pi * math.e * covariance)[1]
    np.testing.assert_allclose(-tf.reduce_mean(log_q, 0), entropy, atol=0.05)
    np.testing.assert_allclose(q.log_prob(tf.identity(z)), log_q, atol=1e-8)


def test_gradients_flow_through_the_updates():
    """With a linear decoder q is exact for any weights, so the bound of one draw *is* log p(x), and
    so is its gradient: through the update, the covariance and the draw."""
    oracle = LinearGaussian.make(orthogonal=False)
    spec = {"type": "LaplacePosterior", "num_updates": 1, "damping": 1.0}
    model = oracle.generator(posterior=spec, dtype="float64")
    x = oracle.sample(4).astype("float64")
    variables = [*model.decoder.trainable_variables, model.output_constant]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(ELBO()(model, x)["log_prob"])
    actual = tape.gradient(loss, [v.value for v in variables])
    with tf.GradientTape() as tape:
        kernel, offset, log_scale = (v.value for v in variables)
        covariance = tf.matmul(kernel, kernel, transpose_a=True)
        covariance += (1e-12 + tf.exp(2.0 * log_scale)) * tf.eye(10, dtype=tf.float64)
        centred = tf.transpose(x - offset)
        quadratic = tf.reduce_sum(centred * tf.linalg.solve(covariance, centred))
        log_det = tf.linalg.slogdet(2.0 * math.pi * covariance)[1]
        log_prob = -0.5 * (quadratic + len(x) * log_det)
    expected = tape.gradient(log_prob, [v.value for v in variables])
    assert float(log_prob) == pytest.approx(oracle.log_prob(x).sum())
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, atol=1e-6)


NETWORK = {"type": "Gaussian", "variance": "network"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"decoder": {"type": "ConvDecoder"}}, "decoder must be an MLPDecoder for a Laplace"),
        ({"decoder": {"type": "MLPDecoder", "activation": "tanh"}}, "which needs a piecewise"),
        ({"decoder": {"type": "MLPDecoder", "dropout": 0.1}}, "dropout must be 0 for a Laplace"),
        ({"likelihood": {"type": "Categorical"}}, "likelihood must be Bernoulli or Gaussian"),
        ({"num_levels": None, "likelihood": NETWORK}, "variance must be 'scalar' or 'dimension'"),
        ({"posterior": {"type": "LaplacePosterior", "damping": 1.5}}, "damping must be in"),
    ],
)
def test_refusals(arguments, message):
    defaults = {"num_levels": 2, "posterior": {"type": "LaplacePosterior"}}
    with pytest.raises(ValueError, match=message):
        VAE([4, 4, 1], latent_shape=[2], **{**defaults, **arguments})
