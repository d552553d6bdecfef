"""The Row LSTM against a loop over pixels, its steps, its triangle."""

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
from tfgen.layers import RowLSTM


def oracle(layer: RowLSTM, x: np.ndarray) -> np.ndarray:
    """One pixel after the other, straight from the equations, for a kernel of width 3."""
    batch_size, height, width, _ = x.shape
    left, centre = layer.input_kernel.numpy()
    centre, state = masked(centre, layer.num_groups), layer.state_kernel.numpy()
    nothing = np.zeros([batch_size, layer.filters])
    h = {(-1, column): nothing + layer.initial_h.numpy() for column in range(width)}
    c = {(-1, column): nothing + layer.initial_c.numpy() for column in range(width)}
    for row in range(height):
        for column in range(width):
            gates = layer.bias.numpy() + x[:, row, column] @ centre
            if column:
                gates = gates + x[:, row, column - 1] @ left
            for tap in range(3):
                gates = gates + h.get((row - 1, column + tap - 1), nothing) @ state[tap]
            h[row, column], c[row, column] = cell(gates, c[row - 1, column])
    y = [[h[row, column] for column in range(width)] for row in range(height)]
    return np.transpose(y, [2, 0, 1, 3])


@pytest.mark.parametrize(("num_channels", "filters", "num_groups"), [(3, 2, 1), (7, 5, 3)])
def test_a_loop_over_pixels(num_channels, filters, num_groups):
    layer, x = made(RowLSTM(filters, num_groups, dtype="float64"), num_channels, 4, 5)
    np.testing.assert_allclose(layer(x), oracle(layer, x.numpy()), atol=1e-12)


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_steps(kernel_size):
    layer, x = made(RowLSTM(3, 3, kernel_size, dtype="float64"), 4, 3, 4)
    check_steps(layer, x)


@pytest.mark.parametrize(("kernel_size", "num_groups"), [(3, 1), (3, 3), (5, 1)])
def test_sees_exactly_a_triangle(kernel_size, num_groups):
    # A row up, one more column to each side for width 3; to the left, K_is reaches one further.
    height, width, reach = 4, 7, kernel_size // 2
    row, column = (index.ravel() for index in np.indices((height, width)))
    up = row[:, None] - row[None, :]
    right = column[None, :] - column[:, None]
    triangle = (up >= 0) & (right <= up * reach) & (right >= -(up + 1) * reach)
    np.fill_diagonal(triangle, False)
    layer, x = made(RowLSTM(6, num_groups, kernel_size, dtype="float64"), 6, height, width)
    found = seen_pixels(layer, x, num_groups)
    np.testing.assert_array_equal(found, in_channel_order(triangle, num_groups))


def test_half_precision_and_xla():
    layer, x = made(RowLSTM(4, dtype="mixed_bfloat16"), 3, 3, 4)
    y = tf.function(layer, jit_compile=True)(x)
    assert y.dtype == "bfloat16"
    reference = RowLSTM(4)
    reference.build(x.shape)
    reference.set_weights(layer.get_weights())
    np.testing.assert_allclose(tf.cast(y, "float32"), reference(tf.cast(x, "float32")), atol=0.03)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filters": 0}, "filters must be an integer >= 1; received: 0"),
        ({"filters": 2, "num_groups": 3}, r"filters must be at least one a group \(3\)"),
        ({"filters": 2, "kernel_size": 4}, "kernel_size must be odd; received: 4"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        RowLSTM(**arguments)
