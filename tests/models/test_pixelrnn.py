"""PixelRNN: causality with both recurrences, exact sums over all images, the cached sampler."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tests.causality import check_causal
from tests.conformance import (
    check_model,
    check_save_and_load,
    check_sums_to_one,
    check_training,
    randomize,
)
from tfgen.models import PixelRNN

RECURRENCES = ["RowLSTM", "DiagonalBiLSTM"]


def small(event_shape, num_levels, recurrence="DiagonalBiLSTM", **arguments):
    """A small model with random weights, none of them zero."""
    arguments = {"filters": 4, "num_layers": 2, "top_filters": 8} | arguments
    spec = {"type": recurrence} if isinstance(recurrence, str) else recurrence
    model = PixelRNN(event_shape, num_levels, recurrence=spec, **arguments)
    randomize(model)
    return model


def random_images(num, event_shape, num_levels, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, num_levels, (num, *event_shape)).astype("uint8")


def offsets(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Of all pairs of pixels, how many rows up and columns to the right the second one is."""
    row, column = (index.ravel() for index in np.indices((height, width)))
    return row[:, None] - row[None, :], column[None, :] - column[:, None]


def test_causal_jacobian_with_diagonal_bilstm():
    # All earlier pixels, but for the last one of the row above. No feature before the row's end has
    # seen it, except through the 7x7 convolution, which reaches three columns to the right.
    size = 6
    expected = np.tril(np.ones((size**2, size**2), bool), -1)
    for row in range(1, size):
        for column in range(size - 1 - 3):
            expected[row * size + column, row * size - 1] = False
    assert expected.sum() == size**2 * (size**2 - 1) // 2 - 10
    check_causal(small([size, size, 1], 4), expected)


def test_causal_jacobian_with_row_lstm():
    # One layer sees a triangle of features, each of which has seen the 7x7 convolution's pixels.
    height, width = 6, 9
    up, right = offsets(height, width)
    triangle = (up >= 0) & (right <= up) & (right >= -up - 1)
    same_row = (up == 0) & (right < 0) & (right >= -3)
    convolution = same_row | ((up > 0) & (up <= 3) & (np.abs(right) <= 3))
    expected = triangle.astype(int) @ convolution > 0
    assert not expected[np.tril_indices(height * width, -1)].all()
    check_causal(small([height, width, 1], 4, "RowLSTM", num_layers=1), expected)


@pytest.mark.parametrize(
    ("recurrence", "event_shape"), [("RowLSTM", [3, 3, 3]), ("DiagonalBiLSTM", [2, 5, 3])]
)
def test_causal_jacobian_of_colour_images_in_channel_order(recurrence, event_shape):
    # Every colour sees every colour of the pixels before, and the colours before it of its own;
    # with groups of unequal size. Five columns: of the last pixel above, blue is out of reach.
    num_dims = math.prod(event_shape)
    expected = np.tril(np.ones((num_dims, num_dims), bool), -1)
    if recurrence == "DiagonalBiLSTM":
        expected[5 * 3 : 6 * 3, 5 * 3 - 1] = False
    model = small(event_shape, 4, recurrence, filters=7, num_layers=1, top_filters=16)
    check_causal(model, expected)


@pytest.mark.parametrize("recurrence", RECURRENCES)
@pytest.mark.parametrize(
    ("event_shape", "num_levels", "label"), [([2, 2, 1], 4, None), ([2, 1, 3], 2, 1)]
)
def test_sums_to_one_over_all_images(recurrence, event_shape, num_levels, label):
    num_classes = None if label is None else 3
    check_sums_to_one(small(event_shape, num_levels, recurrence, num_classes=num_classes), label)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize(("num_levels", "bits_per_dim"), [(256, 8.0), (2, 1.0)])
def test_a_fresh_model_is_uniform(dtype, num_levels, bits_per_dim):
    arguments = {"filters": 3, "num_layers": 1, "top_filters": 3, "dtype": dtype}
    model = PixelRNN([3, 4, 3], num_levels, **arguments)
    log_prob = model.log_prob(random_images(3, [3, 4, 3], num_levels))
    assert log_prob.dtype == "float32"
    np.testing.assert_allclose(-log_prob / (36 * math.log(2.0)), bits_per_dim, atol=1e-6)


@pytest.mark.parametrize(
    ("recurrence", "event_shape", "num_classes"),
    [("RowLSTM", [4, 3, 1], None), ("DiagonalBiLSTM", [3, 2, 3], 3)],
)
def test_the_cached_sampler_draws_what_the_naive_one_draws(recurrence, event_shape, num_classes):
    model = small(event_shape, 16, recurrence, num_classes=num_classes)
    y = None if num_classes is None else np.arange(7) % 3
    naive = tf.function(lambda seed, given, mask: model.sample_naive(7, y, seed, given, mask))
    given = tf.constant(random_images(7, event_shape, 16))
    for seed, share in [(3, 0.0), (4, 0.5)]:
        mask = tf.constant(np.random.default_rng(1).random(event_shape) < share)
        drawn = model.sample(7, y, seed, given, mask)
        np.testing.assert_array_equal(drawn, naive(tf.constant([0, seed]), given, mask))


def test_labels_matter_only_through_their_weights():
    model = small([4, 4, 1], 8, num_classes=3)
    x, labels = random_images(6, [4, 4, 1], 8), np.arange(6) % 3
    first, other = model.log_prob(x, labels), model.log_prob(x, (labels + 1) % 3)
    assert (np.abs(first - other) > 1e-3).all()

    for shift in model.shifts:
        shift.kernel.assign(np.zeros(shift.kernel.shape))
    unconditional = small([4, 4, 1], 8)
    for part in ("first", "recurrent", "expand", "top"):
        mine, its = getattr(unconditional, part), getattr(model, part)
        pairs = [(mine, its)] if part in ("first", "top") else zip(mine, its, strict=True)
        for my_layer, its_layer in pairs:
            my_layer.set_weights(its_layer.get_weights())
    np.testing.assert_allclose(model.log_prob(x, labels), unconditional.log_prob(x), rtol=1e-6)


def test_conformance():
    arguments = {"filters": 4, "num_layers": 1, "top_filters": 12}
    model = PixelRNN((3, 2, 3), 2, num_features=3, **arguments)
    features = np.random.default_rng(1).standard_normal((5, 3)).astype("float32")
    check_model(model, random_images(5, (3, 2, 3), 2), features)


def test_arguments_of_the_recurrence_are_trained_and_saved():
    recurrence = {"type": "RowLSTM", "kernel_size": 5}
    model = small((4, 3, 1), 5, num_layers=1, recurrence=recurrence)
    assert model.recurrent[0].kernel_size == 5
    x = random_images(5, (4, 3, 1), 5)
    check_training(model, x)
    check_save_and_load(model, x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"event_shape": [8, 8]}, r"event_shape must be \(H, W, C\); received: \(8, 8\)"),
        ({"num_levels": None}, "num_levels must be an integer >= 2; received: None"),
        ({"filters": 2}, "filters must be an integer >= 3; received: 2"),
        ({"num_layers": -1}, "num_layers must be an integer >= 0; received: -1"),
        ({"top_filters": 0}, "top_filters must be an integer >= 3; received: 0"),
        ({"recurrence": "RowLSTM"}, "recurrence must be a mapping with 'type'; received: 'RowL"),
        ({"recurrence": {"type": "LSTM"}}, "type must be one of .*DiagonalBiLSTM.*RowLSTM"),
        ({"recurrence": {"type": "RowLSTM", "kernel": 3}}, "RowLSTM has no argument 'kernel'"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        PixelRNN(**{"event_shape": [8, 8, 3]} | arguments)
