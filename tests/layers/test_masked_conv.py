"""Masks against the definition in the paper, and against everything that might open them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfgen.layers import MaskedConv2D, causal_mask, channel_groups


def past_of(row: int, column: int, width: int, height: int) -> np.ndarray:
    """The pixels before (row, column) in raster order, bool `[height, width]`."""
    order = np.arange(height * width).reshape(height, width)
    return order < order[row, column]


def seen_by(layers: list[MaskedConv2D], row: int, column: int, size: int) -> np.ndarray:
    """Pixels with a path to (row, column): all kernels one, no non-linearity, nothing cancels."""
    x = tf.zeros([1, size, size, 1])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = x
        for layer in layers:
            if not layer.built:
                layer.build(y.shape)
                layer.kernel.assign(tf.ones_like(layer.kernel))
            y = layer(y)
        output = y[0, row, column, 0]
    return tape.gradient(output, x)[0, :, :, 0].numpy() > 0


@pytest.mark.parametrize(
    ("first_kernel_size", "num_layers", "missing"), [(7, 5, 40), (7, 15, 10), (3, 40, 21)]
)
def test_blind_spot_of_stacked_masks(first_kernel_size, num_layers, missing):
    # Masks of stacked layers leave a blind spot to the upper right; too few layers leave more.
    first = MaskedConv2D(1, first_kernel_size, "A")
    layers = [first, *(MaskedConv2D(1, 3, "B") for _ in range(num_layers))]
    seen, past = seen_by(layers, 10, 7, size=15), past_of(10, 7, 15, 15)
    assert past.sum() == 157
    assert not (seen & ~past).any()
    assert (past & ~seen).sum() == missing


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7])
@pytest.mark.parametrize("mask_type", ["A", "B"])
def test_equals_a_full_convolution_with_a_masked_kernel(kernel_size, mask_type):
    # The paper's form: a square kernel times a square mask, "same" padding.
    layer = MaskedConv2D(6, kernel_size, mask_type, num_groups=3)
    x = tf.random.stateless_normal([2, 5, 6, 9], [0, 1])
    layer.build(x.shape)
    layer.bias.assign(np.arange(6.0))
    centre = kernel_size // 2
    kernel = np.zeros((kernel_size, kernel_size, 9, 6), "float32")
    kernel[: centre + 1] = layer.kernel.numpy()
    kernel[centre, centre + 1 :] = 0.0
    for i in range(9):
        for j in range(6):
            seen, by = i // 3, j // 2
            if seen > by or (mask_type == "A" and seen == by):
                kernel[centre, centre, i, j] = 0.0
    expected = tf.nn.conv2d(x, kernel, 1, "SAME") + np.arange(6.0)
    np.testing.assert_allclose(layer(x), expected, atol=1e-4)


def test_masked_entries_have_no_effect_whatever_is_assigned():
    layer = MaskedConv2D(6, 3, "B", num_groups=3)
    x = tf.random.stateless_normal([2, 5, 6, 6], [0, 1])
    expected = layer(x)
    mask = causal_mask(3, "B", 6, 6, num_groups=3)
    layer.kernel.assign(np.where(mask == 0.0, 1e6, layer.kernel.numpy()))
    np.testing.assert_array_equal(layer(x), expected)


def test_masked_entries_get_no_gradient():
    layer = MaskedConv2D(6, 3, "A", num_groups=3)
    x = tf.random.stateless_normal([2, 5, 6, 3], [0, 1])
    layer.build(x.shape)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x) ** 2)
    gradient = tape.gradient(loss, layer.kernel.value)
    mask = causal_mask(3, "A", 3, 6, num_groups=3)
    np.testing.assert_array_equal(gradient != 0, mask != 0)


def test_same_function_as_a_plain_graph_and_under_xla():
    layer = MaskedConv2D(4, 7, "A")
    x = tf.random.stateless_normal([2, 9, 8, 1], [0, 1])
    expected = layer(x)
    for jit_compile in (False, True):
        compiled = tf.function(layer, jit_compile=jit_compile)
        np.testing.assert_allclose(compiled(x), expected, atol=1e-5)


def test_groups_are_contiguous_and_as_equal_as_possible():
    np.testing.assert_array_equal(channel_groups(7, 3), [0, 0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(np.bincount(channel_groups(128, 3)), [43, 43, 42])
    # Outputs `[..., C, P]` by a reshape need every colour's P parameters to be its own group.
    np.testing.assert_array_equal(channel_groups(12, 3).reshape(3, 4), [[0] * 4, [1] * 4, [2] * 4])


@pytest.mark.parametrize("dtype", ["float64", "mixed_bfloat16"])
def test_follows_the_dtype_policy(dtype):
    layer = MaskedConv2D(4, 3, "B", num_groups=2, dtype=dtype)
    y = layer(tf.ones([1, 4, 4, 2], "float32"))
    assert y.dtype == layer.compute_dtype
    assert layer.kernel.dtype == layer.variable_dtype


def test_config_round_trip():
    layer = MaskedConv2D(6, 5, "B", num_groups=3, use_bias=False, kernel_initializer="zeros")
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert again.get_config() == layer.get_config()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((6, 4, "A"), "kernel_size must be odd; received: 4"),
        ((6, 3, "C"), "mask_type must be one of 'A', 'B'; received: 'C'"),
        ((0, 3, "A"), "filters must be an integer >= 1; received: 0"),
        ((2, 3, "A", 3), r"filters must be at least one a group \(3\); received: 2"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        MaskedConv2D(*arguments)


def test_refuses_an_input_with_fewer_channels_than_groups():
    with pytest.raises(ValueError, match=r"in_channels must be at least one a group \(3\)"):
        MaskedConv2D(6, 3, "A", num_groups=3)(tf.zeros([1, 4, 4, 2]))
