"""Invertible 1x1 convolution."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfgen.bijectors.bijector import Bijector


class InvertibleConv1x1(Bijector):
    """z = W x at every position, W = P L (U + diag(sign exp(s))); the last axis is mixed.

    P is a permutation, L unit lower and U strictly upper triangular [1, eq. 10]. P and the signs
    are fixed, so W stays invertible and its determinant costs a sum:

        log|det dz/dx| = n sum_c s_c,    n the number of positions (H W, or 1 for vectors).

    W starts as a random orthogonal matrix, decomposed, with log|det| = 0. The inverse of W, by two
    triangular solves in float64, is made once for all positions and examples.

    Args:
        seed: of the orthogonal matrix.

    [1] Kingma, Dhariwal. Glow: generative flow with invertible 1x1 convolutions. NeurIPS 2018.
        arXiv:1807.03039
    """

    def __init__(self, seed: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        self.seed = seed

    def _create_variables(self, event_shape: tuple[int, ...]) -> None:
        channels = event_shape[-1]
        self.num_positions = int(np.prod(event_shape[:-1]))
        # P and the signs are saved with the weights: another LAPACK may find other ones.
        permutation, lower, upper = _plu(_random_orthogonal(channels, self.seed))
        diagonal = np.diag(upper)
        self.permutation = self._constant("permutation", permutation, trainable=False)
        self.sign = self._constant("sign", np.sign(diagonal), trainable=False)
        self.lower = self._constant("lower", np.tril(lower, -1))
        self.upper = self._constant("upper", np.triu(upper, 1))
        self.log_diagonal = self._constant("log_diagonal", np.log(np.abs(diagonal)))

    def _constant(self, name: str, value: np.ndarray, trainable: bool = True) -> Any:
        return self._add_float_weight(
            name,
            value.shape,
            initializer=lambda shape, dtype=None: tf.constant(value, dtype),
            trainable=trainable,
        )

    def _factors(self) -> tuple[tf.Tensor, tf.Tensor]:
        """L and U with their diagonals; what the variables hold elsewhere counts for nothing."""
        lower = tf.linalg.set_diag(
            tf.linalg.band_part(self.lower, -1, 0), tf.ones_like(self.log_diagonal)
        )
        upper = tf.linalg.band_part(self.upper, 0, -1)
        return lower, tf.linalg.set_diag(upper, self.sign * tf.exp(self.log_diagonal))

    def matrix(self) -> tf.Tensor:
        """W, `[C, C]`."""
        lower, upper = self._factors()
        return tf.matmul(self.permutation, tf.matmul(lower, upper))

    def inverse_matrix(self) -> tf.Tensor:
        """W^-1, `[C, C]`."""
        lower, upper = (tf.cast(factor, "float64") for factor in self._factors())
        inverse = tf.cast(tf.transpose(self.permutation), "float64")
        inverse = tf.linalg.triangular_solve(lower, inverse, lower=True)
        inverse = tf.linalg.triangular_solve(upper, inverse, lower=False)
        return tf.cast(inverse, self.float_dtype)

    def _forward(self, z: tf.Tensor, condition: Any) -> tuple[tf.Tensor, tf.Tensor]:
        return _at_every_position(self.inverse_matrix(), z), -self._log_det(z)

    def _inverse(self, x: tf.Tensor, condition: Any) -> tuple[tf.Tensor, tf.Tensor]:
        return _at_every_position(self.matrix(), x), self._log_det(x)

    def _log_det(self, x: tf.Tensor) -> tf.Tensor:
        return tf.fill(tf.shape(x)[:1], self.num_positions * tf.reduce_sum(self.log_diagonal))


def _at_every_position(matrix: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    flat = tf.reshape(x, [-1, matrix.shape[0]])
    return tf.reshape(tf.matmul(flat, matrix, transpose_b=True), tf.shape(x))


def _random_orthogonal(size: int, seed: int) -> np.ndarray:
    return np.linalg.qr(np.random.RandomState(seed).standard_normal((size, size)))[0]


def _plu(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """P, L, U of a matrix, L with unit diagonal."""
    with tf.init_scope():
        packed, rows = (part.numpy() for part in tf.linalg.lu(matrix))
    size = len(matrix)
    return np.eye(size)[:, rows], np.tril(packed, -1) + np.eye(size), np.triu(packed)
