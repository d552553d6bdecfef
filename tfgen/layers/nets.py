"""Stock encoders and decoders of latent-variable models.

An encoder maps data on the network's scale, `[N, *event_shape]`, to features `[N, F]` or
`[N, h, w, F]`. A decoder maps latents, `[N, J]` or `[N, h, w, J]`, to `[N, *output_shape]`.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfgen.checks import check_argument, check_integer
from tfgen.configurable import Configurable
from tfgen.layers.functions import Dropout, Tensor

# Of last layers: the first outputs are small beside the output's bias, which starts from the data.
SMALL = {"class_name": "VarianceScaling", "config": {"scale": 0.1}}


def _check_sizes(name: str, sizes: Sequence[int]) -> list[int]:
    for size in sizes:
        check_integer(name, size, minimum=1)
    return list(sizes)


class Network(Configurable, keras.Layer):
    """A layer made of layers, which a symbolic call builds."""

    def build(self, input_shape: Any) -> None:
        x = keras.KerasTensor(input_shape, self.compute_dtype)
        keras.Layer.compute_output_spec(self, x)


class MLP(Network):
    """Dense layers with an activation and dropout after each; `[..., F] -> [..., units[-1]]`.

    Args:
        units: of each layer.
        activation: a Keras activation.
        dropout: fraction of units dropped while training.
    """

    passes_masks = True

    def __init__(
        self,
        units: Sequence[int] = (400, 400),
        activation: str = "relu",
        dropout: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        units = _check_sizes("units", units)
        check_argument(0 <= dropout < 1, "dropout", "in [0, 1)", dropout)
        he = "glorot_uniform" if activation == "tanh" else "he_normal"
        self.layers = [
            keras.layers.Dense(size, activation=activation, kernel_initializer=he) for size in units
        ]
        self.dropout = Dropout(dropout)

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        for layer in self.layers:
            x = self.dropout(layer(x), training=training)
        return x


class MLPEncoder(MLP):
    """An `MLP` of the flattened data: `[N, *event_shape] -> [N, units[-1]]`."""

    passes_masks = False

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        return super().call(ops.reshape(x, [-1, math.prod(x.shape[1:])]), training=training)


class MLPDecoder(Network):
    """An `MLP` and a linear layer: `[N, ...] -> [N, *output_shape]`.

    Args:
        output_shape: of one output.
        units, activation, dropout: as for `MLP`.
    """

    def __init__(
        self,
        output_shape: Sequence[int],
        units: Sequence[int] = (400, 400),
        activation: str = "relu",
        dropout: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.shape = _check_sizes("output_shape", output_shape)
        self.mlp = MLP(units, activation, dropout)
        self.linear = keras.layers.Dense(math.prod(self.shape), kernel_initializer=SMALL)

    def call(self, z: Tensor, training: bool = False) -> Tensor:
        z = ops.reshape(z, [-1, math.prod(z.shape[1:])])
        return ops.reshape(self.linear(self.mlp(z, training=training)), [-1, *self.shape])


class ResidualBlock(Network, registered_name="ConvResidualBlock"):
    """x + conv(act(dropout(conv(act(x))))), 3x3 convolutions, channels kept.

    The second convolution starts at zero, so that a deep stack starts as the identity and needs no
    normalisation (which would make a likelihood depend on the rest of the batch).
    """

    def __init__(
        self, filters: int, activation: str = "swish", dropout: float = 0.0, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)
        self.first = keras.layers.Conv2D(
            filters, 3, padding="same", activation=activation, kernel_initializer="he_normal"
        )
        self.dropout = Dropout(dropout)
        self.second = keras.layers.Conv2D(filters, 3, padding="same", kernel_initializer="zeros")

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        h = self.dropout(self.first(self.activation(x)), training=training)
        return x + self.second(h)


class ConvEncoder(Network):
    """A residual convolutional network that halves the image at each scale.

    `[N, H, W, C] -> [N, h, w, filters[-1]]` with h = H / 2^len(filters), rounded up at each scale.

    Args:
        filters: channels at each scale, from the data inwards.
        num_blocks: residual blocks at each scale.
        activation: a Keras activation.
        dropout: fraction dropped inside the blocks while training.
    """

    def __init__(
        self,
        filters: Sequence[int] = (32, 64),
        num_blocks: int = 1,
        activation: str = "swish",
        dropout: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_integer("num_blocks", num_blocks, minimum=0)
        self.activation = keras.activations.get(activation)
        self.steps: list[keras.Layer] = []
        for size in _check_sizes("filters", filters):
            # A kernel of 4 covers every pixel equally often at stride 2.
            self.steps.append(keras.layers.Conv2D(size, 4, strides=2, padding="same"))
            self.steps += [ResidualBlock(size, activation, dropout) for _ in range(num_blocks)]

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        for step in self.steps:
            x = step(x, training=training) if isinstance(step, ResidualBlock) else step(x)
        return self.activation(x)


class ConvDecoder(Network):
    """The mirror image of `ConvEncoder`: `[N, J]` or `[N, h, w, J]` -> `[N, H, W, P]`.

    Args:
        output_shape: `[H, W, P]`; further dimensions are folded into P.
        filters: channels at each scale, from the latents outwards.
        num_blocks: residual blocks at each scale.
        units: of dense layers between a vector of latents and the first grid.
        activation: a Keras activation.
        dropout: fraction dropped inside the blocks while training.
    """

    def __init__(
        self,
        output_shape: Sequence[int],
        filters: Sequence[int] = (64, 32),
        num_blocks: int = 1,
        units: Sequence[int] = (),
        activation: str = "swish",
        dropout: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_integer("num_blocks", num_blocks, minimum=0)
        filters = _check_sizes("filters", filters)
        self.shape = _check_sizes("output_shape", output_shape)
        is_image = len(self.shape) >= 3
        check_argument(is_image, "output_shape", "[H, W, ...]: data are images", self.shape)
        self.activation = keras.activations.get(activation)
        sizes = [tuple(self.shape[:2])]  # from the data inwards
        for _ in filters:
            sizes.append(tuple(math.ceil(size / 2) for size in sizes[-1]))
        self.sizes = sizes[::-1]
        self.num_filters = filters[0]
        self.mlp = MLP(units, activation, dropout)
        self.blocks = [
            [ResidualBlock(size, activation, dropout) for _ in range(num_blocks)]
            for size in filters
        ]
        outputs = [*filters[1:], math.prod(self.shape[2:])]
        self.ups = [
            keras.layers.Conv2DTranspose(
                size,
                4,
                strides=2,
                padding="same",
                kernel_initializer=SMALL if scale == len(filters) - 1 else "glorot_uniform",
            )
            for scale, size in enumerate(outputs)
        ]

    def build(self, input_shape: Any) -> None:
        self.start = (
            keras.layers.Dense(math.prod(self.sizes[0]) * self.num_filters)
            if len(input_shape) == 2
            else keras.layers.Conv2D(self.num_filters, 3, padding="same")
        )
        super().build(input_shape)

    def call(self, z: Tensor, training: bool = False) -> Tensor:
        x = self.start(self.mlp(z, training=training))
        x = ops.reshape(x, [-1, *self.sizes[0], self.num_filters])
        for blocks, up, (height, width) in zip(self.blocks, self.ups, self.sizes[1:], strict=True):
            for block in blocks:
                x = block(x, training=training)
            x = up(self.activation(x))[:, :height, :width]
        return ops.reshape(x, [-1, *self.shape])
