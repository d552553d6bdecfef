"""Autoregressive models: one conditional distribution for each position."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen import seeds
from tfgen.checks import check_argument
from tfgen.layers.causal import fixed_kernels
from tfgen.models.autoregressive.passes import Raster, Whole
from tfgen.models.generative_model import GenerativeModel, compiled_sampler

tfd = tfp.distributions


class AutoregressiveModel(GenerativeModel):
    """log p(x) = sum_i log p(x_i | x_<i), positions i in raster order.

    A subclass gives `self.likelihood`, which makes a distribution of one position's event from
    parameters `[..., P]`, and its causal network, written once and run in two ways (`passes.py`):

    - `columns(x, contexts, conditioning, run)`: the parameters of all positions,
      `[B, *position_shape, P]`; those at position i may depend on x at earlier positions only;
    - on a grid, optionally `rows(x, conditioning, run)`: the part of the network that goes from row
      to row; what `columns` needs of it, tensors `[B, H, W, *]`, in a list for each resolution;
    - optionally `conditioning(condition)`: what the condition contributes, computed once.

    Over whole data, `run` is `Whole()` and the network gives every conditional in one pass. In
    `sample`, it runs at one position after the other, each layer with its memory, so that all
    positions together cost about one pass. `sample_naive` runs one pass for each position.
    """

    likelihood: Any
    _compiles_loop = False

    @property
    def position_shape(self) -> tuple[int, ...]:
        """Shape of the grid of positions, slowest index first; by default every dimension."""
        return self.event_shape

    # ------------------------------------------------------------------ the network

    def condition(self, y: Any, batch_size: Any) -> tf.Tensor | None:
        """As of every model; of an image, features may also be a map of them, one vector a pixel,
        `[B, H, W, num_features]`."""
        if self.num_features is None or len(self.event_shape) != 3 or len(np.shape(y)) != 4:
            return super().condition(y, batch_size)
        shape = (*self.event_shape[:2], self.num_features)
        maps = tf.cast(y, self.float_dtype)
        check_argument(maps.shape[1:] == shape, "y", f"maps of shape {('B', *shape)}", maps.shape)
        return tf.broadcast_to(maps, [batch_size, *shape])

    def conditioning(self, condition: tf.Tensor | None) -> Any:
        """What the network uses of the condition, `[B, C]` or, of a map, `[B, H, W, C]`."""
        return condition

    def rows(self, x: tf.Tensor, conditioning: Any, run: Any) -> list[list[tf.Tensor]]:
        """What the rows above tell each row, for each resolution."""
        return []

    def columns(
        self, x: tf.Tensor, contexts: list[list[tf.Tensor]], conditioning: Any, run: Any
    ) -> tf.Tensor:
        """The conditionals' parameters, `[B, *position_shape, P]`."""
        raise NotImplementedError

    def parameters(self, x: tf.Tensor, condition: tf.Tensor | None) -> tf.Tensor:
        """The conditionals' parameters at all positions, `[B, *position_shape, P]`, in one pass."""
        conditioning = self.conditioning(condition)
        contexts = self.rows(x, conditioning, Whole())
        return self.columns(x, contexts, conditioning, Whole())

    def conditionals(self, x: Any, y: Any = None) -> tfd.Distribution:
        """p(x_i | x_<i) for every position: batch shape `[B, *position_shape]`."""
        x = self.check_data(x)
        return self.likelihood(self.parameters(x, self.condition(y, tf.shape(x)[0])))

    def log_prob(self, x: Any, y: Any = None, seed: Any = None) -> tf.Tensor:
        x = self.check_data(x)
        log_probs = self.conditionals(x, y).log_prob(tf.cast(x, self.float_dtype))
        return tf.reduce_sum(log_probs, axis=list(range(1, log_probs.shape.rank)))

    # ------------------------------------------------------------------ sampling

    def sample(
        self,
        num_samples: Any,
        y: Any = None,
        seed: Any = None,
        given: Any = None,
        mask: Any = None,
        temperature: Any = 1.0,
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
            mask: True where `given` is kept; of shape `event_shape`, or of its first dimensions,
                for all samples; or one for each, `[B, *event_shape]`. A position is kept as a
                whole.
            temperature: of each conditional, see `Likelihood.draw`; 1 is the model's own.

        Raises:
            ValueError: only one of `given` and `mask`; another shape, type or range.
        """
        arguments = self._sampling_arguments(num_samples, y, seed, given, mask, temperature)
        if tf.executing_eagerly() or self._compiles_loop:
            return self._compiled_sampling_loop(*arguments)
        return self._sampling_loop(*arguments)

    @contextlib.contextmanager
    def compiled_loop(self) -> Iterator[None]:
        """Inside, the loop of `sample` is compiled by XLA in a graph, too, and no more than it."""
        object.__setattr__(self, "_compiles_loop", True)
        try:
            yield
        finally:
            object.__setattr__(self, "_compiles_loop", False)

    def sample_naive(
        self,
        num_samples: Any,
        y: Any = None,
        seed: Any = None,
        given: Any = None,
        mask: Any = None,
        temperature: Any = 1.0,
    ) -> tf.Tensor:
        """`sample` with one pass over the whole data for each position; the same draws."""
        x, keep, condition, seed, temperature = self._sampling_arguments(
            num_samples, y, seed, given, mask, temperature
        )
        num_samples, num_positions = tf.shape(x)[0], keep.shape[1]
        whole = [num_samples, *self.event_shape]
        by_position = [num_samples, num_positions, *self.event_shape[len(self.position_shape) :]]

        def draw(position: tf.Tensor, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            parameters = self.parameters(tf.reshape(x, whole), condition)
            parameters = tf.reshape(parameters, [num_samples, num_positions, parameters.shape[-1]])
            drawn = self._draw(parameters[:, position], seed, position, temperature)
            kept = tf.reshape(keep[:, position], [-1, *[1] * (drawn.shape.rank - 1)])
            drawn = tf.where(kept, x[:, position], drawn)
            index = tf.stack([tf.range(num_samples), tf.fill([num_samples], position)], 1)
            return position + 1, tf.tensor_scatter_nd_update(x, index, drawn)

        _, x = tf.while_loop(
            lambda position, _: position < num_positions,
            draw,
            (tf.constant(0), tf.reshape(x, by_position)),
            maximum_iterations=num_positions,
        )
        return tf.reshape(x, whole)

    def _draw(self, parameters: Any, seed: Any, position: Any, temperature: Any) -> tf.Tensor:
        """The event at a position, `[B, ...]`: the same numbers from both samplers."""
        drawn = self.likelihood.draw(parameters, seeds.fold_in(seed, position), temperature)
        return tf.cast(drawn, self.event_dtype)

    def _sampling_arguments(
        self, num_samples: Any, y: Any, seed: Any, given: Any, mask: Any, temperature: Any
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None, tf.Tensor, tf.Tensor]:
        """What the loop starts with: x, which positions are kept, `[B, positions]`, condition,
        seed, temperature."""
        shape = [num_samples, *self.event_shape]
        num_positions = int(np.prod(self.position_shape))
        together = (given is None) == (mask is None)
        check_argument(together, "given", "passed together with mask", "one without the other")
        is_positive = tf.is_tensor(temperature) or temperature > 0
        check_argument(is_positive, "temperature", "positive", temperature)
        if given is None:
            x, keep = tf.zeros(shape, self.event_dtype), tf.zeros([1, num_positions], tf.bool)
        else:
            given = tf.cast(self.check_data(given), self.event_dtype)
            keep = self._kept_positions(mask)
            static = tf.get_static_value(tf.convert_to_tensor(num_samples))
            for name, rows in (("given", given.shape[0]), ("mask", keep.shape[0])):
                fits = static is None or rows in (None, 1, static)
                check_argument(fits, name, f"1 or {static} examples", rows)
            x = tf.broadcast_to(given, shape)
        keep = tf.broadcast_to(keep, [num_samples, num_positions])
        condition = self.condition(y, num_samples)
        if condition is not None:
            # In a graph the labels may tell the number of samples: to the states of a loop, too.
            x = tf.ensure_shape(x, [condition.shape[0], *self.event_shape])
            keep = tf.ensure_shape(keep, [condition.shape[0], num_positions])
        temperature = tf.cast(temperature, self.float_dtype)
        return x, keep, condition, self.next_seed(seed), temperature

    def _kept_positions(self, mask: Any) -> tf.Tensor:
        """`[B, positions]`, or `[1, positions]` of a mask for all samples."""
        mask = tf.convert_to_tensor(mask)
        rank, event_shape = mask.shape.rank, self.event_shape
        is_each = rank == len(event_shape) + 1
        fits = mask.shape[1:] == event_shape if is_each else mask.shape == event_shape[:rank]
        check_argument(
            mask.dtype.is_bool and rank and fits,
            "mask",
            f"bool of shape {event_shape}, of its first dimensions, or of {('B', *event_shape)}",
            f"{mask.dtype.name} of shape {tuple(mask.shape)}",
        )
        if not is_each:
            mask = tf.reshape(mask, [1, *mask.shape, *[1] * (len(event_shape) - rank)])
            mask = tf.broadcast_to(mask, [1, *event_shape])
        num_positions = int(np.prod(self.position_shape))
        return tf.reduce_all(
            tf.reshape(mask, [-1, num_positions, self.num_dims // num_positions]), 2
        )

    @tf.function(jit_compile=True)
    def _compiled_sampling_loop(self, *arguments: Any) -> tf.Tensor:
        return self._sampling_loop(*arguments)

    def signatures(self) -> dict[str, tuple[Callable[..., dict[str, tf.Tensor]], list[Any]]]:
        """Besides those of all models `complete(x, mask[, y], seed)`, `mask` of the shape of `x`
        and True where a value is kept, and `sample_xla` and `complete_xla`, compiled at a server's
        first request."""
        signatures = super().signatures()
        x, *condition = signatures["log_prob"][1]
        mask = tf.TensorSpec(x.shape, tf.bool, name="mask")
        seed = tf.TensorSpec([2], tf.int32, name="seed")

        def complete(x: tf.Tensor, mask: tf.Tensor, *others: tf.Tensor) -> dict[str, tf.Tensor]:
            *y, seed = others
            drawn = self.sample(tf.shape(x)[0], *y, seed=seed, given=x, mask=mask)
            return {"x": tf.ensure_shape(drawn, x.shape)}

        signatures["complete"] = (complete, [x, mask, *condition, seed])
        return {**signatures, **compiled_sampler(signatures)}

    def _sampling_loop(
        self,
        x: tf.Tensor,
        keep: tf.Tensor,
        condition: tf.Tensor | None,
        seed: tf.Tensor,
        temperature: tf.Tensor,
    ) -> tf.Tensor:
        """Rows, and columns inside a row; on a line, all positions are columns of one row."""
        with fixed_kernels(self):
            return self._loop(x, keep, seed, temperature, Raster(self, x, condition))

    def _loop(self, x: Any, keep: Any, seed: Any, temperature: Any, steps: Any) -> tf.Tensor:
        shape = self.position_shape
        num_rows, num_columns = shape[:2] if len(shape) > 1 else (1, shape[0])
        colours = shape[2] if len(shape) > 2 else 1  # drawn one after the other
        channels = int(np.prod(self.event_shape)) // (num_rows * num_columns)
        # [rows, columns, B, channels]: a position is one contiguous piece.
        keep = tf.repeat(keep, channels // colours, axis=1)
        keep = tf.transpose(tf.reshape(keep, [-1, num_rows, num_columns, channels]), [1, 2, 0, 3])
        given = tf.reshape(x, [-1, num_rows, num_columns, channels])
        given = tf.transpose(given, [1, 2, 0, 3])
        pixel_shape = [-1, *[1] * (min(len(shape), 2)), *self.event_shape[2:]]
        row_shape = [-1, *([1, num_columns] if len(shape) > 1 else [num_columns])]
        row_shape += self.event_shape[2:]

        def draw_column(line: Any, row: Any, column: Any, state: Any, drawn: Any) -> Any:
            pixel = line.column(column, state)
            kept, x_t = keep[row, column], given[row, column]
            values = tf.where(kept, x_t, tf.zeros_like(x_t))
            for colour in range(colours):
                parameters = pixel.parameters(tf.reshape(values, pixel_shape))
                parameters = tf.reshape(parameters, [-1, colours, parameters.shape[-1]])[:, colour]
                position = (row * num_columns + column) * colours + colour
                value = self._draw(parameters, seed, position, temperature)
                value = tf.reshape(value, [-1, channels // colours])
                is_now = tf.range(channels) // (channels // colours) == colour
                values = tf.where(is_now & ~kept, value, values)
            state = pixel.remember(tf.reshape(values, pixel_shape))
            return column + 1, state, drawn.write(column, values)

        def draw_row(row: Any, memory: Any, image: Any) -> Any:
            line = steps.row(row, memory)
            _, state, drawn = tf.while_loop(
                lambda column, *_: column < num_columns,
                lambda column, state, drawn: draw_column(line, row, column, state, drawn),
                (
                    tf.constant(0),
                    line.initial_state(),
                    tf.TensorArray(x.dtype, num_columns).unstack(given[0]),
                ),
                maximum_iterations=num_columns,
            )
            x_row = drawn.stack()  # [columns, B, channels]
            memory = line.remember(tf.reshape(tf.transpose(x_row, [1, 0, 2]), row_shape), state)
            return row + 1, memory, image.write(row, x_row)

        _, _, image = tf.while_loop(
            lambda row, *_: row < num_rows,
            draw_row,
            (
                tf.constant(0),
                steps.initial_memory(),
                tf.TensorArray(x.dtype, num_rows).unstack(given),
            ),
            maximum_iterations=num_rows,
        )
        drawn = tf.transpose(image.stack(), [2, 0, 1, 3])
        return tf.reshape(drawn, tf.shape(x))
