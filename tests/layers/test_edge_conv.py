import numpy as np
import pytest
import tensorflow as tf

from tests.conformance import randomize
from tfgen.layers import ActNormConv2D, ZeroConv2D


def normal(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("layer", [ActNormConv2D, ZeroConv2D])
def test_edge_is_a_channel_of_the_padding(layer):
    """Against the definition: one more channel, 1 on a ring of padding, and no padding beyond."""
    layer = layer(5, dtype="float64")
    x, condition = normal((2, 4, 3, 2)), normal((2, 3), seed=1)
    layer(x, condition)
    randomize(layer)
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    ring = np.pad(np.zeros((2, 4, 3, 1)), [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=1.0)
    kernel = np.concatenate([layer.kernel, layer.edge_kernel], axis=2)
    y = tf.nn.conv2d(np.concatenate([padded, ring], -1), kernel, strides=1, padding="VALID")
    shift = condition @ layer.condition_kernel.numpy()
    scale = np.exp(layer.log_scale_factor * layer.log_scale.numpy())
    expected = (y + layer.bias + shift[:, None, None]) * scale
    np.testing.assert_allclose(layer(x, condition), expected, rtol=1e-10)


def test_1x1_convolution_is_a_product():
    layer = ActNormConv2D(5, kernel_size=1, dtype="float64")
    x = normal((2, 4, 3, 2))
    layer(x)
    randomize(layer)
    scale = np.exp(layer.log_scale.numpy())
    expected = (x @ layer.kernel.numpy()[0, 0] + layer.bias) * scale
    np.testing.assert_allclose(layer(x), expected, rtol=1e-10)


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_initialisation_normalises_from_any_weights(kernel_size):
    layer = ActNormConv2D(5, kernel_size, dtype="float64")
    x = 7.0 * normal((16, 4, 4, 2)) + 3.0
    layer(x)
    randomize(layer)
    layer.initialize(x)
    y = layer(x).numpy()
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0.0, atol=1e-10)
    np.testing.assert_allclose(y.var((0, 1, 2)), 1.0, atol=1e-10)


def test_starting_values():
    x = normal((2, 4, 4, 8))
    zero, normalised = ZeroConv2D(3), ActNormConv2D(64)
    np.testing.assert_array_equal(zero(x), 0.0)
    normalised(x)
    assert np.std(normalised.kernel) == pytest.approx(0.05, rel=0.05)
    other = ActNormConv2D(64)
    other(x)
    assert not np.array_equal(other.kernel, normalised.kernel)
