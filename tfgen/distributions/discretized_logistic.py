"""One discretised logistic a value, with a scale that all values share."""

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen.checks import check_integer
from tfgen.distributions.discretized_logistic_mixture import MixtureOfDiscretizedLogistics
from tfgen.distributions.likelihood import Likelihood

tfd = tfp.distributions


class DiscretizedLogistic(Likelihood):
    """x in {0..L-1}; each value a logistic distribution rounded to the levels [1].

        P(x) = sigmoid((v + d - loc) / s) - sigmoid((v - d - loc) / s)

    with levels at v = 2 x / (L-1) - 1, half a bin d = 1 / (L-1), a location from the network for
    each value, and one learned number, log s, for all values. The channels of a pixel are
    independent; its parameters are C locations and log s, at least -7.

    Departs from [1], where the lowest and the highest level have a bin like all others and the
    probabilities sum to less than 1: here they take the tails, and the sum is 1.

    Args:
        num_levels: L.

    [1] Kingma, Salimans, Jozefowicz, Chen, Sutskever, Welling. Improving variational inference with
        inverse autoregressive flow. NeurIPS 2016. arXiv:1606.04934
    """

    num_levels: int
    event_ndims = 1
    num_constant = 1
    constant_is_shared = True
    minimum_log_scale = -7.0

    def __init__(self, num_levels: int = 256):
        check_integer("num_levels", num_levels, minimum=2)
        self.num_levels = num_levels

    def parameters_shape(self, channels: int) -> tuple[int, ...]:
        return (channels + 1,)

    def __call__(self, parameters: tf.Tensor) -> tfd.Distribution:
        return self._distribution(parameters, 1.0)

    def draw(self, parameters: tf.Tensor, seed: tf.Tensor, temperature: Any = 1.0) -> tf.Tensor:
        """With T times the scale."""
        return self._distribution(parameters, temperature).sample(seed=seed)

    def _distribution(self, parameters: tf.Tensor, temperature: Any) -> tfd.Distribution:
        loc, log_scale = parameters[..., None, :-1], parameters[..., None, -1:]
        temperature = tf.cast(temperature, parameters.dtype)
        log_scale = tf.maximum(log_scale, self.minimum_log_scale) + tf.math.log(temperature)
        return MixtureOfDiscretizedLogistics(
            logits=tf.zeros_like(parameters[..., :1]),
            loc=loc,
            log_scale=log_scale + tf.zeros_like(loc),
            num_levels=self.num_levels,
        )

    def fit(self, x: np.ndarray) -> np.ndarray:
        v = 2.0 * x / (self.num_levels - 1) - 1.0
        loc = v.mean(axis=0)
        # A logistic distribution's standard deviation is pi / sqrt(3) times its scale.
        scale = np.sqrt(np.mean(v.var(axis=0))) * np.sqrt(3.0) / np.pi
        log_scale = np.log(np.maximum(scale, 1.0 / self.num_levels))
        return np.concatenate([loc, np.full_like(loc[..., :1], log_scale)], axis=-1)
