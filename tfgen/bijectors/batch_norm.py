"""Batch normalisation."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfgen.bijectors.bijector import Bijector

EPSILON = 1e-5


class BatchNorm(Bijector):
    """z = (x - m) / sqrt(v + 1e-5) * exp(s) + t, with numbers for each channel (the last axis).

    log|det dz/dx| = n sum_c (s_c - log(v_c + 1e-5) / 2), n the number of positions of a channel
    (H W, or 1 for vectors). s and t are learned [2].

    In training (inside `batch_statistics`, which the training step of a `Flow` enters) m and v are
    those of the minibatch in the direction x -> z, and gradients flow through them: the numbers
    then belong to the batch, not to its rows, and are no densities to report. Otherwise, and always
    from z to x, they are the stored ones.

    Training stores nothing. `recalibrate` sets the stored statistics to the exact ones of the
    training set under the weights as they are, as the released code of [2] does; `Flow.fit` and the
    runs of `tfgen.training` call it before every evaluation and at the end. The running averages of
    [1] lag behind the weights, and the error of one layer is the input of the next: an evaluation
    with them can be off by any number of nats. `initialize` stores the statistics of the first
    batch, once.

    [1] Dinh, Sohl-Dickstein, Bengio. Density estimation using Real NVP. ICLR 2017. arXiv:1605.08803
    [2] Papamakarios, Pavlakou, Murray. Masked Autoregressive Flow for Density Estimation. NeurIPS
        2017. arXiv:1705.07057
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.uses_batch_statistics = False

    def _create_variables(self, event_shape: tuple[int, ...]) -> None:
        channels = event_shape[-1:]
        self.num_positions = int(np.prod(event_shape[:-1]))
        self.shift = self._add_float_weight("shift", channels, initializer="zeros")
        self.log_scale = self._add_float_weight("log_scale", channels, initializer="zeros")
        stored = {"trainable": False}
        self.mean = self._add_float_weight("mean", channels, initializer="zeros", **stored)
        self.variance = self._add_float_weight("variance", channels, initializer="ones", **stored)
        self.is_initialized = self._add_float_weight(
            "is_initialized", (), initializer="zeros", **stored
        )

    def initialize(self, x: tf.Tensor, condition: Any = None) -> tf.Tensor:
        x = self._prepare(x, condition)
        if not bool(self.is_initialized.numpy()):
            return self.recalibrate([x], [condition])[0]
        return self.inverse_and_log_det(x, condition)[0]

    def recalibrate(self, batches: Sequence[tf.Tensor], conditions: Sequence[Any]) -> list[Any]:
        prepared = [self._prepare(x, None) for x in batches]
        # In float64, and the mean before the squares: means far from 0 cost no digits.
        axes = tuple(range(prepared[0].shape.rank - 1))
        count = sum(int(np.prod(x.shape[:-1])) for x in prepared)
        mean = np.sum([np.sum(x, axes, "float64") for x in prepared], 0) / count
        squares = [np.sum(np.square(np.asarray(x) - mean), axes) for x in prepared]
        self.mean.assign(mean)
        self.variance.assign(np.sum(squares, 0) / count)
        self.is_initialized.assign(1.0)
        return super().recalibrate(prepared, conditions)

    def _forward(self, z: tf.Tensor, condition: Any) -> tuple[tf.Tensor, tf.Tensor]:
        log_scale = self._inverse_log_scale(self.variance)
        x = (z - self.shift) * tf.exp(-log_scale) + self.mean
        return x, self._log_det(x, -log_scale)

    def _inverse(self, x: tf.Tensor, condition: Any) -> tuple[tf.Tensor, tf.Tensor]:
        mean, variance = self.mean, self.variance
        if self.uses_batch_statistics:
            mean, variance = tf.nn.moments(x, axes=list(range(x.shape.rank - 1)))
        log_scale = self._inverse_log_scale(variance)
        return (x - mean) * tf.exp(log_scale) + self.shift, self._log_det(x, log_scale)

    def _inverse_log_scale(self, variance: tf.Tensor) -> tf.Tensor:
        return self.log_scale - 0.5 * tf.math.log(variance + EPSILON)

    def _log_det(self, x: tf.Tensor, log_scale: tf.Tensor) -> tf.Tensor:
        return tf.fill(tf.shape(x)[:1], self.num_positions * tf.reduce_sum(log_scale))


def batch_norms(owner: keras.Layer) -> list[BatchNorm]:
    """Every `BatchNorm` inside a layer or a model, and itself."""
    return [layer for layer in owner._flatten_layers() if isinstance(layer, BatchNorm)]


@contextlib.contextmanager
def batch_statistics(owner: keras.Layer) -> Iterator[None]:
    """Inside, every `BatchNorm` of `owner` normalises by the statistics of its minibatch."""
    layers = batch_norms(owner)
    for layer in layers:
        layer.uses_batch_statistics = True
    try:
        yield
    finally:
        for layer in layers:
            layer.uses_batch_statistics = False
