"""Gated PixelCNN: a vertical and a horizontal stack, gated units, no blind spot."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfgen.checks import check_argument, check_integer
from tfgen.configurable import Configurable
from tfgen.layers.causal import CausalConv2D, DownShift
from tfgen.layers.masked_conv import MaskedConv2D
from tfgen.models.autoregressive.base import AutoregressiveModel
from tfgen.models.autoregressive.parts import (
    ColourHead,
    check_integer_image,
    colour_likelihood,
    condition_layer,
)


class VerticalConv2D(CausalConv2D, Configurable, keras.Layer):
    """`[B, H, W, C] -> [B, H, W, filters]`: the own row, n // 2 rows above, n columns.

    For an image that was moved down by one row: what it sees are then complete rows above.
    """

    def __init__(self, filters: int, kernel_size: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.columns_left = self.rows_above = kernel_size // 2

    def build(self, input_shape: Any) -> None:
        self.num_channels = input_shape[-1]
        shape = (self.rows_above + 1, self.kernel_size, self.num_channels, self.filters)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer="he_normal")
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")

    def _compute_kernel(self) -> tf.Tensor:
        return tf.cast(tf.convert_to_tensor(self.kernel), self.compute_dtype)


def gate(y: tf.Tensor, num_groups: int) -> tf.Tensor:
    """tanh(f) * sigmoid(g), `[..., 2 p] -> [..., p]`; a colour's channels are its f, then its g."""
    shape = [tf.shape(y)[0], *y.shape[1:-1]]
    filters = y.shape[-1] // 2
    f, g = tf.unstack(tf.reshape(y, [*shape, num_groups, 2, filters // num_groups]), axis=-2)
    return tf.reshape(tf.tanh(f) * tf.sigmoid(g), [*shape, filters])


class GatedUnit(Configurable, keras.Layer):
    """W_r gate(y), plus h if there is one."""

    def __init__(self, filters: int, num_groups: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_groups = num_groups
        self.pointwise = MaskedConv2D(filters, 1, "B", num_groups)

    def build(self, input_shape: Any) -> None:
        self.pointwise.build((*input_shape[:-1], input_shape[-1] // 2))

    def call(self, y: tf.Tensor, h: tf.Tensor | None = None) -> tf.Tensor:
        y = self.pointwise(gate(y, self.num_groups))
        return y if h is None else h + y


class GatedPixelCNN(AutoregressiveModel):
    """Gated PixelCNN [1]: log p(x) = sum_i log p(x_i | x_<i), two stacks of gated convolutions.

    x `[B, H, W, C]` integers; the order is rows, columns, then the C colours inside a pixel. A
    layer of the vertical stack sees the rows above, of the horizontal one also what is to the left:

        v' = W_v * v,                    v <- tanh(v'_f + V_f c) sigmoid(v'_g + V_g c)
        h' = W_h * h + W_l v',           h <- h + W_r [tanh(h'_f + U_f c) sigmoid(h'_g + U_g c)]

    with n x n kernels cut to the rows up to the own one (W_v) and to the own row up to the own
    pixel (W_h), and a condition c: a label, features, or a map of features, one vector a pixel. The
    image enters the vertical stack moved down by one row. Nothing goes from the horizontal to the
    vertical stack. Then two layers of (ReLU, 1x1 convolution) and, for every colour, a softmax over
    the levels, or a logit for binary data. `log_prob` in nats, exact. A fresh model is uniform:
    log2(num_levels) bits/dim.

    Departs from [1]: moves the image down, in place of the vertical stack's output, which differs
    in the first row only; the last layer starts at zero. The colours' masks act on the horizontal
    stack, whose feature maps are divided as in PixelCNN.

    Args:
        event_shape: `(H, W, C)`.
        num_levels: levels of the data, 2 to 256.
        num_classes: number of labels to condition on.
        num_features: number of real features to condition on, `[B, num_features]` or, a vector for
            each pixel, `[B, H, W, num_features]`.
        filters: p, feature maps of either stack; a multiple of C.
        num_layers: layers of either stack, the first one included.
        kernel_size: n, of all but the first layer.
        first_kernel_size: of the first layer.
        top_filters: width of the layers above the stacks.

    Raises:
        ValueError: an argument outside its range.

    [1] van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves, Kavukcuoglu. Conditional Image
        Generation with PixelCNN Decoders. NeurIPS 2016. arXiv:1606.05328.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        num_levels: int = 256,
        num_classes: int | None = None,
        num_features: int | None = None,
        filters: int = 126,
        num_layers: int = 15,
        kernel_size: int = 5,
        first_kernel_size: int = 7,
        top_filters: int = 1024,
        **kwargs: Any,
    ):
        super().__init__(event_shape, num_levels, num_classes, num_features, **kwargs)
        check_integer_image(self.event_shape, num_levels)
        colours = self.event_shape[-1]
        check_integer("filters", filters, minimum=colours)
        check_argument(filters % colours == 0, "filters", f"a multiple of {colours}", filters)
        check_integer("num_layers", num_layers, minimum=1)
        check_integer("top_filters", top_filters, minimum=colours)
        self.likelihood = colour_likelihood(num_levels)
        for name, size in (("kernel_size", kernel_size), ("first_kernel_size", first_kernel_size)):
            check_integer(name, size, minimum=1)
            check_argument(size % 2 == 1, name, "odd", size)
        sizes = [first_kernel_size] + [kernel_size] * (num_layers - 1)
        masks = ["A"] + ["B"] * (num_layers - 1)
        self.down_shift = DownShift()
        self.vertical = [VerticalConv2D(2 * filters, size) for size in sizes]
        self.links = [MaskedConv2D(2 * filters, 1, "B") for _ in sizes]
        self.horizontal = [
            MaskedConv2D(2 * filters, (1, size), mask, colours, use_bias=False)
            for size, mask in zip(sizes, masks, strict=True)
        ]
        self.units = [GatedUnit(filters, colours) for _ in sizes]
        widths = [4 * filters] * (num_layers if self.is_conditional else 0)
        self.shifts = [condition_layer(width, num_features is None) for width in widths]
        self.top = ColourHead(top_filters, self.likelihood.parameters_shape(colours))

    def conditioning(self, condition: tf.Tensor | None) -> list[list[tf.Tensor | None]]:
        """V c and U c of every layer, each `[B, 2 p]`, or `[B, H, W, 2 p]` of a map."""
        if condition is None:
            return [[None, None] for _ in self.vertical]
        return [tf.split(shift(condition), 2, axis=-1) for shift in self.shifts]

    def rows(self, x: tf.Tensor, conditioning: Any, run: Any) -> list[list[tf.Tensor]]:
        """W_l v' of every layer."""
        v = run.input(lambda run, x: run(self.down_shift, self._normalize(x)), x)
        links = []
        for convolution, link, (shift, _) in zip(
            self.vertical, self.links, conditioning, strict=True
        ):
            y = run(convolution, v)
            links.append(link(y))
            v = gate(run.add(y, shift), self.event_shape[-1])
        return [links]

    def columns(
        self, x: tf.Tensor, contexts: list[list[tf.Tensor]], conditioning: Any, run: Any
    ) -> tf.Tensor:
        h: Any = None
        for convolution, unit, link, (_, shift) in zip(
            self.horizontal, self.units, contexts[0], conditioning, strict=True
        ):
            if h is None:  # the first layer, mask A, has no residual
                y = run.input(lambda run, x: run(self.horizontal[0], self._normalize(x)), x)
            else:
                y = run(convolution, h)
            h = unit(run.add(y + link, shift), h)
        return tf.cast(self.top(h), self.float_dtype)

    def _normalize(self, x: tf.Tensor) -> tf.Tensor:
        return self.likelihood.normalize(x, self.float_dtype)
