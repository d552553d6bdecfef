"""Autoregressive models: one conditional distribution for each position."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen import seeds
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

        Args:
            num_samples: number of samples.
            y: condition, one for each sample or one for all.
            seed: integer or int32[2].
            given: data `[num_samples, *event_shape]` to complete.
            mask: `event_shape`, True where `given` is kept (all or none of a position's values).
        """
        if tf.executing_eagerly():
            return self._compiled_sample(int(num_samples), y, self.next_seed(seed), given, mask)
        return self.sample_naive(num_samples, y, seed, given, mask)

    @tf.function(jit_compile=True)
    def _compiled_sample(
        self, num_samples: int, y: Any, seed: tf.Tensor, given: Any, mask: Any
    ) -> tf.Tensor:
        return self.sample_naive(num_samples, y, seed, given, mask)

    def sample_naive(
        self, num_samples: Any, y: Any = None, seed: Any = None, given: Any = None, mask: Any = None
    ) -> tf.Tensor:
        """`sample` by one full pass of the network for each position, in one loop."""
        condition = self.condition(y, num_samples)
        seed = self.next_seed(seed)
        num_positions = int(np.prod(self.position_shape))
        event = self.event_shape[len(self.position_shape) :]
        shape = [num_samples, num_positions, *event]
        if given is None:
            x, keep = tf.zeros(shape, self.event_dtype), tf.zeros([num_positions], tf.bool)
        else:
            x = tf.reshape(tf.cast(self.check_data(given), self.event_dtype), shape)
            keep = tf.reshape(tf.convert_to_tensor(mask), [num_positions, -1])[:, 0]
            x = tf.where(tf.reshape(keep, [1, -1] + [1] * len(event)), x, tf.zeros_like(x))

        def draw(position: tf.Tensor, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            images = tf.reshape(x, [num_samples, *self.event_shape])
            parameters = self.parameters_at(images, condition, position)
            drawn = self.likelihood.draw(parameters, seeds.fold_in(seed, position))
            drawn = tf.where(keep[position], x[:, position], tf.cast(drawn, x.dtype))
            index = tf.stack([tf.range(num_samples), tf.fill([num_samples], position)], 1)
            return position + 1, tf.tensor_scatter_nd_update(x, index, drawn)

        _, x = tf.while_loop(
            lambda position, _: position < num_positions,
            draw,
            (tf.constant(0), x),
            maximum_iterations=num_positions,
        )
        return tf.reshape(x, self._batch_shape(num_samples))

    def _batch_shape(self, num_samples: Any) -> Sequence[Any]:
        return [num_samples, *self.event_shape]
