"""The Diagonal BiLSTM of PixelRNN: a recurrence over the diagonals of an image, from both sides."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfgen.checks import check_backend, check_integer
from tfgen.configurable import Configurable
from tfgen.layers.causal import ComputedKernel
from tfgen.layers.lstm_cell import NUM_GATES, State, lstm_cell, scan
from tfgen.layers.masked_conv import causal_mask


def skew(x: tf.Tensor) -> tf.Tensor:
    """Row r moves right by r, `[B, H, W, C] -> [B, H, W + H - 1, C]`; zeros where nothing stands.

    Column s then holds the diagonal of the pixels with row + column = s.
    """
    height, width, channels = x.shape[1:]
    # Rows longer by H, written one after the other and read as rows of one pixel less.
    x = tf.pad(x, [[0, 0], [0, 0], [0, height], [0, 0]])
    x = tf.reshape(x, [-1, height * (width + height), channels])[:, :-height]
    return tf.reshape(x, [-1, height, width + height - 1, channels])


def unskew(x: tf.Tensor) -> tf.Tensor:
    """The inverse of `skew`, `[B, H, W + H - 1, C] -> [B, H, W, C]`."""
    height, skewed, channels = x.shape[1:]
    x = tf.reshape(x, [-1, height * skewed, channels])
    x = tf.pad(x, [[0, 0], [0, height], [0, 0]])
    return tf.reshape(x, [-1, height, skewed + 1, channels])[:, :, : skewed + 1 - height]


class DiagonalLSTM(ComputedKernel, Configurable, keras.Layer):
    """One direction, from the left, of a `DiagonalBiLSTM`, which has the equations."""

    def __init__(self, filters: int, num_groups: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        check_integer("filters", filters, minimum=1)
        causal_mask(1, "B", num_groups, filters, num_groups)  # checks them both
        self.filters = filters
        self.num_groups = num_groups

    def build(self, input_shape: Any) -> None:
        channels, width = input_shape[-1], NUM_GATES * self.filters
        mask = causal_mask(1, "B", channels, self.filters, self.num_groups)[0, 0]
        self.mask = np.tile(mask, NUM_GATES)  # each gate has its colours
        self.input_kernel = self.add_weight(name="input_kernel", shape=(channels, width))
        self.state_kernel = self.add_weight(name="state_kernel", shape=(2, self.filters, width))
        self.bias = self.add_weight(name="bias", shape=(width,), initializer="zeros")
        shape = (self.filters,)
        self.initial_h = self.add_weight(name="initial_h", shape=shape, initializer="zeros")
        self.initial_c = self.add_weight(name="initial_c", shape=shape, initializer="zeros")

    def _kernel_parts(self) -> dict[str, tf.Tensor]:
        input_kernel = tf.cast(tf.convert_to_tensor(self.input_kernel), self.compute_dtype)
        state_kernel = tf.cast(tf.convert_to_tensor(self.state_kernel), self.compute_dtype)
        return {
            "input": input_kernel * tf.cast(self.mask, input_kernel.dtype),
            "state": tf.reshape(state_kernel, [2 * self.filters, -1]),
        }

    def input_to_state(self, x: tf.Tensor) -> tf.Tensor:
        """K_is x + b, `[..., C] -> [..., 4 filters]`."""
        gates = tf.tensordot(x, self.effective_kernel("input"), 1)
        return gates + tf.cast(self.bias, gates.dtype)

    def initial_state(self, shape: Any) -> State:
        """h and c beside the image, each `[*shape, filters]`."""
        h, c = (tf.cast(v, self.compute_dtype) for v in (self.initial_h, self.initial_c))
        shape = [*shape, self.filters]
        return tf.broadcast_to(h, shape), tf.broadcast_to(c, shape)

    def cell(self, gates: tf.Tensor, h_above: tf.Tensor, state: State, kernel: tf.Tensor) -> State:
        """The state at pixels, from that above them and that beside them, `[..., filters]`."""
        h, c = state
        h = tf.concat([h_above, h], axis=-1)
        return lstm_cell(gates + tf.tensordot(h, kernel, 1), c)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        height = x.shape[1]
        gates = tf.transpose(skew(self.input_to_state(x)), [2, 0, 1, 3])
        initial = self.initial_state([tf.shape(x)[0], height])
        rows = tf.range(height)[:, None]

        def step(
            diagonal: tf.Tensor, gates: tf.Tensor, state: State, parameters: tuple[tf.Tensor, State]
        ) -> State:
            kernel, initial = parameters
            h_above = tf.pad(state[0], [[0, 0], [1, 0], [0, 0]])[:, :-1]
            new = self.cell(gates, h_above, state, kernel)
            # Rows that begin on a later diagonal wait in the initial state.
            started = rows <= diagonal
            h, c = (tf.where(started, n, i) for n, i in zip(new, initial, strict=True))
            return h, c

        h = scan(step, initial, gates, (self.effective_kernel("state"), initial))
        return unskew(tf.transpose(h, [1, 2, 0, 3]))

    def row(self, x: tf.Tensor, h_above: tf.Tensor) -> tf.Tensor:
        """h of a row, `[B, 1, W, filters]`, from x and h of the row above it, `[B, 1, W, ...]`."""
        gates = self.input_to_state(x)
        inputs = tf.transpose(tf.concat([gates, h_above], axis=-1)[:, 0], [1, 0, 2])

        def step(_: tf.Tensor, inputs: tf.Tensor, state: State, kernel: tf.Tensor) -> State:
            gates, h_above = tf.split(inputs, [NUM_GATES * self.filters, self.filters], axis=-1)
            return self.cell(gates, h_above, state, kernel)

        initial = self.initial_state([tf.shape(x)[0]])
        h = scan(step, initial, inputs, self.effective_kernel("state"))
        return tf.transpose(h, [1, 0, 2])[:, None]


class DiagonalBiLSTM(Configurable, keras.Layer):
    """Diagonal BiLSTM [1, section 3.2], `[B, H, W, C] -> [B, H, W, filters]`.

    From the left, the pixel (r, k) has the states h, c, and with the sigmoid s

        [o, f, i, g] = [s, s, s, tanh](K_0 h(r-1, k) + K_1 h(r, k-1) + K_is x(r, k) + b)
        c(r, k) = f c(r, k-1) + i g,   h(r, k) = o tanh(c(r, k)).

    From the right it is the mirror image, k+1 for k-1, with weights of its own. This one's h, moved
    down by one row, is added to the left one's: a pixel gets the right state of the pixel above it.

    K_is has mask B on colours, and is one matrix product for all pixels. K_0 and K_1 see complete
    earlier pixels and need no mask. The scan goes over the columns of the skewed image (`skew`), a
    diagonal at a time.

    The state beside the image is learned, the same for all rows and images; above the image h = 0.

    Runs pixel by pixel too, as `CausalConv2D` says: the left direction a pixel at a time, the right
    one over a complete row, for only the row below reads it.

    Args:
        filters: h, number of output channels.
        num_groups: number of colours.

    Raises:
        ValueError: an argument outside its range; fewer channels than groups.

    [1] van den Oord, Kalchbrenner, Kavukcuoglu. Pixel Recurrent Neural Networks. ICML 2016.
        arXiv:1601.06759.
    """

    def __init__(self, filters: int, num_groups: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        check_backend("DiagonalBiLSTM")
        self.filters = filters
        self.left = DiagonalLSTM(filters, num_groups)
        self.right = DiagonalLSTM(filters, num_groups)

    def build(self, input_shape: Any) -> None:
        self.num_channels = input_shape[-1]
        self.left.build(input_shape)
        self.right.build(input_shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        from_right = tf.reverse(self.right(tf.reverse(x, [2])), [2])
        return self.left(x) + tf.pad(from_right, [[0, 0], [1, 0], [0, 0], [0, 0]])[:, :-1]

    # ------------------------------------------------------------------ pixel by pixel

    def initial_memory(self, batch_size: Any, width: int) -> tf.Tensor:
        """h of both directions in the row above, `[B, 1, W, 2 filters]`."""
        return tf.zeros([batch_size, 1, width, 2 * self.filters], self.compute_dtype)

    def begin_row(self, memory: tf.Tensor) -> tf.Tensor:
        return memory

    def initial_state(self, batch_size: Any) -> State:
        return self.left.initial_state([batch_size, 1, 1])

    def step(
        self, x_t: tf.Tensor, state: State, above_t: tf.Tensor
    ) -> tuple[tf.Tensor, State, tf.Tensor]:
        x_t = tf.cast(x_t, self.compute_dtype)
        left_above, right_above = tf.split(above_t, 2, axis=-1)
        kernel = self.left.effective_kernel("state")
        h, c = self.left.cell(self.left.input_to_state(x_t), left_above, state, kernel)
        return h + right_above, (h, c), tf.concat([h, x_t], axis=-1)

    def end_row(self, memory: tf.Tensor, record: tf.Tensor) -> tf.Tensor:
        left, x = tf.split(record, [self.filters, self.num_channels], axis=-1)
        right_above = tf.split(memory, 2, axis=-1)[1]
        mirrored = self.right.row(tf.reverse(x, [2]), tf.reverse(right_above, [2]))
        return tf.concat([left, tf.reverse(mirrored, [2])], axis=-1)
