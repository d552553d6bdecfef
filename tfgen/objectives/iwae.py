"""The importance-weighted bound."""

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from tfgen.checks import check_argument, check_integer
from tfgen.objectives.objective import Objective

tfd = tfp.distributions


class IWAE(Objective):
    """Negative importance-weighted bound [1].

        loss = -log (1/K) sum_k w_k,    w_k = p(x, z_k) / q(z_k | x),    z_k ~ q(z | x)

    K = 1 is the evidence lower bound with a sampled KL term. Reports `log_prob`, the bound, and
    `effective_sample_size` = (sum w)^2 / sum w^2, from 1 to K.

    The signal of the encoder's gradient falls with K (Rainforth et al. 2018, arXiv:1802.04537). The
    doubly reparameterised estimator [2] replaces it by

        sum_k (w_k / sum w)^2  d log w_k / dz_k  dz_k / dphi

    with the same mean, in which log q is differentiated with respect to z alone; the decoder's
    gradient is that of [1]. phi are all weights that q depends on: of a `LaplacePosterior` the
    decoder's too. An `IAFPosterior` then runs a loop over the latents, for the density of given z.

    Args:
        num_samples: K.
        doubly_reparameterized: use the estimator of [2]; needs a reparameterised posterior.

    [1] Burda, Grosse, Salakhutdinov. Importance weighted autoencoders. ICLR 2016. arXiv:1509.00519
    [2] Tucker, Lawson, Gu, Maddison. Doubly reparameterized gradient estimators for Monte Carlo
        objectives. ICLR 2019. arXiv:1810.04152
    """

    def __init__(self, num_samples: int = 5, doubly_reparameterized: bool = False):
        check_integer("num_samples", num_samples, minimum=1)
        self.num_samples = num_samples
        self.doubly_reparameterized = doubly_reparameterized

    def __call__(self, model: Any, x: Any, y: Any = None) -> dict[str, tf.Tensor]:
        if self.doubly_reparameterized:
            log_weights, surrogate = self._doubly_reparameterized(model, x, y)
        else:
            log_weights = model.terms(x, y, self.num_samples).log_weights
            surrogate = None
        log_k = tf.math.log(tf.cast(self.num_samples, log_weights.dtype))
        log_sum = tf.reduce_logsumexp(log_weights, axis=0)
        log_prob = log_sum - log_k
        loss = -log_prob
        if surrogate is not None:  # the value of the bound, the gradient of the surrogate
            loss = tf.stop_gradient(loss + surrogate) - surrogate
        return {
            "loss": loss,
            "log_prob": log_prob,
            "effective_sample_size": tf.exp(
                2.0 * log_sum - tf.reduce_logsumexp(2.0 * log_weights, axis=0)
            ),
        }

    def _doubly_reparameterized(self, model: Any, x: Any, y: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """log w, `[K, B]`, and `[B]` whose gradient is the estimator."""
        from tfgen.models.latent.base import LatentVariableModel

        has_one_latent = type(model).terms is LatentVariableModel.terms
        check_argument(
            has_one_latent,
            "doubly_reparameterized",
            "False for a model that is not defined by `prior`, `posterior` and `likelihood`",
            type(model).__name__,
        )
        x = model.check_data(x)
        condition = model.condition(y, tf.shape(x)[0])
        prior, posterior = model.prior(condition), model.posterior(x, condition)
        has_gradient = posterior.reparameterization_type == tfd.FULLY_REPARAMETERIZED
        allowed = "False for a posterior whose draws have no gradient"
        check_argument(has_gradient, "doubly_reparameterized", allowed, type(posterior).__name__)
        sample = posterior.sample(self.num_samples, seed=model.next_seed())

        weights: Any = None

        @tf.custom_gradient
        def weighted(z: tf.Tensor) -> Any:
            """The identity, whose gradient is multiplied by the normalised weights."""

            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                for_each_latent = (..., *[tf.newaxis] * (upstream.shape.rank - 2))
                return upstream * weights[for_each_latent]

            return tf.identity(z), gradient

        z = weighted(sample)
        fixed = tf.stop_gradient(sample)
        with tf.GradientTape() as tape:
            tape.watch(fixed)
            log_qz = posterior.log_prob(fixed)
        slope = tf.stop_gradient(tape.gradient(log_qz, fixed))  # d log q / dz, [K, B, ...]
        log_joint = model.likelihood(z, condition).log_prob(tf.cast(x, model.float_dtype))
        log_joint += prior.log_prob(z)
        log_weights = tf.stop_gradient(log_joint - log_qz)
        weights = tf.nn.softmax(log_weights, axis=0)
        log_q_of_z = tf.reduce_sum(slope * z, axis=list(range(2, z.shape.rank)))
        return log_weights, tf.reduce_sum(weights * (log_joint - log_q_of_z), axis=0)
