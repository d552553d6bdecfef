"""Priors p(z)."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen.checks import check_integer
from tfgen.configurable import Configurable

tfd = tfp.distributions


class Prior(Configurable, keras.Layer):
    """p(z) or p(z | y): a part of a `VAE`.

    Args:
        latent_shape: of z.
        condition_size: length of the model's condition, or 0.
    """

    def __init__(self, latent_shape: Sequence[int], condition_size: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        self.latent_shape = tuple(latent_shape)
        self.condition_size = condition_size
        for size in self.latent_shape:
            check_integer("latent_shape", size, minimum=1)
        self.autocast = False

    def distribution(self, model: Any, condition: tf.Tensor | None = None) -> tfd.Distribution:
        """Event shape `latent_shape`; batch shape `[]` or, where it reads the condition, `[B]`."""
        raise NotImplementedError

    def initialize(self, model: Any, x: tf.Tensor) -> None:
        """Data-dependent start, from a batch of data in native units."""

    @property
    def float_dtype(self) -> str:
        return "float64" if self.variable_dtype == "float64" else "float32"

    def _standard_normal(self, shape: Sequence[int]) -> tfd.Distribution:
        zeros = tf.zeros(shape, self.float_dtype)
        return tfd.Independent(tfd.Normal(zeros, 1.0), len(shape))


class StandardNormalPrior(Prior):
    """p(z) = N(0, I)."""

    def distribution(self, model: Any, condition: tf.Tensor | None = None) -> tfd.Distribution:
        return self._standard_normal(self.latent_shape)
