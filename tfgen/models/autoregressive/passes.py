"""One network, run over whole data or at one position.

A network takes a pass as its argument `run` and calls through it whatever has a memory: `run(layer,
x)`. `Whole` calls the layer. `Row` and `Column` give it the next row or the next position only,
together with its state, and keep the new state; so a sampler pays one column of the network for a
position, and the network is written once.

- `run.input(function, x)` runs `function(run, x)`, the part of the network that reads the data
  itself and whose result may not depend on x at the same position. When a position is drawn, this
  part, and no other, is run again to remember it.
- `run.half(shrink, function, grow, x)` runs `function(run, x)` at half the resolution, between a
  convolution with strides 2 and a transposed one; in a sampler, at every second row and column.
  `function` returns the image to grow and anything else, at its own resolution; `half` does so too.
- `run.add(y, shift)` adds what a condition contributes: nothing (None), the same at all positions
  of an image (`[B, C]`), or at each its own (`[B, H, W, C]`, at the resolution of y).
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

Function = Callable[[Any, tf.Tensor], tuple[tf.Tensor, Any]]


def _add(y: tf.Tensor, shift: tf.Tensor | None, here: Callable[[tf.Tensor], tf.Tensor]) -> Any:
    """`run.add`; `here` takes from a map what stands at the positions of y."""
    if shift is None:
        return y
    return y + (shift[:, None, None] if shift.shape.rank == 2 else here(shift))


class Whole:
    """Runs a network over whole data."""

    def __call__(self, layer: Any, x: tf.Tensor) -> tf.Tensor:
        return layer(x)

    def input(self, function: Callable[[Any, tf.Tensor], tf.Tensor], x: tf.Tensor) -> tf.Tensor:
        return function(self, x)

    def half(self, shrink: Any, function: Function, grow: Any, x: tf.Tensor) -> tuple:
        y, rest = function(self, shrink(x))
        return grow(y), rest

    def add(self, y: tf.Tensor, shift: tf.Tensor | None) -> tf.Tensor:
        return _add(y, shift, lambda maps: maps)


# ---------------------------------------------------------------------- what a network holds


@dataclasses.dataclass
class Node:
    """A layer with a memory, at which resolution it runs, and the first row that it is given."""

    layer: Any
    level: int
    x: tf.Tensor

    @property
    def width(self) -> int:
        return self.x.shape[-2]

    @property
    def has_rows(self) -> bool:
        """Whether it remembers the rows above; a layer on a line has none."""
        return hasattr(self.layer, "initial_memory")


@dataclasses.dataclass
class Part:
    """The nodes that read the data, or those at half the resolution (then with its `example`)."""

    nodes: list[Any]
    example: Any = None


class Outline:
    """A pass that finds the layers with a memory, in the order of their calls, on a first row."""

    def __init__(self, level: int = 0):
        self.level = level
        self.nodes: list[Any] = []

    def __call__(self, layer: Any, x: tf.Tensor) -> tf.Tensor:
        self.nodes.append(Node(layer, self.level, x))
        return layer(x)

    def input(self, function: Callable[[Any, tf.Tensor], tf.Tensor], x: tf.Tensor) -> tf.Tensor:
        inner = Outline(self.level)
        y = function(inner, x)
        self.nodes.append(Part(inner.nodes))
        return y

    def half(self, shrink: Any, function: Function, grow: Any, x: tf.Tensor) -> tuple:
        inner = Outline(self.level + 1)
        y, rest = function(inner, self(shrink, x))
        grown = grow(y)[:, :1]
        blocks = _Blocks(grow.units, grown.dtype)
        nodes = [*inner.nodes, Node(blocks, self.level + 1, y)]
        self.nodes.append(Part(nodes, (grown, rest)))
        return grown, rest

    def add(self, y: tf.Tensor, shift: tf.Tensor | None) -> tf.Tensor:
        return _add(y, shift, lambda maps: maps[:, :1])


class _Blocks:
    """What is grown at an even row and read again at the odd one below: `[B, 1, W, 4 units]`."""

    def __init__(self, units: int, dtype: Any):
        self.units, self.dtype = units, dtype

    def initial_memory(self, batch_size: Any, width: int) -> tf.Tensor:
        return tf.zeros([batch_size, 1, width, 4 * self.units], self.dtype)

    def begin_row(self, memory: tf.Tensor) -> tf.Tensor:
        return memory

    def initial_state(self, batch_size: Any) -> tf.Tensor:
        return tf.zeros([batch_size, 1, 1, 4 * self.units], self.dtype)

    def step(self, x_t: tf.Tensor, state: tf.Tensor, above_t: tf.Tensor) -> tuple:
        return x_t, state, state

    def end_row(self, memory: tf.Tensor, record: tf.Tensor) -> tf.Tensor:
        return record


def all_nodes(nodes: Sequence[Any]) -> list[Node]:
    """Without the parts, in the order of the calls."""
    flat: list[Node] = []
    for node in nodes:
        flat += [node] if isinstance(node, Node) else all_nodes(node.nodes)
    return flat


# ---------------------------------------------------------------------- row by row


class Row:
    """A pass at one row, `[B, 1, W, C]`; `states` is what the layers know of the rows above."""

    def __init__(self, row: tf.Tensor, states: Sequence[Any]):
        self._row = row
        self._before = iter(states)
        self._input: tuple[int, Callable, Any] | None = None
        self.states: list[Any] = []

    @staticmethod
    def initial_states(nodes: Sequence[Any], batch_size: Any) -> list[Any]:
        states: list[Any] = []
        for node in nodes:
            if isinstance(node, Node):
                states.append(node.layer.initial_memory(batch_size, node.width))
            elif node.example is None:
                states.append(Row.initial_states(node.nodes, batch_size))
            else:
                grown, rest = tf.nest.map_structure(tf.zeros_like, node.example)
                states.append((Row.initial_states(node.nodes[:-1], batch_size), grown, rest))
        return states

    def __call__(self, layer: Any, x: tf.Tensor) -> tf.Tensor:
        y, state = layer.step_row(x, next(self._before))
        self.states.append(state)
        return y

    def input(self, function: Callable[[Any, tf.Tensor], tf.Tensor], x: tf.Tensor) -> tf.Tensor:
        before = next(self._before)
        self._input = (len(self.states), function, before)
        self.states.append(before)
        return function(Row(self._row, before), x)

    def remember(self, x: tf.Tensor) -> list[Any]:
        """The states for the next row, once the data of this one are known."""
        if self._input is not None:
            position, function, before = self._input
            inner = Row(self._row, before)
            function(inner, x)
            self.states[position] = inner.states
        return self.states

    def half(self, shrink: Any, function: Function, grow: Any, x: tf.Tensor) -> tuple:
        x = self(shrink, x)
        states, second, rest = next(self._before)

        def run() -> tuple:
            inner = Row(self._row // 2, states)
            y, new_rest = function(inner, x)
            two_rows = grow(y)
            return two_rows[:, :1], (inner.states, two_rows[:, 1:], new_rest)

        y, state = tf.cond(self._row % 2 == 0, run, lambda: (second, (states, second, rest)))
        self.states.append(state)
        return y, state[2]

    def add(self, y: tf.Tensor, shift: tf.Tensor | None) -> tf.Tensor:
        return _add(y, shift, lambda maps: tf.gather(maps, self._row, axis=1)[:, None])


# ---------------------------------------------------------------------- column by column


class Column:
    """A pass at one position, `[B, 1, 1, C]`, or `[B, 1, C]` on a line.

    Args:
        nodes: of the network.
        row: index of the row.
        column: index of the column.
        states: for each node, what it knows of the columns to the left, and what it recorded of
            the last one for the next row.
        above: for each of `all_nodes`, what the rows above contribute to this column.
    """

    def __init__(
        self,
        nodes: Sequence[Any],
        row: tf.Tensor,
        column: tf.Tensor,
        states: Sequence[Any],
        above: Sequence[Any],
    ):
        self._nodes = iter(nodes)
        self._row, self._column = row, column
        self._before = iter(states)
        self._above = iter(above)
        self._input: tuple[int, Callable] | None = None
        self.states: list[Any] = []

    @staticmethod
    def initial_states(nodes: Sequence[Any], batch_size: Any, above: Iterator[Any]) -> list[Any]:
        """At the start of a row; `above` for its first column."""
        states: list[Any] = []
        for node in nodes:
            if isinstance(node, Node):
                state, record, above_t = node.layer.initial_state(batch_size), None, next(above)
                if node.has_rows:  # a step on zeros shows the record's shape
                    _, _, record = node.layer.step(node.x[:, :, :1], state, above_t)
                states.append((state, [] if record is None else [tf.zeros_like(record)]))
            else:
                states.append(Column.initial_states(node.nodes, batch_size, above))
        return states

    def __call__(self, layer: Any, x: tf.Tensor) -> tf.Tensor:
        node, above = next(self._nodes), next(self._above)
        state, _ = next(self._before)
        if node.has_rows:
            y, state, record = layer.step(x, state, above)
        else:
            (y, state), record = layer.step(x, state), None
        self.states.append((state, [] if record is None else [record]))
        return y

    def _part(self) -> tuple[Part, Any, list[Any]]:
        part = next(self._nodes)
        above = [next(self._above) for _ in all_nodes(part.nodes)]
        return part, next(self._before), above

    def input(self, function: Callable[[Any, tf.Tensor], tf.Tensor], x: tf.Tensor) -> tf.Tensor:
        part, before, above = self._part()

        def run(x: tf.Tensor) -> tuple[tf.Tensor, list[Any]]:
            inner = Column(part.nodes, self._row, self._column, before, above)
            return function(inner, x), inner.states

        self._input = (len(self.states), run)
        self.states.append(before)
        return run(x)[0]

    def remember(self, x: tf.Tensor) -> list[Any]:
        """The states for the next column, once the data at this one are known."""
        if self._input is not None:
            position, run = self._input
            self.states[position] = run(x)[1]
        return self.states

    def half(self, shrink: Any, function: Function, grow: Any, x: tf.Tensor) -> tuple:
        x = self(shrink, x)
        part, (*states, (block, _)), (*above, block_above) = self._part()
        is_even_row, is_even_column = self._row % 2 == 0, self._column % 2 == 0

        def run() -> tuple:
            inner = Column(part.nodes[:-1], self._row // 2, self._column // 2, states, above)
            y, _ = function(inner, x)
            return inner.states, tf.reshape(grow.blocks(y), tf.shape(block))

        states, block = tf.cond(is_even_row & is_even_column, run, lambda: (states, block))
        block = tf.where(is_even_row, block, block_above)
        self.states.append([*states, (block, [block])])
        quarters = tf.reshape(block, [-1, 4, grow.units])
        y = tf.gather(quarters, 2 * (self._row % 2) + self._column % 2, axis=1)
        return y[:, None, None], None

    def add(self, y: tf.Tensor, shift: tf.Tensor | None) -> tf.Tensor:
        def here(maps: tf.Tensor) -> tf.Tensor:
            line = tf.gather(maps, self._row, axis=1)
            return tf.gather(line, self._column, axis=1)[:, None, None]

        return _add(y, shift, here)


def records(nodes: Sequence[Any], states: Sequence[Any]) -> list[Any]:
    """For each of `all_nodes`, what it recorded of the last column, or None."""
    flat: list[Any] = []
    for node, state in zip(nodes, states, strict=True):
        flat += (state[1] or [None]) if isinstance(node, Node) else records(node.nodes, state)
    return flat


# ---------------------------------------------------------------------- the whole raster


class Raster:
    """Steps of a model's network over rows and columns, for the sampling loop.

    Args:
        model: gives `rows`, `columns` and `conditioning`.
        x: data of `num_samples` zeros.
        condition: of the samples.
    """

    def __init__(self, model: Any, x: tf.Tensor, condition: tf.Tensor | None):
        self._model = model
        self._batch_size = tf.shape(x)[0] if x.shape[0] is None else x.shape[0]
        self._conditioning = model.conditioning(condition)
        self._first_row = x[:, :1]  # on a line, the first position
        run = Outline()
        contexts = model.rows(self._first_row, self._conditioning, run)
        self._row_nodes = run.nodes
        run = Outline()
        model.columns(self._first_row, contexts, self._conditioning, run)
        self._nodes = run.nodes
        self._all_nodes = all_nodes(run.nodes)

    def initial_memory(self) -> Any:
        """What is known before the first row."""
        return (
            Row.initial_states(self._row_nodes, self._batch_size),
            [
                node.layer.initial_memory(self._batch_size, node.width) if node.has_rows else ()
                for node in self._all_nodes
            ],
        )

    def row(self, row: tf.Tensor, memory: Any) -> "_RasterRow":
        return _RasterRow(self, row, memory)


class _RasterRow:
    def __init__(self, raster: Raster, row: tf.Tensor, memory: Any):
        self._raster, self._row_index = raster, row
        states, self._memories = memory
        self._run = Row(row, states)
        contexts = raster._model.rows(raster._first_row, raster._conditioning, self._run)
        above = [
            node.layer.begin_row(memory) if node.has_rows else None
            for node, memory in zip(raster._all_nodes, self._memories, strict=True)
        ]
        levels = [node.level for node in raster._all_nodes]
        self._above = _Strip(above, levels)
        self._contexts = [
            _Strip(context, [level] * len(context)) for level, context in enumerate(contexts)
        ]

    def initial_state(self) -> Any:
        """Before the first column: what layers know, and the records of the row to come."""
        raster = self._raster
        above = iter(self._above.at(tf.constant(0)))
        states = Column.initial_states(raster._nodes, raster._batch_size, above)
        found = records(raster._nodes, states)
        self._shapes = [None if r is None else r.shape[-1] for r in found]
        arrays = []
        for level, group in self._by_level(found).items():
            width = next(n.width for n in raster._all_nodes if n.level == level and n.has_rows)
            values = tf.concat(group, axis=-1)
            zeros = tf.zeros([width, *tf.unstack(tf.shape(values))], values.dtype)
            zeros = tf.ensure_shape(zeros, [width, *values.shape])
            arrays.append(tf.TensorArray(values.dtype, width).unstack(zeros))
        return states, arrays

    def _by_level(self, values: list[Any]) -> dict[int, list[Any]]:
        groups: dict[int, list[Any]] = {}
        for node, value in zip(self._raster._all_nodes, values, strict=True):
            if value is not None:
                groups.setdefault(node.level, []).append(value)
        return groups

    def column(self, column: tf.Tensor, state: Any) -> "_RasterColumn":
        return _RasterColumn(self, column, state)

    def remember(self, x_row: tf.Tensor, state: Any) -> Any:
        """The memory for the next row; `x_row` `[B, 1, W, C]`."""
        raster = self._raster
        _, arrays = state
        levels = list(self._by_level(self._shapes))
        sizes = self._by_level(self._shapes)
        found = {}
        for level, array in zip(levels, arrays, strict=True):
            stacked = tf.transpose(array.stack()[:, :, 0, 0], [1, 0, 2])[:, None]
            found[level] = iter(tf.split(stacked, sizes[level], axis=-1))
        memories = []
        for node, memory, size in zip(raster._all_nodes, self._memories, self._shapes, strict=True):
            if node.has_rows:
                record = None if size is None else next(found[node.level])
                runs = self._row_index % 2**node.level == 0
                new = node.layer.end_row(memory, record)
                if node.level:
                    new = tf.nest.map_structure(
                        lambda n, m, runs=runs: tf.where(runs, n, m), new, memory
                    )
                memory = new
            memories.append(memory)
        return self._run.remember(x_row), memories


class _RasterColumn:
    def __init__(self, row: _RasterRow, column: tf.Tensor, state: Any):
        self._row, self._column = row, column
        self._states, self._arrays = state
        self._above = row._above.at(column)
        self._contexts = [context.at(column) for context in row._contexts]

    def parameters(self, x_t: tf.Tensor) -> tf.Tensor:
        """Of the conditional at this column, `[B, 1, 1, ...]` as `model.columns` gives them."""
        raster = self._row._raster
        self._run = Column(
            raster._nodes, self._row._row_index, self._column, self._states, self._above
        )
        return raster._model.columns(x_t, self._contexts, raster._conditioning, self._run)

    def remember(self, x_t: tf.Tensor) -> Any:
        """The state for the next column."""
        states = self._run.remember(x_t)
        groups = self._row._by_level(records(self._row._raster._nodes, states))
        arrays = [
            array.write(self._column // 2**level, tf.concat(group, axis=-1))
            for array, (level, group) in zip(self._arrays, groups.items(), strict=True)
        ]
        return states, arrays


class _Strip:
    """Tensors `[B, 1, W, *]` over the columns of a row, those of a resolution in one."""

    def __init__(self, values: Sequence[Any], levels: Sequence[int]):
        self._levels = [
            None if v is None else level for v, level in zip(values, levels, strict=True)
        ]
        self._sizes: dict[int, list[int]] = {}
        self._packed: dict[int, tf.Tensor] = {}
        for level in {level for level in self._levels if level is not None}:
            group = [v for v, own in zip(values, self._levels, strict=True) if own == level]
            self._sizes[level] = [v.shape[-1] for v in group]
            # Columns first: one column is one contiguous piece.
            self._packed[level] = tf.transpose(tf.concat(group, axis=-1)[:, 0], [1, 0, 2])

    def at(self, column: tf.Tensor) -> list[Any]:
        """The tensors at a column of the finest resolution, `[B, 1, 1, *]`."""
        pieces = {
            level: iter(tf.split(packed[column // 2**level][:, None, None], self._sizes[level], -1))
            for level, packed in self._packed.items()
        }
        return [None if level is None else next(pieces[level]) for level in self._levels]
