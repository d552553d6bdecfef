"""Normalising flows: a base distribution and a bijector."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from tfgen.bijectors.bijector import Bijector
from tfgen.bijectors.dequantization import UniformDequantization
from tfgen.models.generative_model import EVALUATION_SEED, GenerativeModel

tfd = tfp.distributions


class Flow(GenerativeModel):
    """log p(x) = log p(z) + log|det dz/dx|,    z = f^-1(x).

    A subclass sets `self.bijector`, a map between real `[B, *event_shape]` and a latent of the same
    number of dimensions; multi-scale flows are bijectors as well, so a flow is one real
    `tfb.Bijector` and one real `tfd.Distribution`. Integer data (`num_levels`) are dequantised
    first and scaled to [0, 1); their likelihood is then a lower bound.
    """

    bijector: Bijector

    def __init__(self, event_shape: Any, **kwargs: Any):
        super().__init__(event_shape, **kwargs)
        self.dequantization = (
            None if self.num_levels is None else UniformDequantization(self.num_levels)
        )

    @property
    def likelihood_kind(self) -> str:  # type: ignore[override]
        """Dequantisation makes the likelihood of integers a bound; that of real data is exact."""
        return "exact" if self.dequantization is None else "bound"

    def base(self, condition: Any = None) -> tfd.Distribution:
        """p(z): standard normal, event shape `latent_shape`."""
        zeros = tf.zeros(self.latent_shape, self.float_dtype)
        return tfd.Independent(tfd.Normal(zeros, 1.0), len(self.latent_shape))

    def log_prob(self, x: Any, y: Any = None, seed: Any = None) -> tf.Tensor:
        x = self.check_data(x)
        condition = self.condition(y, tf.shape(x)[0])
        u, log_q = self._dequantize(x, seed)
        z, log_det = self.bijector.inverse_and_log_det(u, condition)
        return self.base(condition).log_prob(z) + log_det - log_q

    def sample(
        self, num_samples: Any, y: Any = None, seed: Any = None, temperature: float = 1.0
    ) -> tf.Tensor:
        """Draws in data units; the latent's deviation from its mean is scaled by `temperature`."""
        condition = self.condition(y, num_samples)
        base = self.base(condition)
        shape = [] if base.batch_shape.rank else [num_samples]
        z = base.sample(shape, seed=self.next_seed(seed))
        if temperature != 1.0:
            mean = base.mean()
            z = mean + temperature * (z - mean)
        return self._decode(z, condition)

    def encode(self, x: Any, y: Any = None, seed: Any = None) -> tf.Tensor:
        """z = f^-1(x), `[B, *latent_shape]`; integers are dequantised with `seed`."""
        x = self.check_data(x)
        u, _ = self._dequantize(x, seed)
        return self.bijector.inverse_and_log_det(u, self.condition(y, tf.shape(x)[0]))[0]

    def decode(self, z: Any, y: Any = None) -> tf.Tensor:
        """x = f(z) in data units."""
        z = tf.cast(z, self.float_dtype)
        return self._decode(z, self.condition(y, tf.shape(z)[0]))

    def as_tfp(self, y: Any = None) -> tfp.bijectors.Bijector:
        """f as a `tfb.Bijector`, latent to real data ([0, 1) where data are integers)."""
        return self.bijector.as_tfp(self._shared_condition(y))

    def distribution(self, y: Any = None) -> tfd.Distribution:
        """p(x) as a `tfd.Distribution` over real data; integer data / num_levels lie in [0, 1).

        With `y` of shape `[B]` the batch shape is `[B]`, one density for each label.
        """
        condition = self._shared_condition(y)
        base = self.base(condition)
        if condition is not None and condition.shape.rank == 2 and not base.batch_shape.rank:
            base = tfd.BatchBroadcast(base, [condition.shape[0]])
        return tfd.TransformedDistribution(base, self.bijector.as_tfp(condition))

    def initialize(self, x: Any, y: Any = None) -> None:
        x = self.check_data(x)
        u, _ = self._dequantize(x, EVALUATION_SEED)
        self.bijector.initialize(u, self.condition(y, tf.shape(x)[0]))

    def build(self, input_shape: Any) -> None:
        with tf.init_scope():
            x, y = self.example_batch(1)
            u, _ = self._dequantize(x, 0)
            z, _ = self.bijector.inverse_and_log_det(u, self.condition(y, 1))
            self.latent_shape = tuple(z.shape[1:])

    def signatures(self) -> dict[str, tuple[Callable[..., dict[str, tf.Tensor]], list[Any]]]:
        x = tf.TensorSpec([None, *self.event_shape], self.event_dtype, name="x")
        z = tf.TensorSpec([None, *self.latent_shape], "float32", name="z")
        y = self.condition_spec()
        signatures = super().signatures()
        if y is None:
            signatures["encode"] = (lambda x: {"z": self.encode(x, seed=EVALUATION_SEED)}, [x])
            signatures["decode"] = (lambda z: {"x": self.decode(z)}, [z])
        else:
            signatures["encode"] = (
                lambda x, y: {"z": self.encode(x, y, seed=EVALUATION_SEED)},
                [x, y],
            )
            signatures["decode"] = (lambda z, y: {"x": self.decode(z, y)}, [z, y])
        return signatures

    def _dequantize(self, x: tf.Tensor, seed: Any) -> tuple[tf.Tensor, tf.Tensor]:
        if self.dequantization is None:
            return tf.cast(x, self.float_dtype), tf.zeros(tf.shape(x)[:1], self.float_dtype)
        return self.dequantization.dequantize(x, self.next_seed(seed), self.float_dtype)

    def _decode(self, z: tf.Tensor, condition: Any) -> tf.Tensor:
        x, _ = self.bijector.forward_and_log_det(z, condition)
        return x if self.dequantization is None else self.dequantization.quantize(x)

    def _shared_condition(self, y: Any) -> tf.Tensor | None:
        if y is None or not self.is_conditional:
            return self.condition(y, 1)
        y = tf.convert_to_tensor(y)
        single = y.shape.rank == (0 if self.num_classes is not None else 1)
        condition = self.condition(y, 1 if single else y.shape[0])
        return condition[0] if single and condition is not None else condition
