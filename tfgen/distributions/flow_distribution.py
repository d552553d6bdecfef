"""A distribution pushed through a bijector of tfgen."""

import tensorflow as tf
import tensorflow_probability as tfp

tfd = tfp.distributions


class FlowDistribution(tfd.TransformedDistribution):
    """`tfd.TransformedDistribution` under a view (`Bijector.as_tfp`), with densities in one pass.

    TFP asks for the inverse and then for the log-determinant of the forward map, which in an
    autoregressive flow is a loop over the values. The inverse has both.
    """

    def _log_prob(self, x: tf.Tensor) -> tf.Tensor:
        z, log_det = self.bijector.inverse_and_log_det(x)
        return self.distribution.log_prob(z) + log_det
