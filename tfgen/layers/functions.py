"""Pointwise functions of networks, in the form that compiles well."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from tfgen import seeds

Tensor = Any  # of Keras's backend


@ops.custom_gradient
def concat_elu(x: Tensor) -> tuple[Tensor, Any]:
    """ELU of x and of -x, twice the channels; one exponential serves both, and the gradient."""
    exponential = ops.exp(-ops.abs(x))
    y = ops.concatenate(
        [ops.where(x > 0, x, exponential - 1.0), ops.where(x < 0, -x, exponential - 1.0)], axis=-1
    )

    def gradient(upstream: Tensor) -> Tensor:
        first, second = ops.split(upstream, 2, axis=-1)
        one = ops.ones([], x.dtype)
        return first * ops.where(x > 0, one, exponential) - second * ops.where(
            x < 0, one, exponential
        )

    return y, gradient


@ops.custom_gradient
def add_bias(x: Tensor, bias: Tensor) -> tuple[Tensor, Any]:
    """x + bias, `[..., C]` and `[C]`; the gradient of the bias is a product with a row of ones.

    As a sum, XLA's CPU compiler computes whatever the gradient of x consists of once more inside
    the sum, channel after channel.
    """

    def gradient(upstream: Tensor) -> tuple[Tensor, Tensor]:
        flat = ops.reshape(upstream, [-1, bias.shape[0]])
        ones = ops.ones([1, ops.shape(flat)[0]], flat.dtype)
        return upstream, ops.matmul(ones, flat)[0]

    return x + bias, gradient


def convolve(
    x: Tensor, kernel: Tensor, strides: tuple[int, int], padding: list[list[int]]
) -> Tensor:
    """`[B, H, W, C]` by `[h, w, C, F]`, with zeros around, `padding` for each dimension of x."""
    if keras.backend.backend() == "tensorflow":  # where the gradient of a padding copies x
        return tf.nn.conv2d(x, kernel, strides=[1, *strides, 1], padding=padding)
    return ops.conv(ops.pad(x, padding), kernel, strides, "valid", data_format="channels_last")


def dropout(x: tf.Tensor, rate: float, seed: tf.Tensor) -> tf.Tensor:
    """x with a fraction `rate` of the entries zero and the others divided by 1 - rate."""
    keep = seeds.bernoulli(tf.shape(x), 1.0 - rate, seed)
    return tf.where(keep, x / (1.0 - rate), tf.zeros([], x.dtype))


class Dropout(keras.layers.Dropout):
    """Keras's layer with the masks of `seeds.bernoulli`, which cost a compiled step little.

    They are written in TensorFlow; under another backend the layer is Keras's own.
    """

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        if keras.backend.backend() != "tensorflow":
            return super().call(inputs, training=training)
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
