"""Autoregressive models: one conditional distribution for each position."""

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen import seeds
from tfgen.checks import check_argument
from tfgen.models.generative_model import GenerativeModel

tfd = tfp.distributions


class AutoregressiveModel(GenerativeModel):
    """log p(x) = sum_i log p(x_i | x_<i), positions i in raster order.

    A subclass gives `parameters(x, condition)`, one pass of a causal network over whole data,
    `[B, *position_shape, P]`: what stands at position i may depend on x at earlier positions only;
    and `self.likelihood`, which makes a distribution of one position's event from `[..., P]`.
    """

    likelihood: Any

    @property
    def position_shape(self) -> tuple[int, ...]:
        """Shape of the grid of positions, slowest index first; by default every dimension."""
        return self.event_shape

    def parameters(self, x: tf.Tensor, condition: tf.Tensor | None) -> tf.Tensor:
        """The conditionals' parameters at all positions, `[B, *position_shape, P]`."""
        raise NotImplementedError

    def parameters_at(
        self, x: tf.Tensor, condition: tf.Tensor | None, position: tf.Tensor
    ) -> tf.Tensor:
        """`parameters` at one position, an index into the flattened grid, `[B, P]`."""
        parameters = self.parameters(x, condition)
        flat = [tf.shape(x)[0], int(np.prod(self.position_shape)), parameters.shape[-1]]
        return tf.gather(tf.reshape(parameters, flat), position, axis=1)

    def conditionals(self, x: Any, y: Any = None) -> tfd.Distribution:
        """p(x_i | x_<i) for every position: batch shape `[B, *position_shape]`."""
        x = self.check_data(x)
        return self.likelihood(self.parameters(x, self.condition(y, tf.shape(x)[0])))

    def log_prob(self, x: Any, y: Any = None, seed: Any = None) -> tf.Tensor:
        x = self.check_data(x)
        log_probs = self.conditionals(x, y).log_prob(tf.cast(x, self.float_dtype))
        return tf.reduce_sum(log_probs, axis=list(range(1, log_probs.shape.rank)))

    def sample(
        self, num_samples: Any, y: Any = None, seed: Any = None, given: Any = None, mask: Any = None
    ) -> tf.Tensor:
        """Draws in data units, one position after the other, in raster order.

        With `given` and `mask` it completes: kept values stand, every other position is drawn from
        p(x_i | x_<i). This is p(rest | kept values) where the kept positions come first in raster
        order; values kept later do not reach back to earlier positions.

        Args:
            num_samples: number of samples.
            y: condition, one for each sample or one for all.
            seed: integer or int32[2].
            given: data to complete, one for each sample or one for all, `[B, *event_shape]`.
            mask: True where `given` is kept; of shape `event_shape`, or of its first dimensions.
                A position is kept as a whole.

        Raises:
            ValueError: only one of `given` and `mask`; another shape, type or range.
        """
        arguments = self._sampling_arguments(num_samples, y, seed, given, mask)
        if tf.executing_eagerly():
            return self._compiled_sampling_loop(*arguments)
        return self._sampling_loop(*arguments)

    def sample_naive(
        self, num_samples: Any, y: Any = None, seed: Any = None, given: Any = None, mask: Any = None
    ) -> tf.Tensor:
        """`sample` by `parameters_at` at every position, not compiled; the same draws."""
        return self._sampling_loop(*self._sampling_arguments(num_samples, y, seed, given, mask))

    def _sampling_arguments(
        self, num_samples: Any, y: Any, seed: Any, given: Any, mask: Any
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None, tf.Tensor]:
        """What the loop starts with: x, which positions of it are kept, condition, seed."""
        shape = [num_samples, *self.event_shape]
        num_positions = int(np.prod(self.position_shape))
        together = (given is None) == (mask is None)
        check_argument(together, "given", "passed together with mask", "one without the other")
        if given is None:
            x, keep = tf.zeros(shape, self.event_dtype), tf.zeros([num_positions], tf.bool)
        else:
            given = tf.cast(self.check_data(given), self.event_dtype)
            static = tf.get_static_value(tf.convert_to_tensor(num_samples))
            fits = static is None or given.shape[0] in (None, 1, static)
            check_argument(fits, "given", f"1 or {static} examples", given.shape[0])
            keep = self._kept_positions(mask)
            x = tf.broadcast_to(given, shape)
        return x, keep, self.condition(y, num_samples), self.next_seed(seed)

    def _kept_positions(self, mask: Any) -> tf.Tensor:
        mask = tf.convert_to_tensor(mask)
        rank = mask.shape.rank
        fits = mask.dtype.is_bool and rank and mask.shape == self.event_shape[:rank]
        check_argument(
            fits,
            "mask",
            f"bool of shape {self.event_shape} or of its first dimensions",
            f"{mask.dtype.name} of shape {tuple(mask.shape)}",
        )
        missing = len(self.event_shape) - rank
        mask = tf.broadcast_to(tf.reshape(mask, [*mask.shape, *[1] * missing]), self.event_shape)
        mask = tf.reshape(mask, [int(np.prod(self.position_shape)), -1])
        return tf.reduce_all(mask, axis=1)

    @tf.function(jit_compile=True)
    def _compiled_sampling_loop(self, *arguments: Any) -> tf.Tensor:
        return self._sampling_loop(*arguments)

    def _sampling_loop(
        self, x: tf.Tensor, keep: tf.Tensor, condition: tf.Tensor | None, seed: tf.Tensor
    ) -> tf.Tensor:
        num_samples, num_positions = tf.shape(x)[0], keep.shape[0]
        whole = [num_samples, *self.event_shape]
        by_position = [num_samples, num_positions, *self.event_shape[len(self.position_shape) :]]

        def draw(position: tf.Tensor, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            parameters = self.parameters_at(tf.reshape(x, whole), condition, position)
            drawn = self.likelihood.draw(parameters, seeds.fold_in(seed, position))
            drawn = tf.where(keep[position], x[:, position], tf.cast(drawn, x.dtype))
            index = tf.stack([tf.range(num_samples), tf.fill([num_samples], position)], 1)
            return position + 1, tf.tensor_scatter_nd_update(x, index, drawn)

        _, x = tf.while_loop(
            lambda position, _: position < num_positions,
            draw,
            (tf.constant(0), tf.reshape(x, by_position)),
            maximum_iterations=num_positions,
        )
        return tf.reshape(x, whole)
