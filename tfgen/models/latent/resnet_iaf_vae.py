"""The deep ResNet VAE with bidirectional inference and IAF in every layer."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen import distributions, seeds
from tfgen.build import build
from tfgen.checks import check_argument, check_integer
from tfgen.layers.weight_norm import WeightNormConv2D, data_dependent_initialization
from tfgen.models.autoregressive.parts import condition_layer
from tfgen.models.generative_model import EVALUATION_SEED
from tfgen.models.latent.base import LatentVariableModel, Terms
from tfgen.models.latent.bidirectional import (
    GAIN,
    BidirectionalLayer,
    IAFStep,
    Statement,
    TopDown,
    crop,
)

tfd = tfp.distributions


class ResNetIAFVAE(LatentVariableModel):
    """The deep ResNet VAE with bidirectional inference and inverse autoregressive flow (IAF) [1].

        p(x, z) = p(x | z) prod_l p(z_l | z_>l),    q(z | x) = prod_l q(z_l | z_>l, x)

    Layers of latents z_l `[h_l, w_l, C]`, grouped in levels of one resolution each: the lowest
    level has half that of x, every further one half of the one below. A bottom-up pass of residual
    blocks reads x; a top-down pass starts from a learned vector, repeated over the topmost grid,
    and at each layer gives the prior of z_l, a diagonal Gaussian. The posterior's base is a
    diagonal Gaussian whose mean and log standard deviation are sums of one term from either pass;
    `num_flows` autoregressive steps (`IAFStep`), whose context is such a sum too, make it the
    posterior. Only inference runs them: to sample is to sample the priors from the top down.

    `terms` estimates KL_(l, c), one row for each layer, the topmost first, and each channel of it:
    log q - log p of the draw, summed over space. With free bits in the objective these are the
    groups of [1]. `encode`, `decode`, `prior` and `likelihood` take all latents as one vector: the
    layers from the topmost to the lowest, each flattened in the order rows, columns, channels.

    All convolutions are weight-normalised; `initialize` sets their lengths and biases from one
    batch (outputs of standard deviation 0.1, in the masked ones 1) and what is added to the
    outputs to the parameters of p(x | z) that fit all pixels of that batch alike.

    A condition is added, through a linear layer, to the vector at the top.

    The default step is that of the authors' code for this model, z' = (z - m) exp(-s) with m and s
    the network's outputs times 0.1, which starts near the identity; s is softly bounded here
    (`LocationScaleTransformer`). The gated update of [1, algorithm 1] is `GatedTransformer`.

    Departs from the authors' code (github.com/openai/iaf): weights are g v / |v| with g itself
    learned, not its logarithm; the first flow's order starts at the top left, not at the bottom
    right; hidden units of a flow's network see all of their channel's group; the topmost layer has
    no features that nobody reads; odd sides are rounded up and not padded; grids grow by a
    convolution to four times the maps and depth-to-space, as in the Theano version (the TensorFlow
    one transposes a convolution), and shrink by every second pixel, as in the TensorFlow version
    (the Theano one averages); edge levels take the logistic's tails.

    Args:
        event_shape: `(H, W, C)`.
        num_levels: number of integer levels of discrete data, or None for real data.
        depths: number of layers in each level, from the data inwards.
        filters: feature maps everywhere, at least `latent_channels`.
        latent_channels: channels of each layer's latents.
        num_flows: autoregressive steps in each layer, in alternating orders; 0 for a Gaussian
            posterior.
        flow_depth: hidden layers of a step's network.
        transformer: specification of the steps' elementwise map, one of `tfgen.bijectors`.
        likelihood: p(x | z), a `tfgen.distributions.Likelihood` or its specification; by default
            `Gaussian` for real data, `Bernoulli` for 2 levels, else `DiscretizedLogistic`.
        **kwargs: `num_classes`, `num_features`, `name`, `dtype`.

    Raises:
        ValueError: an argument outside its range; a likelihood for other data.

    [1] Kingma, Salimans, Jozefowicz, Chen, Sutskever, Welling. Improving variational inference with
        inverse autoregressive flow. NeurIPS 2016. arXiv:1606.04934
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        num_levels: int | None = None,
        depths: Sequence[int] = (10, 10),
        filters: int = 160,
        latent_channels: int = 32,
        num_flows: int = 1,
        flow_depth: int = 2,
        transformer: Any = None,
        likelihood: Any = None,
        **kwargs: Any,
    ):
        super().__init__(event_shape, num_levels=num_levels, **kwargs)
        is_image = len(self.event_shape) == 3
        check_argument(is_image, "event_shape", "(H, W, C)", self.event_shape)
        check_argument(len(depths) > 0, "depths", "a list of at least one integer", depths)
        for depth in depths:
            check_integer("depths", depth, minimum=1)
        check_integer("latent_channels", latent_channels, minimum=1)
        check_integer("filters", filters, minimum=1)
        enough = filters >= latent_channels
        check_argument(enough, "filters", f"at least latent_channels={latent_channels}", filters)
        check_integer("num_flows", num_flows, minimum=0)
        check_integer("flow_depth", flow_depth, minimum=1)
        spec = self._default_likelihood() if likelihood is None else likelihood
        self.observation = build(distributions, spec, num_levels=num_levels)
        given = f"{type(self.observation).__name__} for num_levels={self.observation.num_levels}"
        fits = self.observation.num_levels == num_levels
        check_argument(fits, "likelihood", f"one for data with num_levels={num_levels}", given)
        transformer = transformer or {"type": "LocationScaleTransformer"}

        self.filters = filters
        self.input_layer = WeightNormConv2D(filters, 5, gain=GAIN, strides=2)
        self.layers_upwards: list[BidirectionalLayer] = []
        grids: list[tuple[int, int]] = []  # of the layers, upwards
        grid = _half(self.event_shape)
        for level, depth in enumerate(depths):
            for number in range(depth):
                below = grid if level and not number else None
                grid = _half(grid) if below else grid
                flows = [
                    IAFStep(latent_channels, filters, flow_depth, transformer, bool(index % 2))
                    for index in range(num_flows)
                ]
                is_top = level == len(depths) - 1 and number == depth - 1
                self.layers_upwards.append(
                    BidirectionalLayer(latent_channels, filters, below, is_top, flows)
                )
                grids.append(grid)
        self.latent_shapes = [(*grid, latent_channels) for grid in reversed(grids)]
        self.latent_sizes = [math.prod(shape) for shape in self.latent_shapes]
        self.latent_shape = (sum(self.latent_sizes),)

        self.top = self.add_weight(name="top", shape=(filters,), initializer="zeros")
        self.condition_layer = condition_layer(filters) if self.is_conditional else None
        self.output_shape_of_decoder = self.observation.decoder_output_shape(self.event_shape)
        self.output_layer = WeightNormConv2D(
            4 * math.prod(self.output_shape_of_decoder[2:]), 5, gain=GAIN
        )
        # The same at every pixel; float32 under any policy, as the likelihood that they enter.
        self.pixel_shape = (1, 1, self.event_shape[-1])
        shape = self.observation.decoder_output_shape(self.pixel_shape)
        self.output_bias = self._add_float_weight("output_bias", shape)
        shape = self.observation.constant_shape(self.pixel_shape)
        self.output_constant = (
            None if shape is None else self._add_float_weight("output_constant", shape)
        )
        self.is_initialized = self.add_weight(
            name="is_initialized", shape=(), initializer="zeros", dtype="float32", trainable=False
        )

    def _add_float_weight(self, name: str, shape: Any) -> Any:
        return self.add_weight(name=name, shape=shape, initializer="zeros", autocast=False)

    def _default_likelihood(self) -> dict[str, Any]:
        if self.num_levels is None:
            return {"type": "Gaussian"}
        return {"type": "Bernoulli" if self.num_levels == 2 else "DiscretizedLogistic"}

    # ------------------------------------------------------------------ the two passes

    def _bottom_up(self, x: tf.Tensor) -> list[Statement]:
        """What x says about each layer's posterior, the topmost first."""
        h = self.input_layer(self.observation.normalize(x, self.float_dtype))
        statements = []
        for layer in self.layers_upwards:
            statement, h = layer.up(h)
            statements.append(statement)
        return statements[::-1]

    def _top_down(self, choose: Callable[..., tf.Tensor], num_rows: Any, condition: Any) -> Any:
        """The lowest features, `[num_rows, ...]`, where `choose(index, layer, what it says on the
        way down)` gives the latents of each layer, the topmost first."""
        top = tf.cast(self.top, self.compute_dtype)
        if self.condition_layer is not None:
            top += self.condition_layer(condition)[:, None, None]
        height, width, _ = self.latent_shapes[0]
        h = tf.broadcast_to(top, [num_rows, height, width, self.filters])
        for index, layer in enumerate(reversed(self.layers_upwards)):
            seen = layer.look(h)
            h = layer.down(h, seen.features, choose(index, layer, seen))
        return h

    def _infer(
        self, x: Any, y: Any, num_samples: int, draw_noise: Callable[[int, Any], tf.Tensor]
    ) -> tuple[tf.Tensor, list[tf.Tensor], list[tf.Tensor], list[tf.Tensor]]:
        """Both passes with `num_samples` rows for each x: the lowest features, and for each layer,
        the topmost first, its latents and their elementwise log p and log q."""
        batch_size = tf.shape(x)[0]
        statements = [
            Statement(*(_repeat(t, num_samples) for t in statement))
            for statement in self._bottom_up(x)
        ]
        condition = self.condition(y, batch_size)
        condition = None if condition is None else _repeat(condition, num_samples)
        latents, log_p, log_q = [], [], []

        def choose(index: int, layer: BidirectionalLayer, seen: TopDown) -> tf.Tensor:
            noise = draw_noise(index, tf.shape(seen.prior.loc))
            z, log_qz = layer.infer(statements[index], seen.statement, noise)
            latents.append(z)
            log_p.append(seen.prior.log_prob(z))
            log_q.append(log_qz)
            return z

        h = self._top_down(choose, num_samples * batch_size, condition)
        return h, latents, log_p, log_q

    def _observe(self, h: tf.Tensor, leading: Any) -> tfd.Distribution:
        """p(x | z) of batch shape `leading`, from the lowest features."""
        outputs = tf.nn.depth_to_space(self.output_layer(tf.nn.elu(h)), 2)
        outputs = tf.cast(crop(outputs, self.event_shape), self.float_dtype)
        outputs = tf.reshape(outputs, tf.concat([leading, self.output_shape_of_decoder], 0))
        return self.observation.distribution(
            outputs + self.output_bias.value,
            self.event_shape,
            None if self.output_constant is None else self.output_constant.value,
            training=self.is_training,
        )

    # ------------------------------------------------------------------ the protocol

    def terms(self, x: Any, y: Any = None, num_samples: int = 1, seed: Any = None) -> Terms:
        x = self.check_data(x)
        seed = self.next_seed(seed)
        leading = [num_samples, tf.shape(x)[0]]

        def draw_noise(index: int, shape: Any) -> tf.Tensor:
            return seeds.normal(shape, seeds.fold_in(seed, index), self.float_dtype)

        def groups(values: list[tf.Tensor]) -> tf.Tensor:
            """Sums over space, `[K, B, G]`."""
            sums = tf.concat([tf.reduce_sum(value, axis=[1, 2]) for value in values], axis=-1)
            return tf.reshape(sums, [*leading, sums.shape[-1]])

        h, latents, log_p, log_q = self._infer(x, y, num_samples, draw_noise)
        log_pz, log_qz = groups(log_p), groups(log_q)
        return Terms(
            z=tf.reshape(self._join(latents), [*leading, *self.latent_shape]),
            log_px=self._observe(h, leading).log_prob(tf.cast(x, self.float_dtype)),
            log_pz=tf.reduce_sum(log_pz, axis=-1),
            log_qz=tf.reduce_sum(log_qz, axis=-1),
            kl=tf.transpose(tf.reduce_mean(log_qz - log_pz, axis=0)),
        )

    def layers_of(self, kl: tf.Tensor) -> list[tf.Tensor]:
        """The rows of each layer, one for each channel; the topmost first."""
        return tf.split(kl, len(self.latent_shapes))

    def sample(self, num_samples: Any, y: Any = None, seed: Any = None) -> tf.Tensor:
        """Draws in data units, in one top-down pass."""
        condition = self.condition(y, num_samples)
        latent_seed, data_seed = seeds.split(self.next_seed(seed))
        h, _ = self._sample_prior(num_samples, condition, latent_seed)
        x = self._observe(h, [num_samples]).sample(seed=data_seed)
        return tf.cast(x, self.event_dtype)

    def _sample_prior(
        self, num_rows: Any, condition: Any, seed: tf.Tensor
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """The lowest features and the latents, the topmost layer's first."""
        latents = []

        def choose(index: int, layer: BidirectionalLayer, seen: TopDown) -> tf.Tensor:
            loc, scale = seen.prior.loc, seen.prior.scale
            noise = seeds.normal(tf.shape(loc), seeds.fold_in(seed, index), self.float_dtype)
            latents.append(loc + scale * noise)
            return latents[-1]

        return self._top_down(choose, num_rows, condition), latents

    def prior(self, condition: tf.Tensor | None = None) -> tfd.Distribution:
        return TopDownPrior(self, condition)

    def likelihood(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> tfd.Distribution:
        leading = tf.shape(z)[:-1]
        rows = tf.reshape(z, [-1, *self.latent_shape])
        condition = _rows_of(condition, leading)
        latents = self._split(rows)
        h = self._top_down(lambda index, *_: latents[index], tf.shape(rows)[0], condition)
        return self._observe(h, leading)

    def encode(self, x: Any, y: Any = None) -> tf.Tensor:
        """`[B, *latent_shape]`: at each layer, from the top, the image of the base's mean."""
        x = self.check_data(x)
        _, latents, _, _ = self._infer(x, y, 1, lambda _, shape: tf.zeros(shape, self.float_dtype))
        return self._join(latents)

    def _join(self, latents: list[tf.Tensor]) -> tf.Tensor:
        sizes = zip(latents, self.latent_sizes, strict=True)
        return tf.concat([tf.reshape(z, [-1, size]) for z, size in sizes], axis=-1)

    def _split(self, rows: tf.Tensor) -> list[tf.Tensor]:
        pieces = zip(tf.split(rows, self.latent_sizes, axis=-1), self.latent_shapes, strict=True)
        return [tf.reshape(z, [-1, *shape]) for z, shape in pieces]

    def initialize(self, x: Any, y: Any = None) -> None:
        if bool(self.is_initialized.numpy()):
            return
        x = self.check_data(x)
        pixels = np.reshape(np.asarray(x, "float64"), [-1, *self.pixel_shape])
        bias, constant = self.observation.initialize(pixels, self.pixel_shape)
        self.output_bias.assign(bias)
        if self.output_constant is not None:
            self.output_constant.assign(constant)
        with data_dependent_initialization(self):
            self.terms(x, y, seed=EVALUATION_SEED)
        self.is_initialized.assign(1.0)


class TopDownPrior(tfd.Distribution):
    """p(z) = prod_l p(z_l | z_>l) of a `ResNetIAFVAE`, over the vector of all its latents.

    Batch shape `[]`, or that of the condition `[B, *]`.
    """

    def __init__(self, model: ResNetIAFVAE, condition: tf.Tensor | None = None):
        parameters = dict(locals())
        self.model = model
        self.condition = condition
        super().__init__(
            dtype=tf.as_dtype(model.float_dtype),
            reparameterization_type=tfd.FULLY_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name="TopDownPrior",
        )

    @classmethod
    def _parameter_properties(cls, dtype: Any = None, num_classes: Any = None) -> dict[str, Any]:
        return {}

    def _batch_shape(self) -> tf.TensorShape:
        return tf.TensorShape([]) if self.condition is None else self.condition.shape[:1]

    def _batch_shape_tensor(self) -> tf.Tensor:
        return tf.constant([], tf.int32) if self.condition is None else tf.shape(self.condition)[:1]

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape(self.model.latent_shape)

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant(self.model.latent_shape, tf.int32)

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        leading = tf.concat([[n], self.batch_shape_tensor()], 0)
        seed = tfp.random.sanitize_seed(seed)
        condition = _rows_of(self.condition, leading)
        _, latents = self.model._sample_prior(tf.reduce_prod(leading), condition, seed)
        return tf.reshape(self.model._join(latents), tf.concat([leading, [-1]], 0))

    def _log_prob(self, z: tf.Tensor) -> tf.Tensor:
        leading = tf.broadcast_dynamic_shape(tf.shape(z)[:-1], self.batch_shape_tensor())
        z = tf.broadcast_to(z, tf.concat([leading, self.model.latent_shape], 0))
        rows = tf.reshape(z, [-1, *self.model.latent_shape])
        latents = self.model._split(rows)
        log_p = []

        def choose(index: int, layer: BidirectionalLayer, seen: TopDown) -> tf.Tensor:
            log_p.append(tf.reduce_sum(seen.prior.log_prob(latents[index]), axis=[1, 2, 3]))
            return latents[index]

        self.model._top_down(choose, tf.shape(rows)[0], _rows_of(self.condition, leading))
        return tf.reshape(tf.add_n(log_p), leading)


def _half(grid: Sequence[int]) -> tuple[int, int]:
    return math.ceil(grid[0] / 2), math.ceil(grid[1] / 2)


def _repeat(x: tf.Tensor, num_samples: int) -> tf.Tensor:
    """`[B, ...] -> [K B, ...]`, draw after draw."""
    return tf.tile(x, [num_samples] + [1] * (x.shape.rank - 1))


def _rows_of(condition: tf.Tensor | None, leading: tf.Tensor) -> tf.Tensor | None:
    """The condition of every row, where rows have the shape `leading`, flattened."""
    if condition is None:
        return None
    size = condition.shape[-1]
    return tf.reshape(tf.broadcast_to(condition, tf.concat([leading, [size]], 0)), [-1, size])
