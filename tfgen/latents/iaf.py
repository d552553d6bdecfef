"""Inverse autoregressive flow as a posterior."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen.bijectors import Chain, GatedTransformer, Invert, MaskedAutoregressive
from tfgen.checks import check_integer
from tfgen.latents.posterior import DiagonalPosterior, Posterior
from tfgen.layers.masked_dense import MaskedMLP

tfd = tfp.distributions


class IAFPosterior(Posterior):
    """A diagonal Gaussian pushed through inverse autoregressive steps [1, algorithm 1].

        z_0 = mu(x) + sigma(x) eps
        z_t = g_t z_(t-1) + (1 - g_t) m_t,    g_t = sigmoid(s_t + forget_bias)
        log q(z_T | x) = log N(eps; 0, I) - sum_i [log sigma_i + sum_t log g_t,i]

    with (m_t, s_t)_i a function of the entries of z_(t-1) before i and of a context h(x), a linear
    map of the encoder's features that enters the masked networks unmasked. The order of the
    entries is reversed from step to step. Draws and their log q take one pass of each step; the
    density of any other z takes a loop over its entries.

    With a prior that is a product over the latents, the KL divergence has a row for each latent, to
    which free bits apply one by one: log q is the sum above.

    Grids of latents are flows of their flattening, in raster order.

    Args:
        latent_shape: of z.
        num_flows: T.
        hidden: units of each hidden layer of a step's network.
        context_size: length of h.
        activation: of the networks.
        forget_bias: of the gates.

    [1] Kingma, Salimans, Jozefowicz, Chen, Sutskever, Welling. Improving variational inference with
        inverse autoregressive flow. NeurIPS 2016. arXiv:1606.04934
    """

    def __init__(
        self,
        latent_shape: Sequence[int],
        num_flows: int = 2,
        hidden: Sequence[int] = (320,),
        context_size: int = 64,
        activation: str = "elu",
        forget_bias: float = 2.0,
        **kwargs: Any,
    ):
        super().__init__(latent_shape, **kwargs)
        check_integer("num_flows", num_flows, minimum=1)
        check_integer("context_size", context_size, minimum=1)
        self.base = DiagonalPosterior(self.latent_shape)
        self.context = keras.layers.Dense(context_size)
        steps = []
        for index in range(num_flows):
            gate = GatedTransformer(forget_bias)
            network = MaskedMLP(
                self.num_latents,
                gate.num_parameters,
                hidden,
                activation=activation,
                order=order(index),
                condition_size=context_size,
            )
            steps.append(MaskedAutoregressive(network, gate))
        # As in every chain the first step is nearest to z.
        self.flow = Chain([Invert(step) for step in reversed(steps)])

    def distribution(
        self, model: Any, x: tf.Tensor, condition: tf.Tensor | None = None
    ) -> tfd.Distribution:
        features = model.features(x, condition)
        flat = tf.reshape(features, [tf.shape(features)[0], -1])
        flat = tf.ensure_shape(flat, [None, features.shape[1:].num_elements()])
        context = tf.cast(self.context(flat), self.float_dtype)
        view = self.flow.as_tfp(context, event_ndims=len(self.latent_shape))
        return InverseAutoregressiveFlow(self.base.gaussian(features), view)


class InverseAutoregressiveFlow(tfd.TransformedDistribution):
    """A diagonal Gaussian, `tfd.Independent` of `tfd.Normal` with batch shape `[B]`, pushed through
    a view of a `Chain` of `Invert(MaskedAutoregressive)` with a context of its own for each x."""

    def sample_and_log_factors(
        self, num_samples: int, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """z and the summand of log q(z) that belongs to each of its entries, both
        `[num_samples, B, *event_shape]`."""
        z = self.distribution.sample(num_samples, seed=seed)
        log_factors = self.distribution.distribution.log_prob(z)
        shape = tf.shape(z)
        context = tf.tile(self.bijector.condition, [num_samples, 1])
        z = tf.reshape(z, tf.concat([[-1], shape[2:]], axis=0))
        for step in reversed(self.bijector.layer.bijectors):
            z, log_slopes = step.bijector.inverse_and_log_slopes(z, context)
            log_factors -= tf.reshape(log_slopes, shape)
        return tf.reshape(z, shape), log_factors


def order(index: int) -> str:
    """Of the entries in the step at `index` of a flow."""
    return "reversed" if index % 2 else "natural"
