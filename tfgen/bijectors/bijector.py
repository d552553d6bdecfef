"""The contract of an invertible layer."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen.build import build
from tfgen.checks import check_argument
from tfgen.configurable import Configurable

tfb = tfp.bijectors


class Bijector(Configurable, keras.Layer):
    """Invertible map x = f(z), z latent and x data, as in TFP.

    Each method returns the log-determinant of the map that it applied, shape `[B]`; hence always

        log p(x) = log p(z) + log_det,    z, log_det = inverse_and_log_det(x).

    Calling the layer is `inverse_and_log_det`: density evaluation is what training does. Inputs are
    `[B, *event]`; `condition`, `[B, C]`, reaches the networks inside. Log-determinants are float32
    under any dtype policy (float64 under float64), and so is what passes between bijectors.

    Subclasses give `_forward(z, condition)` and `_inverse(x, condition)`, both returning a pair of
    the value and the log-determinant `[B]`, and create their own variables in
    `_create_variables(event_shape)`. A map without weights is better a plain `tfb.Bijector`,
    wrapped by `Fixed`.
    """

    _build_by = "_inverse"

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        # A 16-bit policy is for the networks inside; values and log-determinants stay float32.
        self.autocast = False

    def forward_and_log_det(self, z: Any, condition: Any = None) -> tuple[tf.Tensor, tf.Tensor]:
        """x = f(z) and log|det df/dz|, `[B]`."""
        if not self.built:  # a squeeze has another shape on the latent's side
            self._build_by = "_forward"
        z = self._prepare(z, condition)
        return self._forward(z, condition)

    def inverse_and_log_det(self, x: Any, condition: Any = None) -> tuple[tf.Tensor, tf.Tensor]:
        """z = f^-1(x) and log|det df^-1/dx|, `[B]`."""
        x = self._prepare(x, condition)
        return self._inverse(x, condition)

    def call(self, x: Any, condition: Any = None) -> tuple[tf.Tensor, tf.Tensor]:
        return self.inverse_and_log_det(x, condition)

    def initialize(self, x: tf.Tensor, condition: Any = None) -> tf.Tensor:
        """Data-dependent initialisation on one batch, eagerly; returns the layer's z for it."""
        return self.inverse_and_log_det(x, condition)[0]

    def recalibrate(self, batches: Sequence[tf.Tensor], conditions: Sequence[Any]) -> list[Any]:
        """Sets stored statistics (`BatchNorm`) to those of the given data, eagerly, layer after
        layer, with the weights as they are; returns the layer's z for each batch."""
        return [
            self.inverse_and_log_det(x, condition)[0]
            for x, condition in zip(batches, conditions, strict=True)
        ]

    def _forward(self, z: tf.Tensor, condition: Any) -> tuple[tf.Tensor, tf.Tensor]:
        raise NotImplementedError

    def _inverse(self, x: tf.Tensor, condition: Any) -> tuple[tf.Tensor, tf.Tensor]:
        raise NotImplementedError

    def _create_variables(self, event_shape: tuple[int, ...]) -> None:
        """Creates the layer's own variables (those of networks inside create themselves)."""

    def build(self, x_shape: Any, condition_shape: Any = None) -> None:
        self.event_ndims = len(x_shape) - 1
        self._create_variables(tuple(x_shape[1:]))
        with tf.init_scope():
            condition = None if condition_shape is None else tf.zeros([1, *condition_shape[1:]])
            evaluate = getattr(self, self._build_by)
            evaluate(tf.zeros([1, *x_shape[1:]], self.float_dtype), condition)

    @property
    def float_dtype(self) -> str:
        return "float64" if self.variable_dtype == "float64" else "float32"

    def _prepare(self, x: Any, condition: Any) -> tf.Tensor:
        x = tf.cast(x, self.float_dtype)
        if not self.built:
            self.build(x.shape, None if condition is None else condition.shape)
        return x

    def _add_float_weight(self, name: str, shape: Any, **kwargs: Any) -> Any:
        """A variable that 16-bit policies leave in float32."""
        return self.add_weight(
            name=name, shape=shape, dtype=self.float_dtype, autocast=False, **kwargs
        )

    def as_tfp(self, condition: Any = None, event_ndims: int | None = None) -> tfb.Bijector:
        """A `tfb.Bijector` that owns nothing: forward is z -> x, as here.

        Args:
            condition: `[C]`, shared by all, or `[B, C]`, one for each example of the last batch
                dimension.
            event_ndims: rank of one example, where the layer has not seen data yet.
        """
        from tfgen.bijectors.as_tfp import BijectorView

        return BijectorView(self, condition, self.event_ndims if self.built else event_ndims)


class Chain(Bijector):
    """The composition of bijectors, as in `tfb.Chain`: x = f1(f2(... fn(z))), the first is nearest
    the data."""

    def __init__(self, bijectors: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.bijectors = list(bijectors)

    def _forward(self, z: tf.Tensor, condition: Any) -> tuple[tf.Tensor, tf.Tensor]:
        total = tf.zeros(tf.shape(z)[:1], self.float_dtype)
        for bijector in reversed(self.bijectors):
            z, log_det = bijector.forward_and_log_det(z, condition)
            total += log_det
        return z, total

    def _inverse(self, x: tf.Tensor, condition: Any) -> tuple[tf.Tensor, tf.Tensor]:
        total = tf.zeros(tf.shape(x)[:1], self.float_dtype)
        for bijector in self.bijectors:
            x, log_det = bijector.inverse_and_log_det(x, condition)
            total += log_det
        return x, total

    def initialize(self, x: tf.Tensor, condition: Any = None) -> tf.Tensor:
        for bijector in self.bijectors:
            x = bijector.initialize(x, condition)
        return x

    def recalibrate(self, batches: Sequence[tf.Tensor], conditions: Sequence[Any]) -> list[Any]:
        for bijector in self.bijectors:
            batches = bijector.recalibrate(batches, conditions)
        return list(batches)


class Invert(Bijector):
    """The same map with its two directions exchanged."""

    def __init__(self, bijector: Bijector, **kwargs: Any):
        super().__init__(**kwargs)
        self.bijector = bijector

    def _forward(self, z: tf.Tensor, condition: Any) -> tuple[tf.Tensor, tf.Tensor]:
        return self.bijector.inverse_and_log_det(z, condition)

    def _inverse(self, x: tf.Tensor, condition: Any) -> tuple[tf.Tensor, tf.Tensor]:
        return self.bijector.forward_and_log_det(x, condition)


class Fixed(Bijector):
    """A `tfb.Bijector` without weights (squeeze, logit, permutation) as a step of a chain.

    TFP remembers results by the identity of the tensor; a new tensor on every call keeps a gradient
    tape from receiving a remembered result that it has not recorded.

    Args:
        bijector: the map, or its specification, `{"type": ..., parameter: number, ...}` with a type
            of `tfp.bijectors` or, dotted, of any module. A saved file holds the specification.
        event_ndims: rank of one example.

    Raises:
        ValueError: from `get_config`, for a bijector made of other bijectors; a tfgen `Chain` of
            `Fixed` can be saved.
    """

    def __init__(self, bijector: Any, event_ndims: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.bijector = _from_specification(bijector)
        self.fixed_event_ndims = event_ndims

    def get_config(self) -> dict[str, Any]:
        self._arguments["bijector"] = _specification(self.bijector)
        return super().get_config()

    def _forward(self, z: tf.Tensor, condition: Any) -> tuple[tf.Tensor, tf.Tensor]:
        z = tf.identity(z)
        log_det = self.bijector.forward_log_det_jacobian(z, event_ndims=z.shape.rank - 1)
        return self.bijector.forward(z), self._per_example(log_det, z)

    def _inverse(self, x: tf.Tensor, condition: Any) -> tuple[tf.Tensor, tf.Tensor]:
        x = tf.identity(x)
        log_det = self.bijector.inverse_log_det_jacobian(x, event_ndims=x.shape.rank - 1)
        return self.bijector.inverse(x), self._per_example(log_det, x)

    def _per_example(self, log_det: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
        # TFP returns a scalar where the log-determinant does not depend on the value.
        return tf.broadcast_to(tf.cast(log_det, self.float_dtype), tf.shape(x)[:1])


def _from_specification(bijector: Any) -> tfb.Bijector:
    if isinstance(bijector, Mapping) and hasattr(tfb, bijector.get("type", "")):
        bijector = {**bijector, "type": f"{tfb.__name__}.{bijector['type']}"}
    return build(tfb, bijector)


def _specification(bijector: tfb.Bijector) -> dict[str, Any]:
    """Of a bijector whose parameters are numbers: what `_from_specification` makes it from."""
    cls = type(bijector)
    is_public = getattr(tfb, cls.__name__, None) is cls
    spec = {"type": cls.__name__ if is_public else f"{cls.__module__}.{cls.__name__}"}
    for name, value in bijector.parameters.items():
        is_made_of_others = any(isinstance(v, tfb.Bijector) for v in tf.nest.flatten(value))
        allowed = "one whose parameters are numbers, to be saved"
        check_argument(not is_made_of_others, "bijector", allowed, bijector.name)
        is_plain = value is None or isinstance(value, bool | int | float | str)
        spec[name] = value if is_plain else np.asarray(value).tolist()
    return spec
