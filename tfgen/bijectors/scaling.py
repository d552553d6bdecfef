"""Maps with one scale for each entry, whatever the other entries are."""

from typing import Any

import tensorflow as tf

from tfgen.bijectors.bijector import Bijector


class DiagonalScaling(Bijector):
    """z = exp(s) x, one s for each entry, zero at the start; log|det dz/dx| = sum s [1, 3.3].

    Source: [1] Dinh, Krueger, Bengio. NICE: non-linear independent components estimation. 2014.
    arXiv:1410.8516
    """

    def _create_variables(self, event_shape: tuple[int, ...]) -> None:
        self.log_scale = self._add_float_weight("log_scale", event_shape, initializer="zeros")

    def _forward(self, z: tf.Tensor, condition: Any) -> tuple[tf.Tensor, tf.Tensor]:
        return z * tf.exp(-self.log_scale), -self._log_det(z)

    def _inverse(self, x: tf.Tensor, condition: Any) -> tuple[tf.Tensor, tf.Tensor]:
        return x * tf.exp(self.log_scale), self._log_det(x)

    def _log_det(self, x: tf.Tensor) -> tf.Tensor:
        return tf.fill(tf.shape(x)[:1], tf.reduce_sum(self.log_scale))


class LearnedGaussian(Bijector):
    """x = m + exp(s) z: with a standard normal base, x ~ N(m, exp(2 s)).

    m and s have a learned value for each entry and, given a condition `[B, K]`, a linear map of it
    for each channel; both start at zero.
    """

    def build(self, x_shape: Any, condition_shape: Any = None) -> None:
        if condition_shape is not None:
            shape = (condition_shape[-1], 2 * x_shape[-1])
            self.kernel = self._add_float_weight("kernel", shape, initializer="zeros")
        super().build(x_shape, condition_shape)

    def _create_variables(self, event_shape: tuple[int, ...]) -> None:
        self.loc = self._add_float_weight("loc", event_shape, initializer="zeros")
        self.log_scale = self._add_float_weight("log_scale", event_shape, initializer="zeros")

    def _parameters(self, x: tf.Tensor, condition: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """m and s, of the shape of x."""
        zeros = tf.zeros_like(x)
        loc, log_scale = zeros + self.loc, zeros + self.log_scale
        if condition is None:
            return loc, log_scale
        per_channel = tf.matmul(tf.cast(condition, self.float_dtype), self.kernel)
        shape = [-1, *[1] * (x.shape.rank - 2), x.shape[-1]]
        of_loc, of_log_scale = (
            tf.reshape(part, shape) for part in tf.split(per_channel, 2, axis=-1)
        )
        return loc + of_loc, log_scale + of_log_scale

    def _forward(self, z: tf.Tensor, condition: Any) -> tuple[tf.Tensor, tf.Tensor]:
        loc, log_scale = self._parameters(z, condition)
        return loc + tf.exp(log_scale) * z, _sum_over_event(log_scale)

    def _inverse(self, x: tf.Tensor, condition: Any) -> tuple[tf.Tensor, tf.Tensor]:
        loc, log_scale = self._parameters(x, condition)
        return (x - loc) * tf.exp(-log_scale), -_sum_over_event(log_scale)


def _sum_over_event(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(x, list(range(1, x.shape.rank)))
