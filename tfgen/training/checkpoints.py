"""Everything that a run needs to go on, kept in `workdir/checkpoints`."""

import os
import pathlib
import re
import shutil
from typing import Any

import tensorflow as tf
from absl import logging

from tfgen.models.generative_model import GenerativeModel

_TEMPORARY = ".writing-"
_UNREADABLE = (tf.errors.OpError, IndexError, ValueError, AssertionError)


class Checkpoints:
    """The newest states of a run and its best weights.

    `latest/` holds all variables (weights, optimizer and averages, seed generators, running means),
    the step, the seconds trained and the best validation value so far; the position in the data
    follows from the step. `best/` holds the weights that evaluation, sampling and export use: the
    averaged ones, where the optimizer keeps them, of the best validation so far.

    A checkpoint is a folder, `step-12`. It is written under a temporary name, read back with its
    checksums, and renamed; only then older ones are removed. So a crash or a full disk at any
    moment leaves the ones before. An unreadable newest one is reported and the one before it used.

    Args:
        workdir: the run's folder.
        model: whose variables they are; compiled, if training is to go on.
        keep: how many of the newest states are kept.
    """

    def __init__(self, workdir: Any, model: GenerativeModel, keep: int = 2):
        folder = pathlib.Path(workdir) / "checkpoints"
        self.model = model
        self.step = tf.Variable(0, dtype=tf.int64)
        self.seconds = tf.Variable(0.0, dtype=tf.float64)
        self.best_value = tf.Variable(float("inf"), dtype=tf.float64)
        self.best_step = tf.Variable(0, dtype=tf.int64)
        weights = [v.value for v in model.variables]
        optimizer = getattr(model, "optimizer", None)
        # A constant learning rate is the config's business, also when a run goes on with another.
        slots = [] if optimizer is None else optimizer.variables
        slots = [v.value for v in slots if v.name != "learning_rate"]
        state = tf.train.Checkpoint(
            weights=weights,
            optimizer=slots,
            means=[v.value for metric in model.metrics for v in metric.variables],
            step=self.step,
            seconds=self.seconds,
            best_value=self.best_value,
            best_step=self.best_step,
            skipped_steps=[] if optimizer is None else [model.skipped_steps],
        )
        best = tf.train.Checkpoint(
            weights=weights, step=self.step, seconds=self.seconds, best_value=self.best_value
        )
        self._latest = _Folder(folder / "latest", state, keep)
        self._best = _Folder(folder / "best", best, 1)

    def save(self) -> None:
        """Saves the state of the run.

        Raises:
            OSError: it could not be written or read back; the ones before are as they were.
        """
        self._latest.save(int(self.step))

    def save_best(self, value: float) -> None:
        """Saves the current weights as the best ones; the caller has averaged them."""
        before = float(self.best_value), int(self.best_step)
        self.best_value.assign(value)
        self.best_step.assign(self.step)
        try:
            self._best.save(int(self.step))
        except OSError:
            self.best_value.assign(before[0])
            self.best_step.assign(before[1])
            raise

    def restore(self) -> bool:
        """Restores the newest readable state; False if there is none."""
        return self._latest.restore()

    def restore_best(self) -> bool:
        """Restores the best weights; False if there are none."""
        return self._best.restore()


class _Folder:
    """Numbered checkpoints of one set of variables, the newest `keep` of them."""

    def __init__(self, folder: pathlib.Path, checkpoint: tf.train.Checkpoint, keep: int):
        self.folder, self.checkpoint, self.keep = folder, checkpoint, keep

    def complete(self) -> list[pathlib.Path]:
        """The complete checkpoints, oldest first."""
        found = (re.fullmatch(r"step-(\d+)(?:\.(\d+))?", path.name) for path in self._entries())
        numbers = sorted((int(m[1]), int(m[2] or 0), m[0]) for m in found if m)
        return [self.folder / name for _, _, name in numbers]

    def save(self, step: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self._entries():
            if path.name.startswith(_TEMPORARY):  # what a crash left
                shutil.rmtree(path)
        temporary = self.folder / f"{_TEMPORARY}{step}"
        try:
            self.checkpoint.write(str(temporary / "state"))
            _verify(temporary)
        except (*_UNREADABLE, OSError) as error:
            shutil.rmtree(temporary, ignore_errors=True)
            kept = ", ".join(path.name for path in self.complete()) or "none"
            raise OSError(
                f"The checkpoint of step {step} could not be written to {self.folder} ({error}); "
                f"those of before stay: {kept}."
            ) from error
        # After a resume a step is done again: its new state stands beside the old one, never in
        # its place, so that there is no moment without either.
        same = [path for path in self.complete() if path.name.split(".")[0] == f"step-{step}"]
        version = int(f"{same[-1].name}.0".split(".")[1]) + 1 if same else 0
        name = f"step-{step}.{version}" if version else f"step-{step}"
        os.replace(temporary, self.folder / name)
        _sync(self.folder)
        for old in self.complete()[: -self.keep]:
            shutil.rmtree(old)

    def restore(self) -> bool:
        paths = self.complete()
        for path in reversed(paths):
            try:
                _verify(path)
                status = self.checkpoint.read(str(path / "state"))
                status.assert_existing_objects_matched()
            except _UNREADABLE as error:
                logging.warning(
                    "Checkpoint %s cannot be read (%s); trying the one before.", path, error
                )
            else:
                return True
        if paths:
            names = [path.name for path in paths]
            raise ValueError(f"None of the checkpoints in {self.folder} can be read: {names}.")
        return False

    def _entries(self) -> list[pathlib.Path]:
        return list(self.folder.iterdir()) if self.folder.exists() else []


def _verify(folder: pathlib.Path) -> None:
    """Reads every value; the reader compares checksums. All files are then on the disk."""
    reader = tf.train.load_checkpoint(str(folder / "state"))
    for name in reader.get_variable_to_shape_map():
        reader.get_tensor(name)
    for path in folder.iterdir():
        _sync(path)


def _sync(path: pathlib.Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
