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


class ResidualBlock(Block, registered_name="PixelCNNResidualBlock"):
    """x + conv1x1(relu(conv3x3(relu(conv1x1(relu(x)))))), all mask B, widths 2h, h, h, 2h [1].

    `shift`, h features made from a condition, is added to the 3x3 convolution's output. Another
    `kernel_size` than 3 is that of this convolution.
    """

    def __init__(
        self,
        filters: int,
        num_groups: int = 1,
        dropout: float = 0.0,
        kernel_size: int = BLOCK_KERNEL_SIZE,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.reduce = MaskedConv2D(filters, 1, "B", num_groups)
        self.spatial = MaskedConv2D(filters, kernel_size, "B", num_groups)
        self.dropout = Dropout(dropout)
        self.expand = MaskedConv2D(2 * filters, 1, "B", num_groups)

    def call(
        self, x: tf.Tensor, shift: tf.Tensor | None = None, *, run: Any, training: bool = False
    ) -> tf.Tensor:
        h = run.add(run(self.spatial, tf.nn.relu(self.reduce(tf.nn.relu(x)))), shift)
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

    With a `window` (A, B) a pixel's conditional sees no more than B rows above of A columns, of
    which (A - 1) // 2 are to the left of its own, and (A - 1) // 2 pixels to the left in its own
    row, all of them, as in the lossy decoders of [3]. The first convolution alone then looks
    around, and the blocks are 1x1.

    As a decoder it is conditioned on maps of features, one vector a pixel. These are not masked.

    Departs from [1]: with `num_classes` or `num_features`, each layer's bias depends on the
    condition, as in [2]; dropout inside the blocks; the last layer starts at zero; groups of
    unequal size (43, 43, 42 of 128 feature maps) where [1] does not say how it divides them.

    Args:
        event_shape: `(H, W, C)`.
        num_levels: levels of the data, 2 to 256.
        num_classes: number of labels to condition on.
        num_features: number of real features to condition on, `[B, num_features]` or, a vector for
            each pixel, `[B, H, W, num_features]`.
        filters: h; the residual stream has 2h feature maps.
        num_blocks: number of residual blocks.
        top_filters: width of the layers above the blocks.
        dropout: rate inside the blocks while training.
        window: (A, B), columns and rows that a pixel sees; (1, 0) is nothing at all.

    Raises:
        ValueError: an argument outside its range.

    [1] van den Oord, Kalchbrenner, Kavukcuoglu. Pixel Recurrent Neural Networks. ICML 2016.
        arXiv:1601.06759.
    [2] van den Oord et al. Conditional Image Generation with PixelCNN Decoders. NeurIPS 2016.
        arXiv:1606.05328, section 2.3.
    [3] Chen et al. Variational Lossy Autoencoder. ICLR 2017. arXiv:1611.02731.
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
        window: Sequence[int] | None = None,
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
        first_kernel_size: Any = FIRST_KERNEL_SIZE
        kernel_size = BLOCK_KERNEL_SIZE
        if window is not None:
            window_columns, window_rows = window
            check_integer("window[0]", window_columns, minimum=1)
            check_integer("window[1]", window_rows, minimum=0)
            first_kernel_size, kernel_size = (window_rows + 1, window_columns), 1
        self.first = MaskedConv2D(2 * filters, first_kernel_size, "A", colours)
        self.blocks = [
            ResidualBlock(filters, colours, dropout, kernel_size) for _ in range(num_blocks)
        ]
        widths = ([2 * filters] + [filters] * num_blocks) if self.is_conditional else []
        self.shifts = [condition_layer(width, num_features is None) for width in widths]
        self.top = ColourHead(top_filters, self.likelihood.parameters_shape(colours))

    def conditioning(self, condition: tf.Tensor | None) -> list[tf.Tensor | None]:
        """What each layer's bias gains, `[B, width]` or `[B, H, W, width]`."""
        if condition is None:
            return [None] * (1 + len(self.blocks))
        return [shift(condition) for shift in self.shifts]

    def columns(
        self, x: tf.Tensor, contexts: Any, conditioning: list[tf.Tensor | None], run: Any
    ) -> tf.Tensor:
        first, *others = conditioning
        h = run.add(run.input(self._first, x), first)
        for block, shift in zip(self.blocks, others, strict=True):
            h = block(h, shift, run=run, training=self.is_training)
        return tf.cast(self.top(h), self.float_dtype)

    def _first(self, run: Any, x: tf.Tensor) -> tf.Tensor:
        return run(self.first, self.likelihood.normalize(x, self.float_dtype))
