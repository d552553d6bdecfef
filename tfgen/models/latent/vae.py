"""The variational autoencoder."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen import distributions, layers
from tfgen.build import build
from tfgen.checks import check_argument, check_integer
from tfgen.models.latent.base import LatentVariableModel

tfb = tfp.bijectors
tfd = tfp.distributions

# Of the posterior: at most 9 nats of precision a dimension, and no logarithm of zero.
MINIMUM_SCALE = 1e-4


class VAE(LatentVariableModel):
    """Variational autoencoder [1]: p(z) = N(0, I), q(z | x) a diagonal Gaussian.

        log p(x) >= E_q[log p(x | z)] - KL(q(z | x) || p(z))

    The encoder's features go through a linear layer to the mean and scale of q; the decoder's
    output plus a bias for every dimension of x are the parameters of p(x | z). `initialize` sets
    that bias to the parameters of independent dimensions: training starts from their likelihood.

    Latents are a vector, `latent_shape=[J]`, or a grid `[h, w, J]`; for a grid the encoder's
    features must be `[B, h, w, F]`. Conditions are concatenated to these features and to z.

    Departs from [1]: the scale of q is a softplus.

    Args:
        event_shape: shape of one example.
        num_levels: number of integer levels of discrete data, or None for real data.
        latent_shape: shape of z.
        likelihood: p(x | z), a `tfgen.distributions.Likelihood` or its specification; by default
            `Gaussian` for real data, `Bernoulli` for 2 levels, else `DiscretizedLogisticMixture`.
        encoder: a Keras layer from data on the network's scale to features, or the specification
            of one of `tfgen.layers`.
        decoder: a Keras layer from latents, `[N, *latent_shape]` and the condition's channels, to
            `[N, *output_shape]`, or the specification of one of `tfgen.layers`.
        **kwargs: `num_classes`, `num_features`, `name`, `dtype`.

    Raises:
        ValueError: a likelihood for other data, or networks whose outputs do not fit.

    [1] Kingma, Welling. Auto-encoding variational Bayes. ICLR 2014. arXiv:1312.6114
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        num_levels: int | None = None,
        latent_shape: Sequence[int] = (32,),
        likelihood: Any = None,
        encoder: Any = None,
        decoder: Any = None,
        **kwargs: Any,
    ):
        super().__init__(event_shape, num_levels=num_levels, **kwargs)
        for size in latent_shape:
            check_integer("latent_shape", size, minimum=1)
        self.latent_shape = tuple(latent_shape)
        spec = self._default_likelihood() if likelihood is None else likelihood
        self.observation = build(distributions, spec, num_levels=num_levels)
        given = f"{type(self.observation).__name__} for num_levels={self.observation.num_levels}"
        fits = self.observation.num_levels == num_levels
        check_argument(fits, "likelihood", f"one for data with num_levels={num_levels}", given)

        # Values of x are [*positions, channels]; a vector's dimensions are positions with one.
        is_image = len(self.event_shape) == 3
        self.positions = self.event_shape[:-1] if is_image else self.event_shape
        channels = self.event_shape[-1] if is_image else 1
        shape = (*self.positions, *self.observation.parameters_shape(channels))
        self.parameters_shape = shape
        num_constant = self.observation.num_constant
        self.output_shape_of_decoder = (*shape[:-1], shape[-1] - num_constant)

        self.encoder = build(layers, {"type": "MLPEncoder"} if encoder is None else encoder)
        self.decoder = build(
            layers,
            {"type": "MLPDecoder"} if decoder is None else decoder,
            output_shape=self.output_shape_of_decoder,
        )
        self.posterior_parameters = keras.layers.Dense(
            2 * self.latent_shape[-1] if len(self.latent_shape) > 1 else 2 * self.latent_shape[0],
            kernel_initializer=layers.nets.SMALL,
        )
        # Float32 under any policy, as the likelihood that it enters.
        self.output_bias = self.add_weight(
            shape=self.output_shape_of_decoder,
            initializer="zeros",
            name="output_bias",
            autocast=False,
        )
        constant_shape = (
            (num_constant,) if self.observation.constant_is_shared else (*shape[:-1], num_constant)
        )
        self.output_constant = (
            self.add_weight(
                shape=constant_shape, initializer="zeros", name="output_constant", autocast=False
            )
            if num_constant
            else None
        )
        self.is_initialized = self.add_weight(
            shape=(), initializer="zeros", dtype="float32", trainable=False, name="is_initialized"
        )

    def _default_likelihood(self) -> dict[str, Any]:
        if self.num_levels is None:
            return {"type": "Gaussian"}
        if self.num_levels == 2:
            return {"type": "Bernoulli"}
        return {"type": "DiscretizedLogisticMixture"}

    def prior(self, condition: tf.Tensor | None = None) -> tfd.Distribution:
        zeros = tf.zeros(self.latent_shape, self.float_dtype)
        return tfd.Independent(tfd.Normal(zeros, 1.0), len(self.latent_shape))

    def posterior(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tfd.Distribution:
        x = self.observation.normalize(x, self.float_dtype)
        features = self.encoder(x, training=self.is_training)
        if len(self.latent_shape) == 1:
            features = tf.reshape(features, [-1, math.prod(features.shape[1:])])
        features = _concatenate(tf.cast(features, self.float_dtype), condition)
        parameters = tf.cast(self.posterior_parameters(features), self.float_dtype)
        loc, raw_scale = tf.split(parameters, 2, axis=-1)
        fits = loc.shape[1:] == self.latent_shape
        check_argument(fits, "latent_shape", f"{tuple(loc.shape[1:])} here", self.latent_shape)
        # The offset makes a zero output the prior's scale, 1.
        scale = MINIMUM_SCALE + tf.math.softplus(raw_scale + math.log(math.e - 1.0))
        return tfd.Independent(tfd.Normal(loc, scale), len(self.latent_shape))

    def likelihood(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> tfd.Distribution:
        leading = tf.shape(z)[: z.shape.rank - len(self.latent_shape)]
        if condition is not None:
            condition = tf.broadcast_to(
                condition, tf.concat([leading, [condition.shape[-1]]], axis=0)
            )
            condition = tf.reshape(condition, [-1, condition.shape[-1]])
        flat = tf.reshape(z, [-1, *self.latent_shape])
        outputs = self.decoder(_concatenate(flat, condition), training=self.is_training)
        expected = self.output_shape_of_decoder
        fits = math.prod(outputs.shape[1:]) == math.prod(expected)
        check_argument(fits, "decoder", f"one with outputs {expected}", tuple(outputs.shape[1:]))
        outputs = tf.reshape(outputs, [-1, *expected])
        parameters = tf.cast(outputs, self.float_dtype) + self.output_bias.value
        if self.output_constant is not None:
            constant = tf.broadcast_to(
                self.output_constant.value,
                tf.concat([tf.shape(parameters)[:-1], [self.observation.num_constant]], axis=0),
            )
            parameters = tf.concat([parameters, constant], axis=-1)
        parameters = tf.reshape(parameters, tf.concat([leading, self.parameters_shape], axis=0))
        return self._over_event(self.observation(parameters))

    def _over_event(self, values: tfd.Distribution) -> tfd.Distribution:
        """One distribution whose event is `event_shape`, from those of positions or values."""
        num_event = len(self.positions) + 1  # positions and channels
        whole = tfd.Independent(values, num_event - self.observation.event_ndims)
        if len(self.event_shape) == num_event:
            return whole
        return tfd.TransformedDistribution(
            whole, tfb.Reshape(list(self.event_shape), [*self.positions, 1])
        )

    def initialize(self, x: Any, y: Any = None) -> None:
        if float(self.is_initialized.value) != 0.0:
            return
        x = np.asarray(self.check_data(x), "float64")
        parameters = self.observation.fit(x.reshape(len(x), *self.positions, -1))
        split = parameters.shape[-1] - self.observation.num_constant
        self.output_bias.assign(parameters[..., :split])
        if self.output_constant is not None:
            constant = parameters[..., split:]
            if self.observation.constant_is_shared:
                constant = constant.reshape(-1, constant.shape[-1])[0]
            self.output_constant.assign(constant)
        self.is_initialized.assign(1.0)


def _concatenate(features: tf.Tensor, condition: tf.Tensor | None) -> tf.Tensor:
    """The condition beside the features, repeated over a grid."""
    if condition is None:
        return features
    condition = tf.cast(condition, features.dtype)
    for _ in range(features.shape.rank - 2):
        condition = condition[:, None]
    shape = tf.concat([tf.shape(features)[:-1], [condition.shape[-1]]], axis=0)
    return tf.concat([features, tf.broadcast_to(condition, shape)], axis=-1)
