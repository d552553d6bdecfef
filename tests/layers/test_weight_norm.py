import numpy as np
import pytest

from tests.conformance import randomize
from tfgen.layers import WeightNormConv2D, WeightNormDense

LAYERS = [(WeightNormDense, (6, 5)), (WeightNormConv2D, (2, 4, 4, 5))]


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


@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_start(make, shape):
    x = np.random.default_rng(0).standard_normal(shape).astype("float32")
    np.testing.assert_array_equal(make(3, gain=0.0)(x), 0.0)
    wide = np.random.default_rng(0).standard_normal((500, *shape[1:])).astype("float32")
    layer = make(64, gain=2.0)
    y = layer(wide).numpy()
    interior = y if y.ndim == 2 else y[:, 1:-1, 1:-1]
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
