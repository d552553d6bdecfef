"""A model as a distribution."""

import contextlib
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

tfd = tfp.distributions


class ModelDistribution(tfd.Distribution):
    """p(x) or p(x | y) of a `GenerativeModel`, with the model's own variables.

    `log_prob` takes any number of leading dimensions. Values are floats, of discrete data too.
    Samples are not reparameterised, and the mean has no closed form.

    Args:
        model: its likelihood is that of this distribution, exact or a bound.
        y: features `[..., C]`, or maps of them `[..., H, W, C]`, for batch shape `[...]`; or None.
        y_ndims: number of dimensions of one y, without those of the batch.
        training: whether dropout acts in `log_prob`, as in a training step of the model itself.
    """

    def __init__(
        self,
        model: Any,
        y: Any = None,
        y_ndims: int = 1,
        training: bool = False,
        name: str = "ModelDistribution",
    ):
        parameters = dict(locals())
        self._model = model
        self._model_variables = [variable.value for variable in model.trainable_variables]
        self._y = None if y is None else tf.convert_to_tensor(y)
        self._y_ndims = y_ndims
        self._training = training
        super().__init__(
            dtype=tf.as_dtype(model.float_dtype),
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype: Any = None, num_classes: Any = None) -> dict[str, Any]:
        return {}

    def _batch_shape(self) -> tf.TensorShape:
        return tf.TensorShape([]) if self._y is None else self._y.shape[: -self._y_ndims]

    def _batch_shape_tensor(self) -> tf.Tensor:
        return tf.constant([], tf.int32) if self._y is None else tf.shape(self._y)[: -self._y_ndims]

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape(self._model.event_shape)

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant(self._model.event_shape, tf.int32)

    def _log_prob(self, x: tf.Tensor) -> tf.Tensor:
        event_shape = self._model.event_shape
        leading = tf.broadcast_dynamic_shape(
            tf.shape(x)[: x.shape.rank - len(event_shape)], self._batch_shape_tensor()
        )
        x = tf.broadcast_to(x, tf.concat([leading, event_shape], 0))
        flat = tf.reshape(x, [-1, *event_shape])
        if self._model.num_levels is not None:
            flat = tf.cast(flat, self._model.event_dtype)
        mode = self._model._training() if self._training else contextlib.nullcontext()
        with mode:
            log_prob = self._model.log_prob(flat, self._flat_y(leading))
        return tf.reshape(log_prob, leading)

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        leading = tf.concat([[n], self._batch_shape_tensor()], 0)
        x = self._model.sample(tf.reduce_prod(leading), self._flat_y(leading), seed)
        return tf.reshape(tf.cast(x, self.dtype), tf.concat([leading, self._model.event_shape], 0))

    def _mean(self) -> tf.Tensor:
        name = type(self._model).__name__
        raise NotImplementedError(f"the mean of a {name} has no closed form: draw samples instead.")

    def _flat_y(self, leading: tf.Tensor) -> tf.Tensor | None:
        if self._y is None:
            return None
        shape = self._y.shape[-self._y_ndims :]
        y = tf.broadcast_to(self._y, tf.concat([leading, shape], 0))
        return tf.reshape(y, [-1, *shape])
