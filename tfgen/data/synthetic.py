"""Random data of any shape, for tests of everything but the learning."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfgen.checks import check_argument, check_integer
from tfgen.data.splits import DataInfo, DataSplits, Split
from tfgen.data.validate import MAX_NUM_LEVELS


def load_random_images(
    event_shape: Sequence[int] = (8, 8, 1),
    num_levels: int = 256,
    num_examples: int = 256,
    num_classes: int | None = None,
    seed: int = 0,
) -> DataSplits:
    """Images of independent uniform values 0..num_levels-1: log2(num_levels) bits/dim.

    Args:
        event_shape: shape of one image.
        num_levels: at most 256.
        num_examples: examples in each of the three sets.
        num_classes: independent uniform labels, or None for none.
        seed: seed of the draws.
    """
    shape = _event_shape(event_shape)
    check_integer("num_levels", num_levels, 2)
    check_argument(num_levels <= MAX_NUM_LEVELS, "num_levels", f"<= {MAX_NUM_LEVELS}", num_levels)
    check_integer("num_examples", num_examples, 1)
    check_integer("seed", seed, 0)
    if num_classes is not None:
        check_integer("num_classes", num_classes, 1)
    random = np.random.RandomState(seed)

    def draw() -> Split:
        x = random.randint(num_levels, size=(num_examples, *shape)).astype(np.uint8)
        if num_classes is None:
            return Split(x)
        return Split(x, random.randint(num_classes, size=num_examples).astype(np.int32))

    info = DataInfo(
        name="random_images",
        event_shape=shape,
        num_levels=num_levels,
        num_classes=num_classes,
        preprocessing=(f"Independent uniform values 0..{num_levels - 1}, seed {seed}.",),
    )
    return DataSplits(draw(), draw(), draw(), info)


def load_random_table(num_columns: int = 4, num_examples: int = 256, seed: int = 0) -> DataSplits:
    """Rows of independent standard normal numbers: entropy D log(2 pi e) / 2 nats.

    Args:
        num_columns: D.
        num_examples: rows in each of the three sets.
        seed: seed of the draws.
    """
    check_integer("num_columns", num_columns, 1)
    check_integer("num_examples", num_examples, 1)
    check_integer("seed", seed, 0)
    random = np.random.RandomState(seed)
    shape = (num_examples, num_columns)

    def draw() -> Split:
        return Split(random.standard_normal(shape).astype(np.float32))

    info = DataInfo(
        name="random_table",
        event_shape=(num_columns,),
        preprocessing=(f"Independent standard normal numbers, seed {seed}.",),
        entropy=0.5 * num_columns * math.log(2 * math.pi * math.e),
    )
    return DataSplits(draw(), draw(), draw(), info)


def _event_shape(event_shape: Any) -> tuple[int, ...]:
    allowed = "a sequence of positive integers"
    is_sequence = isinstance(event_shape, Sequence) and not isinstance(event_shape, str)
    check_argument(is_sequence and len(event_shape) > 0, "event_shape", allowed, event_shape)
    for size in event_shape:
        is_integer = isinstance(size, int) and not isinstance(size, bool)
        check_argument(is_integer and size > 0, "event_shape", allowed, event_shape)
    return tuple(event_shape)
