"""Networks of the causal models at the sizes of the paper on shifted MNIST."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfgen.checks import check_integer
from tfgen.configurable import Configurable


def fan_in_dense(units: int, activation: str | None = None) -> keras.layers.Dense:
    """A dense layer whose weights start uniform in +-1 / sqrt(fan in), as the authors' do.

    Their biases start the same way, here at zero.
    """
    start = keras.initializers.VarianceScaling(1 / 3, mode="fan_in", distribution="uniform")
    return keras.layers.Dense(units, activation=activation, kernel_initializer=start)


class FanInMLP(Configurable, keras.Layer):
    """Dense layers of the flattened input with an activation after each; `[N, ...] -> [N, F]`.

    Args:
        units: of each layer.
        activation: a Keras activation.
    """

    def __init__(self, units: Sequence[int] = (400,), activation: str = "sigmoid", **kwargs: Any):
        super().__init__(**kwargs)
        for size in units:
            check_integer("units", size, minimum=1)
        self.layers = [fan_in_dense(size, activation) for size in units]

    def call(self, x: tf.Tensor) -> tf.Tensor:
        x = tf.reshape(x, [-1, math.prod(x.shape[1:])])
        for layer in self.layers:
            x = layer(x)
        return x


class SemanticDecoder(Configurable, keras.Layer):
    """s through a layer of its own, then with v through an MLP: `[N, S + V] -> [N, *output_shape]`.

    Args:
        output_shape: of one output, which is linear.
        semantic_size: S.
        semantic_units: of the layer that s goes through.
        units: of the layers after it.
        activation: a Keras activation.
    """

    def __init__(
        self,
        output_shape: Sequence[int],
        semantic_size: int,
        semantic_units: int = 100,
        units: Sequence[int] = (400,),
        activation: str = "sigmoid",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_integer("semantic_size", semantic_size, minimum=1)
        self.shape = list(output_shape)
        self.semantic_size = semantic_size
        self.semantic = fan_in_dense(semantic_units, activation)
        self.mlp = FanInMLP(units, activation)
        self.linear = fan_in_dense(math.prod(self.shape))

    def call(self, z: tf.Tensor) -> tf.Tensor:
        s, v = z[:, : self.semantic_size], z[:, self.semantic_size :]
        h = self.mlp(tf.concat([v, self.semantic(s)], axis=-1))
        return tf.reshape(self.linear(h), [-1, *self.shape])
