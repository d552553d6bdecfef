"""Closed forms, and gradients against those that TensorFlow derives from plain definitions."""

import functools

import numpy as np
import tensorflow as tf

from tfgen.evaluation.cost_analysis import product_flop
from tfgen.layers.functions import add_bias, concat_elu, dropout, recompute


def _values_and_gradients(function, *inputs):
    inputs = [tf.constant(x) for x in inputs]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        y = function(*inputs)
        weighted = tf.reduce_sum(y * tf.sin(tf.range(tf.size(y), dtype=y.dtype)[: y.shape[-1]]))
    return [y, *tape.gradient(weighted, inputs)]


def test_concat_elu_and_its_gradient():
    x = np.random.default_rng(0).standard_normal((3, 4, 5))
    x[0, 0, :3] = [-300.0, 300.0, 0.1]
    plain = lambda x: tf.concat([tf.nn.elu(x), tf.nn.elu(-x)], -1)  # noqa: E731
    for ours, theirs in zip(
        _values_and_gradients(concat_elu, x), _values_and_gradients(plain, x), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_bias_and_its_gradient():
    random = np.random.default_rng(0)
    x, bias = random.standard_normal((3, 4, 5, 6)), random.standard_normal(6)
    for ours, theirs in zip(
        _values_and_gradients(add_bias, x, bias),
        _values_and_gradients(lambda x, b: x + b, x, bias),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_dropout_keeps_the_mean_and_is_its_own_gradient():
    seed = tf.constant([0, 5])
    x = np.ones((100, 1000), "float32")
    y, gradient = _values_and_gradients(lambda x: dropout(x, 0.2, seed), x)
    y = y.numpy()
    np.testing.assert_allclose(np.unique(y), [0.0, 1.25])
    # Binomial, five standard deviations.
    assert abs(np.mean(y == 0.0) - 0.2) < 5 * np.sqrt(0.2 * 0.8 / y.size)
    np.testing.assert_allclose(gradient, y * np.sin(np.arange(1000.0)), rtol=1e-4, atol=1e-5)


def test_recomputation_has_the_same_gradients_and_survives_the_compiler():
    x = tf.random.stateless_normal([16, 8], [0, 1])
    kernels = [tf.Variable(tf.random.stateless_normal([8, 8], [0, 2 + i])) for i in range(3)]

    def network(x):
        for kernel in kernels:
            x = tf.sin(x @ kernel)
        return x

    def gradients(function, x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.square(function(x)))
        return tape.gradient(loss, [x, *kernels])

    flop, results = [], []
    for function in (network, recompute(network)):
        compiled = tf.function(functools.partial(gradients, function), jit_compile=True)
        flop.append(product_flop(compiled, x))
        results += [compiled(x), gradients(function, x)]
    for other in results[1:]:
        for mine, plain in zip(other, results[0], strict=True):
            np.testing.assert_allclose(mine, plain, rtol=1e-4, atol=1e-5)
    # Three products forward and six backward; with recomputation the three once more.
    one = 2 * 16 * 8 * 8
    assert flop == [9 * one, 12 * one]
