"""Laplace's approximation of the true posterior, which the decoder decides."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen.checks import check_argument, check_integer
from tfgen.distributions import Bernoulli, Gaussian
from tfgen.latents.posterior import Posterior, check_is_vector
from tfgen.layers.nets import SMALL, MLPDecoder

tfd = tfp.distributions


class LaplacePosterior(Posterior):
    """q(z | x) = N(mu_T, Lambda(mu_T)^-1), found by Newton's method from the encoder's guess [1].

    A decoder of rectified linear units is affine around every z, with the Jacobian J(z). With o(z)
    its outputs, g and S the first and the negative second derivative of log p(x | o) for each,

        Lambda(z) = J^T S J + I
        mu_(t+1) = mu_t + a_t Lambda(mu_t)^-1 [J^T g - mu_t],    a_t = damping / (t + 1)

    For a Gaussian of variance s2 g = (x - o) / s2 and S = 1 / s2 (eqs. 10 and 11 of [1]); for a
    Bernoulli with logits o, g = x - sigmoid(o) and S = sigmoid(o) sigmoid(-o). Inside one linear
    region Lambda is the negative Hessian of log p(x, z), and with a_t = 1 a step is Newton's; with
    a Gaussian it lands on the region's mode. mu_0 is a linear map of the encoder's features; the
    covariance is the decoder's.

    All of it is differentiated, with respect to encoder and decoder; the pattern of active units is
    a constant. The divergence from the prior is that of the draws. The arithmetic is float32 under
    any dtype policy (float64 under float64).

    For vectors of latents, an `MLPDecoder` with "relu" units and without dropout, and a `Bernoulli`
    likelihood or a `Gaussian` one whose variance is learned but does not come from the network.

    Args:
        latent_shape: of z.
        num_updates: T; with 0 the covariance alone is the decoder's.
        damping: of the first step; 0.5 in the released code of [1], 1 undamped.

    Raises:
        ValueError: another decoder or likelihood, or a grid of latents.

    [1] Park, Kim, Kim. Variational Laplace autoencoders. ICML 2019.
    """

    def __init__(
        self,
        latent_shape: Sequence[int],
        num_updates: int = 4,
        damping: float = 0.5,
        **kwargs: Any,
    ):
        super().__init__(latent_shape, **kwargs)
        check_is_vector(type(self), self.latent_shape)
        check_integer("num_updates", num_updates, minimum=0)
        check_argument(0.0 < damping <= 1.0, "damping", "in (0, 1]", damping)
        self.num_updates = num_updates
        self.damping = damping
        self.loc = keras.layers.Dense(self.num_latents, kernel_initializer=SMALL)

    def distribution(
        self, model: Any, x: tf.Tensor, condition: tf.Tensor | None = None
    ) -> tfd.Distribution:
        check_decoder(model)
        loc = tf.cast(self.loc(model.features(x, condition)), self.float_dtype)
        if not model.decoder.built:
            model.outputs(loc, condition)
        joint = LocalJoint(model, x, condition)
        for step in range(self.num_updates):
            gradient, factor = joint.derivatives(loc)
            newton = tf.linalg.cholesky_solve(factor, gradient[..., None])[..., 0]
            loc += self.damping / (step + 1.0) * newton
        _, factor = joint.derivatives(loc)
        # z = mu + C^-T eps with Lambda = C C^T: no matrix is inverted.
        return tfp.experimental.distributions.MultivariateNormalPrecisionFactorLinearOperator(
            loc, tf.linalg.LinearOperatorLowerTriangular(factor)
        )


class LocalJoint:
    """log p(x, z) of a `VAE` with a piecewise linear decoder, to second order around any z.

    The Jacobian's columns pass through the decoder side by side: each layer is one matrix product,
    and a mask for the units that are active. Where S is the same for every example, as for a
    Gaussian, the last layer's Jacobian is not formed either: J^T S J = H^T (W S W^T) H with H the
    Jacobian of the last hidden layer.
    """

    def __init__(self, model: Any, x: tf.Tensor, condition: tf.Tensor | None):
        dtype = model.float_dtype
        self.condition = condition

        def arrays(layer: Any) -> tuple[tf.Tensor, tf.Tensor]:
            return tf.cast(layer.kernel.value, dtype), tf.cast(layer.bias.value, dtype)

        decoder = model.decoder
        self.hidden = [(*arrays(layer), _is_rectified(layer)) for layer in decoder.mlp.layers]
        self.kernel, bias = arrays(decoder.linear)
        self.bias = bias + tf.reshape(model.output_bias.value, [-1])
        self.x = tf.reshape(tf.cast(x, dtype), [-1, self.kernel.shape[1]])
        self.precision = None
        if isinstance(model.observation, Gaussian):
            constant = tf.broadcast_to(model.output_constant.value, model.output_bias.shape)
            outputs = tf.concat([model.output_bias.value, constant], axis=-1)
            values = model.observation(outputs)
            self.precision = tf.reshape(1.0 / values.variance(), [-1])  # [D]
            self.gram = tf.matmul(self.kernel * self.precision, self.kernel, transpose_b=True)

    def linearize(self, z: tf.Tensor) -> "Linearization":
        """The decoder around z, `[B, J]`."""
        size = z.shape[-1]
        h = z if self.condition is None else tf.concat([z, self.condition], axis=-1)
        # Of the layer's inputs by z, [B, J, units]; the condition does not depend on z.
        jacobian = tf.eye(size, h.shape[-1], batch_shape=tf.shape(z)[:1], dtype=z.dtype)
        for kernel, bias, is_rectified in self.hidden:
            h = tf.matmul(h, kernel) + bias
            jacobian = tf.tensordot(jacobian, kernel, 1)
            if is_rectified:
                active = tf.cast(h > 0.0, h.dtype)
                h, jacobian = h * active, jacobian * active[:, None]
        return Linearization(tf.matmul(h, self.kernel) + self.bias, jacobian)

    def derivatives(self, z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """d log p(x, z) / dz, `[B, J]`, and the Cholesky factor of Lambda, `[B, J, J]`."""
        outputs, jacobian = self.linearize(z)
        if self.precision is not None:
            score = (self.x - outputs) * self.precision
            gram = tf.matmul(tf.tensordot(jacobian, self.gram, 1), jacobian, transpose_b=True)
        else:
            score = self.x - tf.sigmoid(outputs)
            of_outputs = tf.tensordot(jacobian, self.kernel, 1)  # [B, J, D]
            curvature = tf.sigmoid(outputs) * tf.sigmoid(-outputs)
            gram = tf.matmul(of_outputs * curvature[:, None], of_outputs, transpose_b=True)
        of_hidden = tf.matmul(score, self.kernel, transpose_b=True)
        gradient = tf.linalg.matvec(jacobian, of_hidden) - z
        return gradient, tf.linalg.cholesky(gram + tf.eye(z.shape[-1], dtype=z.dtype))


class Linearization(NamedTuple):
    """Of a decoder around z.

    Attributes:
        outputs: at z, with the model's output bias, `[B, D]`.
        jacobian: of the last hidden layer's units by z, `[B, J, units]`.
    """

    outputs: tf.Tensor
    jacobian: tf.Tensor


def check_decoder(model: Any) -> None:
    """ValueError unless the decoder is piecewise linear and its likelihood's curvature known."""
    decoder, observation = model.decoder, model.observation
    allowed = "an MLPDecoder for a LaplacePosterior, which multiplies its layers' Jacobians"
    check_argument(isinstance(decoder, MLPDecoder), "decoder", allowed, type(decoder).__name__)
    for layer in decoder.mlp.layers:
        is_linear = layer.activation is keras.activations.linear
        allowed = (
            "'relu' or 'linear' for a LaplacePosterior, which needs a piecewise linear decoder"
        )
        check_argument(
            is_linear or _is_rectified(layer), "activation", allowed, layer.activation.__name__
        )
    rate = decoder.mlp.dropout.rate
    allowed = "0 for a LaplacePosterior: it finds the mode for one decoder, not for a random one"
    check_argument(rate == 0, "dropout", allowed, rate)
    allowed = "Bernoulli or Gaussian for a LaplacePosterior, which needs its second derivatives"
    known = isinstance(observation, Bernoulli | Gaussian)
    check_argument(known, "likelihood", allowed, type(observation).__name__)
    if isinstance(observation, Gaussian):
        allowed = "'scalar' or 'dimension' for a LaplacePosterior: the mean alone is linear in z"
        check_argument(observation.variance != "network", "variance", allowed, observation.variance)


def _is_rectified(layer: Any) -> bool:
    return layer.activation is keras.activations.relu
