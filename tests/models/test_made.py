"""MADE: exact sums, closed forms of its heads, mask ensembles, both samplers."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import integrate, special, stats

from tests.causality import dependencies
from tests.conformance import all_images, check_model, check_sums_to_one, randomize
from tfgen.models import MADE

NUM_SAMPLES = 20_000
LOGISTIC = {"type": "DiscretizedLogisticMixture", "num_mixtures": 2}
GAUSSIANS = {"type": "GaussianMixture", "num_mixtures": 3}


def small(event_shape, num_levels=None, scale=0.5, **arguments):
    """A small model with random weights, none of them zero."""
    model = MADE(event_shape, num_levels, **{"hidden": (14, 16)} | arguments)
    randomize(model, scale=scale)
    return model


def random_data(num, model, seed=0):
    rng = np.random.default_rng(seed)
    if model.num_levels is None:
        return rng.standard_normal((num, *model.event_shape)).astype("float32")
    return rng.integers(0, model.num_levels, (num, *model.event_shape)).astype("uint8")


def log_prob_of_mask(model, x, mask_index, y=None):
    log_probs = model.conditionals(x, y, mask_index).log_prob(tf.cast(x, model.float_dtype))
    return log_probs.numpy().reshape(len(x), -1).sum(axis=1)


@pytest.mark.parametrize(
    "arguments",
    [
        {"hidden": ()},
        {"hidden": (9,), "direct": True, "order": "reversed"},
        {"order": "random", "activation": "tanh"},
        {"hidden": (7, 5), "degrees": "random", "direct": True},
        {"order": "random", "degrees": "random", "num_masks": 3},
        {"order": "random", "num_masks": 2, "direct": True, "num_classes": 3},
    ],
)
def test_twelve_bits_sum_to_one(arguments):
    model = small([12], 2, dtype="float64", **arguments)
    x = all_images((12,), 2)
    labels = np.full(len(x), 1) if "num_classes" in arguments else None
    np.testing.assert_allclose(np.exp(model.log_prob(x, labels)).sum(), 1.0, atol=1e-10)
    for mask_index in range(model.num_masks):
        log_prob = log_prob_of_mask(model, x, mask_index, labels)
        np.testing.assert_allclose(np.exp(log_prob).sum(), 1.0, atol=1e-10)
        assert log_prob.std() > 0.5


@pytest.mark.parametrize(
    ("event_shape", "num_levels", "likelihood"),
    [
        ([2, 2, 1], 5, LOGISTIC),
        ([2, 1, 2], 4, LOGISTIC),
        ([3], 8, {"type": "Categorical"}),
        ([4], 4, None),
    ],
)
def test_levels_sum_to_one(event_shape, num_levels, likelihood):
    model = small(event_shape, num_levels, likelihood=likelihood, order="random", direct=True)
    check_sums_to_one(model)


def in_order(model, found, mask_index=0):
    order = model.network.order(mask_index).numpy()
    return found[np.ix_(order, order)]


@pytest.mark.parametrize("order", ["natural", "random"])
def test_causal_jacobian_of_an_image(order):
    # In the order of the mask: nothing of itself or later, everything earlier.
    model = small(
        [3, 2, 2],
        256,
        order=order,
        activation="tanh",
        likelihood=LOGISTIC,
    )
    found = in_order(model, dependencies(model))
    np.testing.assert_array_equal(found != 0.0, np.tri(12, k=-1, dtype=bool))
    if order == "natural":
        np.testing.assert_array_equal(found, dependencies(model))


def test_no_leak_after_training():
    model = small([2, 3, 1], 8, order="random", direct=True)
    model.compile(optimizer=keras.optimizers.Adam(0.1), jit_compile=False)
    model.fit(random_data(8, model), epochs=3, verbose=0)
    found = in_order(model, dependencies(model))
    assert np.triu(found).max() == 0.0
    assert found.max() > 0.0


def test_bits_have_the_likelihood_of_their_logits():
    model = small([5], 2)
    x = random_data(6, model)
    logits = model.parameters(x, None).numpy()[..., 0]
    expected = -np.logaddexp(0.0, (1.0 - 2.0 * x) * logits).sum(axis=1)
    np.testing.assert_allclose(model.log_prob(x), expected, rtol=1e-5)


def linear_gaussian():
    """A MADE without hidden layers, x_d = b_d + sum of earlier w x + s_d noise, as N(mean, cov)."""
    model = small([4], hidden=(), order="random", dtype="float64", scale=0.7)
    outputs = model.network.outputs
    kernel = outputs.kernel.numpy().reshape(4, 4, 2)
    kernel[..., 1] = 0.0  # scales that do not depend on x
    outputs.kernel.assign(kernel.reshape(4, 8))
    degrees = model.network.degrees()[0].numpy()
    weights = kernel[..., 0].T * (degrees[None, :] < degrees[:, None])
    loc, log_scale = outputs.bias.numpy().reshape(4, 2).T
    inverse = np.linalg.inv(np.eye(4) - weights)
    variance = np.diag(1e-6 + np.exp(2.0 * log_scale))
    return model, stats.multivariate_normal(inverse @ loc, inverse @ variance @ inverse.T)


def test_linear_gaussian_model_in_closed_form():
    model, normal = linear_gaussian()
    x = np.random.default_rng(0).standard_normal((7, 4))
    np.testing.assert_allclose(model.log_prob(x), normal.logpdf(x), rtol=1e-9)


def test_samples_of_the_linear_gaussian_model():
    model, normal = linear_gaussian()
    x = model.sample_naive(NUM_SAMPLES, seed=0).numpy()
    whitened = np.linalg.solve(np.linalg.cholesky(normal.cov), (x - normal.mean).T)
    errors = 5.0 / math.sqrt(NUM_SAMPLES)
    assert np.abs(whitened.mean(axis=1)).max() < errors
    assert np.abs(np.cov(whitened) - np.eye(4)).max() < 2.0 * errors
    assert all(stats.kstest(column, stats.norm.cdf).pvalue > 1e-3 for column in whitened)


def test_mixture_head_against_its_formula():
    model = small([3], likelihood=GAUSSIANS, dtype="float64")
    x = random_data(5, model).astype("float64")
    logits, mean, log_scale = np.split(model.parameters(x, None).numpy(), 3, axis=-1)
    log_weights = logits - special.logsumexp(logits, axis=-1, keepdims=True)
    scale = np.sqrt(1e-6 + np.exp(2.0 * log_scale))
    components = stats.norm(mean, scale).logpdf(x[..., None])
    expected = special.logsumexp(log_weights + components, axis=-1).sum(axis=1)
    np.testing.assert_allclose(model.log_prob(x), expected, rtol=1e-9)


@pytest.mark.parametrize("likelihood", [None, GAUSSIANS])
def test_one_real_value_integrates_to_one(likelihood):
    model = small([1], likelihood=likelihood, dtype="float64", num_features=2)
    x = np.linspace(-20.0, 20.0, 40_001)[:, None]
    density = np.exp(model.log_prob(x, [0.3, -1.0]))
    assert integrate.trapezoid(density, x[:, 0]) == pytest.approx(1.0, abs=1e-8)


def test_two_real_values_integrate_to_one():
    model = small([2], likelihood=GAUSSIANS, activation="tanh", order="reversed", dtype="float64")
    grid = np.linspace(-20.0, 20.0, 801)
    x = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2)
    density = np.exp(model.log_prob(x)).reshape(801, 801)
    total = integrate.trapezoid(integrate.trapezoid(density, grid), grid)
    assert total == pytest.approx(1.0, abs=1e-3)


# ---------------------------------------------------------------------- mask ensembles


def ensemble(**arguments):
    options = {"order": "random", "degrees": "random", "num_masks": 3, "scale": 1.0}
    return small([5], 2, **options | arguments)


def test_evaluation_averages_probabilities_over_the_masks():
    model = ensemble()
    x = random_data(6, model)
    by_mask = np.stack([log_prob_of_mask(model, x, mask) for mask in range(3)])
    assert by_mask.std(axis=0).min() > 0.01
    expected = special.logsumexp(by_mask, axis=0) - np.log(3)
    np.testing.assert_allclose(model.log_prob(x), expected, rtol=1e-5)
    np.testing.assert_array_equal(model.log_prob(x, seed=1), model.log_prob(x, seed=2))


def test_training_draws_one_mask_a_step():
    model = ensemble()
    x = random_data(6, model)
    by_mask = np.stack([log_prob_of_mask(model, x, mask) for mask in range(3)])
    drawn = []
    with model._training():
        for _ in range(20):
            distance = np.abs(by_mask - model.log_prob(x)).max(axis=1)
            assert distance.min() < 1e-5
            drawn.append(int(distance.argmin()))
    assert set(drawn) == {0, 1, 2}


def test_conditionals_of_an_ensemble_are_those_of_one_mask():
    with pytest.raises(ValueError, match=r"mask_index must be one of 0..2; received: None"):
        ensemble().conditionals(np.zeros((1, 5), "uint8"))


# ---------------------------------------------------------------------- samples


def check_frequencies(counts, probabilities):
    """The p-value of a chi-squared test; what is expected less than five times is one cell."""
    expected = probabilities * counts.sum()
    rare = expected < 5
    counts = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    keep = expected > 0
    statistic = ((counts - expected)[keep] ** 2 / expected[keep]).sum()
    return stats.chi2.sf(statistic, keep.sum() - 1)


def index_of(x, num_levels):
    """The place of each example in `all_images`."""
    values = np.reshape(x, [len(x), -1]).astype("int64")
    return values @ num_levels ** np.arange(values.shape[1])[::-1]


@pytest.mark.parametrize(
    ("event_shape", "num_levels", "arguments"),
    [
        ([2, 2, 1], 4, {"likelihood": LOGISTIC, "order": "random"}),
        ([6], 2, {"num_classes": 3, "direct": True}),
        ([3], 5, {"likelihood": {"type": "Categorical"}, "order": "reversed"}),
    ],
)
def test_samples_follow_the_exact_probabilities(event_shape, num_levels, arguments):
    model = small(event_shape, num_levels, scale=0.8, **arguments)
    label = 2 if "num_classes" in arguments else None
    x = all_images(model.event_shape, num_levels)
    labels = None if label is None else np.full(len(x), label)
    probabilities = np.exp(model.log_prob(x, labels).numpy().astype("float64"))
    assert probabilities.max() > 3.0 / len(x)  # far enough from uniform to tell
    drawn = model.sample_naive(NUM_SAMPLES, label, seed=0)
    counts = np.bincount(index_of(drawn, num_levels), minlength=len(x))
    assert check_frequencies(counts, probabilities) > 1e-3


def test_a_sample_of_an_ensemble_is_one_of_a_mask_drawn_by_the_seed():
    model = ensemble(scale=1.5)
    x = all_images((5,), 2)
    by_mask = [np.exp(log_prob_of_mask(model, x, mask).astype("float64")) for mask in range(3)]
    drawn = []
    for seed in range(8):
        counts = np.bincount(index_of(model.sample_naive(NUM_SAMPLES, seed=seed), 2), minlength=32)
        fits = [check_frequencies(counts, probabilities) > 1e-3 for probabilities in by_mask]
        assert sum(fits) == 1
        drawn.append(fits.index(True))
    assert set(drawn) == {0, 1, 2}


def test_completion_follows_the_exact_conditional_of_the_order():
    # The first two values of the order are kept: the others come from p(others | these two).
    model = small([2, 2, 1], 4, scale=0.8, order="random", mask_seed=1)
    order = model.network.order().numpy()
    assert (order[:2] != [0, 1]).any()
    kept = np.zeros(4, bool)
    kept[order[:2]] = True
    given = np.array([3, 1, 2, 0], "uint8").reshape(1, 2, 2, 1)
    x = all_images((2, 2, 1), 4)
    probabilities = np.exp(model.log_prob(x).numpy().astype("float64"))
    agrees = (x.reshape(-1, 4) == given.reshape(4))[:, kept].all(axis=1)
    conditional = np.where(agrees, probabilities, 0.0) / probabilities[agrees].sum()
    drawn = model.sample_naive(NUM_SAMPLES, seed=1, given=given, mask=kept.reshape(2, 2, 1))
    counts = np.bincount(index_of(drawn, 4), minlength=len(x))
    assert counts[~agrees].sum() == 0
    assert check_frequencies(counts, conditional) > 1e-3


def test_no_temperature_leaves_the_likeliest_value_given_those_before():
    model = small([6], 2, scale=1.0, order="random")
    drawn = model.sample_naive(20, seed=0, temperature=1e-4).numpy()
    assert (drawn == drawn[0]).all()
    logits = model.parameters(drawn, None).numpy()[..., 0]
    np.testing.assert_array_equal(drawn, logits > 0.0)


@pytest.mark.parametrize(
    ("num_levels", "arguments"),
    [
        (2, {"order": "random", "degrees": "random", "num_masks": 3, "num_classes": 3}),
        (256, {"likelihood": LOGISTIC, "direct": True}),
        (None, {"likelihood": GAUSSIANS, "order": "reversed", "num_features": 2}),
        (None, {"dtype": "float64"}),
    ],
)
def test_the_incremental_sampler_draws_what_full_passes_draw(num_levels, arguments):
    model = small([3, 3, 1], num_levels, scale=0.3, **arguments)
    y = None
    if model.num_classes:
        y = np.arange(7) % 3
    elif model.num_features:
        y = np.random.default_rng(0).standard_normal((7, 2)).astype("float32")
    given = random_data(7, model, seed=1)
    mask = np.random.default_rng(2).random((3, 3)) < 0.4
    # Eagerly `sample` is compiled by XLA; in a graph, as exported, it is plain.
    graph = tf.function(
        lambda num, seed, **options: model.sample(num, y, seed, **options), autograph=False
    )
    for seed, options in [(3, {}), (4, {"given": given, "mask": mask, "temperature": 0.8})]:
        expected = model.sample_naive(7, y, seed, **options).numpy()
        for found in (
            model.sample(7, y, seed, **options),
            graph(tf.constant(7), tf.constant([0, seed]), **options),
        ):
            if num_levels is None:
                np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
            else:
                np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(expected[:, mask], given[:, mask])
    assert (expected[:, ~mask] != given[:, ~mask]).any()


# ---------------------------------------------------------------------- the rest of the protocol


def test_starts_from_the_likelihood_of_independent_values():
    rng = np.random.default_rng(0)
    x = (rng.random((500, 4)) < [0.1, 0.5, 0.9, 0.3]).astype("uint8")
    model = MADE([4], 2, hidden=(8,))
    model.initialize(x)
    mean = x.mean(axis=0)
    entropy = -(mean * np.log(mean) + (1 - mean) * np.log(1 - mean)).sum()
    assert -np.mean(model.log_prob(x)) == pytest.approx(entropy, rel=0.1)
    biases = model.network.outputs.bias.numpy()
    np.testing.assert_allclose(biases, np.log(mean / (1 - mean)), rtol=1e-5)
    model.initialize(1 - x)
    np.testing.assert_array_equal(model.network.outputs.bias, biases)


def test_labels_and_one_hot_features_are_the_same_condition():
    by_label = small([4], 3, num_classes=3)
    by_feature = small([4], 3, num_features=3)
    by_feature.set_weights(by_label.get_weights())
    x, labels = random_data(6, by_label), np.arange(6) % 3
    expected = by_label.log_prob(x, labels)
    features = np.eye(3, dtype="float32")[labels]
    np.testing.assert_allclose(by_feature.log_prob(x, features), expected, rtol=1e-6)
    assert (np.abs(by_label.log_prob(x, (labels + 1) % 3) - expected) > 1e-3).all()


def test_learns_eight_vectors_by_heart():
    x = np.random.default_rng(0).integers(0, 2, (8, 20)).astype("uint8")
    model = MADE([20], 2, hidden=(64, 64))
    model.compile(optimizer=keras.optimizers.Adam(1e-2), jit_compile=False)
    model.fit(np.tile(x, [60, 1]), batch_size=8, shuffle=False, verbose=0)
    # No model of eight equally frequent vectors does better than log 8.
    assert math.log(8.0) - 1e-3 < -np.mean(model.log_prob(x)) < math.log(8.0) + 0.3


def test_conformance():
    arguments = {"order": "random", "degrees": "random", "num_masks": 2, "direct": True}
    model = MADE([3, 2, 1], 2, num_classes=3, hidden=(12,), dropout=0.1, **arguments)
    check_model(model, random_data(6, model), np.arange(6) % 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"likelihood": {"type": "Gaussian"}}, "likelihood must be one whose parameters all come"),
        (
            {"likelihood": {"type": "Gaussian", "variance": "dimension"}},
            r"likelihood must be one whose parameters all come from the network \(a Gaussian with "
            "variance='network'",
        ),
        (
            {"likelihood": {"type": "Bernoulli"}},
            "likelihood must be one for data with num_levels=None; received: 'Bernoulli for",
        ),
        ({"num_levels": 4, "likelihood": GAUSSIANS}, "one for data with num_levels=4; received"),
        ({"hidden": (0,)}, "units must be an integer >= 1; received: 0"),
        ({"order": "raster"}, "order must be one of 'natural', 'reversed', 'random'"),
        ({"num_masks": 4}, "num_masks must be 1 where order and degrees are not random"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        MADE(**{"event_shape": [3]} | arguments)
