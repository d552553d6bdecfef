"""Convolutions that know where the image ends, with a learned scale for each unit."""

from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from tfgen.checks import check_integer, check_one_of
from tfgen.configurable import Configurable
from tfgen.layers.functions import Tensor, add_bias

SMALLEST_SCALE = 1e-6


class EdgeConv2D(Configurable, keras.Layer):
    """y = exp(f s) (w * [x, e] + b + V c); `[B, H, W, C]` -> `[B, H, W, units]`.

    e is one more channel, 1 on the zeros that pad the image and 0 inside: the edge bias of [1]'s
    released code. What it adds is the same map `[H, W, units]` for every image, and is computed as
    such. A condition c, `[B, K]`, adds the same at every position, nothing at the start.

    The scale multiplies the kernel and not y, in float32 (float64 under that policy), whatever the
    precision of the convolution.

    Args:
        units: number of outputs.
        kernel_size: 3, or 1, which needs no padding and has no edge.

    [1] Kingma, Dhariwal. Glow: generative flow with invertible 1x1 convolutions. NeurIPS 2018.
        arXiv:1807.03039
    """

    kernel_initializer: ClassVar[Any]
    log_scale_factor: ClassVar[float]

    def __init__(self, units: int, kernel_size: int = 3, **kwargs: Any):
        super().__init__(**kwargs)
        check_integer("units", units, minimum=1)
        check_one_of("kernel_size", kernel_size, (1, 3))
        self.units = units
        self.kernel_size = kernel_size

    def build(self, x_shape: Any, condition_shape: Any = None) -> None:
        size = self.kernel_size
        self.kernel = self._add("kernel", (size, size, x_shape[-1], self.units))
        self.edge_kernel: Any = None
        if size > 1:
            self.edge_kernel = self._add("edge_kernel", (size, size, 1, self.units))
            inside = np.zeros((1, *x_shape[1:3], 1), "float32")
            self.edge = np.pad(inside, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=1.0)
        self.condition_kernel: Any = None
        if condition_shape is not None:
            shape = (condition_shape[-1], self.units)
            self.condition_kernel = self._add("condition_kernel", shape, "zeros")
        self.bias = self._add("bias", (self.units,), "zeros")
        self.log_scale = self._add("log_scale", (self.units,), "zeros")

    def _add(self, name: str, shape: Any, initializer: Any = None) -> Any:
        initializer = self.kernel_initializer if initializer is None else initializer
        return self.add_weight(name=name, shape=shape, initializer=initializer, autocast=False)

    def call(self, x: Tensor, condition: Tensor = None) -> Tensor:
        dtype = self.compute_dtype
        scale = ops.exp(self.log_scale_factor * self.log_scale)
        kernel = ops.cast(self.kernel * scale, dtype)
        if self.edge_kernel is None:
            # A matrix product: XLA's 1x1 convolution on a CPU takes twice as long.
            y = ops.einsum("bhwc,cd->bhwd", x, kernel[0, 0])
            y = add_bias(y, ops.cast(self.bias * scale, dtype))
        else:
            y = ops.conv(x, kernel, 1, "same", data_format="channels_last")
            edge = ops.cast(self.edge, self.edge_kernel.dtype)
            edge = ops.conv(edge, self.edge_kernel, 1, "valid", data_format="channels_last")
            bias = ops.reshape((edge + self.bias) * scale, [-1])  # of every position
            flat = add_bias(ops.reshape(y, [-1, bias.shape[0]]), ops.cast(bias, dtype))
            y = ops.reshape(flat, ops.shape(y))
        if condition is not None:
            shift = ops.matmul(condition, ops.cast(self.condition_kernel * scale, dtype))
            y += shift[:, None, None, :]
        return y


class ActNormConv2D(EdgeConv2D):
    """A convolution followed by an activation normalisation; kernels are N(0, 0.05^2).

    `initialize` sets scales and biases so that the outputs for a batch have mean 0 and variance 1.
    """

    kernel_initializer: ClassVar = {"class_name": "RandomNormal", "config": {"stddev": 0.05}}
    log_scale_factor = 1.0

    def initialize(self, x: Any, condition: Any = None) -> None:
        y = ops.cast(self(x, condition=condition), self.bias.dtype)
        mean, variance = ops.moments(y, axes=[0, 1, 2])
        self.bias.assign(self.bias - mean * ops.exp(-self.log_scale))
        deviation = ops.maximum(ops.sqrt(variance), SMALLEST_SCALE)
        self.log_scale.assign(self.log_scale - ops.log(deviation))


class ZeroConv2D(EdgeConv2D):
    """A convolution that starts as zero, with the scale exp(3 s): the last one of a network."""

    kernel_initializer = "zeros"
    log_scale_factor = 3.0
