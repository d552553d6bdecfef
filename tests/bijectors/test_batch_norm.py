import numpy as np
import pytest
import tensorflow as tf

from tests.conformance import check_bijector, randomize
from tfgen.bijectors import BatchNorm, Chain, OnFirstHalf, batch_statistics


def batch(*shape, seed=0):
    rng = np.random.default_rng(seed)
    scales = 10.0 ** np.arange(-1, shape[-1] - 1)
    return scales * (rng.standard_normal(shape) + 5.0)


def moments(x):
    x = np.reshape(x, [-1, x.shape[-1]])
    return x.mean(0), x.var(0)


def random_layer(shape, **arguments):
    """With random weights and statistics."""
    layer = BatchNorm(**arguments)
    layer(np.zeros(shape))
    randomize(layer)
    layer.mean.assign([0.3, -1.0, 2.0][: shape[-1]])
    layer.variance.assign([0.2, 3.0, 1.5][: shape[-1]])
    return layer


@pytest.mark.parametrize("shape", [(3, 3), (3, 2, 3, 2)])
def test_bijector(shape):
    layer = random_layer(shape, dtype="float64")
    check_bijector(layer, np.random.default_rng(0).standard_normal(shape))


def test_formula_and_every_position_counts():
    layer = random_layer((1, 3, 5, 2))
    x = np.random.default_rng(0).standard_normal((4, 3, 5, 2))
    z, log_det = layer(x)
    scale = np.exp(layer.log_scale) / np.sqrt(np.array([0.2, 3.0]) + 1e-5)
    np.testing.assert_allclose(z, (x - [0.3, -1.0]) * scale + layer.shift, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(log_det, np.full(4, 15 * np.log(scale).sum()), rtol=1e-5)


@pytest.mark.parametrize("shape", [(64, 3), (16, 4, 4, 3)])
def test_training_normalises_the_minibatch(shape):
    layer = BatchNorm(dtype="float64")
    x = tf.constant(batch(*shape))
    layer(x)
    with batch_statistics(Chain([layer])), tf.GradientTape() as tape:
        tape.watch(x)
        z, log_det = layer(x)
        total = tf.reduce_sum(z[0] ** 3) + 2.0 * tf.reduce_sum(log_det)
    mean, variance = moments(z)
    np.testing.assert_allclose(mean, 0.0, atol=1e-10)
    np.testing.assert_allclose(variance, 1.0, atol=2e-3)
    positions = np.prod(shape[1:-1])
    expected = -0.5 * positions * np.log(moments(x)[1] + 1e-5).sum()
    np.testing.assert_allclose(log_det, np.full(shape[0], expected), rtol=1e-12)
    # Gradients through the statistics: moving the whole batch changes nothing.
    gradient = tape.gradient(total, x).numpy()
    assert np.abs(gradient).max() > 1e-2
    np.testing.assert_allclose(gradient.reshape(-1, 3).sum(0), 0.0, atol=1e-8)
    # Neither the stored statistics nor what comes after have changed.
    np.testing.assert_array_equal(layer.mean, np.zeros(3))
    np.testing.assert_allclose(layer(x)[0], x / np.sqrt(1.0 + 1e-5), rtol=1e-12)


def test_stored_statistics_go_back():
    layer = random_layer((8, 3), dtype="float64")
    x = batch(8, 3)
    z = layer(x)[0]
    with batch_statistics(layer):  # from z to x there is no batch to normalise by
        np.testing.assert_allclose(layer.forward_and_log_det(z)[0], x, rtol=1e-12)


def test_a_row_has_the_density_of_its_row():
    layer = random_layer((8, 3))
    x = batch(8, 3)
    z, log_det = layer(x)
    np.testing.assert_array_equal(layer(x[2:3])[0][0], z[2])
    np.testing.assert_array_equal(layer(x[2:3])[1][0], log_det[2])


def test_recalibration_is_exact_and_goes_layer_after_layer():
    """Each layer sees what the layers before it make with their new statistics."""
    layers = [BatchNorm(dtype="float64") for _ in range(3)]
    chain = Chain([layers[0], OnFirstHalf(layers[1], dtype="float64"), layers[2]], dtype="float64")
    x = batch(50, 2, 2, 4)
    chain(x)
    randomize(chain)
    layers[0].mean.assign(np.full(4, 1e3))  # far off before
    batches = [tf.constant(x[:7]), tf.constant(x[7:10]), tf.constant(x[10:])]
    result = np.concatenate(chain.recalibrate(batches, [None] * 3))
    np.testing.assert_allclose(result, chain(x)[0], atol=1e-12)
    for layer, inputs in [
        (layers[0], x),
        (layers[1], layers[0](x)[0][..., :2]),
        (layers[2], chain.bijectors[1](layers[0](x)[0])[0]),
    ]:
        mean, variance = moments(np.asarray(inputs))
        np.testing.assert_allclose(layer.mean, mean, rtol=1e-10)
        np.testing.assert_allclose(layer.variance, variance, rtol=1e-10)
    # So evaluation is what training would compute with the whole set as its batch.
    with batch_statistics(chain):
        np.testing.assert_allclose(chain(x)[0], result, atol=1e-9)


def test_means_far_from_zero_cost_no_digits():
    layer = BatchNorm()
    x = (1e4 + np.random.default_rng(0).standard_normal((2000, 1))).astype("float32")
    layer.recalibrate([tf.constant(x)], [None])
    np.testing.assert_allclose(layer.variance, x.astype("float64").var(0), rtol=1e-5)


def test_initialize_stores_the_first_batch_once():
    layer = BatchNorm()
    first = tf.constant(batch(64, 3))
    z = layer.initialize(first)
    np.testing.assert_allclose(moments(z.numpy())[0], 0.0, atol=1e-4)
    np.testing.assert_allclose(layer.mean, moments(first.numpy())[0], rtol=1e-5)
    layer.initialize(7.0 * first)
    np.testing.assert_array_equal(layer(first)[0], z)


def test_constant_column_stays_finite():
    layer = BatchNorm()
    x = tf.constant(np.stack([np.full(8, 3.0), np.arange(8.0)], -1))
    layer.initialize(x)
    assert np.isfinite(layer(x)[1]).all()
    with batch_statistics(layer):
        z, log_det = layer(x)
    np.testing.assert_allclose(z[:, 0], 0.0, atol=1e-6)
    assert np.isfinite(log_det).all()
