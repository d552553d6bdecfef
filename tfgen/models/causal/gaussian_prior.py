"""The Gaussian prior of two correlated groups of latents."""

from typing import Any

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
