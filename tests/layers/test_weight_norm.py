import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conformance import randomize
from tfgen.layers import (
    ShiftedConv2D,
    ShiftedConv2DTranspose,
    WeightNormConv2D,
    WeightNormDense,
    WeightNormMaskedConv2D,
    causal_mask,
)
from tfgen.layers.weight_norm import data_dependent_initialization

IMAGES = (2, 4, 4, 5)
LAYERS = [
    (WeightNormDense, (6, 5)),
    (WeightNormConv2D, IMAGES),
    (functools.partial(WeightNormMaskedConv2D, kernel_size=3, mask_type="B", num_groups=3), IMAGES),
    (functools.partial(ShiftedConv2D, kernel_size=(2, 3), columns_left=1), IMAGES),
    (functools.partial(ShiftedConv2D, kernel_size=(2, 2), columns_left=1, strides=2), IMAGES),
    (functools.partial(ShiftedConv2DTranspose, kernel_size=(2, 3)), IMAGES),
]


@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_kernel_is_length_times_direction(make, shape):
    layer = make(3)
    x = np.random.default_rng(0).standard_normal(shape).astype("float32")
    layer(x)
    randomize(layer)
    norms = np.sqrt(np.square(layer.kernel.numpy().reshape(-1, 3)).sum(0))
    np.testing.assert_allclose(norms, np.abs(layer.length), rtol=1e-5)
    before = layer(x)
    layer.direction.assign(10.0 * layer.direction)
    np.testing.assert_allclose(layer(x), before, rtol=1e-4, atol=1e-5)
    layer.length.assign(2.0 * layer.length)
    np.testing.assert_allclose(
        layer(x) - layer.bias, 2.0 * (before - layer.bias), rtol=1e-4, atol=1e-5
    )


# Each value that a transposed convolution grows has its own part of the kernel, not all of it.
@pytest.mark.parametrize(("make", "shape"), LAYERS[:-1])
def test_start(make, shape):
    x = np.random.default_rng(0).standard_normal(shape).astype("float32")
    np.testing.assert_array_equal(make(3, gain=0.0)(x), 0.0)
    wide = np.random.default_rng(0).standard_normal((500, *shape[1:])).astype("float32")
    layer = make(64, gain=2.0)
    y = layer(wide).numpy()
    interior = y if y.ndim == 2 else y[:, 1:-1, 1:-1] if y.shape[1] == 4 else y[:, 1:, 1:]
    np.testing.assert_allclose(np.mean(np.square(interior)), 4.0, rtol=0.1)


def test_convolution_sums_over_the_neighbourhood():
    layer = WeightNormConv2D(1, kernel_size=3)
    x = np.arange(12.0, dtype="float32").reshape(1, 3, 4, 1)
    layer(x)
    layer.direction.assign(np.ones((3, 3, 1, 1)))
    layer.length.assign([3.0])  # the norm of nine ones
    padded = np.pad(x[0, :, :, 0], 1)
    expected = [[padded[i : i + 3, j : j + 3].sum() for j in range(4)] for i in range(3)]
    np.testing.assert_allclose(layer(x)[0, :, :, 0], expected, rtol=1e-5)


def test_strides_skip_positions():
    """On odd sides, whose padding is the same on both, every second position remains."""
    whole, strided = WeightNormConv2D(3), WeightNormConv2D(3, strides=2)
    x = np.random.default_rng(0).standard_normal((2, 5, 7, 4)).astype("float32")
    y = whole(x)
    assert strided(x).shape == (2, 3, 4, 3)
    assert strided(x[:, 1:, 1:]).shape == (2, 2, 3, 3)
    strided.set_weights(whole.get_weights())
    np.testing.assert_allclose(strided(x), y[:, ::2, ::2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mask_type", ["A", "B"])
def test_masked_convolution_sees_what_the_mask_says(mask_type):
    """The response to an impulse at the centre is the mask, turned by 180 degrees."""
    layer = WeightNormMaskedConv2D(6, 3, mask_type, num_groups=3)
    impulses = np.zeros((3, 5, 5, 3), "float32")
    impulses[range(3), 2, 2, range(3)] = 1.0
    layer(impulses)
    layer.direction.assign(np.ones(layer.direction.shape))
    response = layer(impulses).numpy()[:, 1:4, 1:4]  # [inputs, rows, columns, units]
    mask = np.concatenate([causal_mask(3, mask_type, 3, 6, 3), np.zeros((1, 3, 3, 6))])
    expected = np.moveaxis(mask[::-1, ::-1] / np.sqrt(mask.sum((0, 1, 2))), 2, 0)
    np.testing.assert_allclose(response, expected, rtol=1e-5)


@pytest.mark.parametrize("columns_left", [0, 1, 2])
def test_shifted_convolution_sums_over_its_own_row_and_one_above(columns_left):
    layer = ShiftedConv2D(1, (2, 3), columns_left)
    x = np.random.default_rng(0).standard_normal((1, 3, 4, 1)).astype("float32")
    layer(x)
    randomize(layer)
    padded = np.pad(x[0, :, :, 0], [(1, 0), (columns_left, 2 - columns_left)])
    kernel = layer.kernel.numpy()[:, :, 0, 0]
    expected = [[(kernel * padded[i : i + 2, j : j + 3]).sum() for j in range(4)] for i in range(3)]
    np.testing.assert_allclose(layer(x)[0, :, :, 0], expected + layer.bias.numpy(), rtol=1e-5)


@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_data_dependent_initialisation(make, shape):
    # Of a chain of two: the second sees what the first gives after its own initialisation.
    rng = np.random.default_rng(0)
    x = (5.0 * rng.standard_normal((20, *shape[1:])) + 3.0).astype("float32")
    model = keras.Sequential([make(3, gain=0.1), make(3, gain=2.0)])
    model(x)
    randomize(model)
    directions = [layer.direction.numpy() for layer in model.layers]
    with data_dependent_initialization(model):
        passed_on = model(x).numpy()
    np.testing.assert_array_equal(model(x), passed_on)
    for layer, direction, y in zip(
        model.layers, directions, [model.layers[0](x), passed_on], strict=True
    ):
        values = np.reshape(y, [-1, 3]).astype("float64")
        np.testing.assert_allclose(values.mean(axis=0), 0.0, atol=1e-4 * layer.gain)
        np.testing.assert_allclose(values.std(axis=0), layer.gain, rtol=1e-4)
        np.testing.assert_array_equal(layer.direction, direction)


def test_a_constant_output_keeps_its_length():
    """Its inputs may vary later: a length that made up for no variance would then blow up."""
    layer = WeightNormDense(3, gain=0.1)
    x = tf.ones([4, 5])
    layer(x)
    with data_dependent_initialization(layer):
        y = layer(x)
    np.testing.assert_allclose(y, 0.0, atol=1e-6)
    np.testing.assert_array_equal(layer.length, np.full(3, 0.1, "float32"))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_norm_is_not_rounded_to_16_bits(policy):
    """1e-5 squared is zero in float16; the norm of a direction of that size must not be."""
    layer, reference = WeightNormDense(3, dtype=policy), WeightNormDense(3)
    x = np.random.default_rng(0).standard_normal((6, 5)).astype("float32")
    layer(x), reference(x)
    layer.direction.assign(1e-5 * reference.direction)
    y = layer(x)
    assert y.dtype == policy.removeprefix("mixed_")
    np.testing.assert_allclose(np.array(y, "float32"), reference(x), atol=0.03)


def test_refusals():
    with pytest.raises(ValueError, match="units must be an integer >= 1; received: 0"):
        WeightNormDense(0)
    with pytest.raises(ValueError, match="kernel_size must be odd; received: 2"):
        WeightNormConv2D(3, kernel_size=2)
    with pytest.raises(ValueError, match="kernel_size must be at least 3; received: 1"):
        WeightNormMaskedConv2D(3, 1, "A")
    with pytest.raises(ValueError, match="units must be at least one a group"):
        WeightNormMaskedConv2D(2, 3, "A", num_groups=3)
    with pytest.raises(ValueError, match="columns_left must be 0 to 2; received: 3"):
        ShiftedConv2D(3, (2, 3), columns_left=3)
    with pytest.raises(ValueError, match=r"kernel_size\[0\] must be an integer >= 1; received: 0"):
        ShiftedConv2D(3, (0, 3), columns_left=1)
    with pytest.raises(ValueError, match="strides must be an integer >= 1; received: 0"):
        ShiftedConv2D(3, (2, 3), columns_left=1, strides=0)
    with pytest.raises(ValueError, match=r"kernel_size must be one of \(2, 2\), \(2, 3\)"):
        ShiftedConv2DTranspose(3, (3, 3))
