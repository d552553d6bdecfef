"""From integer levels to real numbers: the step of a flow that is not a bijection."""

from typing import Any

import tensorflow as tf

from tfgen import seeds
from tfgen.checks import check_integer
from tfgen.configurable import Configurable


class UniformDequantization(Configurable):
    """v in {0..L-1} -> u = (v + e) / L in [0, 1), e ~ U[0, 1)^D.

    With p the density of u, by Jensen's inequality,

        log P(v) >= E_e[log p(u) - log q(u | v)],    log q(u | v) = D log L,

    so what a flow reports for integer data is a lower bound (one draw of e), in nats.

    [1] Theis, van den Oord, Bethge. A note on the evaluation of generative models. ICLR 2016.
        arXiv:1511.01844
    """

    def __init__(self, num_levels: int):
        check_integer("num_levels", num_levels, minimum=2)
        self.num_levels = num_levels

    def dequantize(self, x: tf.Tensor, seed: tf.Tensor, dtype: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """u `[B, *event]` and log q(u | x) `[B]`."""
        noise = seeds.uniform(tf.shape(x), seed, dtype)
        u = (tf.cast(x, dtype) + noise) / self.num_levels
        num_dims = x.shape[1:].num_elements()
        log_q = num_dims * tf.math.log(tf.cast(self.num_levels, dtype))
        return u, tf.fill(tf.shape(x)[:1], log_q)

    def quantize(self, u: tf.Tensor) -> tf.Tensor:
        """The integer level that u lies in, uint8; values outside [0, 1) go to the nearest."""
        level = tf.floor(u * self.num_levels)
        return tf.cast(tf.clip_by_value(level, 0, self.num_levels - 1), tf.uint8)
