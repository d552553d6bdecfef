"""Residual encoder and decoder of images, with 3x3 convolutions and a dense layer between.

They stand where the networks of `tfgen.layers.nets` do.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfgen.checks import check_argument, check_integer
from tfgen.layers.functions import Dropout, Tensor
from tfgen.layers.nets import MLP, SMALL, Network, ResidualBlock


class ShrinkingBlock(Network):
    """A residual block to half the resolution: `[N, H, W, C] -> [N, H / 2, W / 2, filters]`.

        V mean(x) + conv(act(dropout(conv(act(x)))))

    with the first convolution of stride 2, means over 2x2 pixels and a matrix V for all of them;
    odd sides are rounded up. The second convolution starts at zero.
    """

    def __init__(self, filters: int, activation: str = "elu", dropout: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)
        self.mean = keras.layers.AveragePooling2D(2, padding="same")
        self.project = keras.layers.Conv2D(filters, 1, use_bias=False)
        self.first = keras.layers.Conv2D(
            filters, 3, strides=2, padding="same", kernel_initializer="he_normal"
        )
        self.dropout = Dropout(dropout)
        self.second = keras.layers.Conv2D(filters, 3, padding="same", kernel_initializer="zeros")

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        h = self.activation(self.first(self.activation(x)))
        return self.project(self.mean(x)) + self.second(self.dropout(h, training=training))


class GrowingBlock(Network):
    """A residual block to a grid of twice the resolution: `[N, h, w, C] -> [N, *grid, filters]`.

        V x + conv(act(dropout(conv(act(x)))))

    on x with every pixel repeated in a block of 2x2, cropped to the grid. The second convolution
    starts at zero.
    """

    def __init__(
        self,
        filters: int,
        grid: Sequence[int],
        activation: str = "elu",
        dropout: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.grid = tuple(grid)
        self.activation = keras.activations.get(activation)
        self.project = keras.layers.Conv2D(filters, 1, use_bias=False)
        self.first = keras.layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal")
        self.dropout = Dropout(dropout)
        self.second = keras.layers.Conv2D(filters, 3, padding="same", kernel_initializer="zeros")

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        skip = self._grow(self.project(x))
        h = self.activation(self.first(self._grow(self.activation(x))))
        return skip + self.second(self.dropout(h, training=training))

    def _grow(self, x: Tensor) -> Tensor:
        x = ops.repeat(ops.repeat(x, 2, axis=1), 2, axis=2)
        return x[:, : self.grid[0], : self.grid[1]]


class ResNetEncoder(Network):
    """A residual network that halves the image at each scale, then dense layers.

    `[N, H, W, C] -> [N, units[-1]]`; without units `[N, h, w, filters[-1]]`, h = H / 2^len(filters)
    rounded up at each scale.

    Args:
        filters: channels at each scale, from the data inwards.
        num_blocks: residual blocks at each scale, of which the first one halves.
        units: of the dense layers.
        activation: a Keras activation.
        dropout: fraction dropped inside the blocks and after dense layers while training.
    """

    def __init__(
        self,
        filters: Sequence[int] = (16, 32, 32),
        num_blocks: int = 2,
        units: Sequence[int] = (450,),
        activation: str = "elu",
        dropout: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_sizes(filters, num_blocks)
        self.activation = keras.activations.get(activation)
        self.first = keras.layers.Conv2D(filters[0], 3, padding="same")
        self.blocks: list[keras.Layer] = []
        for size in filters:
            self.blocks.append(ShrinkingBlock(size, activation, dropout))
            self.blocks += [ResidualBlock(size, activation, dropout) for _ in range(num_blocks - 1)]
        self.mlp = MLP(units, activation, dropout)

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = block(x, training=training)
        x = self.activation(x)
        if self.mlp.layers:
            x = ops.reshape(x, [-1, math.prod(x.shape[1:])])
        return self.mlp(x, training=training)


class ResNetDecoder(Network):
    """The mirror image of `ResNetEncoder`: `[N, J]` or `[N, h, w, J]` -> `[N, *output_shape]`.

    Args:
        output_shape: `[H, W, P]`; further dimensions are folded into P.
        filters: channels at each scale, from the latents outwards.
        num_blocks: residual blocks at each scale, of which the last one doubles.
        units: of dense layers between a vector of latents and the first grid; of a grid of latents,
            of layers at every place of it.
        activation: a Keras activation.
        dropout: fraction dropped inside the blocks and after dense layers while training.
    """

    def __init__(
        self,
        output_shape: Sequence[int],
        filters: Sequence[int] = (32, 32, 16),
        num_blocks: int = 2,
        units: Sequence[int] = (450,),
        activation: str = "elu",
        dropout: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_sizes(filters, num_blocks)
        self.shape = list(output_shape)
        is_image = len(self.shape) >= 3
        check_argument(is_image, "output_shape", "[H, W, ...]: data are images", self.shape)
        self.activation = keras.activations.get(activation)
        grids = [tuple(self.shape[:2])]  # from the data inwards
        for _ in filters:
            grids.append(tuple(math.ceil(size / 2) for size in grids[-1]))
        self.first_grid = grids[-1]
        self.num_filters = filters[0]
        self.mlp = MLP(units, activation, dropout)
        self.blocks: list[keras.Layer] = []
        outputs = [*filters[1:], filters[-1]]
        for size, output, grid in zip(filters, outputs, grids[-2::-1], strict=True):
            self.blocks += [ResidualBlock(size, activation, dropout) for _ in range(num_blocks - 1)]
            self.blocks.append(GrowingBlock(output, grid, activation, dropout))
        self.last = keras.layers.Conv2D(
            math.prod(self.shape[2:]), 3, padding="same", kernel_initializer=SMALL
        )

    def build(self, input_shape: Any) -> None:
        self.start = (
            keras.layers.Dense(math.prod(self.first_grid) * self.num_filters)
            if len(input_shape) == 2
            else keras.layers.Conv2D(self.num_filters, 3, padding="same")
        )
        super().build(input_shape)

    def call(self, z: Tensor, training: bool = False) -> Tensor:
        x = self.start(self.mlp(z, training=training))
        x = ops.reshape(x, [-1, *self.first_grid, self.num_filters])
        for block in self.blocks:
            x = block(x, training=training)
        return ops.reshape(self.last(self.activation(x)), [-1, *self.shape])


def check_sizes(filters: Sequence[int], num_blocks: int) -> None:
    """Raises `ValueError` unless there is a scale, and all sizes are positive integers."""
    check_argument(len(filters) > 0, "filters", "a list of at least one integer", list(filters))
    for size in filters:
        check_integer("filters", size, minimum=1)
    check_integer("num_blocks", num_blocks, minimum=1)
