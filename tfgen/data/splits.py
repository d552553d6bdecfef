"""Data sets in memory: train, validation and test arrays, and the batches made from them."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfgen.checks import check_argument, check_integer


@dataclasses.dataclass(frozen=True)
class DataInfo:
    """What a model must know about a data set.

    Attributes:
        name: the name it was loaded by.
        event_shape: shape of one example, without the batch.
        num_levels: discrete data take the values 0..num_levels-1; None for continuous data.
        num_classes: labels take the values 0..num_classes-1; None where no labels were asked for.
        preprocessing: what was done to the published data, one short sentence a step.
        entropy: differential entropy of the true density in nats, where it is known. No model's
            expected negative log-likelihood can be lower.
        train_num_levels: levels of `train.x`. It differs from `num_levels` only for
            `binarize="dynamic"`, where the training step draws binary pixels from grey levels.
        sample_rate_hz: of audio; None for other data.
        num_domains: training domains, where examples say which they are of; else None.
        binarization: how grey images became binary, "fixed" or "dynamic"; None where they did not.
            Likelihoods under one and the other do not compare.
    """

    name: str
    event_shape: tuple[int, ...]
    num_levels: int | None = None
    num_classes: int | None = None
    preprocessing: tuple[str, ...] = ()
    entropy: float | None = None
    train_num_levels: int | None = None
    sample_rate_hz: int | None = None
    binarization: str | None = None
    num_domains: int | None = None

    def __post_init__(self) -> None:
        if self.train_num_levels is None:
            object.__setattr__(self, "train_num_levels", self.num_levels)

    @property
    def event_dtype(self) -> str:
        """`uint8` for discrete data, `float32` for continuous data."""
        return "float32" if self.num_levels is None else "uint8"

    @property
    def num_dims(self) -> int:
        """Dimensions of one example, the divisor of bits/dim."""
        return math.prod(self.event_shape)


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Examples `x` `[N, *event_shape]`, uint8 or float32, and labels `y` int32 `[N]` or None.

    Where it matters which of several domains an example is of, `domain`, int32 `[N]`, says so, and
    a model is given both, see `targets`.
    """

    x: np.ndarray
    y: np.ndarray | None = None
    domain: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, positions: np.ndarray | slice) -> "Split":
        """The examples at `positions`, an integer array or a slice."""
        y, domain = (None if a is None else a[positions] for a in (self.y, self.domain))
        return Split(self.x[positions], y, domain)

    @property
    def targets(self) -> np.ndarray | None:
        """What batches hold as y: labels `[N]`, with domains (label, domain) `[N, 2]`, or None."""
        if self.y is None or self.domain is None:
            return self.y
        return np.stack([self.y, self.domain], axis=-1)

    def training_batches(
        self,
        batch_size: int,
        seed: int,
        start_step: int = 0,
        num_steps: int | None = None,
        worker: int = 0,
        num_workers: int = 1,
    ) -> tf.data.Dataset:
        """Shuffled full batches of x `[B, ...]`, or of (x, targets), from step `start_step` on.

        Every epoch is a permutation of the examples that depends on (seed, epoch) alone, and
        batches run on over the end of an epoch. Step k holds the positions k B .. (k+1) B - 1 of
        that stream, so a run resumed at step k sees the batches of an uninterrupted one. B may be
        larger than N. Nothing is prefetched.

        Args:
            batch_size: B.
            seed: seed of the permutations.
            start_step: first step.
            num_steps: number of batches; None goes on for ever.
            worker: whose part of every batch.
            num_workers: the number of equal parts; part w is the w-th from the start.
        """
        check_integer("batch_size", batch_size, 1)
        check_integer("seed", seed, 0)
        check_integer("start_step", start_step, 0)
        if num_steps is not None:
            check_integer("num_steps", num_steps, 0)
        check_integer("num_workers", num_workers, 1)
        size = batch_size // num_workers
        is_multiple = size * num_workers == batch_size
        check_argument(
            is_multiple, "batch_size", f"a multiple of {num_workers} workers", batch_size
        )
        num_examples = len(self)
        check_argument(num_examples > 0, "split", "non-empty to train on", f"{num_examples} rows")
        first_epoch, offset = divmod(start_step * batch_size, num_examples)

        def permutation(epoch: tf.Tensor) -> tf.data.Dataset:
            # Not index_shuffle: in TF 2.21, seeded by a counter, it knows 256 permutations in all.
            key = tf.stack([tf.constant(seed, tf.int64), epoch])
            order = tf.random.experimental.stateless_shuffle(
                tf.range(num_examples, dtype=tf.int64), key, alg="philox"
            )
            return tf.data.Dataset.from_tensor_slices(order)

        positions = tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(permutation)
        positions = positions.skip(offset).batch(batch_size, drop_remainder=True)
        positions = positions.take(-1 if num_steps is None else num_steps)
        if num_workers > 1:
            positions = positions.map(lambda batch: batch[worker * size : (worker + 1) * size])
        # The stream never ends, which flat_map does not tell.
        cardinality = tf.data.INFINITE_CARDINALITY if num_steps is None else num_steps
        batches = positions.map(self._gather())
        return batches.apply(tf.data.experimental.assert_cardinality(cardinality))

    def batches(self, batch_size: int) -> tf.data.Dataset:
        """One ordered pass over x, or (x, y), in batches of `batch_size`; the last may be short."""
        check_integer("batch_size", batch_size, 1)
        positions = tf.data.Dataset.range(len(self)).batch(batch_size)
        return positions.map(self._gather(), num_parallel_calls=2).prefetch(2)

    def _gather(self) -> Callable[[tf.Tensor], Any]:
        # On the host whatever devices there are: tf.data runs there.
        with tf.device("CPU:0"):
            x = tf.constant(self.x)
            y = None if self.targets is None else tf.constant(self.targets)
        if y is None:
            return lambda positions: tf.gather(x, positions)
        return lambda positions: (tf.gather(x, positions), tf.gather(y, positions))


@dataclasses.dataclass(frozen=True, eq=False)
class DataSplits:
    """The train, validation and test sets of one data set, and what is known about it."""

    train: Split
    validation: Split
    test: Split
    info: DataInfo

    def without_labels(self) -> "DataSplits":
        """The same examples with `y` None and no `num_classes`."""
        info = dataclasses.replace(self.info, num_classes=None)
        return DataSplits(Split(self.train.x), Split(self.validation.x), Split(self.test.x), info)


SplitTriple = tuple[Split, Split, Split]


def shuffled_positions(num_examples: int, seed: int) -> np.ndarray:
    """A fixed permutation of 0..num_examples-1."""
    # RandomState's streams are frozen for ever; those of numpy.random.Generator may change.
    return np.random.RandomState(seed).permutation(num_examples)


def random_split(data: Split, num_validation: int, num_test: int, seed: int) -> SplitTriple:
    """`data` shuffled by `seed` and cut into train, validation and test, in this order."""
    order = shuffled_positions(len(data), seed)
    num_train = len(data) - num_validation - num_test
    train, validation, test = np.split(order, [num_train, num_train + num_validation])
    return data[train], data[validation], data[test]


def split_sizes(
    num_examples: int, validation_fraction: float, test_fraction: float, source: str
) -> tuple[int, int]:
    """Sizes of the validation and the test set: the rounded fractions, but at least 1 unless 0.

    Raises:
        ValueError: a fraction out of range, or too few examples to leave one for training.
    """
    for name, value in (
        ("validation_fraction", validation_fraction),
        ("test_fraction", test_fraction),
    ):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        check_argument(is_number and 0 <= value < 1, name, "a number in [0, 1)", value)
    total = validation_fraction + test_fraction
    check_argument(total < 1, "validation_fraction + test_fraction", "less than 1", total)
    num_validation, num_test = (
        max(1, round(num_examples * fraction)) if fraction else 0
        for fraction in (validation_fraction, test_fraction)
    )
    if num_examples - num_validation - num_test < 1:
        raise ValueError(
            f"{source} must hold at least {num_validation + num_test + 1} examples to be split; "
            f"received: {num_examples}."
        )
    return num_validation, num_test
