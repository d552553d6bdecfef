"""PixelCNN: a masked convolutional network gives every conditional of an image in one pass."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfgen.checks import check_argument, check_integer
from tfgen.layers.causal import Block
from tfgen.layers.functions import Dropout
from tfgen.layers.masked_conv import MaskedConv2D
from tfgen.models.autoregressive.base import AutoregressiveModel
from tfgen.models.autoregressive.parts import (
    ColourHead,
    check_integer_image,
    colour_likelihood,
    condition_layer,
)

FIRST_KERNEL_SIZE = 7
BLOCK_KERNEL_SIZE = 3


class ResidualBlock(Block):
    """x + conv1x1(relu(conv3x3(relu(conv1x1(relu(x)))))), all mask B, widths 2h, h, h, 2h [1].

    `shift` `[B, h]`, made from a condition, is added to the 3x3 convolution's output.
    """

    def __init__(self, filters: int, num_groups: int = 1, dropout: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.reduce = MaskedConv2D(filters, 1, "B", num_groups)
        self.spatial = MaskedConv2D(filters, BLOCK_KERNEL_SIZE, "B", num_groups)
        self.dropout = Dropout(dropout)
        self.expand = MaskedConv2D(2 * filters, 1, "B", num_groups)

    def call(
        self, x: tf.Tensor, shift: tf.Tensor | None = None, *, run: Any, training: bool = False
    ) -> tf.Tensor:
        h = run(self.spatial, tf.nn.relu(self.reduce(tf.nn.relu(x))))
        if shift is not None:
            h += shift[:, None, None]
        h = self.dropout(tf.nn.relu(h), training=training)
        return x + self.expand(h)


class PixelCNN(AutoregressiveModel):
    """PixelCNN [1]: log p(x) = sum_i log p(x_i | x_<i), masked convolutions over the whole image.

    x `[B, H, W, C]` integers. The order is rows, columns, then the C colours inside a pixel. A 7x7
    convolution with mask A, `num_blocks` residual blocks of 2h feature maps, two layers of (ReLU,
    1x1 convolution mask B), and for every colour a softmax over the levels, or a logit for binary
    data. `log_prob` in nats, exact. A fresh model is uniform: log2(num_levels) bits/dim.

    The stacked masks leave a blind spot: pixels above and to the right that no layer reaches,
    whatever the depth; the two stacks of [2] close it.

    Departs from [1]: with `num_classes` or `num_features`, each layer's bias depends on the
    condition, as in [2]; dropout inside the blocks; the last layer starts at zero; groups of
    unequal size (43, 43, 42 of 128 feature maps) where [1] does not say how it divides them.

    Args:
        event_shape: `(H, W, C)`.
        num_levels: levels of the data, 2 to 256.
        num_classes: number of labels to condition on.
        num_features: number of real features to condition on.
        filters: h; the residual stream has 2h feature maps.
        num_blocks: number of residual blocks.
        top_filters: width of the layers above the blocks.
        dropout: rate inside the blocks while training.

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
        filters: int = 128,
        num_blocks: int = 15,
        top_filters: int = 1024,
        dropout: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(event_shape, num_levels, num_classes, num_features, **kwargs)
        check_integer_image(self.event_shape, num_levels)
        colours = self.event_shape[-1]
        check_integer("filters", filters, minimum=colours)
        check_integer("num_blocks", num_blocks, minimum=0)
        check_integer("top_filters", top_filters, minimum=colours)
        check_argument(0.0 <= dropout < 1.0, "dropout", "in [0, 1)", dropout)
        self.likelihood = colour_likelihood(num_levels)
        self.first = MaskedConv2D(2 * filters, FIRST_KERNEL_SIZE, "A", colours)
        self.blocks = [ResidualBlock(filters, colours, dropout) for _ in range(num_blocks)]
        widths = [2 * filters] + [filters] * num_blocks
        self.shifts = [condition_layer(width) for width in widths] if self.is_conditional else []
        self.top = ColourHead(top_filters, self.likelihood.parameters_shape(colours))

    def conditioning(self, condition: tf.Tensor | None) -> list[tf.Tensor | None]:
        """What each layer's bias gains, `[B, width]`."""
        if condition is None:
            return [None] * (1 + len(self.blocks))
        return [shift(condition) for shift in self.shifts]

    def columns(
        self, x: tf.Tensor, contexts: Any, conditioning: list[tf.Tensor | None], run: Any
    ) -> tf.Tensor:
        h = run.input(self._first, x)
        first, *others = conditioning
        if first is not None:
            h += first[:, None, None]
        for block, shift in zip(self.blocks, others, strict=True):
            h = block(h, shift, run=run, training=self.is_training)
        return tf.cast(self.top(h), self.float_dtype)

    def _first(self, run: Any, x: tf.Tensor) -> tf.Tensor:
        return run(self.first, self.likelihood.normalize(x, self.float_dtype))
