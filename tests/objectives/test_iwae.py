"""The importance-weighted bound and its two gradient estimators."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.conformance import randomize
from tests.oracles import LinearGaussian
from tfgen.models import VAE
from tfgen.objectives import IWAE


def with_same_noise(model, function):
    state = model.seeds.state.numpy()
    result = function()
    model.seeds.state.assign(state)
    return result


def gradients_of(model, objective, x):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(objective(model, x)["loss"])
    return tape.gradient(loss, [v.value for v in model.trainable_variables])


def gradients(model, objective, x):
    return [g.numpy() for g in gradients_of(model, objective, x)]


@pytest.mark.parametrize("num_samples", [1, 5, 50])
def test_exact_posterior_gives_the_likelihood_without_variance(num_samples):
    oracle = LinearGaussian.make(orthogonal=True)
    x = oracle.sample(8)
    terms = IWAE(num_samples)(oracle.vae(), x)
    np.testing.assert_allclose(terms["log_prob"], oracle.log_prob(x), atol=1e-4)
    np.testing.assert_allclose(terms["effective_sample_size"], num_samples, rtol=1e-4)


def test_bound_rises_with_the_number_of_draws():
    """From the mean-field gap at K = 1 towards log p(x), never above."""
    oracle = LinearGaussian.make(orthogonal=False)
    x = np.repeat(oracle.sample(1), 4000, axis=0)
    model = oracle.vae()
    gaps = []
    for num_samples in (1, 5, 50):
        bound = IWAE(num_samples)(model, x)["log_prob"].numpy()
        gaps.append((oracle.log_prob(x) - bound).mean())
    assert gaps[0] == pytest.approx(oracle.mean_field_gap, abs=0.1 * oracle.mean_field_gap)
    assert gaps[0] > 2 * gaps[1] > 4 * gaps[2] > 0


def test_one_draw_is_the_bound_with_a_sampled_kl():
    oracle = LinearGaussian.make(orthogonal=False)
    model, x = oracle.vae(1.3), oracle.sample(8)
    bound = with_same_noise(model, lambda: IWAE(1)(model, x)["log_prob"])
    terms = with_same_noise(model, lambda: model.terms(x))
    expected = terms.log_px[0] + terms.log_pz[0] - terms.log_qz[0]
    np.testing.assert_array_equal(bound, expected)


def test_agrees_with_tfp_on_the_same_draws():
    oracle = LinearGaussian.make(orthogonal=False)
    model, x = oracle.vae(1.3), oracle.sample(8)
    loss = with_same_noise(model, lambda: IWAE(7)(model, x)["loss"])
    z = with_same_noise(model, lambda: model.terms(x, num_samples=7).z)

    class Replayed(tfp.distributions.Independent):
        """The posterior, whose next draws are those of `z`."""

        def _sample_n(self, *args, **kwargs):
            return z

        def _sample_and_log_prob(self, *args, **kwargs):
            return z, self._log_prob(z)

    posterior = Replayed(model.posterior(x).distribution, 1)
    expected = tfp.vi.monte_carlo_variational_loss(
        lambda z: model.prior().log_prob(z) + model.likelihood(z).log_prob(x),
        posterior,
        sample_size=1,
        importance_sample_size=7,
        discrepancy_fn=tfp.vi.kl_reverse,
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_gradient_is_that_of_explicit_weights():
    """d/dtheta log mean w = sum_k softmax(log w)_k d/dtheta log w_k, the weights held fixed."""
    oracle = LinearGaussian.make(orthogonal=False)
    model, x = oracle.vae(1.3), oracle.sample(8)
    actual = with_same_noise(model, lambda: gradients(model, IWAE(6), x))

    def explicit(model, x):
        log_weights = model.terms(x, num_samples=6).log_weights
        weights = tf.stop_gradient(tf.nn.softmax(log_weights, axis=0))
        return {"loss": -tf.reduce_sum(weights * log_weights, axis=0)}

    expected = with_same_noise(model, lambda: gradients(model, explicit, x))
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, atol=1e-5)


def test_doubly_reparameterized_gradient_vanishes_at_the_posterior():
    """There log w does not depend on z, so the encoder's estimate is zero for every draw.

    The plain estimator keeps its score term, whose mean only is zero.
    """
    oracle = LinearGaussian.make(orthogonal=True)
    model, x = oracle.vae(), oracle.sample(8)
    encoder = [v.path for v in model.trainable_variables].index(
        model.posterior_part.parameters.kernel.path
    )
    plain = gradients(model, IWAE(4), x)[encoder]
    doubly = gradients(model, IWAE(4, doubly_reparameterized=True), x)[encoder]
    np.testing.assert_allclose(doubly, 0.0, atol=1e-4)
    assert np.abs(plain).max() > 0.05


def test_doubly_reparameterized_gradient_has_the_same_mean():
    """The decoder's gradient is the same draw by draw, the encoder's in the mean."""
    oracle = LinearGaussian.make(orthogonal=False)
    model = oracle.vae(1.5)
    x = np.repeat(oracle.sample(2), 20_000, axis=0)
    plain = with_same_noise(model, lambda: gradients(model, IWAE(4), x))
    terms = with_same_noise(model, lambda: IWAE(4)(model, x))
    objective = IWAE(4, doubly_reparameterized=True)
    doubly = with_same_noise(model, lambda: gradients(model, objective, x))
    doubly_terms = with_same_noise(model, lambda: objective(model, x))
    for name in terms:
        np.testing.assert_allclose(doubly_terms[name], terms[name], rtol=1e-5)
    names = [v.path for v in model.trainable_variables]
    of_encoder = [v.path for v in model.posterior_part.parameters.trainable_variables]
    for name, a, e in zip(names, doubly, plain, strict=True):
        tolerance = 0.05 if name in of_encoder else 1e-4
        np.testing.assert_allclose(a, e, atol=tolerance, err_msg=name)
        assert np.abs(e).max() > 0.1


@pytest.mark.parametrize(
    "posterior",
    [
        {"type": "FullCovariancePosterior"},
        {"type": "IAFPosterior", "num_flows": 1, "hidden": [4], "context_size": 2},
        {"type": "LaplacePosterior", "num_updates": 1, "damping": 0.5},
    ],
)
def test_doubly_reparameterized_gradient_of_other_posteriors_has_the_same_mean(posterior):
    """Paired over batches of noise; of the Laplace posterior the decoder's gradient, too, is
    another estimate."""
    oracle = LinearGaussian.make(orthogonal=False)
    model = oracle.generator(posterior=posterior)
    randomize(model.posterior_part, scale=0.2)
    x = np.repeat(oracle.sample(1), 1000, axis=0)
    compiled = [
        tf.function(
            lambda objective=objective: tf.concat(
                [tf.reshape(g, [-1]) for g in gradients_of(model, objective, x)], 0
            )
        )
        for objective in (IWAE(3), IWAE(3, doubly_reparameterized=True))
    ]
    plain, doubly = (np.stack([function() for _ in range(12)]) for function in compiled)
    difference = doubly.mean(0) - plain.mean(0)
    error = np.sqrt((plain.var(0, ddof=1) + doubly.var(0, ddof=1)) / 12)
    assert np.all(np.abs(difference) < 6.0 * error + 1e-4)
    assert np.abs(plain.mean(0)).max() > 20.0 * error.max()


def test_refusals():
    with pytest.raises(ValueError, match="num_samples must be an integer >= 1; received: 0"):
        IWAE(0)

    class Hierarchy(VAE):
        def terms(self, x, y=None, num_samples=1, seed=None):
            return super().terms(x, y, num_samples, seed)

    model = Hierarchy([2], latent_shape=[1])
    with pytest.raises(ValueError, match="doubly_reparameterized must be False"):
        IWAE(2, doubly_reparameterized=True)(model, np.zeros((1, 2), "float32"))
