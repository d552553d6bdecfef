"""Dense and convolutional layers whose kernels are split into length and direction."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from tfgen.checks import check_argument, check_integer, check_one_of
from tfgen.configurable import Configurable
from tfgen.layers.causal import CausalConv2D, ComputedKernel
from tfgen.layers.functions import Tensor, add_bias
from tfgen.layers.masked_conv import causal_mask

SMALLEST_VARIANCE = 1e-10
SMALLEST_SQUARE = 1e-12  # of a length


@contextlib.contextmanager
def data_dependent_initialization(owner: keras.Layer) -> Iterator[list[Any]]:
    """Inside, each weight-normalised part of `owner` sets its length and bias at its first call.

    From the mean m and the standard deviation s of its output over the batch, for each unit:
    g <- g gain / s and b <- (b - m) gain / s, so that the output has mean 0 and standard deviation
    `gain`; what it passes on is computed with the new values. For one eager pass [1, section 3].
    A unit whose output does not vary says nothing about its length, and keeps it. Gives the parts.
    """
    layers = [part for part in owner._flatten_layers() if isinstance(part, WeightNorm)]
    for layer in layers:
        layer.initializes = True
    try:
        yield layers
    finally:
        for layer in layers:
            layer.initializes = False


class WeightNorm(ComputedKernel, Configurable, keras.Layer):
    """Linear layer with kernel W = g V / ||V||, one length g for each output unit, and a bias.

    The kernel is computed in float32 (float64 under that policy) and then cast, so that 16-bit
    policies do not round the norm. With `gain` = 1 an output has the mean square of the inputs. The
    lengths start at `gain`; 0 makes the layer start as zero. `data_dependent_initialization` sets
    them from a batch, as in [1].

    [1] Salimans, Kingma. Weight normalization: a simple reparameterization to accelerate training
        of deep neural networks. NeurIPS 2016. arXiv:1602.07868
    """

    def __init__(self, units: int, gain: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        check_integer("units", units, minimum=1)
        self.units = units
        self.gain = gain
        self.initializes = False

    def _kernel_shape(self, num_inputs: int) -> tuple[int, ...]:
        raise NotImplementedError

    def _linear(self, x: Tensor, kernel: Tensor) -> Tensor:
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
    def kernel(self) -> Tensor:
        """W, in the variables' precision."""
        return self.length * _normalized(ops.convert_to_tensor(self.direction))

    def _compute_kernel(self) -> Tensor:
        return ops.cast(self.kernel, self.compute_dtype)

    def call(self, x: Any) -> Tensor:
        if self.initializes:
            self._initialize(self._output(x))
        return self._output(x)

    def _output(self, x: Tensor) -> Tensor:
        y = self._linear(x, self.effective_kernel())
        return add_bias(y, ops.cast(self.bias, self.compute_dtype))

    def _initialize(self, y: Tensor) -> None:
        y = ops.cast(y, self.length.dtype)
        mean, variance = ops.moments(y, axes=list(range(len(y.shape) - 1)))
        varies = variance > SMALLEST_VARIANCE
        scale = ops.where(varies, self.gain * ops.rsqrt(variance + SMALLEST_VARIANCE), 1.0)
        self.length.assign(self.length * scale)
        self.bias.assign((self.bias - mean) * scale)
        self.initializes = False


class WeightNormDense(WeightNorm):
    """`[..., inputs]` -> `[..., units]`; see `WeightNorm`."""

    passes_masks = True

    def _kernel_shape(self, num_inputs: int) -> tuple[int, ...]:
        return (num_inputs, self.units)

    def _linear(self, x: Tensor, kernel: Tensor) -> Tensor:
        return ops.tensordot(x, kernel, 1)  # not matmul, which repeats the kernel for each row


class WeightNormConv2D(WeightNorm):
    """`[B, H, W, inputs]` -> `[B, H / strides, W / strides, units]`, rounded up, zero padding; see
    `WeightNorm`."""

    def __init__(
        self, units: int, kernel_size: int = 3, gain: float = 1.0, strides: int = 1, **kwargs: Any
    ):
        super().__init__(units, gain, **kwargs)
        check_integer("kernel_size", kernel_size, minimum=1)
        check_argument(kernel_size % 2 == 1, "kernel_size", "odd", kernel_size)
        check_integer("strides", strides, minimum=1)
        self.kernel_size = kernel_size
        self.strides = strides

    def _kernel_shape(self, num_inputs: int) -> tuple[int, ...]:
        return (self.kernel_size, self.kernel_size, num_inputs, self.units)

    def _linear(self, x: Tensor, kernel: Tensor) -> Tensor:
        return ops.conv(x, kernel, self.strides, "same", data_format="channels_last")


class ShiftedConv2D(CausalConv2D, WeightNorm):
    """Weight-normalised convolution whose kernel reaches up and to the left [1].

    `[B, H, W, C] -> [B, H / strides, W / strides, units]`. A kernel of n rows sees its own row and
    n - 1 above. Of its m columns, `columns_left` are to the left of its own: (m - 1) / 2 make the
    down-shifted convolution of [1], m - 1 the one shifted down and right.

    [1] Salimans, Karpathy, Chen, Kingma. PixelCNN++: improving the PixelCNN with discretized
        logistic mixture likelihood and other modifications. ICLR 2017. arXiv:1701.05517
    """

    def __init__(
        self,
        units: int,
        kernel_size: tuple[int, int],
        columns_left: int,
        strides: int = 1,
        gain: float = 1.0,
        **kwargs: Any,
    ):
        super().__init__(units, gain, **kwargs)
        rows, columns = kernel_size
        check_integer("kernel_size[0]", rows, minimum=1)
        check_integer("kernel_size[1]", columns, minimum=1)
        check_integer("strides", strides, minimum=1)
        inside = 0 <= columns_left < columns
        check_argument(inside, "columns_left", f"0 to {columns - 1}", columns_left)
        self.kernel_size = (rows, columns)
        self.rows_above = rows - 1
        self.columns_left = columns_left
        self.strides = strides

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.num_channels = input_shape[-1]

    def _kernel_shape(self, num_inputs: int) -> tuple[int, ...]:
        return (*self.kernel_size, num_inputs, self.units)

    def _output(self, x: Tensor) -> Tensor:
        return CausalConv2D.call(self, x)

    call = WeightNorm.call


class WeightNormMaskedConv2D(CausalConv2D, WeightNorm):
    """Weight-normalised convolution masked to the causal order of pixels and channel groups.

    `[B, H, W, C] -> [B, H, W, units]`; what an output sees is what it sees in `MaskedConv2D`. The
    length of a kernel is that of its live part.

    Args:
        units: number of outputs, at least `num_groups`.
        kernel_size: height and width of the whole kernel, odd and at least 3: a kernel of size 1
            with mask A leaves the first group nothing to see, and no direction.
        mask_type: "A" or "B".
        num_groups: number of groups of channels.
        gain: as for `WeightNorm`.

    Raises:
        ValueError: an argument outside its range; fewer channels than groups.
    """

    def __init__(
        self,
        units: int,
        kernel_size: int,
        mask_type: str,
        num_groups: int = 1,
        gain: float = 1.0,
        **kwargs: Any,
    ):
        super().__init__(units, gain, **kwargs)
        check_integer("num_groups", num_groups, minimum=1)
        enough = units >= num_groups
        check_argument(enough, "units", f"at least one a group ({num_groups})", units)
        causal_mask(kernel_size, mask_type, num_groups, units, num_groups)  # checks the rest
        check_argument(kernel_size >= 3, "kernel_size", "at least 3", kernel_size)
        self.kernel_size = kernel_size
        self.mask_type = mask_type
        self.num_groups = num_groups
        self.rows_above = self.columns_left = kernel_size // 2

    def build(self, input_shape: Any) -> None:
        self.num_channels = input_shape[-1]
        self.mask = causal_mask(
            self.kernel_size, self.mask_type, self.num_channels, self.units, self.num_groups
        )
        super().build(input_shape)

    def _kernel_shape(self, num_inputs: int) -> tuple[int, ...]:
        return self.mask.shape

    @property
    def kernel(self) -> Tensor:
        direction = ops.convert_to_tensor(self.direction)
        return self.length * _normalized(direction * ops.cast(self.mask, direction.dtype))

    def _output(self, x: Tensor) -> Tensor:
        return CausalConv2D.call(self, x)

    call = WeightNorm.call


class ShiftedConv2DTranspose(WeightNorm):
    """Weight-normalised transposed convolution, strides 2, that keeps the order of pixels [1].

    `[B, H, W, C] -> [B, 2 H, 2 W, units]`. A kernel of 2 rows and 2 columns spreads each pixel over
    its own 2x2 block. One of 2 rows and 3 columns spreads it half a block further to the left: a
    block comes from its pixel and the pixel to the right, so this is for networks that see whole
    rows.

    [1] Salimans, Karpathy, Chen, Kingma. PixelCNN++: improving the PixelCNN with discretized
        logistic mixture likelihood and other modifications. ICLR 2017. arXiv:1701.05517
    """

    def __init__(self, units: int, kernel_size: tuple[int, int] = (2, 2), **kwargs: Any):
        super().__init__(units, **kwargs)
        check_one_of("kernel_size", tuple(kernel_size), ((2, 2), (2, 3)))
        self.kernel_size = tuple(kernel_size)

    def _kernel_shape(self, num_inputs: int) -> tuple[int, ...]:
        return (*self.kernel_size, num_inputs, self.units)

    def _kernel_parts(self) -> dict[str, Tensor]:
        # As one matrix product from the pixels that a block of 2x2 comes from.
        kernel = self._compute_kernel()
        _, columns, channels, units = kernel.shape
        if (
            columns == 3
        ):  # left and right column of a block, from its pixel and the one to the right
            nothing = ops.zeros_like(kernel[:, 0])
            own = ops.stack([kernel[:, 1], kernel[:, 2]], axis=1)
            right = ops.stack([nothing, kernel[:, 0]], axis=1)
            kernel = ops.concatenate([own, right], axis=2)
            channels *= 2
        block = ops.reshape(ops.transpose(kernel, [2, 0, 1, 3]), [channels, 4 * units])
        return {"whole": block}

    def blocks(self, x: Tensor) -> Tensor:
        """`[B, H, W, C] -> [B, H, W, 2, 2, units]`."""
        x = ops.cast(x, self.compute_dtype)
        if self.kernel_size[1] == 3:
            right = ops.pad(x[:, :, 1:], [[0, 0], [0, 0], [0, 1], [0, 0]])
            x = ops.concatenate([x, right], axis=-1)
        y = ops.einsum("bhwc,cd->bhwd", x, self.effective_kernel())
        y = ops.reshape(y, [-1, *y.shape[1:3], 2, 2, self.units])
        return add_bias(y, ops.cast(self.bias, y.dtype))

    def _output(self, x: Tensor) -> Tensor:
        y = ops.transpose(self.blocks(x), [0, 1, 3, 2, 4, 5])
        return ops.reshape(y, [-1, 2 * y.shape[1], 2 * y.shape[3], self.units])


def _normalized(direction: Tensor) -> Tensor:
    """Divided by its length, for each output unit (the last axis)."""
    squares = ops.sum(ops.square(direction), axis=tuple(range(len(direction.shape) - 1)))
    return direction * ops.rsqrt(ops.maximum(squares, SMALLEST_SQUARE))
