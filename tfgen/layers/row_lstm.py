"""The Row LSTM of PixelRNN: a recurrence over the rows of an image, all columns at once."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfgen.checks import check_backend, check_integer
from tfgen.configurable import Configurable
from tfgen.layers.causal import ComputedKernel
from tfgen.layers.lstm_cell import NUM_GATES, State, lstm_cell, scan
from tfgen.layers.masked_conv import causal_mask


class RowLSTM(ComputedKernel, Configurable, keras.Layer):
    """Row LSTM [1, section 3.1], `[B, H, W, C] -> [B, H, W, filters]`, from the top to the bottom.

    Row r has the states h_r, c_r `[B, W, filters]`, and with sigmoids s and convolutions * along
    the row

        [o, f, i, g] = [s, s, s, tanh](K_ss * h_(r-1) + K_is * x_r + b)
        c_r = f c_(r-1) + i g,   h_r = o tanh(c_r).

    K_is has mask B: it sees the columns to the left and, at its own pixel, colours up to its own;
    for all rows it is one convolution before the scan. K_ss sees complete pixels of the row above,
    so that it needs no mask. What a pixel sees of the rows above is a triangle that widens by
    `kernel_size // 2` columns a row, plus what its inputs have seen.

    The state above the first row is learned; it is the same for all columns, and all images.

    Runs pixel by pixel too, as `CausalConv2D` says: a pixel then costs K_is, a row K_ss.

    Args:
        filters: h, number of output channels.
        num_groups: number of colours.
        kernel_size: width of both kernels, odd.

    Raises:
        ValueError: an argument outside its range; fewer channels than groups.

    [1] van den Oord, Kalchbrenner, Kavukcuoglu. Pixel Recurrent Neural Networks. ICML 2016.
        arXiv:1601.06759.
    """

    def __init__(self, filters: int, num_groups: int = 1, kernel_size: int = 3, **kwargs: Any):
        super().__init__(**kwargs)
        check_backend("RowLSTM")
        check_integer("filters", filters, minimum=1)
        causal_mask(kernel_size, "B", num_groups, filters, num_groups)  # checks them all
        self.filters = filters
        self.num_groups = num_groups
        self.kernel_size = kernel_size

    def build(self, input_shape: Any) -> None:
        self.num_channels = input_shape[-1]
        mask = causal_mask(self.kernel_size, "B", self.num_channels, self.filters, self.num_groups)
        # Only the taps up to the pixel itself, all others being zero; each gate has its colours.
        self.columns_left = self.kernel_size // 2
        self.mask = np.tile(mask[-1, : self.columns_left + 1], NUM_GATES)
        width = NUM_GATES * self.filters
        self.input_kernel = self.add_weight(name="input_kernel", shape=self.mask.shape)
        self.state_kernel = self.add_weight(
            name="state_kernel", shape=(self.kernel_size, self.filters, width)
        )
        self.bias = self.add_weight(name="bias", shape=(width,), initializer="zeros")
        self.initial_h = self.add_weight(
            name="initial_h", shape=(self.filters,), initializer="zeros"
        )
        self.initial_c = self.add_weight(
            name="initial_c", shape=(self.filters,), initializer="zeros"
        )

    def _compute_kernel(self) -> tf.Tensor:
        kernel = tf.cast(tf.convert_to_tensor(self.input_kernel), self.compute_dtype)
        return kernel * tf.cast(self.mask, kernel.dtype)

    def _kernel_parts(self) -> dict[str, tf.Tensor]:
        width = NUM_GATES * self.filters
        state = tf.cast(tf.convert_to_tensor(self.state_kernel), self.compute_dtype)
        return {
            "input": tf.reshape(self._compute_kernel(), [-1, width]),
            "state": tf.reshape(state, [-1, width]),
        }

    def _input_to_state(self, x: tf.Tensor) -> tf.Tensor:
        """`[B, R, columns_left + W, C] -> [B, R, W, 4 filters]`, with the bias."""
        windows = _windows(x, self.columns_left + 1)
        gates = tf.tensordot(windows, self.effective_kernel("input"), 1)
        return gates + tf.cast(self.bias, gates.dtype)

    def _state_to_state(self, h: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """`[B, R, W, filters] -> [B, R, W, 4 filters]`."""
        h = tf.pad(h, [[0, 0], [0, 0], [self.columns_left, self.columns_left], [0, 0]])
        return tf.tensordot(_windows(h, self.kernel_size), kernel, 1)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        batch_size, width = tf.shape(x)[0], x.shape[2]
        padded = tf.pad(x, [[0, 0], [0, 0], [self.columns_left, 0], [0, 0]])
        gates = tf.transpose(self._input_to_state(padded), [1, 0, 2, 3])

        def step(_: tf.Tensor, gates: tf.Tensor, memory: State, kernel: tf.Tensor) -> State:
            h, c = memory
            return lstm_cell(gates[:, None] + self._state_to_state(h, kernel), c)

        kernel = self.effective_kernel("state")
        h = scan(step, self.initial_memory(batch_size, width), gates, kernel)
        return tf.transpose(h[:, :, 0], [1, 0, 2, 3])

    # ------------------------------------------------------------------ pixel by pixel

    def initial_memory(self, batch_size: Any, width: int) -> State:
        """h and c of the row above the first one, each `[B, 1, W, filters]`."""
        shape = [batch_size, 1, width, self.filters]
        h, c = (tf.cast(v, self.compute_dtype) for v in (self.initial_h, self.initial_c))
        return tf.broadcast_to(h, shape), tf.broadcast_to(c, shape)

    def begin_row(self, memory: State) -> tf.Tensor:
        h, c = memory
        return tf.concat([self._state_to_state(h, self.effective_kernel("state")), c], axis=-1)

    def initial_state(self, batch_size: Any) -> tf.Tensor:
        """The input at the columns to the left of the image: zeros."""
        shape = [batch_size, 1, self.columns_left, self.num_channels]
        return tf.zeros(shape, self.compute_dtype)

    def step(
        self, x_t: tf.Tensor, state: tf.Tensor, above_t: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        seen = tf.concat([state, tf.cast(x_t, state.dtype)], axis=2)
        from_state, c = tf.split(above_t, [NUM_GATES * self.filters, self.filters], axis=-1)
        h, c = lstm_cell(self._input_to_state(seen) + from_state, c)
        return h, seen[:, :, 1:], tf.concat([h, c], axis=-1)

    def end_row(self, memory: State, record: tf.Tensor) -> State:
        h, c = tf.split(record, 2, axis=-1)
        return h, c


def _windows(x: tf.Tensor, size: int) -> tf.Tensor:
    """`[B, R, W + size - 1, C] -> [B, R, W, size C]`: `size` neighbouring columns side by side."""
    width = x.shape[2] - size + 1
    return tf.concat([x[:, :, tap : tap + width] for tap in range(size)], axis=-1)
