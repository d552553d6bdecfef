"""A tfgen bijector as a `tfb.Bijector` value."""

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from tfgen.checks import check_argument


class BijectorView(tfp.bijectors.Bijector):
    """`layer` seen as a `tfb.Bijector`: any number of leading batch dimensions, the layer's own
    variables.

    TFP asks for the value and for its log-determinant separately, so eagerly the layer runs twice;
    inside a `tf.function` the compiler merges the two. (A memo here would hand a later gradient
    tape a tensor that it has not recorded.)
    """

    def __init__(self, layer: Any, condition: Any, event_ndims: int | None):
        check_argument(event_ndims is not None, "event_ndims", "given for an unbuilt layer", None)
        self.layer = layer
        self.condition = None if condition is None else tf.convert_to_tensor(condition)
        # TFP looks for variables in attributes: this is what `trainable_variables` of the view, and
        # of distributions that hold it, consists of.
        self._layer_variables = [variable.value for variable in layer.trainable_variables]
        super().__init__(
            forward_min_event_ndims=event_ndims,
            dtype=tf.as_dtype(layer.float_dtype),
            validate_args=False,
            name=f"{layer.name}_as_tfp",
        )
        self._event_ndims = event_ndims

    @classmethod
    def _parameter_properties(cls, dtype: Any = None) -> dict[str, Any]:
        return {}

    def _evaluate(self, direction: str, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        shape = tf.shape(x)
        split = x.shape.rank - self._event_ndims
        batch_shape, event_shape = shape[:split], x.shape[split:]
        condition = self.condition
        if condition is not None:
            features = condition.shape[-1]
            batch_shape = tf.broadcast_dynamic_shape(batch_shape, tf.shape(condition)[:-1])
            x = tf.broadcast_to(x, tf.concat([batch_shape, shape[split:]], 0))
            condition = tf.broadcast_to(condition, tf.concat([batch_shape, [features]], 0))
            condition = tf.reshape(condition, [-1, features])
        flat = tf.reshape(x, tf.concat([[-1], shape[split:]], 0))
        flat.set_shape([None, *event_shape])
        value, log_det = getattr(self.layer, f"{direction}_and_log_det")(flat, condition)
        value = tf.reshape(value, tf.concat([batch_shape, tf.shape(value)[1:]], 0))
        return value, tf.reshape(log_det, batch_shape)

    def inverse_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """z = f^-1(x) and log|det df^-1/dx|, of any batch shape, in one pass of the layer."""
        return self._evaluate("inverse", tf.convert_to_tensor(x))

    def _forward(self, z: tf.Tensor) -> tf.Tensor:
        return self._evaluate("forward", z)[0]

    def _inverse(self, x: tf.Tensor) -> tf.Tensor:
        return self._evaluate("inverse", x)[0]

    def _forward_log_det_jacobian(self, z: tf.Tensor) -> tf.Tensor:
        return self._evaluate("forward", z)[1]

    def _inverse_log_det_jacobian(self, x: tf.Tensor) -> tf.Tensor:
        return self._evaluate("inverse", x)[1]
