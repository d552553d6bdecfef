"""Pointwise functions of networks, in the form that compiles well."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfgen import seeds


@tf.custom_gradient
def concat_elu(x: tf.Tensor) -> tuple[tf.Tensor, Any]:
    """ELU of x and of -x, twice the channels; one exponential serves both, and the gradient."""
    exponential = tf.exp(-tf.abs(x))
    y = tf.concat(
        [tf.where(x > 0, x, exponential - 1.0), tf.where(x < 0, -x, exponential - 1.0)], axis=-1
    )

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        first, second = tf.split(upstream, 2, axis=-1)
        one = tf.ones([], x.dtype)
        return first * tf.where(x > 0, one, exponential) - second * tf.where(
            x < 0, one, exponential
        )

    return y, gradient


@tf.custom_gradient
def add_bias(x: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, Any]:
    """x + bias, `[..., C]` and `[C]`; the gradient of the bias is a product with a row of ones.

    As a sum, XLA's CPU compiler computes whatever the gradient of x consists of once more inside
    the sum, channel after channel.
    """

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        flat = tf.reshape(upstream, [-1, bias.shape[0]])
        ones = tf.ones([1, tf.shape(flat)[0]], flat.dtype)
        return upstream, tf.matmul(ones, flat)[0]

    return x + bias, gradient


def dropout(x: tf.Tensor, rate: float, seed: tf.Tensor) -> tf.Tensor:
    """x with a fraction `rate` of the entries zero and the others divided by 1 - rate."""
    keep = seeds.bernoulli(tf.shape(x), 1.0 - rate, seed)
    return tf.where(keep, x / (1.0 - rate), tf.zeros([], x.dtype))


class Dropout(keras.layers.Dropout):
    """Keras's layer with the masks of `seeds.bernoulli`, which cost a compiled step little."""

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training or not self.rate:
            return inputs
        return dropout(inputs, self.rate, seeds.as_seed(None, self.seed_generator))


def recompute(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, of and to tensors, whose inside is computed again for the gradient.

    Until then only its inputs are kept in memory. The second computation gets inputs that depend on
    the gradient that arrived, by adding zero times one of its entries: no compiler may drop that,
    since it is NaN where the entry is. (`tf.recompute_grad` marks them by a comparison that XLA
    evaluates; it then finds two equal computations and keeps the first one's results.)
    """

    @tf.custom_gradient
    def computed(*inputs: tf.Tensor) -> tuple[tf.Tensor, Any]:
        def gradient(*upstream: tf.Tensor, variables: Any = ()) -> Any:
            nothing = 0.0 * tf.reshape(upstream[0], [-1])[0]
            again = [x + tf.cast(nothing, x.dtype) for x in inputs]
            with tf.GradientTape() as tape:
                tape.watch(again)
                y = function(*again)
            of_inputs, of_variables = tape.gradient(y, (again, list(variables)), upstream)
            return (of_inputs, of_variables) if variables else of_inputs

        return function(*inputs), gradient

    return computed
