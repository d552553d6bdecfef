"""PixelCNN: causality, exact sums over all images, samples against exact probabilities."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tests.causality import check_cached_sampler, check_causal, dependencies
from tests.conformance import all_images, check_model, check_sums_to_one, randomize
from tfgen.models import PixelCNN

NUM_SAMPLES = 20_000


def small(event_shape, num_levels, scale=0.3, **arguments):
    """A small model with random weights, none of them zero."""
    arguments = {"filters": 6, "num_blocks": 2, "top_filters": 6} | arguments
    model = PixelCNN(event_shape, num_levels, **arguments)
    randomize(model, scale=scale)
    return model


def random_images(num, event_shape, num_levels, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, num_levels, (num, *event_shape)).astype("uint8")


def reached_pixels(height: int, width: int, num_blocks: int) -> np.ndarray:
    """Which earlier pixels a pixel can depend on, `[H * W, H * W]`, without itself.

    The 7x7 convolution goes three rows up and three columns to each side, each 3x3 one row and one
    column more. To the right a path has to climb: one row for the first three columns, then a row
    for every column. What is further right than that is the blind spot.
    """
    row, column = (index.ravel() for index in np.indices((height, width)))
    up = row[:, None] - row[None, :]
    right = column[None, :] - column[:, None]
    reach = 3 + num_blocks
    same_row = (up == 0) & (right < 0) & (right >= -reach)
    above = (up > 0) & (up <= reach) & (right >= -reach) & (right <= np.minimum(up + 2, reach))
    return same_row | above


@pytest.mark.parametrize(("num_blocks", "missing"), [(5, 40), (15, 10)])
def test_causal_jacobian_of_grey_images(num_blocks, missing):
    size, position = 15, 10 * 15 + 7
    expected = reached_pixels(size, size, num_blocks)
    assert position - expected[position].sum() == missing  # of 157 earlier pixels
    model = small([size, size, 1], 4, filters=6, num_blocks=num_blocks, top_filters=16)
    check_causal(model, expected)


def test_causal_jacobian_of_colour_images_in_channel_order():
    # Every colour sees every colour of the pixels before, and the colours before it of its own.
    model = small([5, 5, 3], 4, filters=12, top_filters=24)
    pixels = reached_pixels(5, 5, num_blocks=2)
    expected = np.kron(pixels, np.ones((3, 3))) + np.kron(np.eye(25), np.tril(np.ones((3, 3)), -1))
    check_causal(model, expected.astype(bool))


def test_no_leak_with_groups_of_unequal_size():
    model = small([3, 3, 3], 4, filters=7, top_filters=8)
    assert np.triu(dependencies(model)).max() == 0.0


def test_no_leak_after_training():
    model = small([4, 4, 3], 4)
    model.compile(optimizer=keras.optimizers.Adam(0.1), jit_compile=False)
    model.fit(random_images(8, [4, 4, 3], 4), epochs=3, verbose=0)
    found = dependencies(model)
    assert np.triu(found).max() == 0.0
    assert found.max() > 0.0


@pytest.mark.parametrize(
    ("event_shape", "num_levels", "label"),
    [([2, 2, 1], 4, None), ([2, 1, 3], 3, None), ([3, 3, 1], 2, None), ([2, 1, 3], 3, 1)],
)
def test_sums_to_one_over_all_images(event_shape, num_levels, label):
    model = small(event_shape, num_levels, num_classes=None if label is None else 3)
    check_sums_to_one(model, label)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize(("num_levels", "bits_per_dim"), [(256, 8.0), (2, 1.0)])
def test_a_fresh_model_is_uniform(dtype, num_levels, bits_per_dim):
    # In half precision the softmax itself would already be off by 0.01.
    model = PixelCNN([4, 5, 3], num_levels, filters=6, num_blocks=1, top_filters=6, dtype=dtype)
    log_prob = model.log_prob(random_images(3, [4, 5, 3], num_levels))
    assert log_prob.dtype == "float32"
    np.testing.assert_allclose(-log_prob / (60 * math.log(2.0)), bits_per_dim, atol=1e-6)


def exact_probabilities(model, label=None):
    x = all_images(model.event_shape, model.num_levels)
    y = None if label is None else np.full(len(x), label)
    return x, np.exp(model.log_prob(x, y).numpy().astype("float64"))


def index_of(x, num_levels):
    """The place of each image in `all_images`."""
    values = np.reshape(x, [len(x), -1]).astype("int64")
    return values @ num_levels ** np.arange(values.shape[1])[::-1]


def check_frequencies(counts, probabilities):
    """A chi-squared test at 0.001; what is expected less than five times is taken together."""
    expected = probabilities * counts.sum()
    rare = expected < 5
    counts = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    keep = expected > 0
    statistic = ((counts - expected)[keep] ** 2 / expected[keep]).sum()
    assert stats.chi2.sf(statistic, keep.sum() - 1) > 1e-3


@pytest.mark.parametrize(
    ("event_shape", "num_levels", "label"), [([2, 2, 1], 4, None), ([1, 2, 3], 2, 2)]
)
def test_samples_follow_the_exact_probabilities(event_shape, num_levels, label):
    model = small(event_shape, num_levels, scale=0.6, num_classes=None if label is None else 3)
    x, probabilities = exact_probabilities(model, label)
    assert probabilities.max() > 3.0 / len(x)  # far enough from uniform to tell
    drawn = model.sample_naive(NUM_SAMPLES, label, seed=0)
    counts = np.bincount(index_of(drawn, num_levels), minlength=len(x))
    check_frequencies(counts, probabilities)


def test_completion_follows_the_exact_conditional():
    # With the first row kept, the second is drawn from p(second row | first row).
    model = small([2, 2, 1], 4, scale=0.6)
    x, probabilities = exact_probabilities(model)
    given = np.array([[3, 1], [0, 0]], "uint8").reshape(1, 2, 2, 1)
    mask = np.array([[True, True], [False, False]])
    agrees = (x == given)[:, 0].all(axis=(1, 2))
    conditional = np.where(agrees, probabilities, 0.0) / probabilities[agrees].sum()
    drawn = model.sample_naive(NUM_SAMPLES, seed=1, given=given, mask=mask)
    counts = np.bincount(index_of(drawn, 4), minlength=len(x))
    assert counts[~agrees].sum() == 0
    check_frequencies(counts, conditional)


@pytest.mark.parametrize("mask_rank", [2, 3])
def test_completion_keeps_given_pixels_and_draws_the_others(mask_rank):
    model = small([3, 2, 3], 256)
    given = random_images(6, [3, 2, 3], 256)
    mask = np.random.default_rng(1).random([3, 2, 3][:mask_rank]) < 0.5
    drawn = model.sample_naive(6, seed=0, given=given, mask=mask).numpy()
    np.testing.assert_array_equal(drawn[:, mask], given[:, mask])
    assert (drawn[:, ~mask] == given[:, ~mask]).mean() < 0.2
    # What stands at the other positions of `given` cannot matter.
    other = np.where(mask.reshape(3, 2, -1), given, 7)
    again = model.sample_naive(6, seed=0, given=other, mask=mask)
    np.testing.assert_array_equal(again, drawn)


@pytest.mark.parametrize(
    ("event_shape", "num_levels", "num_classes"), [([4, 5, 1], 8, None), ([3, 2, 3], 16, 3)]
)
def test_the_cached_sampler_is_the_naive_one(event_shape, num_levels, num_classes):
    model = small(event_shape, num_levels, num_classes=num_classes)
    y = None if num_classes is None else np.arange(4) % 3
    check_cached_sampler(model, random_images(4, event_shape, num_levels), y)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_temperature_sharpens_each_conditional(temperature):
    # p(x_1) p(x_2 | x_1), each to the power of 1 / T and normalised.
    model = small([2, 1, 1], 4, scale=1.0)
    x = all_images(model.event_shape, 4)
    probabilities = (
        model.conditionals(x).probs_parameter().numpy().astype("float64").reshape(16, 2, 4)
    )
    tempered = probabilities ** (1.0 / temperature)
    tempered /= tempered.sum(axis=-1, keepdims=True)
    values = x.reshape(16, 2)
    expected = tempered[np.arange(16), 0, values[:, 0]] * tempered[np.arange(16), 1, values[:, 1]]
    drawn = model.sample_naive(NUM_SAMPLES, seed=0, temperature=temperature)
    check_frequencies(np.bincount(index_of(drawn, 4), minlength=16), expected)


def test_labels_matter_only_through_their_weights():
    arguments = {"filters": 6, "num_blocks": 2, "top_filters": 6}
    model = small([4, 4, 1], 8, num_classes=3)
    x = random_images(6, [4, 4, 1], 8)
    labels = np.arange(6) % 3
    first, other = model.log_prob(x, labels), model.log_prob(x, (labels + 1) % 3)
    assert (np.abs(first - other) > 1e-3).all()

    unconditional = PixelCNN([4, 4, 1], 8, **arguments)
    for mine, its in [
        (unconditional.first, model.first),
        *zip(unconditional.blocks, model.blocks, strict=True),
        (unconditional.top, model.top),
    ]:
        mine.set_weights(its.get_weights())
    for shift in model.shifts:
        shift.kernel.assign(tf.zeros_like(shift.kernel))
    np.testing.assert_allclose(model.log_prob(x, labels), unconditional.log_prob(x), rtol=1e-6)


def test_features_condition_like_labels():
    # One-hot features are labels.
    by_label = small([4, 4, 1], 8, num_classes=3)
    by_feature = small([4, 4, 1], 8, num_features=3)
    by_feature.set_weights(by_label.get_weights())
    x, labels = random_images(6, [4, 4, 1], 8), np.arange(6) % 3
    features = np.eye(3, dtype="float32")[labels]
    np.testing.assert_allclose(
        by_feature.log_prob(x, features), by_label.log_prob(x, labels), rtol=1e-6
    )


def test_dropout_acts_in_training_only():
    model = small([4, 4, 1], 8, dropout=0.5)
    x = random_images(4, [4, 4, 1], 8)
    np.testing.assert_array_equal(model.log_prob(x), model.log_prob(x))
    with model._training():
        assert not np.allclose(model.log_prob(x), model.log_prob(x))


def test_learns_eight_images_by_heart():
    x = random_images(8, [4, 4, 3], 16)  # 4 bits/dim at first
    model = PixelCNN([4, 4, 3], 16, filters=24, num_blocks=1, top_filters=48)
    model.compile(optimizer=keras.optimizers.Adam(5e-3))
    model.fit(np.tile(x, [150, 1, 1, 1]), batch_size=8, shuffle=False, verbose=0)
    bits_per_dim = -model.log_prob(x) / (48 * math.log(2.0))
    assert float(tf.reduce_mean(bits_per_dim)) < 0.4


def test_conformance():
    arguments = {"filters": 8, "num_blocks": 1, "top_filters": 12, "dropout": 0.1}
    check_model(PixelCNN((4, 3, 1), 5, **arguments), random_images(5, (4, 3, 1), 5))
    model = PixelCNN((3, 4, 3), 2, num_classes=3, **arguments)
    check_model(model, random_images(5, (3, 4, 3), 2), np.arange(5) % 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"event_shape": [8, 8]}, r"event_shape must be \(H, W, C\); received: \(8, 8\)"),
        ({"num_levels": None}, "num_levels must be an integer >= 2; received: None"),
        ({"filters": 2}, "filters must be an integer >= 3; received: 2"),
        ({"num_blocks": -1}, "num_blocks must be an integer >= 0; received: -1"),
        ({"top_filters": 0}, "top_filters must be an integer >= 3; received: 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\); received: 1.0"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        PixelCNN(**{"event_shape": [8, 8, 3]} | arguments)
