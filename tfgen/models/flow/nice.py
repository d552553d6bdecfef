"""NICE."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen.bijectors.bijector import Bijector, Chain, Fixed, Invert
from tfgen.bijectors.coupling import ChannelCoupling
from tfgen.bijectors.scaling import DiagonalScaling
from tfgen.bijectors.transformer import new_transformer
from tfgen.checks import check_argument, check_integer, check_one_of
from tfgen.configurable import Configurable
from tfgen.layers.nets import MLP
from tfgen.models.flow.base import Flow

tfb, tfd = tfp.bijectors, tfp.distributions

PRIORS = ("logistic", "gaussian")


class NICE(Flow):
    """Non-linear independent components estimation [1].

        h_b = x_b + m(x_a),  h_a = x_a    num_couplings times, a and b exchanged each time;
        z = exp(s) h,    log|det dz/dx| = sum_i s_i,    z_i independent, logistic or Gaussian.

    b are first the odd, then the even entries of the flattened x. m is a network of dense layers.
    Couplings preserve volume; only the scaling s, 0 at the start, changes it. Three couplings let
    every entry depend on every other. The latent has the shape of x.

    Integer data are dequantised to [0, 1), the paper's scale for grey images; it puts colour images
    on [-1, 1], which changes log p by a constant and what s starts from. Real data are taken as
    they are. Of these, entries that are constant make the likelihood grow without bound, s with it:
    images of real numbers whose borders are black everywhere must be dequantised, `num_levels`.

    Departs from [1]: the last layer of m starts at zero, so that training starts at the identity.

    Args:
        event_shape: `[D]` or `[H, W, C]`, at least two entries.
        num_couplings: couplings.
        units: of each hidden layer of m.
        num_layers: hidden layers of m.
        activation: of the hidden layers.
        prior: "logistic" or "gaussian".
        transformer: specification of the couplings' elementwise map, additive by default. Another
            one makes this a flow on vectors with that map.

    Raises:
        ValueError: an argument outside its range.

    [1] Dinh, Krueger, Bengio. NICE: non-linear independent components estimation. 2014.
        arXiv:1410.8516
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        num_levels: int | None = None,
        num_couplings: int = 4,
        units: int = 1000,
        num_layers: int = 5,
        activation: str = "relu",
        prior: str = "logistic",
        transformer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(event_shape, num_levels=num_levels, **kwargs)
        check_argument(self.num_dims >= 2, "event_shape", "of two entries or more", event_shape)
        check_integer("num_couplings", num_couplings, minimum=1)
        check_integer("num_layers", num_layers, minimum=1)
        check_one_of("prior", prior, PRIORS)
        self.prior = prior

        size, rank = self.num_dims, len(self.event_shape)
        flatten = Fixed(tfb.Reshape(self.event_shape, [size]), rank)
        evens_first = Fixed(tfb.Permute(np.argsort(np.arange(size) % 2, kind="stable")), 1)
        halves = (size - size // 2, size // 2)
        steps: list[Bijector] = [flatten, Invert(evens_first)]
        for i in range(num_couplings):
            changed = (i + 1) % 2
            elementwise = new_transformer(transformer or {"type": "AdditiveTransformer"})
            num_outputs = elementwise.num_parameters * halves[changed]
            network = NICENetwork(num_outputs, [units] * num_layers, activation)
            steps.append(ChannelCoupling(network, changed, elementwise))
        steps += [DiagonalScaling(), evens_first, Invert(flatten)]
        self.bijector = Chain(steps)

    def base(self, condition: Any = None) -> tfd.Distribution:
        """p(z): independent standard logistic or normal entries."""
        zeros = tf.zeros(self.latent_shape, self.float_dtype)
        family = tfd.Logistic if self.prior == "logistic" else tfd.Normal
        return tfd.Independent(family(zeros, 1.0), len(self.latent_shape))


class NICENetwork(Configurable, keras.Layer):
    """Dense hidden layers and a linear one that starts at zero; `[B, F]` -> `[B, num_outputs]`.

    A condition `[B, K]` is concatenated to the input.
    """

    def __init__(self, num_outputs: int, units: Sequence[int], activation: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.mlp = MLP(units, activation)
        self.linear = keras.layers.Dense(num_outputs, kernel_initializer="zeros")

    def call(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        if condition is not None:
            x = tf.concat([x, condition], axis=-1)
        return self.linear(self.mlp(x))
