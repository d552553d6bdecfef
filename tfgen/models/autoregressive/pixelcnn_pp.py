"""PixelCNN++: shifted convolutions at several resolutions, a mixture of logistics a pixel."""

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfgen import seeds
from tfgen.checks import check_argument, check_integer
from tfgen.configurable import Configurable
from tfgen.distributions import DiscretizedLogisticMixture
from tfgen.layers.causal import Block, DownShift, RightShift
from tfgen.layers.functions import concat_elu, dropout, recompute
from tfgen.layers.weight_norm import (
    ShiftedConv2D,
    ShiftedConv2DTranspose,
    WeightNormDense,
    data_dependent_initialization,
)
from tfgen.models.autoregressive.base import AutoregressiveModel
from tfgen.models.autoregressive.parts import check_integer_image, condition_layer

# (rows, columns), columns to the left: of the stream from above, of the one from above and left.
DOWN = {"kernel_size": (2, 3), "columns_left": 1}
DOWN_RIGHT = {"kernel_size": (2, 2), "columns_left": 1}


class GatedResidual(Block):
    """x + a sigmoid(b),    (a, b) = conv(dropout(phi(conv(phi(x)) + W phi(aux)))) + V c.

    phi is `concat_elu`; `aux` is a short-cut, another stream, or both; `shift` is V c. The second
    convolution starts at a tenth of the usual scale. Dropout acts where there is a `seed` for it.
    Source: `PixelCNNPP`.
    """

    def __init__(
        self,
        filters: int,
        convolution: dict[str, Any],
        has_aux: bool,
        dropout: float,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.input_layer = ShiftedConv2D(filters, **convolution)
        self.aux_layer = WeightNormDense(filters) if has_aux else None
        self.dropout = dropout
        self.output_layer = ShiftedConv2D(2 * filters, gain=0.1, **convolution)

    def call(
        self,
        x: tf.Tensor,
        aux: tf.Tensor | None = None,
        shift: tf.Tensor | None = None,
        seed: tf.Tensor | None = None,
        *,
        run: Any,
    ) -> tf.Tensor:
        y = run(self.input_layer, concat_elu(x))
        if self.aux_layer is not None:
            y += self.aux_layer(concat_elu(aux))
        y = concat_elu(y)
        if seed is not None:
            y = dropout(y, self.dropout, seed)
        a, b = tf.split(run.add(run(self.output_layer, y), shift), 2, axis=-1)
        return x + a * tf.sigmoid(b)


class Stream(Configurable, keras.Layer):
    """The blocks of one stream at one resolution, and how it gets there and back.

    `shifts`: V of each block, those of the way up first; none without a condition.
    """

    def __init__(
        self,
        filters: int,
        convolution: dict[str, Any],
        sees_other: bool,
        num_up: int,
        num_down: int,
        has_half: bool,
        dropout: float,
        shifts: Sequence[keras.layers.Layer],
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.up = [GatedResidual(filters, convolution, sees_other, dropout) for _ in range(num_up)]
        self.down = [GatedResidual(filters, convolution, True, dropout) for _ in range(num_down)]
        self.shrink = self.grow = None
        if has_half:
            self.shrink = ShiftedConv2D(filters, strides=2, **convolution)
            self.grow = ShiftedConv2DTranspose(filters, convolution["kernel_size"])
        self.shifts = list(shifts)

    def conditioning(self, condition: tf.Tensor | None) -> list[tf.Tensor | None]:
        """V c of each block, those of the way up first."""
        if condition is None:
            return [None] * (len(self.up) + len(self.down))
        return [shift(condition) for shift in self.shifts]


class PixelCNNPP(AutoregressiveModel):
    """PixelCNN++ [1]: log p(x) = sum_i log p(x_i | x_<i), i over whole pixels in raster order.

    x `[B, H, W, C]` integers. One mixture of discretised logistics gives all colours of a pixel
    (`DiscretizedLogisticMixture`: the green mean is linear in red, the blue one in red and green).
    Two streams of features go through the network: u(row, column) sees the rows above, ul also the
    own row to the left; u feeds ul, never the reverse. Both pass `num_blocks` gated residual blocks
    at each of `num_scales` resolutions on the way down in resolution, and on the way back as many
    (one more except at the lowest), each of which sees the output of its counterpart by a
    short-cut. All convolutions are weight-normalised; `initialize` sets their lengths and biases
    from one batch, with dropout as in training. `log_prob` in nats, exact.

    As a decoder it is conditioned on maps of features, one vector a pixel; at a lower resolution on
    their mean over the pixels that a place stands for.

    Departs from the authors' code: the interior of a bin is exact at all scales; samples are
    rounded before they condition anything (`MixtureOfDiscretizedLogistics`); the number of
    resolutions is an argument.

    Args:
        event_shape: `(H, W, C)`; H and W multiples of 2^(num_scales - 1).
        num_levels: levels of the data, 2 to 256.
        num_classes: number of labels to condition on.
        num_features: number of real features to condition on, `[B, num_features]` or, a vector for
            each pixel, `[B, H, W, num_features]`.
        filters: feature maps everywhere.
        num_blocks: blocks a resolution.
        num_mixtures: components of the mixture.
        num_scales: resolutions.
        dropout: rate inside the blocks while training.
        recompute: keep only the inputs of the blocks in memory while training, and compute their
            inside again for the gradient.

    Raises:
        ValueError: an argument outside its range.

    [1] Salimans, Karpathy, Chen, Kingma. PixelCNN++: improving the PixelCNN with discretized
        logistic mixture likelihood and other modifications. ICLR 2017. arXiv:1701.05517
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        num_levels: int = 256,
        num_classes: int | None = None,
        num_features: int | None = None,
        filters: int = 160,
        num_blocks: int = 5,
        num_mixtures: int = 10,
        num_scales: int = 3,
        dropout: float = 0.5,
        recompute: bool = False,
        **kwargs: Any,
    ):
        super().__init__(event_shape, num_levels, num_classes, num_features, **kwargs)
        check_integer_image(self.event_shape, num_levels)
        check_integer("filters", filters, minimum=1)
        check_integer("num_blocks", num_blocks, minimum=1)
        check_integer("num_scales", num_scales, minimum=1)
        check_argument(0.0 <= dropout < 1.0, "dropout", "in [0, 1)", dropout)
        factor = 2 ** (num_scales - 1)
        divides = not any(size % factor for size in self.event_shape[:2])
        sides = f"height and width that are multiples of {factor}"
        check_argument(divides, "event_shape", sides, self.event_shape)
        self.likelihood = DiscretizedLogisticMixture(num_levels, num_mixtures)
        self.dropout = dropout
        self.recompute = recompute

        def streams(convolution: dict[str, Any], sees_other: bool) -> list[Stream]:
            def stream(has_half: bool) -> Stream:
                num_up, num_down = num_blocks, num_blocks + has_half
                shifts = [
                    condition_layer(2 * filters, num_features is None)
                    for _ in range(num_up + num_down if self.is_conditional else 0)
                ]
                return Stream(
                    filters, convolution, sees_other, num_up, num_down, has_half, dropout, shifts
                )

            return [stream(level < num_scales - 1) for level in range(num_scales)]

        self.down_shift, self.right_shift = DownShift(), RightShift()
        self.u_first = ShiftedConv2D(filters, (2, 3), columns_left=1)
        self.ul_first_above = ShiftedConv2D(filters, (1, 3), columns_left=1)
        self.ul_first_left = ShiftedConv2D(filters, (2, 1), columns_left=0)
        self.u, self.ul = streams(DOWN, False), streams(DOWN_RIGHT, True)
        self.head = WeightNormDense(self.likelihood.parameters_shape(self.event_shape[-1])[0])
        self.is_initialized = self.add_weight(
            name="is_initialized", shape=(), initializer="zeros", trainable=False
        )

    @property
    def position_shape(self) -> tuple[int, ...]:
        return self.event_shape[:2]

    def initialize(self, x: Any, y: Any = None) -> None:
        if bool(self.is_initialized.numpy()):
            return
        with data_dependent_initialization(self), self._training():
            self.parameters(x, self.condition(y, tf.shape(x)[0]))
        self.is_initialized.assign(1.0)

    def conditioning(self, condition: tf.Tensor | None) -> dict[str, list[list[Any]]]:
        """V c and the seed of dropout, or None, for each block of each stream."""
        conditions = [condition]
        for _ in self.u[1:]:
            if condition is not None and condition.shape.rank == 4:
                condition = tf.nn.avg_pool2d(condition, 2, 2, "VALID")
            conditions.append(condition)
        seed = self.next_seed() if self.is_training and self.dropout else None
        blocks = itertools.count()

        def with_seed(shift: tf.Tensor | None) -> tuple[tf.Tensor | None, tf.Tensor | None]:
            return shift, None if seed is None else seeds.fold_in(seed, next(blocks))

        return {
            name: [
                [with_seed(shift) for shift in stream.conditioning(condition)]
                for stream, condition in zip(streams, conditions, strict=True)
            ]
            for name, streams in (("u", self.u), ("ul", self.ul))
        }

    def rows(self, x: tf.Tensor, conditioning: Any, run: Any) -> list[list[tf.Tensor]]:
        """Outputs of the blocks of u at each resolution; at the finest also ul's start."""

        def start(run: Any, x: tf.Tensor) -> Any:
            x = self._normalize(x)
            u, ul = run(self.u_first, x), run(self.ul_first_above, x)
            return tf.split(run(self.down_shift, tf.concat([u, ul], axis=-1)), 2, axis=-1)

        u, ul = run.input(start, x)
        _, outputs = self._go(run, self.u, conditioning["u"], u)
        outputs[0].append(ul)
        return outputs

    def columns(
        self, x: tf.Tensor, contexts: list[list[tf.Tensor]], conditioning: Any, run: Any
    ) -> tf.Tensor:
        def start(run: Any, x: tf.Tensor) -> tf.Tensor:
            return run(self.right_shift, run(self.ul_first_left, self._normalize(x)))

        *us, above = contexts[0]
        ul = run.input(start, x) + above
        ul, _ = self._go(run, self.ul, conditioning["ul"], ul, [us, *contexts[1:]])
        return tf.cast(self.head(tf.nn.elu(ul)), self.float_dtype)

    def _go(
        self,
        run: Any,
        streams: Any,
        conditioning: Any,
        x: tf.Tensor,
        beside: Any = None,
        level: int = 0,
    ) -> tuple[tf.Tensor, list[list[tf.Tensor]]]:
        """One stream at a resolution and below: its result, and the outputs of its blocks there.

        `beside`: the outputs of the other stream's blocks, which each block sees.
        """
        stream = streams[level]
        up, down = len(stream.up), len(stream.down)
        other = [None] * (up + down) if beside is None else beside[level]

        def block(layer: Any, x: tf.Tensor, short_cut: Any, index: int) -> tf.Tensor:
            aux = [t for t in (other[index], short_cut) if t is not None]
            shift, seed = conditioning[level][index]
            inputs = {"x": x, "aux": tf.concat(aux, axis=-1) if aux else None, "shift": shift}
            inputs = {name: value for name, value in inputs.items() if value is not None}

            def call(*values: tf.Tensor) -> tf.Tensor:
                return layer(**dict(zip(inputs, values, strict=True)), seed=seed, run=run)

            again = self.recompute and self.is_training
            return (recompute(call) if again else call)(*inputs.values())

        ups, outputs, below = [x], [], []
        for index, layer in enumerate(stream.up):
            ups.append(block(layer, ups[-1], None, index))
            outputs.append(ups[-1])
        if stream.shrink is None:
            x = ups.pop()
        else:
            x, below = run.half(
                stream.shrink,
                lambda run, x: self._go(run, streams, conditioning, x, beside, level + 1),
                stream.grow,
                ups[-1],
            )
        for index, layer in enumerate(stream.down, up):
            x = block(layer, x, ups.pop(), index)
            outputs.append(x)
        return x, [outputs, *(below or [])]

    def _normalize(self, x: tf.Tensor) -> tf.Tensor:
        """Pixels on [-1, 1] and a channel of ones, by which the padding can be told."""
        x = self.likelihood.normalize(x, self.float_dtype)
        return tf.concat([x, tf.ones_like(x[..., :1])], axis=-1)
