"""Convolutions over the past of an image: over all of it, row by row, or pixel by pixel."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from tfgen.checks import check_backend
from tfgen.configurable import Configurable
from tfgen.layers.functions import Tensor, add_bias, convolve


class ComputedKernel:
    """Mixin of layers whose kernel is computed from variables: masked, or normalised.

    `effective_kernel` is what the layer multiplies with. Inside `fixed_kernels` it is computed
    once, which a loop that calls the layer at every position needs.
    """

    _fixed: Any = None

    def _compute_kernel(self) -> Tensor:
        raise NotImplementedError

    def _kernel_parts(self) -> dict[str, Tensor]:
        """All forms of the kernel that the layer uses, by name."""
        return {"whole": self._compute_kernel()}

    def effective_kernel(self, part: str = "whole") -> Tensor:
        parts = self._kernel_parts() if self._fixed is None else self._fixed
        return parts[part]


@contextlib.contextmanager
def fixed_kernels(owner: keras.Layer) -> Iterator[None]:
    """Computes the kernels of all parts of a layer or model now, and not again inside the scope.

    For tracing a loop: what is computed here stands outside of it.
    """
    layers = [part for part in owner._flatten_layers() if isinstance(part, ComputedKernel)]
    for layer in layers:
        object.__setattr__(layer, "_fixed", layer._kernel_parts())
    try:
        yield
    finally:
        for layer in layers:
            object.__setattr__(layer, "_fixed", None)


class CausalConv2D(ComputedKernel):
    """Mixin: a convolution that, at (row, column), sees rows up to its own and columns to the left.

    `call(x)` takes the whole image `[B, H, W, C]` and pads it with zeros, under any backend. The
    same numbers come, in TensorFlow, from `step_row`, one row `[B, 1, W, C]` after the other; and,
    if the kernel sees nothing to the right in its own row, from

        memory = layer.initial_memory(batch_size, width)
        for each row:
            above, state = layer.begin_row(memory), layer.initial_state(batch_size)
            for each column: y, state, record = layer.step(x_t, state, above_t)
            memory = layer.end_row(memory, records of the row)

    with pixels x_t `[B, 1, 1, C]`. The rows above are convolved once for the whole row, so that a
    pixel costs the part of the kernel in its own row. With strides 2, `step` and `step_row` give
    what stands at the even rows (and, for `step`, columns); at the others it is to be ignored.

    A layer gives `_compute_kernel()` of shape `[rows_above + 1, columns, C, F]`, whose last row
    belongs to the pixel's own row and whose column `columns_left` to its own column; `bias` or
    None; `num_channels`, the C of its input; `strides`.
    """

    columns_left: int
    rows_above: int
    num_channels: int
    strides: int = 1
    bias: Any
    compute_dtype: str

    def _kernel_parts(self) -> dict[str, Tensor]:
        kernel = self._compute_kernel()
        _, _, channels, filters = kernel.shape
        own = ops.reshape(
            kernel[-1, : self.columns_left + 1], [(self.columns_left + 1) * channels, filters]
        )
        return {"whole": kernel, "above": kernel[:-1], "own": own}

    def _convolve(
        self, x: Tensor, kernel: Tensor, rows_above: int, strides: tuple[int, int]
    ) -> Tensor:
        columns = kernel.shape[1]
        if kernel.shape[:2] == (1, 1) and strides == (1, 1):
            # A matrix product: XLA's 1x1 convolution on a CPU takes twice as long.
            return ops.einsum("bhwc,cd->bhwd", x, kernel[0, 0])
        sides = [self.columns_left, columns - 1 - self.columns_left]
        return convolve(x, kernel, strides, [[0, 0], [rows_above, 0], sides, [0, 0]])

    def _with_bias(self, x: Tensor) -> Tensor:
        return x if self.bias is None else add_bias(x, ops.cast(self.bias, x.dtype))

    def call(self, x: Tensor) -> Tensor:
        kernel = self.effective_kernel()
        strides = (self.strides, self.strides)
        return self._with_bias(self._convolve(x, kernel, kernel.shape[0] - 1, strides))

    # ------------------------------------------------------------------ row by row

    def initial_memory(self, batch_size: Any, width: int) -> tf.Tensor:
        """The rows above the first one: zeros, `[B, rows_above, width, C]`."""
        check_backend("A pass over the rows")
        return tf.zeros([batch_size, self.rows_above, width, self.num_channels], self.compute_dtype)

    def step_row(self, x_row: tf.Tensor, memory: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """`[B, 1, W, C]` and the rows above it -> `[B, 1, W / strides, F]`, the next memory."""
        seen = tf.concat([memory, tf.cast(x_row, memory.dtype)], axis=1)
        y = self._convolve(seen, self.effective_kernel(), 0, (1, self.strides))
        return self._with_bias(y), seen[:, 1:]

    # ------------------------------------------------------------------ pixel by pixel

    def begin_row(self, memory: tf.Tensor) -> tf.Tensor | None:
        if not self.rows_above:
            return None
        return self._with_bias(self._convolve(memory, self.effective_kernel("above"), 0, (1, 1)))

    def initial_state(self, batch_size: Any) -> tf.Tensor:
        check_backend("A pass over the pixels")
        return tf.zeros([batch_size, 1, self.columns_left, self.num_channels], self.compute_dtype)

    def step(
        self, x_t: tf.Tensor, state: tf.Tensor, above_t: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
        x_t = tf.cast(x_t, self.compute_dtype)
        seen = tf.concat([state, x_t], axis=2) if self.columns_left else x_t
        kernel = self.effective_kernel("own")
        flat = tf.reshape(seen, [-1, kernel.shape[0]])
        y = tf.matmul(flat, kernel)[:, None, None]
        if above_t is None:
            return self._with_bias(y), seen[:, :, 1:], None
        return y + above_t, seen[:, :, 1:], x_t

    def end_row(self, memory: tf.Tensor, record: tf.Tensor | None) -> tf.Tensor:
        return memory if record is None else tf.concat([memory, record], axis=1)[:, 1:]


class Block(Configurable, keras.Layer):
    """A part of a network that calls layers with a memory, and so takes the pass as `run`.

    Its layers build themselves when the model runs for the first time.
    """

    def build(self, input_shape: Any) -> None:
        pass


class DownShift(Configurable, keras.Layer):
    """Moves an image down by one row: the first row is zero, the last one is dropped."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return ops.pad(x, [[0, 0], [1, 0], [0, 0], [0, 0]])[:, :-1]

    def initial_memory(self, batch_size: Any, width: int) -> tf.Tensor:
        return tf.zeros([batch_size, 1, width, self.num_channels], self.compute_dtype)

    def build(self, input_shape: Any) -> None:
        self.num_channels = input_shape[-1]

    def step_row(self, x_row: tf.Tensor, memory: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return memory, tf.cast(x_row, memory.dtype)


class RightShift(Configurable, keras.Layer):
    """Moves an image right by one column: the first column is zero, the last one is dropped."""

    def build(self, input_shape: Any) -> None:
        self.num_channels = input_shape[-1]

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return ops.pad(x, [[0, 0], [0, 0], [1, 0], [0, 0]])[:, :, :-1]

    def initial_memory(self, batch_size: Any, width: int) -> tuple[()]:
        return ()

    def begin_row(self, memory: tuple[()]) -> None:
        return None

    def initial_state(self, batch_size: Any) -> tf.Tensor:
        return tf.zeros([batch_size, 1, 1, self.num_channels], self.compute_dtype)

    def step(
        self, x_t: tf.Tensor, state: tf.Tensor, above_t: None = None
    ) -> tuple[tf.Tensor, tf.Tensor, None]:
        return state, tf.cast(x_t, state.dtype), None

    def end_row(self, memory: tuple[()], record: None) -> tuple[()]:
        return memory
