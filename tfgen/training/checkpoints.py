"""Everything that a run needs to go on, kept in `workdir/checkpoints`."""

import pathlib
from typing import Any

import tensorflow as tf
from absl import logging

from tfgen.models.generative_model import GenerativeModel


class Checkpoints:
    """The newest states of a run and its best weights.

    `latest/` holds all variables (weights, optimizer and averages, seed generators, running means),
    the step, the seconds trained and the best validation value so far; the position in the data
    follows from the step. `best/` holds the weights that evaluation, sampling and export use: the
    averaged ones, where the optimizer keeps them, of the best validation so far.

    Files are written by `tf.train.CheckpointManager`, which names a checkpoint in its index only
    when it is complete. An unreadable newest one is reported and the one before it is used.
    """

    def __init__(self, workdir: Any, model: GenerativeModel):
        folder = pathlib.Path(workdir) / "checkpoints"
        self.model = model
        self.step = tf.Variable(0, dtype=tf.int64)
        self.seconds = tf.Variable(0.0, dtype=tf.float64)
        self.best_value = tf.Variable(float("inf"), dtype=tf.float64)
        self.best_step = tf.Variable(0, dtype=tf.int64)
        weights = [v.value for v in model.variables]
        optimizer = getattr(model, "optimizer", None)
        slots = [] if optimizer is None else [v.value for v in optimizer.variables]
        self._state = tf.train.Checkpoint(
            weights=weights,
            optimizer=slots,
            means=[v.value for metric in model.metrics for v in metric.variables],
            step=self.step,
            seconds=self.seconds,
            best_value=self.best_value,
            best_step=self.best_step,
        )
        self._best = tf.train.Checkpoint(
            weights=weights, step=self.step, seconds=self.seconds, best_value=self.best_value
        )
        self.latest_manager = tf.train.CheckpointManager(self._state, folder / "latest", 2)
        self.best_manager = tf.train.CheckpointManager(self._best, folder / "best", 1)

    def save(self) -> None:
        """Saves the state of the run."""
        self.latest_manager.save(int(self.step))

    def save_best(self, value: float) -> None:
        """Saves the current weights as the best ones; the caller has averaged them."""
        self.best_value.assign(value)
        self.best_step.assign(self.step)
        self.best_manager.save(int(self.step))

    def restore(self) -> bool:
        """Restores the newest readable state; False if there is none."""
        return _restore(self._state, self.latest_manager.checkpoints)

    def restore_best(self) -> bool:
        """Restores the best weights; False if there are none."""
        return _restore(self._best, self.best_manager.checkpoints)


def _restore(checkpoint: tf.train.Checkpoint, paths: list[str]) -> bool:
    for path in reversed(paths):
        try:
            checkpoint.restore(path).assert_existing_objects_matched()
        except (tf.errors.OpError, IndexError, ValueError, AssertionError) as error:
            logging.warning("Checkpoint %s cannot be read (%s); trying an older one.", path, error)
        else:
            return True
    if paths:
        raise ValueError(f"None of the checkpoints {paths} can be read.")
    return False
