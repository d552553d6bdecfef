"""LaCIM against exact values of linear-Gaussian domains, and its protocol."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conformance import (
    check_likelihood,
    check_samples,
    check_save_and_load,
    check_training,
)
from tests.models.csg_toy import NODES, WEIGHTS, set_block
from tfgen import seeds
from tfgen.models import LaCIM
from tfgen.models.causal.mechanisms import MINIMUM_SCALE
from tfgen.models.generative_model import EVALUATION_SEED
from tfgen.objectives import CausalELBO
from tfgen.objectives.causal import causal_bound

# z = (s, v) ~ N(MEANS[d], diag(VARIANCES)), x = GAIN z + N(0, NOISE^2 I), both of two entries;
# p(y = 1 | s) = sigmoid(2 s - 0.3). The posterior is diagonal, as wide in all domains.
MEANS = np.array([[0.5, -1.0], [-0.8, 0.6]])
VARIANCES, GAIN, NOISE = np.array([1.0, 0.5]), np.array([1.0, 1.5]), 0.4
X = np.array([[0.7, -0.2], [-0.4, 1.1]])
DOMAINS = [0, 1]
OF_X = GAIN**2 * VARIANCES + NOISE**2
SLOPE = VARIANCES * GAIN / OF_X  # of the posterior's mean in x
WIDTH = np.sqrt(VARIANCES - SLOPE**2 * OF_X)


def posterior_mean(x, d):
    return MEANS[d] + SLOPE * (x - GAIN * MEANS[d])


def log_normal(x, mean, variance):
    return -0.5 * ((x - mean) ** 2 / variance + np.log(2 * np.pi * variance))


def log_prob(x, d):
    """log p(x | d)."""
    return log_normal(x, GAIN * MEANS[d], OF_X).sum(-1)


def label_probability(s):
    return 1 / (1 + np.exp(0.3 - 2 * s))


def predict(x, d):
    """p(y | x, d) of both labels, by quadrature over s."""
    p = (WEIGHTS * label_probability(posterior_mean(x, d)[0] + WIDTH[0] * NODES)).sum()
    return np.array([1 - p, p])


def toy(shift=0.0, widen=1.0):
    """This model, its posteriors exact but for a shift of the means and a factor on the widths."""
    model = LaCIM(
        [2],
        2,
        2,
        semantic_size=1,
        variation_size=1,
        posterior_units=(),
        classifier_units=(),
        noise_scale=NOISE,
        encoder=keras.layers.Identity(),
        decoder=keras.layers.Dense(2, dtype="float64"),
        dtype="float64",
    )
    for block, mean in zip(model.blocks, MEANS, strict=True):
        set_block(block, mean, np.diag(VARIANCES))
    model.decoder.set_weights([np.diag(GAIN), np.zeros(2)])
    model.logits.set_weights([np.array([[2.0]]), np.array([-0.3])])
    of_domain = MEANS * (1 - SLOPE * GAIN) + shift
    model.posterior_loc.set_weights([np.concatenate([np.diag(SLOPE), of_domain]), np.zeros(2)])
    model.posterior_scale.kernel.assign(np.zeros([4, 2]))
    model.posterior_scale.bias.assign(np.log(np.expm1(widen * WIDTH - MINIMUM_SCALE)))
    return model


def bounds(model):
    """L(x, y | d) of both labels for each row of X, by quadrature over q."""
    condition = model.condition(np.stack([[0, 0], DOMAINS], -1), 2)
    loc, scale = (tf.gather(part, DOMAINS, batch_dims=1) for part in model.posterior_parts(X))
    first, second = (nodes.reshape(-1, 1) for nodes in np.meshgrid(NODES, NODES))
    s, v = (loc[:, i] + scale[:, i] * nodes for i, nodes in enumerate((first, second)))
    terms = model.densities(X, s[..., None], v[..., None], condition)
    log_weights = np.log(np.outer(WEIGHTS, WEIGHTS)).reshape(-1, 1)
    found = [causal_bound(terms, one_hot, log_weights) for one_hot in np.eye(2)[:, None]]
    return np.stack([b.log_pi + b.generative for b in found], axis=-1)


def test_bound_is_exact_with_each_domains_posterior():
    """log p(x, y | d) = log p(x | d) + log p(y | x, d), row by row with its own domain."""
    expected = [log_prob(X[d], d) + np.log(predict(X[d], d)) for d in DOMAINS]
    np.testing.assert_allclose(bounds(toy()), expected, atol=1e-9)


def test_objective_takes_every_example_in_its_own_domain():
    """With the exact posteriors its bound is log p(x, y | d), up to the noise of 200,000 draws."""
    keras.utils.set_random_seed(0)
    labels = [1, 0]
    y = np.stack([labels, DOMAINS], axis=-1)
    terms = CausalELBO(num_samples=200_000)(toy(), X, y)
    exact = [log_prob(X[d], d) + np.log(predict(X[d], d)[labels[d]]) for d in DOMAINS]
    np.testing.assert_allclose(terms["bound"], exact, atol=5e-3)
    np.testing.assert_allclose(terms["log_prob"], exact, atol=5e-3)


def test_gap_is_the_divergence_of_the_implied_posterior():
    """KL(q(s, v | x, d) p(y | s) / pi || p(s, v | x, y, d)): of s by quadrature, of v closed."""
    shift, widen = 0.2, 1.1
    found = bounds(toy(shift, widen))
    of_v = 0.5 * (widen**2 + (shift / WIDTH[1]) ** 2 - 1) - np.log(widen)
    for d in DOMAINS:
        mean = posterior_mean(X[d], d)[0]
        s = mean + shift + widen * WIDTH[0] * NODES
        log_ratio = log_normal(s, mean + shift, (widen * WIDTH[0]) ** 2)
        log_ratio -= log_normal(s, mean, WIDTH[0] ** 2)
        for label in (0, 1):
            p = label_probability(s) if label else 1 - label_probability(s)
            pi = (WEIGHTS * p).sum()
            log_normaliser = np.log(predict(X[d], d)[label])
            of_s = (WEIGHTS * p / pi * (log_ratio - np.log(pi) + log_normaliser)).sum()
            exact = log_prob(X[d], d) + log_normaliser
            assert exact - found[d, label] == pytest.approx(of_s + of_v, abs=1e-6)


def test_likelihoods_know_the_domain():
    """One weight is enough with the exact posterior; without the domain, the mixture."""
    model = toy()
    known = np.stack([[-1, -1], DOMAINS], axis=-1)  # no label
    exact = np.array([log_prob(X, d) for d in DOMAINS])  # [domain, row]
    np.testing.assert_allclose(model.log_prob(X, known), np.diag(exact), atol=1e-9)
    exchanged = known * [[1, 1]] + [[0, 1], [0, -1]]
    np.testing.assert_allclose(model.log_prob(X, exchanged), np.diag(exact[::-1]), atol=1e-9)
    mixture = np.log(np.exp(exact).mean(0))
    many = {"num_samples": 100_000, "chunk_size": 100_000, "seed": 0}
    np.testing.assert_allclose(model.log_prob(X, **many), mixture, atol=5e-3)
    one = model.terms(X, num_samples=1000, seed=2).log_weights  # each a sample of the bound
    assert (np.mean(one, 0) < mixture - 0.01).all()
    # The distributions of TFP are of the same mixtures.
    terms = model.causal_terms(X, 3, seed=1)
    z = tf.concat([terms.s, terms.v], axis=-1)
    np.testing.assert_allclose(terms.log_prior, model.prior().log_prob(z), atol=1e-9)
    np.testing.assert_allclose(terms.log_q, model.posterior(X).log_prob(z), atol=1e-9)


def test_predictions_of_known_domains():
    many = {"num_samples": 100_000, "seed": 0}
    found = toy().predict_training(X, DOMAINS, **many)
    expected = [predict(X[d], d) for d in DOMAINS]
    np.testing.assert_allclose(found, expected, atol=5e-3)
    report = toy().report(X, np.array([[1, 0], [0, 1]]), seed=0)
    of_training = [float(expected[0][1] > 0.5), float(expected[1][0] > 0.5)]
    np.testing.assert_array_equal(report["accuracy_training_prior"], of_training)


def test_samples_are_of_the_domain():
    """Means of the domains, of the mixture without one, and p(x | y, d) where labels are given."""
    model, num = toy(), 20_000
    for d in DOMAINS:
        x = model.sample(num, np.tile([-1, d], [num, 1]), seed=d)
        np.testing.assert_allclose(np.mean(x, 0), GAIN * MEANS[d], atol=0.03)
    x, y = model.sample_labelled(num, seed=2)
    np.testing.assert_allclose(np.mean(x, 0), GAIN * MEANS.mean(0), atol=0.03)
    s = MEANS[:, :1] + NODES
    p = (WEIGHTS * label_probability(s)).sum(1)
    assert np.mean(y) == pytest.approx(p.mean(), abs=0.01)
    of_s = (WEIGHTS * label_probability(s) * s).sum(1) / p  # E[s | y = 1, d]
    x = model.sample(num, np.tile([1, 1], [num, 1]), seed=3)
    assert np.mean(x[:, 0]) == pytest.approx(of_s[1], abs=0.04)


@pytest.fixture(scope="module")
def linear():
    """x = W z + b + N(0, 0.3^2 I) of three entries, with two latents and unequal penalties."""
    rng = np.random.default_rng(0)
    weights, offset = rng.standard_normal((2, 3)), rng.standard_normal(3)
    model = LaCIM(
        [3],
        2,
        2,
        semantic_size=1,
        variation_size=1,
        noise_scale=0.3,
        num_candidates=16,
        num_steps=400,
        semantic_penalty=0.5,
        variation_penalty=2.0,
        encoder=keras.layers.Identity(),
        decoder=keras.layers.Dense(3, dtype="float64"),
        dtype="float64",
    )
    model.decoder.set_weights([weights, offset])
    return model, weights, offset, rng.standard_normal((5, 3))


def test_latents_of_a_prediction_are_the_penalised_maximum(linear):
    """(W W^T / noise^2 + 2 diag(penalties))^-1 W (x - b) / noise^2, whatever the candidates."""
    model, weights, offset, x = linear
    precision = weights @ weights.T / 0.09 + 2 * np.diag([0.5, 2.0])
    expected = np.linalg.solve(precision, weights @ (x - offset).T / 0.09).T
    explain, predict = (
        tf.function(f, jit_compile=True, autograph=False) for f in (model.explain, model.predict)
    )
    for seed in (EVALUATION_SEED, 7):
        found = explain(x, tf.constant([0, seed]))
        np.testing.assert_allclose(found, expected, atol=1e-6)
    probabilities = tf.exp(model.label_log_probs(tf.constant(expected[:, :1])))
    np.testing.assert_allclose(predict(x), probabilities, atol=1e-6)


def test_search_starts_from_the_best_candidate(linear, monkeypatch):
    """And no image sees another: three steps from there, one image at a time."""
    model, weights, offset, x = linear
    monkeypatch.setattr(model, "num_steps", 3)
    alone = np.concatenate([model.predict(x[i : i + 1]) for i in range(2)])
    np.testing.assert_allclose(model.predict(x)[:2], alone, atol=1e-12)
    monkeypatch.setattr(model, "num_steps", 0)
    found = model.explain(x)
    z = seeds.normal([16, 2], seeds.as_seed(EVALUATION_SEED), "float64").numpy()
    score = -0.5 * (((x[:, None] - z @ weights - offset) / 0.3) ** 2).sum(-1)
    score -= (z**2 * [0.5, 2.0]).sum(-1)
    np.testing.assert_allclose(found, z[score.argmax(1)], atol=1e-12)


def make(**kwargs):
    return LaCIM(
        [5, 6, 3],
        3,
        2,
        num_levels=16,
        semantic_size=3,
        variation_size=2,
        posterior_units=[8],
        classifier_units=[8],
        prior={"scale": 2.0, "correlation": 0.7},
        noise_scale=0.2,
        num_candidates=3,
        num_steps=2,
        encoder={"type": "ConvEncoder", "filters": [4], "num_blocks": 0},
        decoder={"type": "ConvDecoder", "filters": [4], "num_blocks": 0},
        **kwargs,
    )


def test_protocol_of_a_convolutional_model():
    model = make()
    model.posterior_scale.bias.assign(np.full(5, -4.0))  # so that few steps are seen to help
    y = np.stack([[0, 1, 2, 0, 1, 2], [0, 0, 0, 1, 1, 1]], axis=-1).astype("int32")
    x = np.random.default_rng(0).integers(0, 6, (6, 5, 6, 3)) + 5 * y[:, 0, None, None, None]
    x = x.astype("uint8")
    check_likelihood(model, x)
    check_likelihood(model, x, y[:, 0])
    check_likelihood(model, x, y)
    check_samples(model)
    check_samples(model, y)
    check_training(model, x, y)
    check_save_and_load(model, x, y)
    assert model.encode(x, y).shape == (6, 5)
    assert not np.allclose(model.encode(x, y), model.encode(x, y * [1, 0] + [0, 1]))


def test_mean_path_is_the_domains_mean():
    """And without noise the two domains' terms are those of two batches."""
    model = toy()
    y = np.stack([[1, 0], DOMAINS], axis=-1)
    terms = model.causal_terms(X, mean_path=True, condition=model.condition(y, 2))
    expected = [posterior_mean(X[d], d) for d in DOMAINS]
    np.testing.assert_allclose(tf.concat([terms.s, terms.v], -1)[0], expected, atol=1e-9)
    objective = CausalELBO(mean_path=True, generative_weight=1.0)
    whole = objective(model, X, y)["loss"]
    rows = [objective(model, X[i : i + 1], y[i : i + 1])["loss"][0] for i in range(2)]
    np.testing.assert_allclose(whole, rows, atol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_domains": 1}, "num_domains must be an integer >= 2"),
        ({"variation_size": 0}, "variation_size must be an integer >= 1"),
        ({"num_candidates": 0}, "num_candidates must be an integer >= 1"),
        ({"semantic_penalty": -1.0}, "semantic_penalty must be non-negative"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"noise_scale": 0.0}, "noise_scale must be positive"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        LaCIM(**{"event_shape": [4], "num_classes": 2, "num_domains": 2, **arguments})


def test_labels_and_domains_outside_the_range_are_refused():
    model = toy()
    with pytest.raises(ValueError, match=r"y must be labels 0\.\.1, or -1 for none"):
        model.log_prob(X, np.array([[2, 0], [0, 0]]))
    with pytest.raises(ValueError, match=r"y must be domains 0\.\.1, or -1 for none"):
        model.log_prob(X, np.array([[0, 0], [0, 2]]))
    with pytest.raises(ValueError, match=r"y must be integer labels of shape \['B'\]"):
        model.log_prob(X, np.zeros((2, 3), "int32"))
