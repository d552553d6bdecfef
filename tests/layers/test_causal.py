"""Causal convolutions row by row and pixel by pixel against the whole image."""

import numpy as np
import pytest
import tensorflow as tf

from tests.conformance import randomize
from tfgen.layers import MaskedConv2D, ShiftedConv2D, ShiftedConv2DTranspose
from tfgen.layers.causal import DownShift, RightShift, fixed_kernels

SHAPE = (2, 5, 6, 4)

BY_PIXEL = {
    "mask A": lambda: MaskedConv2D(6, 7, "A", 2),
    "mask B": lambda: MaskedConv2D(6, 3, "B", 2, use_bias=False),
    "pointwise": lambda: MaskedConv2D(6, 1, "B", 2),
    "own row": lambda: MaskedConv2D(6, (1, 5), "B", 2),
    "more rows than columns": lambda: MaskedConv2D(6, (4, 2), "A", 2),
    "more columns to the right": lambda: MaskedConv2D(6, (3, 4), "A", 2),
    "down and right": lambda: ShiftedConv2D(6, (2, 2), columns_left=1),
    "rows only": lambda: ShiftedConv2D(6, (2, 1), columns_left=0),
    "right shift": RightShift,
}
BY_ROW = {
    "down": lambda: ShiftedConv2D(6, (2, 3), columns_left=1),
    "right of its own column": lambda: ShiftedConv2D(6, (1, 3), columns_left=1),
    "down shift": DownShift,
}


def made(make):
    layer = make()
    x = np.random.default_rng(0).standard_normal(SHAPE).astype("float32")
    layer(x)
    randomize(layer)
    return layer, x, layer(x).numpy()


@pytest.mark.parametrize("name", BY_PIXEL)
def test_pixel_by_pixel(name):
    layer, x, whole = made(BY_PIXEL[name])
    memory = layer.initial_memory(len(x), x.shape[2])
    for row in range(x.shape[1]):
        above, state, records = layer.begin_row(memory), layer.initial_state(len(x)), []
        for column in range(x.shape[2]):
            above_t = None if above is None else above[:, :, column, None]
            y, state, record = layer.step(x[:, row, None, column, None], state, above_t)
            np.testing.assert_allclose(y[:, 0, 0], whole[:, row, column], atol=1e-5)
            records.append(record)
        remembered = None if above is None else tf.concat(records, axis=2)
        memory = layer.end_row(memory, remembered)


@pytest.mark.parametrize("name", BY_ROW)
def test_row_by_row(name):
    layer, x, whole = made(BY_ROW[name])
    memory = layer.initial_memory(len(x), x.shape[2])
    for row in range(x.shape[1]):
        y, memory = layer.step_row(x[:, row, None], memory)
        np.testing.assert_allclose(y[:, 0], whole[:, row], atol=1e-5)


@pytest.mark.parametrize("kernel_size", [(2, 2), (2, 3)])
def test_strides_are_every_second_row_and_column(kernel_size):
    layer, x, whole = made(lambda: ShiftedConv2D(6, kernel_size, columns_left=1))
    strided = ShiftedConv2D(6, kernel_size, columns_left=1, strides=2)
    strided.build(x.shape)
    strided.set_weights(layer.get_weights())
    np.testing.assert_allclose(strided(x), whole[:, ::2, ::2], atol=1e-5)


@pytest.mark.parametrize("kernel_size", [(2, 2), (2, 3)])
def test_transposed_convolution_is_tensorflows_cropped(kernel_size):
    """Three columns: cropped by one column on the left, as in the authors' code."""
    layer, x, grown = made(lambda: ShiftedConv2DTranspose(6, kernel_size))
    kernel = tf.transpose(layer.kernel, [0, 1, 3, 2])
    batch, height, width, _ = x.shape
    # VALID, and one column more than the input's own where the kernel has three.
    shape = [batch, 2 * height, 2 * width + kernel_size[1] - 2, 6]
    expected = tf.nn.conv2d_transpose(x, kernel, shape, strides=2, padding="VALID")
    expected = expected[:, :, kernel_size[1] - 2 :] + layer.bias
    np.testing.assert_allclose(grown, expected, atol=1e-5)


def test_fixed_kernels_are_those_of_the_moment_and_only_inside():
    layer, x, before = made(BY_PIXEL["down and right"])
    with fixed_kernels(layer):
        layer.length.assign(2.0 * layer.length)
        np.testing.assert_array_equal(layer(x), before)
    np.testing.assert_allclose(layer(x) - layer.bias, 2.0 * (before - layer.bias), atol=1e-5)


def test_refusals():
    with pytest.raises(ValueError, match="columns_left must be 0 to 2; received: 3"):
        ShiftedConv2D(4, (2, 3), columns_left=3)
    with pytest.raises(ValueError, match=r"kernel_size must be one of .* received: \(3, 3\)"):
        ShiftedConv2DTranspose(4, (3, 3))
    with pytest.raises(ValueError, match=r"kernel_size\[0\] must be an integer >= 1; received: 0"):
        MaskedConv2D(4, (0, 5), "B")
