import numpy as np
import pytest
import tensorflow_probability as tfp

from tests.conformance import check_bijector, randomize
from tfgen.bijectors import DiagonalScaling, LearnedGaussian

tfd = tfp.distributions

LAYERS = [DiagonalScaling, LearnedGaussian]


def normal(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("shape", [(3, 4), (3, 2, 2, 3)])
@pytest.mark.parametrize("layer", LAYERS)
def test_bijector(layer, shape):
    layer = layer(dtype="float64")
    z, log_det = layer(normal(shape))
    np.testing.assert_array_equal(z, normal(shape))
    np.testing.assert_array_equal(log_det, 0.0)
    randomize(layer)
    check_bijector(layer, normal(shape))
    far = 1e3 * normal(shape, seed=1)
    np.testing.assert_allclose(layer(layer.forward_and_log_det(far)[0])[0], far, rtol=1e-9)


def test_scaling_multiplies_the_data():
    layer = DiagonalScaling(dtype="float64")
    layer(np.zeros((1, 3)))
    layer.log_scale.assign(np.log([2.0, 3.0, 0.5]))
    z, log_det = layer(np.ones((2, 3)))
    np.testing.assert_allclose(z, [[2.0, 3.0, 0.5]] * 2)
    np.testing.assert_allclose(log_det, [np.log(3.0)] * 2)


def test_condition_moves_the_gaussian_of_each_channel():
    layer = LearnedGaussian(dtype="float64")
    x, condition = normal((3, 2, 2, 4)), np.eye(3)
    layer(x, condition)
    randomize(layer)
    check_bijector(layer, x, condition)

    loc, log_scale = layer.loc.numpy(), layer.log_scale.numpy()
    of_loc, of_log_scale = (
        layer.kernel.numpy()[:, None, None, :4],
        layer.kernel.numpy()[:, None, None, 4:],
    )
    gaussian = tfd.Normal(loc + of_loc, np.exp(log_scale + of_log_scale))
    z, log_det = layer(x, condition)
    expected = gaussian.log_prob(x).numpy().sum((1, 2, 3))
    received = tfd.Normal(np.float64(0.0), 1.0).log_prob(z).numpy().sum((1, 2, 3)) + log_det
    np.testing.assert_allclose(received, expected, rtol=1e-12)
