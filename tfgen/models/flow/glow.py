"""Glow."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfgen.bijectors.actnorm import ActNorm
from tfgen.bijectors.bijector import Bijector, Chain, Fixed, Invert
from tfgen.bijectors.coupling import ChannelCoupling, OnFirstHalf
from tfgen.bijectors.invertible_conv import InvertibleConv1x1
from tfgen.bijectors.recompute import Recompute
from tfgen.bijectors.scaling import LearnedGaussian
from tfgen.bijectors.squeeze import Squeeze
from tfgen.bijectors.transformer import LocationScaleTransformer, new_transformer
from tfgen.checks import check_argument, check_integer
from tfgen.configurable import Configurable
from tfgen.layers.edge_conv import ActNormConv2D, ZeroConv2D
from tfgen.models.flow.base import Flow


class Glow(Flow):
    """Generative flow with invertible 1x1 convolutions [1].

    Images `[B, H, W, C]`, from data to latent: dequantisation to [0, 1) (integers only), then at
    each of num_scales scales

        squeeze: `[h, w, c]` -> `[h / 2, w / 2, 4 c]`,
        num_steps times: activation normalisation, 1x1 convolution, coupling of the channel halves,
        split (but not at the last scale): the second half z2 of the channels becomes the latent
            (z2 - m(z1)) exp(-s(z1)), the first half z1 goes on.

    What is left at the last scale has a learned mean and scale for each entry. The latent has the
    shape of x and its base is N(0, I) at all scales, so `temperature` scales the noise of each.

    `num_levels` = 32 is the paper's 5-bit data. `initialize` sets all activation normalisations
    from one batch, those inside the networks too, in one sequential pass.

    A condition shifts the mean and log-scale of the last latent. Departs from [1]: it also enters
    every network, by a linear map that starts at zero. And: the first activation normalisation
    takes the place of centring the data; log-scales are softly bounded; the scales of activation
    normalisations are learned at the rate of everything else (threefold in the released code), and
    those of the last latent have a value for each position.

    Args:
        event_shape: `[H, W, C]`, H and W divisible by 2^num_scales.
        num_scales: L.
        num_steps: K.
        filters: width of the couplings' networks.
        transformer: specification of the couplings' elementwise map: the paper's affine one by
            default; `{"type": "AdditiveTransformer"}` is its additive one.
        recompute: keep only the input of each step in memory while training, and compute its inside
            again for the gradient.

    Raises:
        ValueError: an argument outside its range; a shape that cannot be divided as often.

    [1] Kingma, Dhariwal. Glow: generative flow with invertible 1x1 convolutions. NeurIPS 2018.
        arXiv:1807.03039
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        num_levels: int | None = None,
        num_scales: int = 3,
        num_steps: int = 32,
        filters: int = 512,
        transformer: Any = None,
        recompute: bool = False,
        **kwargs: Any,
    ):
        super().__init__(event_shape, num_levels=num_levels, **kwargs)
        check_integer("num_scales", num_scales, minimum=1)
        check_integer("num_steps", num_steps, minimum=1)
        check_integer("filters", filters, minimum=1)
        shape = list(self.event_shape)
        check_argument(len(shape) == 3, "event_shape", "[H, W, C]", shape)
        fits = shape[0] % 2**num_scales == 0 and shape[1] % 2**num_scales == 0
        check_argument(fits, "num_scales", f"such that 2^num_scales divides {shape}", num_scales)
        self.num_steps = num_steps
        self.filters = filters
        self.transformer = transformer or {"type": "SigmoidTransformer"}
        self.recompute = recompute
        self.bijector = Chain(self._scales(shape[2], num_scales))

    def _scales(self, channels: int, num_scales: int) -> list[Bijector]:
        """This scale and all that follow; they keep the shape."""
        half = 2 * channels  # of the channels after the squeeze
        seed = self.num_steps * num_scales
        steps = [self._step(half, seed + i) for i in range(self.num_steps)]
        if num_scales == 1:
            rest: list[Bijector] = [LearnedGaussian()]
        else:
            split = ZeroConv2D(LocationScaleTransformer.num_parameters * half)
            rest = [
                ChannelCoupling(split, 1, LocationScaleTransformer()),
                OnFirstHalf(Chain(self._scales(half, num_scales - 1))),
            ]
        return [Fixed(Squeeze(), 3), *steps, *rest, Invert(Fixed(Squeeze(), 3))]

    def _step(self, half: int, seed: int) -> Bijector:
        transformer = new_transformer(self.transformer)
        network = GlowNetwork(transformer.num_parameters * half, self.filters)
        coupling = ChannelCoupling(network, 1, transformer)
        step = Chain([ActNorm(), InvertibleConv1x1(seed), coupling])
        return Recompute(step) if self.recompute else step


class GlowNetwork(Configurable, keras.Layer):
    """3x3 and 1x1 convolutions, each with activation normalisation and ReLU, and a 3x3 one.

    `[B, H, W, C]` -> `[B, H, W, num_outputs]`; the last convolution starts at zero. A condition
    `[B, K]` is added before the first ReLU.
    """

    def __init__(self, num_outputs: int, filters: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.first = ActNormConv2D(filters)
        self.second = ActNormConv2D(filters, kernel_size=1)
        self.last = ZeroConv2D(num_outputs)

    def build(self, x_shape: Any, condition_shape: Any = None) -> None:
        self.first.build(x_shape, condition_shape)
        self.second.build((*x_shape[:-1], self.first.units))
        self.last.build((*x_shape[:-1], self.second.units))
        self.is_initialized = self.add_weight(
            name="is_initialized", shape=(), initializer="zeros", trainable=False, autocast=False
        )

    def call(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        return self.last(tf.nn.relu(self.second(self._hidden(x, condition))))

    def _hidden(self, x: tf.Tensor, condition: tf.Tensor | None) -> tf.Tensor:
        return tf.nn.relu(self.first(x, condition=condition))

    def initialize(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> None:
        """Outputs of both hidden convolutions get mean 0 and variance 1 on this batch, once."""
        if not bool(self.is_initialized.numpy()):
            self.first.initialize(x, condition)
            self.second.initialize(self._hidden(x, condition))
            self.is_initialized.assign(1.0)
