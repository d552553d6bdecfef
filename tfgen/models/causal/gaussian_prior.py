"""The Gaussian prior of two correlated groups of latents.

XLA's CPU compiler turns a triangular solve and a Cholesky factorisation into loops over rows that
take longer than the rest of a training step together. Densities here are products with inverse
factors, which are made from matrix products as well.
"""

import math
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen.checks import check_argument, check_integer
from tfgen.configurable import Configurable

tfd = tfp.distributions


class GaussianPrior(Configurable, keras.Layer):
    """p(s, v) = N(mu, L L^T) in blocks [1, appendix F.2].

        L = [[L_ss, 0], [M_vs, L_vv]]
        p(s)     = N(mu_s, L_ss L_ss^T)
        p(v | s) = N(mu_v + M_vs L_ss^-1 (s - mu_s), L_vv L_vv^T)
        p(v)     = N(mu_v, L_vv L_vv^T + M_vs M_vs^T)

    L_ss and L_vv are lower triangular with a positive diagonal, the exponential of a parameter;
    everything else is free. Values z are s and v side by side, `[..., S + V]`. With V = 0 there is
    s alone.

    It starts with the standard deviation `scale` in each dimension and the correlation of entry i
    of s with entry i of v, exactly: M_vs = correlation scale I and, for the entries of v that have
    a partner, L_vv = scale sqrt(1 - correlation^2). (The authors' code starts from
    M_vs = scale sqrt(correlation) I, which for a scale of 0.5 and a correlation of 0.9 is a
    correlation of 0.688, and shrinks entries without a partner.)

    Args:
        semantic_size: S.
        variation_size: V, or 0.
        loc: mean of every dimension at the start. [1] says means are fixed at zero, the authors'
            code learns them; here they are learned.
        scale: standard deviation of every dimension at the start.
        correlation: of s_i with v_i at the start, inside (-1, 1): a deterministic relation cannot
            be identified.

    Raises:
        ValueError: an argument outside its range.

    [1] Liu, Sun, Wang, Tang, Li, Qin, Chen, Liu. Learning causal semantic representation for
        out-of-distribution prediction. NeurIPS 2021. arXiv:2011.01681
    """

    def __init__(
        self,
        semantic_size: int,
        variation_size: int,
        loc: float = 0.0,
        scale: float = 1.0,
        correlation: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_integer("semantic_size", semantic_size, minimum=1)
        check_integer("variation_size", variation_size, minimum=0)
        check_argument(scale > 0, "scale", "positive", scale)
        check_argument(abs(correlation) < 1, "correlation", "inside (-1, 1)", correlation)
        self.autocast = False
        self.semantic_size, self.variation_size = semantic_size, variation_size
        size = semantic_size + variation_size
        pairs = min(semantic_size, variation_size)
        diagonal = np.full(size, float(scale))
        diagonal[semantic_size : semantic_size + pairs] *= np.sqrt(1.0 - correlation**2)
        start = np.diag(np.log(diagonal))
        paired = np.arange(pairs)
        start[semantic_size + paired, paired] = correlation * scale
        self.loc = self.add_weight(
            name="loc", shape=(size,), initializer=keras.initializers.Constant(loc), autocast=False
        )
        # The lower triangle of L with the logarithm of the diagonal; what is above does nothing.
        self.raw = self.add_weight(
            name="raw",
            shape=(size, size),
            initializer=lambda shape, dtype: tf.cast(start, dtype),
            autocast=False,
        )
        self.built = True

    def factor(self) -> tf.Tensor:
        """L, `[S + V, S + V]`."""
        raw = self.raw.value
        return tf.linalg.set_diag(tf.linalg.band_part(raw, -1, 0), tf.exp(tf.linalg.diag_part(raw)))

    def joint(self) -> tfd.Distribution:
        """p(s, v)."""
        return tfd.MultivariateNormalTriL(self.loc.value, self.factor())

    def semantic(self) -> tfd.Distribution:
        """p(s)."""
        size = self.semantic_size
        return tfd.MultivariateNormalTriL(self.loc.value[:size], self.factor()[:size, :size])

    def variation(self) -> tfd.Distribution:
        """p(v)."""
        loc = self.loc.value[self.semantic_size :]
        return tfd.MultivariateNormalTriL(loc, self.variation_factor())

    def variation_given(self, s: tf.Tensor) -> tfd.Distribution:
        """p(v | s) for s `[..., S]`."""
        size, factor, loc = self.semantic_size, self.factor(), self.loc.value
        centred = tf.linalg.triangular_solve(
            factor[:size, :size], tf.linalg.matrix_transpose(s - loc[:size])
        )
        shift = tf.linalg.matrix_transpose(tf.matmul(factor[size:, :size], centred))
        return tfd.MultivariateNormalTriL(loc[size:] + shift, factor[size:, size:])

    def independent(self) -> tfd.Distribution:
        """p(s) p(v), the marginals of p(s, v)."""
        size = self.semantic_size
        blocks = tf.linalg.LinearOperatorBlockDiag(
            [
                tf.linalg.LinearOperatorLowerTriangular(block)
                for block in (self.factor()[:size, :size], self.variation_factor())
            ]
        )
        return tfd.MultivariateNormalTriL(self.loc.value, blocks.to_dense())

    def variation_factor(self) -> tf.Tensor:
        """The lower triangular factor of v's marginal covariance, `[V, V]`."""
        rows = self.factor()[self.semantic_size :]  # [M_vs, L_vv]
        return tf.linalg.cholesky(tf.matmul(rows, rows, transpose_b=True))

    def log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """log p(s, v), `[...]` for z `[..., S + V]`: that of `joint`."""
        s, v, shift, _, log_det = self._standardized(z)
        return -0.5 * (_sum_of_squares(s) + _sum_of_squares(v - shift)) - log_det

    def independent_log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """log p(s) + log p(v), `[...]`: that of `independent`.

        With W = L_vv^-1 M_vs the covariance of v is L_vv (I + W W^T) L_vv^T, of whose inverse and
        determinant the smaller of I + W W^T and I + W^T W is needed.
        """
        s, v, _, coupling, log_det = self._standardized(z)
        small = min(coupling.shape)
        is_wide = coupling.shape[1] == small  # W^T W is the small one
        gram = tf.matmul(coupling, coupling, transpose_a=is_wide, transpose_b=not is_wide)
        inverse = cholesky_inverse(gram + tf.eye(small, dtype=gram.dtype))
        log_det -= tf.reduce_sum(tf.math.log(tf.linalg.diag_part(inverse)))
        flat = tf.reshape(v, [-1, v.shape[-1]])
        if is_wide:  # (I + W W^T)^-1 = I - W (I + W^T W)^-1 W^T
            explained = tf.matmul(tf.matmul(flat, coupling), inverse, transpose_b=True)
            squares = _sum_of_squares(flat) - _sum_of_squares(explained)
        else:
            squares = _sum_of_squares(tf.matmul(flat, inverse, transpose_b=True))
        squares = tf.reshape(squares, tf.shape(z)[:-1])
        return -0.5 * (_sum_of_squares(s) + squares) - log_det

    def _standardized(self, z: tf.Tensor) -> "Standardized":
        """z by blocks, whose inverses cost a fraction of that of the whole factor."""
        size, factor = self.semantic_size, self.factor()
        inverse_s = triangular_inverse(factor[:size, :size])
        inverse_v = triangular_inverse(factor[size:, size:])
        centred = tf.reshape(z - self.loc.value, [-1, z.shape[-1]])
        s = tf.matmul(centred[:, :size], inverse_s, transpose_b=True)
        v = tf.matmul(centred[:, size:], inverse_v, transpose_b=True)
        coupling = tf.matmul(inverse_v, factor[size:, :size])
        shift = tf.matmul(s, coupling, transpose_b=True)
        leading = tf.shape(z)[:-1]
        s, v, shift = (
            tf.reshape(values, tf.concat([leading, [values.shape[-1]]], axis=0))
            for values in (s, v, shift)
        )
        log_det = tf.reduce_sum(tf.linalg.diag_part(self.raw.value))
        log_det += 0.5 * math.log(2.0 * math.pi) * z.shape[-1]
        return Standardized(s, v, shift, coupling, log_det)


class Standardized(NamedTuple):
    """(s, v) in the units of a `GaussianPrior`.

    Attributes:
        s: L_ss^-1 (s - mu_s), `[..., S]`.
        v: L_vv^-1 (v - mu_v), `[..., V]`.
        shift: the mean of the latter given s, `[..., V]`.
        coupling: W = L_vv^-1 M_vs, `[V, S]`.
        log_det: log det L with the normalising constant of the density, `[]`.
    """

    s: tf.Tensor
    v: tf.Tensor
    shift: tf.Tensor
    coupling: tf.Tensor
    log_det: tf.Tensor


def triangular_inverse(factor: tf.Tensor) -> tf.Tensor:
    """The inverse of a lower triangular matrix `[n, n]`, from the diagonal outwards.

    Blocks of twice the size at each of log2(n) levels, all blocks of a level at once:
    [[A, 0], [B, C]]^-1 = [[A^-1, 0], [-C^-1 B A^-1, C^-1]].
    """
    size = factor.shape[0]
    padded = 1 << max(size - 1, 0).bit_length()
    diagonal = tf.pad(tf.linalg.diag_part(factor), [[0, padded - size]], constant_values=1.0)
    factor = tf.pad(factor, [[0, padded - size], [0, padded - size]])
    inverse = tf.reshape(1.0 / diagonal, [padded, 1, 1])
    block = 1
    while block < padded:
        pairs = padded // (2 * block)
        tiles = tf.reshape(factor, [pairs, 2, block, pairs, 2, block])[:, 1, :, :, 0]
        tiles = tf.reshape(tf.transpose(tiles, [0, 2, 1, 3]), [pairs * pairs, block, block])
        below = tiles[:: pairs + 1]  # B of each pair
        first, second = inverse[0::2], inverse[1::2]
        below = -tf.matmul(second, tf.matmul(below, first))
        upper = tf.concat([first, tf.zeros_like(first)], axis=2)
        inverse = tf.concat([upper, tf.concat([below, second], axis=2)], axis=1)
        block *= 2
    return inverse[0, :size, :size]


def cholesky_inverse(matrix: tf.Tensor) -> tf.Tensor:
    """The inverse of the Cholesky factor of a positive definite matrix `[n, n]`, by halves."""
    size = matrix.shape[0]
    if size == 1:
        return tf.math.rsqrt(matrix)
    half = size // 2
    first = cholesky_inverse(matrix[:half, :half])
    below = tf.matmul(matrix[half:, :half], first, transpose_b=True)  # of the factor
    second = cholesky_inverse(matrix[half:, half:] - tf.matmul(below, below, transpose_b=True))
    upper = tf.concat([first, tf.zeros([half, size - half], matrix.dtype)], axis=1)
    lower = tf.concat([-tf.matmul(second, tf.matmul(below, first)), second], axis=1)
    return tf.concat([upper, lower], axis=0)


def _sum_of_squares(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.square(values), axis=-1)
