"""Dilated convolutions over the past of a sequence: over all of it, or one time step at a time."""

import functools
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from tfgen.checks import check_backend, check_integer
from tfgen.configurable import Configurable
from tfgen.layers.functions import Tensor


class CausalConv1D(Configurable, keras.Layer):
    """Dilated causal convolution [1], `[B, T, C] -> [B, T, filters]`, with zeros before the start:

        y_t = b + sum_{j < kernel_size} W_j x_{t - delay - (kernel_size - 1 - j) dilation}.

    With `delay` 0 the last tap sees x_t itself; with 1 the output sees strictly earlier inputs,
    what the first layer of an autoregressive model needs.

    Under TensorFlow the same numbers come one time step at a time:

        state = layer.initial_state(batch_size)
        for each t: y_t, state = layer.step(x_t, state)

    with x_t `[B, 1, C]`. The state is a ring buffer of past inputs and the time: a step writes one
    entry and reads `kernel_size`, so that its cost does not depend on the dilation, as in [2] for
    two taps.

    Args:
        filters: number of output channels.
        kernel_size: number of taps.
        dilation: distance between taps, in time steps.
        delay: distance of the last tap from the output, in time steps.
        use_bias: whether to add b.
        kernel_initializer: of `[kernel_size, C, filters]`.

    Raises:
        ValueError: an argument outside its range.

    [1] van den Oord et al. WaveNet: A Generative Model for Raw Audio. 2016. arXiv:1609.03499,
        section 2.1.
    [2] Paine et al. Fast Wavenet Generation Algorithm. 2016. arXiv:1611.09482.
    """

    passes_masks = True

    def __init__(
        self,
        filters: int,
        kernel_size: int = 2,
        dilation: int = 1,
        delay: int = 0,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_integer("filters", filters, minimum=1)
        check_integer("kernel_size", kernel_size, minimum=1)
        check_integer("dilation", dilation, minimum=1)
        check_integer("delay", delay, minimum=0)
        self.filters = filters
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        # Of the taps, the oldest first.
        self.ages = [delay + dilation * j for j in reversed(range(kernel_size))]

    def build(self, input_shape: Any) -> None:
        self.num_channels = int(input_shape[-1])
        self.kernel = self.add_weight(
            name="kernel",
            shape=(len(self.ages), self.num_channels, self.filters),
            initializer=self.kernel_initializer,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")

    def call(self, x: Tensor) -> Tensor:
        # Shifted matrix products: a dilated convolution of TensorFlow moves its input to the batch
        # axis and back on a CPU, and XLA's has no fast kernel there.
        length = ops.shape(x)[1]
        padded = ops.pad(x, [[0, 0], [self.ages[0], 0], [0, 0]])
        starts = [self.ages[0] - age for age in self.ages]
        return self._weighted_sum([padded[:, start : start + length] for start in starts])

    def initial_state(self, batch_size: Any) -> tuple[tf.TensorArray, tf.Tensor]:
        """A ring of past inputs `[B, C]`, zeros before the start, and the time."""
        check_backend("CausalConv1D.step")
        # A tensor array because a loop updates it in place, as a plain graph and under XLA; a
        # plain graph copies a tensor at each scatter.
        size = self.ages[0] + 1
        past = tf.TensorArray(self.compute_dtype, size, clear_after_read=False)
        zeros = tf.zeros([size, batch_size, self.num_channels], self.compute_dtype)
        return past.unstack(zeros), tf.constant(0)

    def step(
        self, x_t: tf.Tensor, state: tuple[tf.TensorArray, tf.Tensor]
    ) -> tuple[tf.Tensor, tuple[tf.TensorArray, tf.Tensor]]:
        """`[B, 1, C]` -> `[B, 1, filters]`, the next state."""
        past, time = state
        size = self.ages[0] + 1
        # Written before it is read, so that nothing reads the old ring while it changes.
        past = past.write(time % size, tf.cast(x_t, self.compute_dtype)[:, 0])
        taps = [past.read((time - age) % size)[:, None] for age in self.ages]
        return self._weighted_sum(taps), (past, time + 1)

    def _weighted_sum(self, taps: list[Tensor]) -> Tensor:
        kernel = ops.convert_to_tensor(self.kernel)
        y = functools.reduce(ops.add, [ops.matmul(tap, kernel[j]) for j, tap in enumerate(taps)])
        return y if self.bias is None else y + ops.cast(self.bias, y.dtype)


class TimeSteps(Configurable, keras.Layer):
    """The index of each time step of `[B, T]` or `[B, T, C]`, `[T]`; one at a time, `[1]`."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.range(tf.shape(x)[1])

    def initial_state(self, batch_size: Any) -> tf.Tensor:
        return tf.constant(0)

    def step(self, x_t: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return state[None], state + 1
