import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.conformance import check_bijector
from tfgen.bijectors import Fixed, Logit

tfb = tfp.bijectors


@pytest.mark.parametrize("alpha", [0.0, 0.05])
def test_bijector(alpha):
    z = np.random.default_rng(0).standard_normal((3, 2, 2, 1))
    check_bijector(Fixed(Logit(alpha), 3, dtype="float64"), z)


def test_without_margin_it_is_the_inverse_of_the_sigmoid():
    x = np.linspace(0.01, 0.99, 7)
    np.testing.assert_allclose(Logit(0.0).inverse(x), tfb.Sigmoid().inverse(x), atol=1e-12)


def test_margin_is_symmetric_and_keeps_the_ends_finite():
    z = Logit(0.05).inverse(np.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(z, [np.log(0.05 / 0.95), 0.0, np.log(0.95 / 0.05)], atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tails(dtype):
    """Beyond the image of [0, 1] the map goes on; its log-determinant is -|z| far out."""
    z = tf.constant([-1e3, 1e3], dtype)
    bijector = Logit(0.05)
    np.testing.assert_allclose(bijector.forward(z), [-0.05 / 0.9, 0.95 / 0.9], rtol=1e-6)
    log_det = bijector.forward_log_det_jacobian(z)
    np.testing.assert_allclose(log_det, -1e3 - np.log(0.9), rtol=1e-6)


@pytest.mark.parametrize("alpha", [-0.1, 0.5])
def test_impossible_alpha(alpha):
    with pytest.raises(ValueError, match=r"alpha must be at least 0 and below 0\.5"):
        Logit(alpha)
