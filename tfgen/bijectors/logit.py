"""Images on [0, 1] to the real line."""

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from tfgen.checks import check_argument


class Logit(tfp.bijectors.Bijector):
    """z = logit(alpha + (1 - 2 alpha) x) for x in [0, 1]; `inverse` is x -> z, elementwise.

    log|dz/dx| = softplus(z) + softplus(-z) + log(1 - 2 alpha). `alpha` > 0 keeps the ends finite.
    The paper's text [1, 4.1] prints alpha + (1 - alpha) x, which leaves x = 1 infinite; this is the
    symmetric form.

    [1] Dinh, Sohl-Dickstein, Bengio. Density estimation using Real NVP. ICLR 2017. arXiv:1605.08803
    """

    def __init__(self, alpha: float = 0.05, name: str = "logit"):
        check_argument(0.0 <= alpha < 0.5, "alpha", "at least 0 and below 0.5", alpha)
        parameters = {"alpha": alpha, "name": name}
        super().__init__(forward_min_event_ndims=0, parameters=parameters, name=name)
        self.alpha = alpha

    @classmethod
    def _parameter_properties(cls, dtype: Any = None) -> dict[str, Any]:
        return {}

    def _forward(self, z: tf.Tensor) -> tf.Tensor:
        return (tf.sigmoid(z) - self.alpha) / (1.0 - 2.0 * self.alpha)

    def _inverse(self, x: tf.Tensor) -> tf.Tensor:
        p = self.alpha + (1.0 - 2.0 * self.alpha) * x
        return tf.math.log(p) - tf.math.log1p(-p)

    def _forward_log_det_jacobian(self, z: tf.Tensor) -> tf.Tensor:
        scale = tf.math.log(tf.constant(1.0 - 2.0 * self.alpha, z.dtype))
        return -tf.nn.softplus(z) - tf.nn.softplus(-z) - scale
