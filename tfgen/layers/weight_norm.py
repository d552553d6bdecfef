"""Dense and convolutional layers whose kernels are split into length and direction."""

from typing import Any

import keras
import tensorflow as tf

from tfgen.checks import check_argument, check_integer
from tfgen.configurable import Configurable


class WeightNorm(Configurable, keras.Layer):
    """Linear layer with kernel W = g V / ||V||, one length g for each output unit, and a bias.

    The kernel is computed in float32 (float64 under that policy) and then cast, so that 16-bit
    policies do not round the norm. With `gain` = 1 an output has the mean square of the inputs. The
    lengths start at `gain`, not at a data-dependent value as in [1]; 0 makes the layer start as
    zero.

    [1] Salimans, Kingma. Weight normalization: a simple reparameterization to accelerate training
        of deep neural networks. NeurIPS 2016. arXiv:1602.07868
    """

    def __init__(self, units: int, gain: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        check_integer("units", units, minimum=1)
        self.units = units
        self.gain = gain

    def _kernel_shape(self, num_inputs: int) -> tuple[int, ...]:
        raise NotImplementedError

    def _linear(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        raise NotImplementedError

    def build(self, input_shape: Any) -> None:
        self.direction = self.add_weight(
            name="direction",
            shape=self._kernel_shape(input_shape[-1]),
            initializer=keras.initializers.RandomNormal(stddev=0.05),
            autocast=False,
        )
        self.length = self.add_weight(
            name="length",
            shape=(self.units,),
            initializer=keras.initializers.Constant(self.gain),
            autocast=False,
        )
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros")

    @property
    def kernel(self) -> tf.Tensor:
        """W, in the variables' precision."""
        direction = tf.convert_to_tensor(self.direction)
        axes = list(range(direction.shape.rank - 1))
        return self.length * tf.math.l2_normalize(direction, axes)

    def call(self, x: Any) -> tf.Tensor:
        return self._linear(x, tf.cast(self.kernel, self.compute_dtype)) + self.bias


class WeightNormDense(WeightNorm):
    """`[..., inputs]` -> `[..., units]`; see `WeightNorm`."""

    def _kernel_shape(self, num_inputs: int) -> tuple[int, ...]:
        return (num_inputs, self.units)

    def _linear(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return tf.matmul(x, kernel)


class WeightNormConv2D(WeightNorm):
    """`[B, H, W, inputs]` -> `[B, H, W, units]`, zero padding; see `WeightNorm`."""

    def __init__(self, units: int, kernel_size: int = 3, gain: float = 1.0, **kwargs: Any):
        super().__init__(units, gain, **kwargs)
        check_integer("kernel_size", kernel_size, minimum=1)
        check_argument(kernel_size % 2 == 1, "kernel_size", "odd", kernel_size)
        self.kernel_size = kernel_size

    def _kernel_shape(self, num_inputs: int) -> tuple[int, ...]:
        return (self.kernel_size, self.kernel_size, num_inputs, self.units)

    def _linear(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return tf.nn.conv2d(x, kernel, strides=1, padding="SAME")
