"""The variational autoencoder."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen import distributions, latents, layers
from tfgen.build import build
from tfgen.checks import check_argument, check_integer
from tfgen.layers.weight_norm import data_dependent_initialization
from tfgen.models.generative_model import EVALUATION_SEED
from tfgen.models.latent.base import LatentVariableModel

tfd = tfp.distributions


class VAE(LatentVariableModel):
    """Variational autoencoder [1], made of parts that can be exchanged.

        log p(x) >= E_q[log p(x | z) + log p(z) - log q(z | x)]

    A prior p(z), a posterior q(z | x), which reads the encoder's features, and a likelihood
    p(x | z), whose parameters are the decoder's output plus a bias for each of its entries.
    `initialize` sets that bias to the parameters of independent dimensions: training starts from
    their likelihood. Weight-normalised layers, wherever they are, it initialises by one pass.

    Latents are a vector, `latent_shape=[J]`, or a grid `[h, w, J]`; for a grid the encoder's
    features must be `[B, h, w, F]`. Conditions are concatenated to these features and to z.

    Args:
        event_shape: shape of one example.
        num_levels: number of integer levels of discrete data, or None for real data.
        latent_shape: shape of z.
        prior: p(z), a `tfgen.latents.Prior` or its specification; N(0, I) by default.
        posterior: q(z | x), a `tfgen.latents.Posterior` or its specification; by default a diagonal
            Gaussian.
        likelihood: p(x | z), a `tfgen.distributions.Likelihood` or `AutoregressiveLikelihood`, or
            its specification; by default `Gaussian` for real data, `Bernoulli` for 2 levels, else
            `DiscretizedLogisticMixture`.
        encoder: a Keras layer from data on the network's scale to features, or the specification
            of one of `tfgen.layers`.
        decoder: a Keras layer from latents, `[N, *latent_shape]` and the condition's channels, to
            `[N, *output_shape]`, or the specification of one of `tfgen.layers`.
        **kwargs: `num_classes`, `num_features`, `name`, `dtype`.

    Raises:
        ValueError: a likelihood for other data, parts for other latents, or networks whose outputs
            do not fit.

    [1] Kingma, Welling. Auto-encoding variational Bayes. ICLR 2014. arXiv:1312.6114
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        num_levels: int | None = None,
        latent_shape: Sequence[int] = (32,),
        prior: Any = None,
        posterior: Any = None,
        likelihood: Any = None,
        encoder: Any = None,
        decoder: Any = None,
        **kwargs: Any,
    ):
        super().__init__(event_shape, num_levels=num_levels, **kwargs)
        for size in latent_shape:
            check_integer("latent_shape", size, minimum=1)
        self.latent_shape = tuple(latent_shape)
        condition_size = self.num_classes or self.num_features or 0
        of_latents = {
            "latent_shape": self.latent_shape,
            "event_shape": self.event_shape,
            "condition_size": condition_size,
        }
        prior = {"type": "StandardNormalPrior"} if prior is None else prior
        posterior = {"type": "DiagonalPosterior"} if posterior is None else posterior
        self.prior_part = build(latents, prior, **of_latents)
        self.posterior_part = build(latents, posterior, **of_latents)
        for name, part in (("prior", self.prior_part), ("posterior", self.posterior_part)):
            fits = part.latent_shape == self.latent_shape
            check_argument(fits, name, f"one of latents {self.latent_shape}", part.latent_shape)

        spec = self._default_likelihood() if likelihood is None else likelihood
        of_data = {"event_shape": self.event_shape, "num_levels": num_levels}
        self.observation = build(distributions, spec, **of_data)
        given = f"{type(self.observation).__name__} for num_levels={self.observation.num_levels}"
        fits = self.observation.num_levels == num_levels
        check_argument(fits, "likelihood", f"one for data with num_levels={num_levels}", given)

        self.output_shape_of_decoder = self.observation.decoder_output_shape(self.event_shape)
        self.encoder = build(layers, {"type": "MLPEncoder"} if encoder is None else encoder)
        self.decoder = build(
            layers,
            {"type": "MLPDecoder"} if decoder is None else decoder,
            output_shape=self.output_shape_of_decoder,
        )
        # Float32 under any policy, as the likelihood that it enters.
        self.output_bias = self._add_float_weight("output_bias", self.output_shape_of_decoder)
        constant_shape = self.observation.constant_shape(self.event_shape)
        self.output_constant = (
            None
            if constant_shape is None
            else self._add_float_weight("output_constant", constant_shape)
        )
        self.is_initialized = self.add_weight(
            shape=(), initializer="zeros", dtype="float32", trainable=False, name="is_initialized"
        )

    def _add_float_weight(self, name: str, shape: Any) -> Any:
        return self.add_weight(name=name, shape=shape, initializer="zeros", autocast=False)

    def _default_likelihood(self) -> dict[str, Any]:
        if self.num_levels is None:
            return {"type": "Gaussian"}
        if self.num_levels == 2:
            return {"type": "Bernoulli"}
        return {"type": "DiscretizedLogisticMixture"}

    def prior(self, condition: tf.Tensor | None = None) -> tfd.Distribution:
        return self.prior_part.distribution(self, condition)

    def posterior(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tfd.Distribution:
        return self.posterior_part.distribution(self, x, condition)

    def features(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """The encoder's output with the condition, `[B, F]` or, for a grid of latents,
        `[B, h, w, F]`: what a posterior reads."""
        x = self.observation.normalize(x, self.float_dtype)
        features = self.encoder(x, training=self.is_training)
        if len(self.latent_shape) == 1:
            features = tf.reshape(features, [-1, math.prod(features.shape[1:])])
        return _concatenate(tf.cast(features, self.float_dtype), condition)

    def likelihood(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> tfd.Distribution:
        return self.observation.distribution(
            self.outputs(z, condition),
            self.event_shape,
            None if self.output_constant is None else self.output_constant.value,
            training=self.is_training,
        )

    def outputs(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """The decoder's output and its bias, `[..., *output_shape_of_decoder]` for z `[...]`."""
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
        outputs = tf.reshape(outputs, tf.concat([leading, expected], axis=0))
        return tf.cast(outputs, self.float_dtype) + self.output_bias.value

    def initialize(self, x: Any, y: Any = None) -> None:
        if bool(self.is_initialized.numpy()):
            return
        x = self.check_data(x)
        bias, constant = self.observation.initialize(np.asarray(x, "float64"), self.event_shape)
        self.output_bias.assign(bias)
        if self.output_constant is not None:
            self.output_constant.assign(constant)
        self.prior_part.initialize(self, x)
        with data_dependent_initialization(self) as weight_normalised, self._training():
            if weight_normalised:
                self.terms(x, y, seed=EVALUATION_SEED)
        self.is_initialized.assign(1.0)

    def signatures(self) -> dict[str, tuple[Callable[..., dict[str, tf.Tensor]], list[Any]]]:
        return self.observation.signatures(super().signatures())


def _concatenate(features: tf.Tensor, condition: tf.Tensor | None) -> tf.Tensor:
    """The condition beside the features, repeated over a grid."""
    if condition is None:
        return features
    condition = tf.cast(condition, features.dtype)
    for _ in range(features.shape.rank - 2):
        condition = condition[:, None]
    shape = tf.concat([tf.shape(features)[:-1], [condition.shape[-1]]], axis=0)
    return tf.concat([features, tf.broadcast_to(condition, shape)], axis=-1)
