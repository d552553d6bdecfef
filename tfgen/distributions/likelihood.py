"""From a network's output to a distribution of data in native units."""

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from tfgen import seeds
from tfgen.checks import check_integer
from tfgen.configurable import Configurable

tfd = tfp.distributions


class Likelihood(Configurable):
    """p(x | parameters), with x in native units; owns no variables.

    Attributes:
        num_levels: number of integer levels of the data, None for real data.
        event_ndims: 0 if each value of x is a distribution of its own, 1 if the channels of a pixel
            are one event.
    """

    num_levels: int | None = None
    event_ndims = 0

    def parameters_shape(self, channels: int) -> tuple[int, ...]:
        """Shape of what a network must give for one pixel (or one column of a table).

        `(channels, P)` for `event_ndims` 0, `(P,)` for 1.
        """
        raise NotImplementedError

    def __call__(self, parameters: tf.Tensor) -> tfd.Distribution:
        """The distribution; batch shape is that of `parameters` without its last dimension."""
        raise NotImplementedError

    def draw(self, parameters: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """A sample of `self(parameters)`."""
        return self(parameters).sample(seed=seed)

    def normalize(self, x: tf.Tensor, dtype: Any = "float32") -> tf.Tensor:
        """Data as a network's input: integer levels on [-1, 1], real data as they are."""
        x = tf.cast(x, dtype)
        return x if self.num_levels is None else 2.0 * x / (self.num_levels - 1) - 1.0


class Bernoulli(Likelihood):
    """x in {0, 1}; one logit a value. log p(x) = -softplus((1 - 2x) logit)."""

    num_levels = 2

    def parameters_shape(self, channels: int) -> tuple[int, ...]:
        return (channels, 1)

    def __call__(self, parameters: tf.Tensor) -> tfd.Distribution:
        return tfd.Bernoulli(logits=parameters[..., 0], dtype=parameters.dtype)

    def draw(self, parameters: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        logits = parameters[..., 0]
        u = seeds.uniform(tf.shape(logits), seed, logits.dtype)
        return tf.cast(u < tf.sigmoid(logits), logits.dtype)


class Categorical(Likelihood):
    """x in {0..L-1} with no order among the levels; L logits a value, as in PixelCNN.

    Zero logits are the uniform distribution: log2(L) bits/dim exactly.
    """

    def __init__(self, num_levels: int = 256):
        check_integer("num_levels", num_levels, minimum=2)
        self.num_levels = num_levels

    def parameters_shape(self, channels: int) -> tuple[int, ...]:
        return (channels, self.num_levels)  # type: ignore[return-value]

    def __call__(self, parameters: tf.Tensor) -> tfd.Distribution:
        return tfd.Categorical(logits=parameters, dtype=parameters.dtype)

    def draw(self, parameters: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        # Inverse of the distribution function: one uniform number a value.
        cumulative = tf.cumsum(tf.nn.softmax(parameters), axis=-1)[..., :-1]
        u = seeds.uniform(tf.shape(parameters)[:-1], seed, parameters.dtype)[..., None]
        return tf.reduce_sum(tf.cast(u >= cumulative, parameters.dtype), axis=-1)
