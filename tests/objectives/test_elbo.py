"""The evidence lower bound against closed forms."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.oracles import LinearGaussian
from tfgen.models import VAE
from tfgen.objectives import ELBO


@pytest.fixture(scope="module")
def oracle():
    return LinearGaussian.make(orthogonal=False)


def analytic_elbo(oracle, x, posterior_scale=1.0):
    """log p(x) - KL(q || p(z | x)): the gap of a diagonal q with the posterior's mean."""
    precision = np.diag(oracle.precision)
    variances = posterior_scale**2 / precision
    gap = 0.5 * (
        (precision * variances).sum()
        - np.log(variances).sum()
        - len(variances)
        - np.linalg.slogdet(oracle.precision)[1]
    )
    return oracle.log_prob(x) - gap


@pytest.mark.parametrize("posterior_scale", [1.0, 1.5])
def test_mean_is_the_closed_form(oracle, posterior_scale):
    x = oracle.sample(8)
    terms = ELBO(num_samples=20_000)(oracle.vae(posterior_scale), x)
    expected = analytic_elbo(oracle, x, posterior_scale)
    np.testing.assert_allclose(terms["log_prob"], expected, atol=0.06)
    np.testing.assert_allclose(terms["loss"], -terms["log_prob"], atol=1e-5)


def test_mean_field_gap(oracle):
    x = oracle.sample(4)
    gap = oracle.log_prob(x) - analytic_elbo(oracle, x)
    np.testing.assert_allclose(gap, oracle.mean_field_gap)
    assert oracle.mean_field_gap > 0.05


def test_kl_in_closed_form_is_the_mean_of_the_sampled_one(oracle):
    model, x = oracle.vae(), oracle.sample(8)
    terms = model.terms(x, num_samples=50_000, seed=0)
    assert terms.kl.shape == (3, 8)
    sampled = tf.reduce_mean(terms.log_qz - terms.log_pz, axis=0)
    np.testing.assert_allclose(tf.reduce_sum(terms.kl, 0), sampled, rtol=0.02)


def test_beta_multiplies_the_kl(oracle):
    model, x = oracle.vae(), oracle.sample(8)
    one, four = (ELBO(beta, num_samples=3) for beta in (1.0, 4.0))
    seeds = model.seeds.state.numpy()
    first = one(model, x)
    model.seeds.state.assign(seeds)
    second = four(model, x)
    np.testing.assert_allclose(second["loss"] - first["loss"], 3.0 * first["kl"], rtol=1e-4)
    np.testing.assert_allclose(second["log_prob"], first["log_prob"], rtol=1e-6)


def encoder_gradient(objective, model, x):
    seeds = model.seeds.state.numpy()
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(objective(model, x)["loss"])
    model.seeds.state.assign(seeds)
    return tape.gradient(loss, model.posterior_part.parameters.kernel.value).numpy()


def test_free_bits(oracle):
    """A group's rate is free below the floor and itself above it; the bound is not clamped."""
    model, x = oracle.vae(), oracle.sample(64)
    means = tf.reduce_mean(model.terms(x, seed=0).kl, axis=1).numpy()
    assert means.min() > 0.2
    rate = {bits: ELBO(free_bits=bits) for bits in (0.0, means.min() / 2, 100.0)}
    plain, low, high = (encoder_gradient(objective, model, x) for objective in rate.values())
    np.testing.assert_allclose(low, plain, atol=1e-6)

    class Reconstruction(ELBO):
        def __call__(self, model, x, y=None):
            terms = super().__call__(model, x, y)
            return {"loss": terms["reconstruction"]}

    np.testing.assert_allclose(high, encoder_gradient(Reconstruction(), model, x), atol=1e-6)
    assert np.abs(high - plain).max() > 0.1

    terms = rate[100.0](model, x)
    np.testing.assert_allclose(tf.reduce_mean(terms["kl"]), means.sum(), rtol=1e-5)
    np.testing.assert_allclose(terms["log_prob"], -terms["reconstruction"] - terms["kl"], rtol=1e-5)
    np.testing.assert_allclose(
        terms["loss"] - terms["reconstruction"], np.full(64, 3 * 100.0), rtol=1e-5
    )


def test_free_bits_act_on_the_batch_mean(oracle):
    """One group above its floor and the others below: the clamp is by group, not of the total."""
    model, x = oracle.vae(), oracle.sample(64)
    means = tf.reduce_mean(model.terms(x, seed=0).kl, axis=1).numpy()
    floor = float(np.sort(means)[1])
    terms = ELBO(free_bits=floor)(model, x)
    expected = np.maximum(means, floor).sum()
    np.testing.assert_allclose(
        tf.reduce_mean(terms["loss"] - terms["reconstruction"]), expected, rtol=1e-5
    )


def test_warmup(oracle):
    model = oracle.vae()
    objective = ELBO(beta=2.0, warmup_steps=10)
    assert float(objective.weight(model)) == 2.0  # no optimizer yet: the final weight
    model.compile(objective, keras.optimizers.SGD(0.0))
    weights = []
    for step in (0, 1, 5, 10, 40):
        model.optimizer.iterations.assign(step)
        weights.append(float(objective.weight(model)))
    np.testing.assert_allclose(weights, [0.0, 0.2, 1.0, 2.0, 2.0], rtol=1e-6)


def test_warmup_inside_the_compiled_step(oracle):
    """The compiled step reads the weight at run time; `log_prob` stays the true bound."""
    model, x = oracle.vae(), oracle.sample(16)
    model.compile(ELBO(warmup_steps=4), keras.optimizers.SGD(0.0))
    for step in range(6):
        logs = model.fit(x, batch_size=16, epochs=1, verbose=0).history
        weight = (logs["loss"][0] - logs["reconstruction"][0]) / logs["kl"][0]
        assert weight == pytest.approx(min(step / 4, 1.0), abs=1e-4)
        expected = -logs["reconstruction"][0] - logs["kl"][0]
        assert logs["log_prob"][0] == pytest.approx(expected, rel=1e-5)
    model.optimizer.iterations.assign(2)
    logs = model.evaluate(x, batch_size=16, verbose=0, return_dict=True)
    weight = (logs["loss"] - logs["reconstruction"]) / logs["kl"]
    assert weight == pytest.approx(0.5, abs=1e-4)


def test_beta_sets_the_noise_of_the_optimum():
    """With a fixed variance s2, a linear beta-VAE is probabilistic PCA with noise beta s2.

    Directions of the data whose variance exceeds beta s2 are used, the others are not.
    """
    variances = np.array([9.0, 4.0, 1.5, 0.2])
    x = (np.random.default_rng(0).standard_normal((512, 4)) * np.sqrt(variances)).astype("float32")
    x = (x - x.mean(0)) / x.std(0) * np.sqrt(variances).astype("float32")
    model = VAE(
        event_shape=[4],
        latent_shape=[4],
        encoder=keras.layers.Identity(),
        decoder=keras.layers.Dense(4),
    )
    model.output_constant.assign([0.0])  # s2 = 1
    model.output_constant.trainable = False
    model.is_initialized.assign(1.0)  # or `fit` would set s2 to the data's variance
    model.compile(ELBO(beta=3.0), keras.optimizers.Adam(0.02))
    model.fit(np.tile(x, (400, 1)), batch_size=512, shuffle=False, verbose=0)
    kl = np.sort(tf.reduce_mean(model.terms(x, seed=0).kl, axis=1).numpy())[::-1]
    # Rate of an active direction: log(variance / (beta s2)) / 2.
    expected = [0.5 * np.log(3.0), 0.5 * np.log(4.0 / 3.0), 0.0, 0.0]
    np.testing.assert_allclose(kl, expected, atol=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"beta": 0.0}, "beta must be positive; received: 0.0"),
        ({"free_bits": -1.0}, "free_bits must be non-negative"),
        ({"warmup_steps": 1.5}, "warmup_steps must be an integer >= 0"),
        ({"num_samples": 0}, "num_samples must be an integer >= 1"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        ELBO(**arguments)
