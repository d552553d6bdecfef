"""Approximate posteriors q(z | x)."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen.checks import check_argument, check_integer
from tfgen.configurable import Configurable
from tfgen.layers.nets import SMALL

tfd = tfp.distributions

# At most 9 nats of precision a dimension, and no logarithm of zero.
MINIMUM_SCALE = 1e-4


def positive_scale(raw: tf.Tensor) -> tf.Tensor:
    """1 for 0, the prior's scale."""
    return MINIMUM_SCALE + tf.math.softplus(raw + math.log(math.e - 1.0))


class Posterior(Configurable, keras.Layer):
    """q(z | x): a part of a `VAE`, which reads the encoder's features from it.

    Args:
        latent_shape: of z.
    """

    def __init__(self, latent_shape: Sequence[int], **kwargs: Any):
        super().__init__(**kwargs)
        self.latent_shape = tuple(latent_shape)
        for size in self.latent_shape:
            check_integer("latent_shape", size, minimum=1)
        self.autocast = False

    def distribution(
        self, model: Any, x: tf.Tensor, condition: tf.Tensor | None = None
    ) -> tfd.Distribution:
        """Event shape `latent_shape`, batch shape `[B]`; x in native units."""
        raise NotImplementedError

    @property
    def num_latents(self) -> int:
        """Entries of z."""
        return math.prod(self.latent_shape)

    @property
    def float_dtype(self) -> str:
        return "float64" if self.variable_dtype == "float64" else "float32"


class DiagonalPosterior(Posterior):
    """q(z | x) a diagonal Gaussian [1]; a linear layer maps the features to its mean and scale.

    For a grid of latents the layer acts at every place of the features' grid, which must be that of
    the latents.

    Departs from [1]: the scale is a softplus, for a zero output that of the prior, 1.

    [1] Kingma, Welling. Auto-encoding variational Bayes. ICLR 2014. arXiv:1312.6114
    """

    def __init__(self, latent_shape: Sequence[int], **kwargs: Any):
        super().__init__(latent_shape, **kwargs)
        self.parameters = keras.layers.Dense(2 * self.latent_shape[-1], kernel_initializer=SMALL)

    def distribution(
        self, model: Any, x: tf.Tensor, condition: tf.Tensor | None = None
    ) -> tfd.Distribution:
        return self.gaussian(model.features(x, condition))

    def gaussian(self, features: tf.Tensor) -> tfd.Distribution:
        parameters = tf.cast(self.parameters(features), self.float_dtype)
        loc, raw_scale = tf.split(parameters, 2, axis=-1)
        fits = loc.shape[1:] == self.latent_shape
        check_argument(fits, "latent_shape", f"{tuple(loc.shape[1:])} here", self.latent_shape)
        scale = positive_scale(raw_scale)
        return tfd.Independent(tfd.Normal(loc, scale), len(self.latent_shape))


def is_diagonal_gaussian(distribution: Any) -> bool:
    return isinstance(distribution, tfd.Independent) and isinstance(
        distribution.distribution, tfd.Normal
    )


class FullCovariancePosterior(Posterior):
    """q(z | x) = N(mu, L L^T), with mu and the lower triangular L linear maps of the features.

    The diagonal of L is positive through a softplus; zero outputs are N(0, I). Vectors of latents
    only.

    Raises:
        ValueError: a grid of latents.
    """

    def __init__(self, latent_shape: Sequence[int], **kwargs: Any):
        super().__init__(latent_shape, **kwargs)
        check_is_vector(type(self), self.latent_shape)
        (size,) = self.latent_shape
        self.loc = keras.layers.Dense(size, kernel_initializer=SMALL)
        self.factor = keras.layers.Dense(size * (size + 1) // 2, kernel_initializer=SMALL)

    def distribution(
        self, model: Any, x: tf.Tensor, condition: tf.Tensor | None = None
    ) -> tfd.Distribution:
        features = model.features(x, condition)
        loc = tf.cast(self.loc(features), self.float_dtype)
        factor = tfp.math.fill_triangular(tf.cast(self.factor(features), self.float_dtype))
        below = np.tri(self.num_latents, k=-1, dtype=self.float_dtype)
        diagonal = tf.linalg.diag(positive_scale(tf.linalg.diag_part(factor)))
        return tfd.MultivariateNormalTriL(loc, below * factor + diagonal)


def check_is_vector(cls: type, latent_shape: tuple[int, ...]) -> None:
    allowed = f"[J] for a {cls.__name__}, which relates every entry to every other"
    check_argument(len(latent_shape) == 1, "latent_shape", allowed, latent_shape)
