"""Activation normalisation."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfgen.bijectors.bijector import Bijector

SMALLEST_SCALE = 1e-6


class ActNorm(Bijector):
    """x = exp(s) z + t with one s and t per channel (the last axis).

    log|det dx/dz| = n sum_c s_c, n the number of positions of a channel (H W, or 1 for vectors).
    `initialize` sets s and t so that z of that batch has mean 0 and variance 1 in each channel. It
    does so once: a flag, saved with the weights, makes further calls do nothing. Unlike a batch
    normalisation, the map is the same in training and evaluation.

    Departs from [1], which stores s / 3 and thereby triples its learning rate.

    [1] Kingma, Dhariwal. Glow: generative flow with invertible 1x1 convolutions. NeurIPS 2018.
        arXiv:1807.03039
    """

    def _create_variables(self, event_shape: tuple[int, ...]) -> None:
        channels = event_shape[-1:]
        self.num_positions = int(np.prod(event_shape[:-1]))
        self.shift = self._add_float_weight("shift", channels, initializer="zeros")
        self.log_scale = self._add_float_weight("log_scale", channels, initializer="zeros")
        self.is_initialized = self._add_float_weight(
            "is_initialized", (), initializer="zeros", trainable=False
        )

    def initialize(self, x: tf.Tensor, condition: Any = None) -> tf.Tensor:
        x = self._prepare(x, condition)
        if not bool(self.is_initialized.numpy()):
            mean, variance = tf.nn.moments(x, axes=list(range(x.shape.rank - 1)))
            self.shift.assign(mean)
            self.log_scale.assign(tf.math.log(tf.maximum(tf.sqrt(variance), SMALLEST_SCALE)))
            self.is_initialized.assign(1.0)
        return self.inverse_and_log_det(x, condition)[0]

    def _forward(self, z: tf.Tensor, condition: Any) -> tuple[tf.Tensor, tf.Tensor]:
        return z * tf.exp(self.log_scale) + self.shift, self._log_det(z)

    def _inverse(self, x: tf.Tensor, condition: Any) -> tuple[tf.Tensor, tf.Tensor]:
        return (x - self.shift) * tf.exp(-self.log_scale), -self._log_det(x)

    def _log_det(self, x: tf.Tensor) -> tf.Tensor:
        return tf.fill(tf.shape(x)[:1], self.num_positions * tf.reduce_sum(self.log_scale))
