"""From integer levels to real numbers: the step of a flow that is not a bijection."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen import seeds
from tfgen.bijectors.bijector import Bijector, Chain, Fixed
from tfgen.bijectors.coupling import CheckerboardCoupling, VectorCoupling
from tfgen.bijectors.transformer import AffineTransformer
from tfgen.checks import check_argument, check_integer
from tfgen.configurable import Configurable
from tfgen.layers.residual_network import ResidualNetwork

tfb = tfp.bijectors


class Dequantization(Configurable):
    """v in {0..L-1}^D -> u = (v + e) / L, with noise e in (0, 1)^D of a density q(e | v).

    With p the density of u, by Jensen's inequality [1], and closer for more draws [2],

        log P(v) >= E[log (1/K) sum_k p(u_k) / q(u_k | v)],
        log q(u | v) = log q(e | v) + D log L,

    so what a flow reports for integer data is a lower bound, in nats.

    [1] Theis, van den Oord, Bethge. A note on the evaluation of generative models. ICLR 2016.
        arXiv:1511.01844
    [2] Burda, Grosse, Salakhutdinov. Importance weighted autoencoders. ICLR 2016. arXiv:1509.00519
    """

    # Holds the weights of q, where there are any. (What has a method `quantize` of its own cannot
    # itself be a Keras layer.)
    layer: keras.Layer | None = None

    def __init__(self, num_levels: int):
        check_integer("num_levels", num_levels, minimum=2)
        self.num_levels = num_levels

    def dequantize(self, x: tf.Tensor, seed: tf.Tensor, dtype: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """u `[B, *event]` and log q(u | x) `[B]`."""
        noise, log_q = self._noise(x, seed, dtype)
        u = (tf.cast(x, dtype) + _inside(noise)) / self.num_levels
        num_dims = x.shape[1:].num_elements()
        return u, log_q + num_dims * tf.math.log(tf.cast(self.num_levels, dtype))

    def quantize(self, u: tf.Tensor) -> tf.Tensor:
        """The integer level that u lies in, uint8; values outside [0, 1) go to the nearest."""
        level = tf.floor(u * self.num_levels)
        return tf.cast(tf.clip_by_value(level, 0, self.num_levels - 1), tf.uint8)

    def _noise(self, x: tf.Tensor, seed: tf.Tensor, dtype: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """e, of the shape of x, and log q(e | x), `[B]`."""
        raise NotImplementedError


class UniformDequantization(Dequantization):
    """e ~ U(0, 1)^D, whatever v is: log q(u | v) = D log L. See `Dequantization`."""

    def _noise(self, x: tf.Tensor, seed: tf.Tensor, dtype: Any) -> tuple[tf.Tensor, tf.Tensor]:
        return seeds.uniform(tf.shape(x), seed, dtype), tf.zeros(tf.shape(x)[:1], dtype)


class VariationalDequantization(Dequantization):
    """e = sigmoid(g(eps; v)), where g is a flow whose networks see v [1, section 3.1].

        log q(e | v) = log q(eps) - log|det de/deps|

    q is trained jointly with the density of u, by the same bound. g consists of affine couplings
    that change every other pixel (or entry of a vector) in turn. Its noise eps is logistic and g
    starts as the identity, so that training starts from uniform dequantisation; in [1] the noise is
    Gaussian. Bounded log-scales keep q positive on all of (0, 1)^D. See `Dequantization`.

    Args:
        event_shape: of v, `[H, W, C]` or `[D]`, at least two pixels or entries.
        num_levels: L.
        num_couplings: with two each entry changes once.
        filters: width of the networks.
        num_blocks: residual blocks of each network.
        patch_size: networks of images work on patches of this size (`ResidualNetwork`).
        activation: of the networks.

    Raises:
        ValueError: an argument outside its range.

    [1] Ho, Chen, Srinivas, Duan, Abbeel. Flow++: improving flow-based generative models with
        variational dequantization and architecture design. ICML 2019. arXiv:1902.00275
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        num_levels: int,
        num_couplings: int = 2,
        filters: int = 32,
        num_blocks: int = 1,
        patch_size: int = 1,
        activation: str = "relu",
    ):
        super().__init__(num_levels)
        rank = len(event_shape)
        check_argument(rank in (1, 3), "event_shape", "[H, W, C] or [D]", list(event_shape))
        check_integer("num_couplings", num_couplings, minimum=1)
        coupling = CheckerboardCoupling if rank == 3 else VectorCoupling
        steps: list[Bijector] = [Fixed(tfb.Sigmoid(), rank)]
        for i in range(num_couplings):
            network = ResidualNetwork(
                AffineTransformer.num_parameters * event_shape[-1],
                filters,
                num_blocks,
                patch_size,
                activation,
            )
            steps.append(coupling(BesideCondition(network), (i + 1) % 2))
        self.layer = self.bijector = Chain(steps)

    def _noise(self, x: tf.Tensor, seed: tf.Tensor, dtype: Any) -> tuple[tf.Tensor, tf.Tensor]:
        uniform = _inside(seeds.uniform(tf.shape(x), seed, dtype))
        log_u, log_rest = tf.math.log(uniform), tf.math.log1p(-uniform)
        # eps = log_u - log_rest is standard logistic, and log q(eps) = log_u + log_rest.
        noise, log_det = self.bijector.forward_and_log_det(log_u - log_rest, self._scaled(x, dtype))
        return noise, tf.reduce_sum(log_u + log_rest, list(range(1, x.shape.rank))) - log_det

    def _scaled(self, x: tf.Tensor, dtype: Any) -> tf.Tensor:
        """To [-1, 1]."""
        return 2.0 * tf.cast(x, dtype) / (self.num_levels - 1) - 1.0


class BesideCondition(Configurable, keras.Layer):
    """A network that sees its input and a condition of the same positions as one array."""

    def __init__(self, network: keras.Layer, **kwargs: Any):
        super().__init__(**kwargs)
        self.network = network

    def call(self, x: tf.Tensor, condition: tf.Tensor) -> tf.Tensor:
        return self.network(tf.concat([x, condition], axis=-1))


def _inside(noise: tf.Tensor) -> tf.Tensor:
    """Noise in [0, 1] that added to an integer below 256 rounds to neither it nor the next one."""
    margin = 256 * np.finfo(noise.dtype.as_numpy_dtype).epsneg
    return tf.clip_by_value(noise, margin, 1.0 - margin)
