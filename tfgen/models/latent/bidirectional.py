"""Layers of latents between a bottom-up and a top-down pass, with autoregressive posteriors."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen.bijectors.transformer import new_transformer
from tfgen.configurable import Configurable
from tfgen.layers.weight_norm import WeightNormConv2D, WeightNormMaskedConv2D

tfd = tfp.distributions

# All from the authors' code: of the outputs of convolutions after initialisation, of what a layer
# adds to its input, and of the outputs of a flow's network, which start at standard deviation 1.
GAIN = 0.1
RESIDUAL_SCALE = 0.1
STEP_SCALE = 0.1


class Statement(NamedTuple):
    """What one of the two passes says about a layer's posterior; the two are added.

    Mean and log standard deviation of its base, `[..., h, w, C]`, and the context of its flows,
    `[..., h, w, filters]`, without channels if there are none.
    """

    loc: tf.Tensor
    log_scale: tf.Tensor
    context: tf.Tensor


class TopDown(NamedTuple):
    """What a layer computes on the way down, before its latents are known."""

    prior: tfd.Distribution
    statement: Statement
    features: tf.Tensor


class IAFStep(Configurable, keras.Layer):
    """One step of inverse autoregressive flow: z'_i = f^-1(z_i; parameters_i(z before i, context)).

    z `[B, h, w, C]`, context `[B, h, w, filters]` -> z' and the elementwise log dz'_i / dz_i, both
    `[B, h, w, C]`. "Before" is the order of rows, columns, channels, strictly, or its reverse. The
    parameters come from masked 3x3 convolutions with ELUs between them, the context is added after
    the first one, and their outputs are multiplied by 0.1. All values change in one pass.

    Source: `ResNetIAFVAE`.
    """

    def __init__(
        self,
        latent_channels: int,
        filters: int,
        num_hidden: int,
        transformer: Any,
        is_reversed: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.autocast = False
        self.transformer = new_transformer(transformer)
        self.is_reversed = is_reversed
        self.hidden = [
            WeightNormMaskedConv2D(filters, 3, "B", latent_channels) for _ in range(num_hidden)
        ]
        self.num_parameters = self.transformer.num_parameters
        self.outputs = WeightNormMaskedConv2D(
            self.num_parameters * latent_channels, 3, "A", latent_channels
        )

    def build(self, z_shape: Any, context_shape: Any) -> None:
        self.transformer.build((None, z_shape[-1]))

    def call(self, z: tf.Tensor, context: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if self.is_reversed:
            z, context = tf.reverse(z, [1, 2, 3]), tf.reverse(context, [1, 2])
        first, *others = self.hidden
        h = tf.nn.elu(first(z) + context)
        for layer in others:
            h = tf.nn.elu(layer(h))
        parameters = STEP_SCALE * tf.cast(self.outputs(h), z.dtype)
        # Those of a channel stand together, as the mask's groups do; the map takes them in blocks.
        shape = tf.shape(z)
        split = tf.reshape(parameters, tf.concat([shape, [self.num_parameters]], 0))
        parameters = tf.reshape(tf.linalg.matrix_transpose(split), tf.shape(parameters))
        z, log_slope = self.transformer.inverse(z, parameters)
        if self.is_reversed:
            z, log_slope = tf.reverse(z, [1, 2, 3]), tf.reverse(log_slope, [1, 2, 3])
        return z, log_slope


class BidirectionalLayer(Configurable, keras.Layer):
    """A layer of latents on a grid `[h, w]` between two residual blocks, one up and one down.

    Args:
        latent_channels: C.
        filters: feature maps.
        grid_below: height and width of the layer below, where they are twice those of this one.
        is_top: nothing is above, and the way up ends here.
        flows: what makes the posterior's base the posterior, `IAFStep`s.
    """

    def __init__(
        self,
        latent_channels: int,
        filters: int,
        grid_below: Sequence[int] | None,
        is_top: bool,
        flows: Sequence[IAFStep],
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.grid_below = grid_below
        self.flows = list(flows)
        posterior = [latent_channels, latent_channels, filters if self.flows else 0]
        self.up_sizes = [*posterior, 0 if is_top else filters]
        self.down_sizes = [latent_channels, latent_channels, *posterior, filters]
        strides, blocks = (1, 1) if grid_below is None else (2, 4)
        self.up_first = WeightNormConv2D(sum(self.up_sizes), gain=GAIN, strides=strides)
        self.up_second = None if is_top else WeightNormConv2D(filters, gain=GAIN)
        self.down_first = WeightNormConv2D(sum(self.down_sizes), gain=GAIN)
        self.down_second = WeightNormConv2D(blocks * filters, gain=GAIN)

    @property
    def float_dtype(self) -> str:
        return "float64" if self.variable_dtype == "float64" else "float32"

    def up(self, h: tf.Tensor) -> tuple[Statement, tf.Tensor]:
        """What x says about the posterior here, and the features for the layer above."""
        *statement, features = tf.split(self.up_first(tf.nn.elu(h)), self.up_sizes, axis=-1)
        if self.up_second is not None:
            skip = h if self.grid_below is None else h[:, ::2, ::2]
            h = skip + RESIDUAL_SCALE * self.up_second(tf.nn.elu(features))
        return self._statement(*statement), h

    def look(self, h: tf.Tensor) -> TopDown:
        """The prior given all latents above, and what these say about the posterior."""
        outputs = self.down_first(tf.nn.elu(h))
        loc, log_scale, *statement, features = tf.split(outputs, self.down_sizes, axis=-1)
        loc, log_scale = (tf.cast(t, self.float_dtype) for t in (loc, log_scale))
        return TopDown(tfd.Normal(loc, tf.exp(log_scale)), self._statement(*statement), features)

    def _statement(self, loc: tf.Tensor, log_scale: tf.Tensor, context: tf.Tensor) -> Statement:
        return Statement(
            tf.cast(loc, self.float_dtype), tf.cast(log_scale, self.float_dtype), context
        )

    def infer(
        self, up: Statement, down: Statement, noise: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """z ~ q(z | x, latents above) from standard normal noise, and its elementwise log q."""
        loc, log_scale, context = (a + b for a, b in zip(up, down, strict=True))
        base = tfd.Normal(loc, tf.exp(log_scale))
        z = loc + base.scale * noise
        log_q = base.log_prob(z)
        for flow in self.flows:
            z, log_slope = flow(z, context)
            log_q -= log_slope
        return z, log_q

    def down(self, h: tf.Tensor, features: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        """The features for the layer below."""
        inputs = tf.concat([tf.cast(z, features.dtype), features], axis=-1)
        change = self.down_second(tf.nn.elu(inputs))
        if self.grid_below is not None:
            h = tf.repeat(tf.repeat(h, 2, axis=1), 2, axis=2)
            h, change = (crop(t, self.grid_below) for t in (h, tf.nn.depth_to_space(change, 2)))
        return h + RESIDUAL_SCALE * change


def crop(x: tf.Tensor, grid: Sequence[int]) -> tf.Tensor:
    """The upper left part of height `grid[0]` and width `grid[1]`."""
    return x[:, : grid[0], : grid[1]]
