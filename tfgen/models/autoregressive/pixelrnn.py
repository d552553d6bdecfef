"""PixelRNN: masked recurrent layers give every conditional of an image in one pass."""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from tfgen import layers
from tfgen.build import build
from tfgen.checks import check_argument, check_integer
from tfgen.layers.masked_conv import MaskedConv2D
from tfgen.models.autoregressive.base import AutoregressiveModel
from tfgen.models.autoregressive.parts import (
    ColourHead,
    check_integer_image,
    colour_likelihood,
    condition_layer,
)

FIRST_KERNEL_SIZE = 7


class PixelRNN(AutoregressiveModel):
    """PixelRNN [1]: log p(x) = sum_i log p(x_i | x_<i), two-dimensional LSTMs over the image.

    x `[B, H, W, C]` integers. The order is rows, columns, then the C colours inside a pixel. A 7x7
    convolution with mask A, `num_layers` residual recurrent layers on a stream of 2h feature maps,

        x <- x + W LSTM(x),   W a 1x1 convolution mask B from h to 2h,

    two layers of (ReLU, 1x1 convolution mask B), and for every colour a softmax over the levels, or
    a logit for binary data. `log_prob` in nats, exact. A fresh model is uniform: log2(num_levels)
    bits/dim.

    With `DiagonalBiLSTM` a pixel is reached by all pixels before it but one: the last pixel of the
    row above (of its colours, the last) does not reach pixels four or more columns to its left. No
    feature of its row has seen it, and the right-hand direction starts from those. With `RowLSTM` a
    pixel is reached by a triangle that opens upwards, to the right by a column a row.

    Departs from [1]: with `num_classes` or `num_features` the stream is shifted by a linear map of
    the condition before each layer, in the manner of [2]; the last layer starts at zero; groups of
    unequal size (43, 43, 42 of 128 feature maps) where [1] does not say how it divides them; no
    skip connections from the layers to the output.

    Args:
        event_shape: `(H, W, C)`.
        num_levels: levels of the data, 2 to 256.
        num_classes: number of labels to condition on.
        num_features: number of real features to condition on, `[B, num_features]` or, a vector for
            each pixel, `[B, H, W, num_features]`.
        recurrence: the recurrent layer, `{"type": "DiagonalBiLSTM"}` (the default) or
            `{"type": "RowLSTM"}`, with further arguments of it; `filters` and `num_groups` come
            from the model.
        filters: h; the residual stream has 2h feature maps.
        num_layers: number of recurrent layers.
        top_filters: width of the layers above them.

    Raises:
        ValueError: an argument outside its range.

    [1] van den Oord, Kalchbrenner, Kavukcuoglu. Pixel Recurrent Neural Networks. ICML 2016.
        arXiv:1601.06759.
    [2] van den Oord et al. Conditional Image Generation with PixelCNN Decoders. NeurIPS 2016.
        arXiv:1606.05328, section 2.3.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        num_levels: int = 256,
        num_classes: int | None = None,
        num_features: int | None = None,
        recurrence: Mapping[str, Any] | None = None,
        filters: int = 128,
        num_layers: int = 12,
        top_filters: int = 1024,
        **kwargs: Any,
    ):
        super().__init__(event_shape, num_levels, num_classes, num_features, **kwargs)
        check_integer_image(self.event_shape, num_levels)
        colours = self.event_shape[-1]
        check_integer("filters", filters, minimum=colours)
        check_integer("num_layers", num_layers, minimum=0)
        check_integer("top_filters", top_filters, minimum=colours)
        spec = {"type": "DiagonalBiLSTM"} if recurrence is None else recurrence
        # Each layer is one of its own, so a layer that is already made will not do.
        check_argument(isinstance(spec, Mapping), "recurrence", "a mapping with 'type'", spec)
        self.likelihood = colour_likelihood(num_levels)
        self.first = MaskedConv2D(2 * filters, FIRST_KERNEL_SIZE, "A", colours)
        self.recurrent = [
            build(layers, spec, filters=filters, num_groups=colours) for _ in range(num_layers)
        ]
        self.expand = [MaskedConv2D(2 * filters, 1, "B", colours) for _ in range(num_layers)]
        widths = [2 * filters] * (num_layers if self.is_conditional else 0)
        self.shifts = [condition_layer(width, num_features is None) for width in widths]
        self.top = ColourHead(top_filters, self.likelihood.parameters_shape(colours))

    def conditioning(self, condition: tf.Tensor | None) -> list[tf.Tensor | None]:
        """What each recurrent layer's input is shifted by, `[B, 2h]` or `[B, H, W, 2h]`."""
        if condition is None:
            return [None] * len(self.recurrent)
        return [shift(condition) for shift in self.shifts]

    def columns(
        self, x: tf.Tensor, contexts: Any, conditioning: list[tf.Tensor | None], run: Any
    ) -> tf.Tensor:
        h = run.input(self._first, x)
        for recurrent, expand, shift in zip(self.recurrent, self.expand, conditioning, strict=True):
            h += expand(run(recurrent, run.add(h, shift)))
        return tf.cast(self.top(h), self.float_dtype)

    def _first(self, run: Any, x: tf.Tensor) -> tf.Tensor:
        return run(self.first, self.likelihood.normalize(x, self.float_dtype))
