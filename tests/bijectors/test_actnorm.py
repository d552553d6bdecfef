import numpy as np
import pytest
import tensorflow as tf

from tests.conformance import check_bijector, randomize
from tfgen.bijectors import ActNorm


def batch(shape, seed=0):
    rng = np.random.default_rng(seed)
    scales = 10.0 ** np.arange(-1, shape[-1] - 1)
    return scales * (rng.standard_normal(shape) + 5.0)


@pytest.mark.parametrize("shape", [(3, 4), (3, 2, 3, 2)])
def test_bijector(shape):
    layer = ActNorm(dtype="float64")
    layer(np.zeros(shape))
    randomize(layer)
    check_bijector(layer, np.random.default_rng(0).standard_normal(shape))


def test_log_det_counts_every_position():
    layer = ActNorm()
    layer(np.zeros((1, 3, 5, 2)))
    layer.log_scale.assign([0.5, -2.0])
    _, log_det = layer.forward_and_log_det(np.zeros((4, 3, 5, 2)))
    np.testing.assert_allclose(log_det, np.full(4, 3 * 5 * (0.5 - 2.0)), rtol=1e-6)


@pytest.mark.parametrize("shape", [(64, 3), (16, 4, 4, 3)])
def test_initialize_normalises_the_batch_it_saw(shape):
    layer = ActNorm()
    z = layer.initialize(tf.constant(batch(shape)))
    axes = tuple(range(len(shape) - 1))
    np.testing.assert_allclose(np.mean(z, axes), 0.0, atol=1e-4)
    np.testing.assert_allclose(np.var(z, axes), 1.0, atol=1e-3)


def test_second_batch_does_not_initialise_again():
    layer = ActNorm()
    first, second = batch((64, 3)), 7.0 * batch((64, 3), seed=1) - 3.0
    layer.initialize(tf.constant(first))
    before = layer(first)[0]
    z = layer.initialize(tf.constant(second))
    np.testing.assert_array_equal(layer(first)[0], before)
    assert np.mean(np.square(z)) > 10.0


def test_constant_column_stays_finite():
    layer = ActNorm()
    x = np.stack([np.full(8, 3.0), np.arange(8.0)], -1)
    z = layer.initialize(tf.constant(x))
    np.testing.assert_allclose(z[:, 0], 0.0, atol=1e-6)
    assert np.isfinite(layer(x)[1]).all()


def test_large_values_come_back():
    layer = ActNorm(dtype="float64")
    layer.initialize(tf.constant(batch((64, 3))))
    z = 1e3 * np.random.default_rng(1).standard_normal((5, 3))
    x, _ = layer.forward_and_log_det(z)
    np.testing.assert_allclose(layer(x)[0], z, rtol=1e-12)
