"""The Diagonal BiLSTM against a loop over pixels, its steps, its reach."""

import numpy as np
import pytest
import tensorflow as tf

from tests.layers.recurrences import (
    cell,
    check_steps,
    in_channel_order,
    made,
    masked,
    seen_pixels,
)
from tfgen.layers import DiagonalBiLSTM
from tfgen.layers.diagonal_lstm import skew, unskew


@pytest.mark.parametrize(("height", "width"), [(4, 3), (2, 5), (1, 3), (3, 1)])
def test_skew_moves_row_r_by_r(height, width):
    x = np.random.default_rng(0).standard_normal([2, height, width, 3]).astype("float32")
    expected = np.zeros([2, height, width + height - 1, 3], "float32")
    for row in range(height):
        expected[:, row, row : row + width] = x[:, row]
    np.testing.assert_array_equal(skew(tf.constant(x)), expected)
    # What stands beside the image, the states there, does not come back.
    beside = np.where(expected == 0.0, np.float32(9.0), expected)
    np.testing.assert_array_equal(unskew(tf.constant(beside)), x)


def oracle_from_left(layer, x: np.ndarray) -> np.ndarray:
    """One pixel after the other, straight from the equations."""
    batch_size, height, width, _ = x.shape
    kernel = masked(layer.input_kernel.numpy(), layer.num_groups)
    above, beside = layer.state_kernel.numpy()
    nothing = np.zeros([batch_size, layer.filters])
    y = np.zeros([batch_size, height, width, layer.filters])
    for row in range(height):
        h, c = nothing + layer.initial_h.numpy(), nothing + layer.initial_c.numpy()
        for column in range(width):
            gates = x[:, row, column] @ kernel + layer.bias.numpy() + h @ beside
            if row:
                gates = gates + y[:, row - 1, column] @ above
            h, c = cell(gates, c)
            y[:, row, column] = h
    return y


@pytest.mark.parametrize(("num_channels", "filters", "num_groups"), [(3, 2, 1), (7, 5, 3)])
@pytest.mark.parametrize(("height", "width"), [(4, 3), (2, 5)])
def test_a_loop_over_pixels(num_channels, filters, num_groups, height, width):
    layer = DiagonalBiLSTM(filters, num_groups, dtype="float64")
    layer, x = made(layer, num_channels, height, width)
    expected = oracle_from_left(layer.left, x.numpy())
    from_right = oracle_from_left(layer.right, x.numpy()[:, :, ::-1])[:, :, ::-1]
    expected[:, 1:] += from_right[:, :-1]
    np.testing.assert_allclose(layer(x), expected, atol=1e-12)


@pytest.mark.parametrize(("height", "width"), [(4, 3), (2, 4)])
def test_steps(height, width):
    layer, x = made(DiagonalBiLSTM(3, 3, dtype="float64"), 4, height, width)
    check_steps(layer, x)


@pytest.mark.parametrize("num_groups", [1, 3])
def test_sees_everything_before_and_nothing_after(num_groups):
    layer, x = made(DiagonalBiLSTM(6, num_groups, dtype="float64"), 6, 4, 5)
    found = seen_pixels(layer, x, num_groups)
    before = np.tril(np.ones((20, 20)), -1)
    np.testing.assert_array_equal(found, in_channel_order(before, num_groups))


def test_half_precision_and_xla():
    layer, x = made(DiagonalBiLSTM(4, dtype="mixed_bfloat16"), 3, 3, 4)
    y = tf.function(layer, jit_compile=True)(x)
    assert y.dtype == "bfloat16"
    reference = DiagonalBiLSTM(4)
    reference.build(x.shape)
    reference.set_weights(layer.get_weights())
    np.testing.assert_allclose(tf.cast(y, "float32"), reference(tf.cast(x, "float32")), atol=0.03)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filters": 0}, "filters must be an integer >= 1; received: 0"),
        ({"filters": 2, "num_groups": 3}, r"filters must be at least one a group \(3\)"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        DiagonalBiLSTM(**arguments)
