"""Normalising flows: a base distribution and a bijector."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen import bijectors, seeds
from tfgen.bijectors.batch_norm import batch_norms, batch_statistics
from tfgen.bijectors.bijector import Bijector
from tfgen.build import build
from tfgen.checks import check_argument, check_integer
from tfgen.distributions.flow_distribution import FlowDistribution
from tfgen.inference.importance import importance_log_prob
from tfgen.models.generative_model import EVALUATION_SEED, GenerativeModel

tfd = tfp.distributions


class Flow(GenerativeModel):
    """log p(x) = log p(z) + log|det dz/dx|,    z = f^-1(x).

    A subclass sets `self.bijector`, a map between real `[B, *event_shape]` and a latent of the same
    number of dimensions; multi-scale flows are bijectors as well, so a flow is one real
    `tfb.Bijector` and one real `tfd.Distribution`. Integer data (`num_levels`) are dequantised
    first and scaled to [0, 1); their likelihood is then a lower bound, which rises towards log P(x)
    with the number of draws of the noise.

    Args:
        event_shape: as for `GenerativeModel`.
        dequantization: of integer data, a `tfgen.bijectors.Dequantization` or the specification of
            one; uniform by default.

    Raises:
        ValueError: a dequantisation of real data, or of another number of levels.
    """

    has_reconstructions = True
    bijector: Bijector

    def __init__(self, event_shape: Any, dequantization: Any = None, **kwargs: Any):
        super().__init__(event_shape, **kwargs)
        self.dequantization: Any = None
        if self.num_levels is None:
            absent = dequantization is None
            check_argument(absent, "dequantization", "None for real data", dequantization)
        else:
            spec = {"type": "UniformDequantization"} if dequantization is None else dequantization
            given = {"num_levels": self.num_levels, "event_shape": list(self.event_shape)}
            self.dequantization = build(bijectors, spec, **given)
            self.dequantization_layer = self.dequantization.layer  # for Keras to find
            num_levels = self.dequantization.num_levels
            fits = num_levels == self.num_levels
            check_argument(fits, "dequantization", f"for {self.num_levels} levels", num_levels)

    @property
    def likelihood_kind(self) -> str:  # type: ignore[override]
        """Dequantisation makes the likelihood of integers a bound; that of real data is exact."""
        return "exact" if self.dequantization is None else "bound"

    def base(self, condition: Any = None) -> tfd.Distribution:
        """p(z): standard normal, event shape `latent_shape`."""
        zeros = tf.zeros(self.latent_shape, self.float_dtype)
        return tfd.Independent(tfd.Normal(zeros, 1.0), len(self.latent_shape))

    def log_prob(
        self,
        x: Any,
        y: Any = None,
        seed: Any = None,
        num_samples: int = 1,
        chunk_size: int = 10,
    ) -> tf.Tensor:
        """log p(x), `[B]`; of integers a lower bound: log of the mean of p(u) / q(u | x) over
        `num_samples` draws of u, of which at most `chunk_size` are in memory at once."""
        if num_samples != 1:
            return self.importance(x, y, seed, num_samples, chunk_size)["log_prob"]
        x = self.check_data(x)
        return self._log_weight(x, self.condition(y, tf.shape(x)[0]), seed)

    def importance(
        self,
        x: Any,
        y: Any = None,
        seed: Any = None,
        num_samples: int = 100,
        chunk_size: int = 10,
    ) -> dict[str, tf.Tensor]:
        """`log_prob` of integers and `effective_sample_size` = (sum w)^2 / sum w^2, each `[B]`."""
        check_integer("num_samples", num_samples, minimum=1)
        is_bound = self.dequantization is not None
        check_argument(is_bound, "num_samples", "1 for real data: log_prob is exact", num_samples)
        x = self.check_data(x)
        batch_size = tf.shape(x)[0]
        condition = self.condition(y, batch_size)

        def log_weights(num: int, seed: tf.Tensor) -> tf.Tensor:
            repeated, condition_of_repeated = (
                None if t is None else tf.tile(t, [num, *[1] * (t.shape.rank - 1)])
                for t in (x, condition)
            )
            return tf.reshape(
                self._log_weight(repeated, condition_of_repeated, seed), [num, batch_size]
            )

        seed = self.next_seed(seed)
        return importance_log_prob(
            log_weights, num_samples, chunk_size, seed, batch_size, self.float_dtype
        )

    def _log_weight(self, x: tf.Tensor, condition: Any, seed: Any) -> tf.Tensor:
        """log p(u) - log q(u | x) for one draw of u each, `[B]`."""
        u, log_q = self._dequantize(x, seed)
        z, log_det = self.bijector.inverse_and_log_det(u, condition)
        return self.base(condition).log_prob(z) + log_det - log_q

    def report(
        self,
        x: Any,
        y: Any = None,
        seed: Any = None,
        num_samples: int = 1,
        chunk_size: int = 10,
    ) -> dict[str, tf.Tensor]:
        """`log_prob`; with several draws also its effective sample size, and the evidence lower
        bound of one draw, each `[B]`."""
        elbo = self.log_prob(x, y, seed)
        if num_samples == 1:
            return {"log_prob": elbo}
        return {**self.importance(x, y, seed, num_samples, chunk_size), "elbo": elbo}

    def sample(
        self, num_samples: Any, y: Any = None, seed: Any = None, temperature: float = 1.0
    ) -> tf.Tensor:
        """Draws in data units; the latent's deviation from its mean is scaled by `temperature`."""
        condition = self.condition(y, num_samples)
        z = self._draw_latent(num_samples, condition, self.next_seed(seed), temperature)
        return self._decode(z, condition)

    def _draw_latent(
        self, num_samples: Any, condition: Any, seed: tf.Tensor, temperature: float
    ) -> tf.Tensor:
        base = self.base(condition)
        shape = [] if base.batch_shape.rank else [num_samples]
        z = base.sample(shape, seed=seed)
        if temperature != 1.0:
            mean = base.mean()
            z = mean + temperature * (z - mean)
        return z

    def encode(self, x: Any, y: Any = None, seed: Any = None) -> tf.Tensor:
        """z = f^-1(x), `[B, *latent_shape]`; integers are dequantised with `seed`."""
        x = self.check_data(x)
        u, _ = self._dequantize(x, seed)
        return self.bijector.inverse_and_log_det(u, self.condition(y, tf.shape(x)[0]))[0]

    def decode(self, z: Any, y: Any = None) -> tf.Tensor:
        """x = f(z) in data units."""
        z = tf.cast(z, self.float_dtype)
        return self._decode(z, self.condition(y, tf.shape(z)[0]))

    def reconstruct(self, x: Any, y: Any = None, seed: Any = None) -> tf.Tensor:
        """`decode` at `encode(x)`: x, as far as the bijector can be inverted in its precision."""
        return self.decode(self.encode(x, y, seed), y)

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
        return FlowDistribution(base, self.bijector.as_tfp(condition))

    def initialize(self, x: Any, y: Any = None) -> None:
        x = self.check_data(x)
        u, _ = self._dequantize(x, EVALUATION_SEED)
        self.bijector.initialize(u, self.condition(y, tf.shape(x)[0]))

    def recalibrate(self, x: Any, y: Any = None, batch_size: int = 1000) -> None:
        """Sets the stored statistics of batch normalisations to those of `x`, the training set.

        One pass over the data, augmented as in training, layer after layer: all of `x` is in memory
        as float32 twice. Does nothing without such layers.
        """
        if not batch_norms(self.bijector):
            return
        batches, conditions = [], []
        for index, start in enumerate(range(0, len(x), batch_size)):
            rows = slice(start, start + batch_size)
            dequantization_seed, seed = seeds.split(seeds.as_seed([EVALUATION_SEED, index]))
            batch = tf.convert_to_tensor(x[rows])
            batch = self.check_data(self.augment(batch, seed))
            batches.append(self._dequantize(batch, dequantization_seed)[0])
            labels = y[rows] if self.is_conditional else None
            conditions.append(self.condition(labels, len(batch)))
        self.bijector.recalibrate(batches, conditions)

    @contextlib.contextmanager
    def _training(self) -> Iterator[None]:
        with super()._training(), batch_statistics(self.bijector):
            yield

    def fit(self, x: Any = None, y: Any = None, **kwargs: Any) -> Any:
        """Keras's `fit`. Given arrays, it recalibrates before each validation and at the end."""
        is_array = hasattr(x, "__getitem__") and hasattr(x, "shape")
        if not is_array:
            return super().fit(x, y, **kwargs)
        callback = keras.callbacks.LambdaCallback(on_test_begin=lambda _: self.recalibrate(x, y))
        kwargs["callbacks"] = [*(kwargs.get("callbacks") or []), callback]
        history = super().fit(x, y, **kwargs)
        self.recalibrate(x, y)
        return history

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
