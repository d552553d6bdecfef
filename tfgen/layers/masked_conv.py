"""Convolutions that see only the past of an image, in raster order."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfgen.checks import check_argument, check_integer, check_one_of
from tfgen.configurable import Configurable
from tfgen.layers.causal import CausalConv2D
from tfgen.layers.functions import Tensor

MASK_TYPES = ("A", "B")


def channel_groups(num_channels: int, num_groups: int, name: str = "filters") -> np.ndarray:
    """The colour group of every channel, `[num_channels]`: contiguous, as equal as possible.

    The rule depends on the two numbers alone, so that tensors of the same width, which may be added
    to each other, always agree. 128 channels in 3 groups are 43 red, 43 green, 42 blue.
    """
    check_integer("num_groups", num_groups, minimum=1)
    enough = num_channels >= num_groups
    check_argument(enough, name, f"at least one a group ({num_groups})", num_channels)
    return np.arange(num_channels) * num_groups // num_channels


def live_kernel_size(kernel_size: int | Sequence[int]) -> tuple[int, int]:
    """Rows up to the own one, and columns: of a square kernel, given by its odd side, or a pair."""
    if not isinstance(kernel_size, Sequence):
        check_integer("kernel_size", kernel_size, minimum=1)
        check_argument(kernel_size % 2 == 1, "kernel_size", "odd", kernel_size)
        return kernel_size // 2 + 1, kernel_size
    rows, columns = kernel_size
    check_integer("kernel_size[0]", rows, minimum=1)
    check_integer("kernel_size[1]", columns, minimum=1)
    return rows, columns


def causal_mask(
    kernel_size: int | Sequence[int],
    mask_type: str,
    in_channels: int,
    out_channels: int,
    num_groups: int = 1,
) -> np.ndarray:
    """What a kernel may see, `[rows, columns, in_channels, out_channels]`.

    Its last row is the own one, its own column has (columns - 1) // 2 to the left. Rows below,
    which would all be zero, are left out: a `kernel_size` of n stands for (n // 2 + 1, n). At the
    own pixel an output of group g sees inputs of the groups < g (mask A) or <= g (mask B).
    """
    rows, columns = live_kernel_size(kernel_size)
    check_one_of("mask_type", mask_type, MASK_TYPES)
    centre = (columns - 1) // 2
    mask = np.ones((rows, columns, in_channels, out_channels), "float32")
    mask[-1, centre + 1 :] = 0.0
    seen = channel_groups(in_channels, num_groups, "in_channels")[:, None]
    by = channel_groups(out_channels, num_groups)[None, :]
    mask[-1, centre] = seen < by if mask_type == "A" else seen <= by
    return mask


class MaskedConv2D(CausalConv2D, Configurable, keras.Layer):
    """Two-dimensional convolution masked to the causal order of pixels and colours [1].

    `[B, H, W, in_channels] -> [B, H, W, filters]`, zero padding. The output at (row, column, group
    g) sees earlier rows within the kernel, earlier columns of its own row, and at its own pixel the
    groups before g (mask A, for the first layer) or up to g (mask B). With one group the mask A
    excludes the pixel itself, B includes it.

    The mask multiplies the kernel inside `call`: nothing that is ever assigned to the kernel
    (an optimizer's step, an average, a checkpoint) can open a masked path. The kernel's rows below
    the centre are not stored at all; the layer costs what its live half costs.
    `CausalConv2D` says how it runs row by row and pixel by pixel.

    Channels belong to groups in contiguous, as equal as possible runs (`channel_groups`); [1] uses
    equal groups without saying in which order.

    Args:
        filters: number of output channels, at least `num_groups`.
        kernel_size: height and width of the whole kernel, odd; or a pair, the rows up to the own
            one and the columns, of which (columns - 1) // 2 are to the left of the own pixel:
            (1, n) makes the horizontal convolution of a Gated PixelCNN.
        mask_type: "A" or "B".
        num_groups: number of colours.
        use_bias: whether to add a bias.
        kernel_initializer: of the stored half of the kernel.

    Raises:
        ValueError: an argument outside its range; fewer channels than groups.

    [1] van den Oord, Kalchbrenner, Kavukcuoglu. Pixel Recurrent Neural Networks. ICML 2016.
        arXiv:1601.06759, section 3.4.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        mask_type: str,
        num_groups: int = 1,
        use_bias: bool = True,
        kernel_initializer: Any = "he_normal",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_integer("filters", filters, minimum=1)
        causal_mask(kernel_size, mask_type, num_groups, filters, num_groups)  # checks them all
        rows, columns = live_kernel_size(kernel_size)
        self.rows_above = rows - 1
        self.columns_left = (columns - 1) // 2
        self.filters = filters
        self.kernel_size = (rows, columns)
        self.mask_type = mask_type
        self.num_groups = num_groups
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: Any) -> None:
        self.num_channels = input_shape[-1]
        mask = causal_mask(
            self.kernel_size, self.mask_type, input_shape[-1], self.filters, self.num_groups
        )
        self.kernel = self.add_weight(
            name="kernel", shape=mask.shape, initializer=self.kernel_initializer
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")
        self.mask = None if mask.all() else mask

    def _compute_kernel(self) -> Tensor:
        kernel = ops.cast(self.kernel, self.compute_dtype)
        return kernel if self.mask is None else kernel * ops.cast(self.mask, self.compute_dtype)
