import numpy as np
import pytest
import tensorflow as tf

from tests.conformance import check_bijector, randomize
from tfgen.bijectors import InvertibleConv1x1
from tfgen.bijectors.invertible_conv import _plu


def built(channels, seed=0, dtype="float64", random=False):
    layer = InvertibleConv1x1(seed, dtype=dtype)
    layer(np.zeros((1, channels)))
    if random:
        randomize(layer)
    return layer


def normal(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("shape", [(3, 5), (2, 2, 3, 4)])
def test_bijector(shape):
    layer = InvertibleConv1x1(dtype="float64")
    layer(np.zeros(shape))
    randomize(layer)
    check_bijector(layer, normal(shape))


@pytest.mark.parametrize("channels", [1, 2, 12, 48])
def test_starts_as_a_rotation(channels):
    layer = built(channels, dtype="float32")
    matrix = layer.matrix().numpy()
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(channels), atol=1e-5)
    np.testing.assert_allclose(layer.inverse_matrix(), matrix.T, atol=1e-5)
    np.testing.assert_allclose(layer(normal((3, 4, 4, channels)))[1], 0.0, atol=1e-4)
    assert channels == 1 or np.abs(matrix - built(channels, seed=1).matrix()).max() > 0.1


def test_decomposition_gives_back_the_matrix():
    # Seven rows: their permutation is not its own inverse, and P with P' exchanged is not the same.
    matrix = normal((7, 7))
    permutation, lower, upper = _plu(matrix)
    np.testing.assert_allclose(permutation @ lower @ upper, matrix, atol=1e-12)
    assert np.abs(permutation.T @ lower @ upper - matrix).max() > 0.1
    np.testing.assert_array_equal(lower, np.tril(lower, -1) + np.eye(7))
    np.testing.assert_array_equal(upper, np.triu(upper))


def test_factors_are_those_of_the_dense_matrix():
    x = normal((3, 2, 5, 7))
    layer = InvertibleConv1x1(dtype="float64")
    layer(x)
    randomize(layer)
    matrix = layer.matrix().numpy()
    z, log_det = layer(x)
    np.testing.assert_allclose(z, np.einsum("bhwc,dc->bhwd", x, matrix), atol=1e-12)
    np.testing.assert_allclose(log_det, np.full(3, 2 * 5 * np.linalg.slogdet(matrix)[1]))
    np.testing.assert_allclose(layer.inverse_matrix(), np.linalg.inv(matrix), atol=1e-9)


def test_triangles_stay_triangular():
    """Whatever an optimizer puts on the other side of the diagonals."""
    layer = built(5, random=True)
    before = layer.matrix().numpy()
    layer.lower.assign_add(np.triu(normal((5, 5))))
    layer.upper.assign_add(np.tril(normal((5, 5))))
    np.testing.assert_array_equal(layer.matrix(), before)


def test_permutation_and_signs_are_fixed_and_saved():
    first, second = built(6, random=True), built(6, seed=1)
    assert {v.name for v in first.trainable_variables} == {"lower", "upper", "log_diagonal"}
    assert np.abs(first.permutation - second.permutation).max() == 1
    second.set_weights(first.get_weights())
    np.testing.assert_array_equal(first.matrix(), second.matrix())


def test_large_values_come_back_in_float32():
    layer = InvertibleConv1x1()
    layer(np.zeros((1, 2, 2, 24)))
    randomize(layer, scale=0.05)
    z = (1e3 * normal((5, 2, 2, 24))).astype("float32")
    x, _ = layer.forward_and_log_det(z)
    np.testing.assert_allclose(layer(x)[0], z, atol=1e-5 * 1e3)
    assert np.isfinite(layer(tf.fill([2, 1, 1, 24], 1e3))[0]).all()
