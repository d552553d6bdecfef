import numpy as np
import pytest
import tensorflow as tf

from tests.conformance import randomize
from tfgen.bijectors import AdditiveTransformer, AffineTransformer


@pytest.fixture(params=[AdditiveTransformer, AffineTransformer])
def transformer(request):
    transformer = request.param(dtype="float64")
    transformer.build((None, 3))
    randomize(transformer)
    return transformer


def test_zero_parameters_are_exactly_the_identity(transformer):
    z = np.random.default_rng(0).standard_normal((4, 3))
    zeros = tf.zeros([4, 3 * transformer.num_parameters], tf.float64)
    for function in (transformer.forward, transformer.inverse):
        x, log_derivative = function(tf.constant(z), zeros)
        np.testing.assert_array_equal(x, z)
        np.testing.assert_array_equal(log_derivative, 0.0)


@pytest.mark.parametrize("magnitude", [1.0, 1e3])
def test_inverse_and_derivatives(transformer, magnitude):
    rng = np.random.default_rng(1)
    z = tf.constant(magnitude * rng.standard_normal((4, 3)))
    parameters = tf.constant(magnitude * rng.standard_normal((4, 3 * transformer.num_parameters)))
    with tf.GradientTape() as tape:
        tape.watch(z)
        x, log_derivative = transformer.forward(z, parameters)
    derivative = tape.gradient(x, z)
    np.testing.assert_allclose(log_derivative, np.log(derivative), atol=1e-12)
    again, inverse_log_derivative = transformer.inverse(x, parameters)
    np.testing.assert_allclose(again, z, rtol=1e-12, atol=1e-12 * magnitude)
    np.testing.assert_allclose(inverse_log_derivative, -log_derivative, atol=1e-12)


def test_affine_log_scale_is_bounded_per_channel():
    transformer = AffineTransformer(bound=2.0)
    transformer.build((None, 3))
    transformer.largest_log_scale.assign([0.5, 1.0, 2.0])
    parameters = tf.constant([[1e4, -1e4, 1e4, 0.0, 0.0, 7.0]])
    x, log_derivative = transformer.forward(tf.ones([1, 3]), parameters)
    np.testing.assert_allclose(log_derivative, [[0.5, -1.0, 2.0]], rtol=1e-6)
    np.testing.assert_allclose(
        x, np.exp([[0.5, -1.0, 2.0]]) + np.array([[0.0, 0.0, 7.0]]), rtol=1e-6
    )
