"""The residual network inside coupling layers."""

from typing import Any

import keras
from keras import ops

from tfgen.checks import check_argument, check_integer
from tfgen.configurable import Configurable
from tfgen.layers.functions import Tensor
from tfgen.layers.weight_norm import WeightNormConv2D, WeightNormDense


class ResidualBlock(Configurable, keras.Layer):
    """h + linear(f(linear(f(h)))), f the activation; both layers are weight-normalised.

    `gain` is the initial length of the second layer's kernels.
    """

    def __init__(self, filters: int, gain: float, activation: str = "relu", **kwargs: Any):
        super().__init__(**kwargs)
        self.filters = filters
        self.gain = gain
        self.activation = keras.activations.get(activation)

    def build(self, input_shape: Any) -> None:
        layer = WeightNormConv2D if len(input_shape) == 4 else WeightNormDense
        self.first = layer(self.filters, gain=2.0**0.5, dtype=self.dtype_policy, name="first")
        self.second = layer(self.filters, gain=self.gain, dtype=self.dtype_policy, name="second")
        self.first.build(input_shape)
        self.second.build((*input_shape[:-1], self.filters))

    def call(self, h: Any) -> Tensor:
        return h + self.second(self.activation(self.first(self.activation(h))))


class ResidualNetwork(Configurable, keras.Layer):
    """Residual network of weight-normalised layers, zero at the start, for images and vectors.

    `[B, H, W, C]` -> `[B, H, W, num_outputs]` by 3x3 convolutions, or `[B, D]` ->
    `[B, num_outputs]` by dense layers: an input layer, `num_blocks` residual blocks of width
    `filters` and a linear output layer that starts at zero. There is no batch normalisation, hence
    no state, and the output for one example never depends on the others.

    A condition `[B, K]` enters by a linear map added after the input layer, which equals
    concatenating it to every position. For images so does a learned map of the position
    (`[H, W, filters]`, zero at the start): convolutions alone know where they are only through the
    zero padding.

    Args:
        num_outputs: channels of the output.
        filters: width.
        num_blocks: number of residual blocks.
        patch_size: for images, the network works on non-overlapping patches (space to depth and
            back), at `patch_size`^2 fewer positions; must divide H and W.
        activation: name of a Keras activation.

    Raises:
        ValueError: an argument outside its range, or H or W not divisible by `patch_size`.
    """

    def __init__(
        self,
        num_outputs: int,
        filters: int = 32,
        num_blocks: int = 2,
        patch_size: int = 1,
        activation: str = "relu",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_integer("num_outputs", num_outputs, minimum=1)
        check_integer("filters", filters, minimum=1)
        check_integer("num_blocks", num_blocks, minimum=0)
        check_integer("patch_size", patch_size, minimum=1)
        self.num_outputs = num_outputs
        self.filters = filters
        self.num_blocks = num_blocks
        self.patch_size = patch_size
        self.activation_name = activation
        self.activation = keras.activations.get(activation)

    def build(self, x_shape: Any, condition_shape: Any = None) -> None:
        policy = self.dtype_policy
        patch_size = self.patch_size
        self.is_image = len(x_shape) == 4
        if self.is_image:
            height, width = x_shape[1:3]
            check_argument(
                height % patch_size == 0 and width % patch_size == 0,
                "patch_size",
                f"a divisor of {height} and {width}",
                patch_size,
            )
            inner_shape: tuple[Any, ...] = (None, height // patch_size, width // patch_size)
            self.position = self.add_weight(
                name="position", shape=(*inner_shape[1:], self.filters), initializer="zeros"
            )
            self.input_layer = WeightNormConv2D(self.filters, 3, dtype=policy, name="input")
        else:
            check_argument(patch_size == 1, "patch_size", "1 for vectors", patch_size)
            inner_shape = (None,)
            self.input_layer = WeightNormDense(self.filters, dtype=policy, name="input")
        num_outputs = self.num_outputs * patch_size**2
        self.output_layer = WeightNormDense(num_outputs, gain=0.0, dtype=policy, name="output")
        self.blocks = [
            ResidualBlock(
                self.filters, 1.0 / self.num_blocks, self.activation_name, dtype=policy, name=name
            )
            for name in (f"block_{i}" for i in range(self.num_blocks))
        ]
        self.input_layer.build((*inner_shape, x_shape[-1] * patch_size**2))
        for layer in (*self.blocks, self.output_layer):
            layer.build((*inner_shape, self.filters))
        if condition_shape is not None:
            self.condition_layer = WeightNormDense(self.filters, dtype=policy, name="condition")
            self.condition_layer.build(condition_shape)

    def call(self, x: Any, condition: Any = None) -> Tensor:
        if self.patch_size > 1:
            x = _space_to_depth(x, self.patch_size)
        h = self.input_layer(x)
        if condition is not None:
            bias = self.condition_layer(condition)
            h += bias[:, None, None, :] if self.is_image else bias
        if self.is_image:
            h += self.position
        for block in self.blocks:
            h = block(h)
        h = self.output_layer(self.activation(h))
        return _depth_to_space(h, self.patch_size) if self.patch_size > 1 else h


def _space_to_depth(x: Tensor, size: int) -> Tensor:
    """`[B, H, W, C] -> [B, H / size, W / size, size^2 C]`, ordered by place."""
    _, height, width, channels = x.shape
    rows, columns = height // size, width // size
    x = ops.transpose(ops.reshape(x, [-1, rows, size, columns, size, channels]), [0, 1, 3, 2, 4, 5])
    return ops.reshape(x, [-1, rows, columns, size**2 * channels])


def _depth_to_space(x: Tensor, size: int) -> Tensor:
    """The inverse of `_space_to_depth`."""
    _, rows, columns, channels = x.shape
    channels //= size**2
    x = ops.transpose(ops.reshape(x, [-1, rows, columns, size, size, channels]), [0, 1, 3, 2, 4, 5])
    return ops.reshape(x, [-1, rows * size, columns * size, channels])
