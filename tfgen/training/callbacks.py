"""What happens beside the steps: progress, metrics, validation, checkpoints, pictures."""

import json
import math
import pathlib
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging
from tensorflow.core.util import event_pb2
from tqdm import tqdm

from tfgen.evaluation.likelihood import OF_EVERY_MODEL, Likelihood
from tfgen.models.generative_model import GenerativeModel
from tfgen.training.checkpoints import Checkpoints
from tfgen.training.files import write_atomically


def _due(every: int, previous: int, step: int) -> bool:
    """True if a multiple of `every` was passed since the previous call (0: never)."""
    return every > 0 and step // every > previous // every


class RunCallback(keras.callbacks.Callback):
    """Counts the run's steps across resumes and calls `on_step(step)` after each execution."""

    def __init__(self, start_step: int):
        super().__init__()
        self.start_step = self.step = self.previous = start_step

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        # Of a last execution that has fewer steps Keras gives the number that a whole one has.
        done = min(batch + 1, self.params["steps"])
        self.previous, self.step = self.step, self.start_step + done
        self.on_step(self.step, logs or {})

    def on_step(self, step: int, logs: dict[str, float]) -> None:
        raise NotImplementedError


class Progress(RunCallback):
    """The likelihood so far and the time left: a bar in a terminal, plain lines in a log.

    Args:
        start_step: the run's step before the first one here.
        num_steps: the run's last step.
        nats_per_unit: of the likelihood's unit.
        unit: its name, "bits/dim" or "nats".
    """

    def __init__(self, start_step: int, num_steps: int, nats_per_unit: float, unit: str):
        super().__init__(start_step)
        self.unit, self.nats_per_unit = unit, nats_per_unit
        self.validation: float | None = None
        is_terminal = sys.stderr.isatty()
        self.display = (_Bar if is_terminal else _Lines)(start_step, num_steps)

    def on_step(self, step: int, logs: dict[str, float]) -> None:
        parts = []
        if "log_prob" in logs:
            parts.append(f"{-logs['log_prob'] / self.nats_per_unit:.3f} {self.unit}")
        if self.validation is not None:
            parts.append(f"validation {self.validation:.3f}")
        self.display.show(step, ", ".join(parts))

    def on_train_end(self, logs: Any = None) -> None:
        self.display.close()


class _Bar:
    def __init__(self, start_step: int, num_steps: int):
        self.bar = tqdm(
            total=num_steps, initial=start_step, unit="step", dynamic_ncols=True, mininterval=0.2
        )

    def show(self, step: int, text: str) -> None:
        self.bar.set_postfix_str(text, refresh=False)
        self.bar.update(step - self.bar.n)

    def close(self) -> None:
        self.bar.close()


class _Lines:
    """A line after the first execution, every half minute, and after the last step."""

    seconds = 30.0

    def __init__(self, start_step: int, num_steps: int):
        self.num_steps = num_steps
        self.first: tuple[int, float] | None = None
        self.latest = 0.0

    def show(self, step: int, text: str) -> None:
        now = time.monotonic()
        if self.first is not None and now - self.latest < self.seconds and step < self.num_steps:
            return
        parts = [f"step {step}/{self.num_steps}", text]
        # From the second line on: the first execution is mostly compilation.
        if self.first is None:
            self.first = (step, now)
        else:
            rate = (step - self.first[0]) / max(now - self.first[1], 1e-9)
            left = tqdm.format_interval((self.num_steps - step) / rate)
            parts += [f"{rate:.3g} steps/s", f"{left} left"]
        self.latest = now
        print(", ".join(filter(None, parts)), file=sys.stderr, flush=True)

    def close(self) -> None:
        pass


class Metrics(RunCallback):
    """The means since the last line, as a line of `metrics.jsonl` and as TensorBoard scalars.

    The objective's terms in nats, the gradients' lengths, and the likelihood in its own unit, as
    the validation has it: `bits_per_dim` of integers, else `nats`.
    """

    def __init__(
        self,
        start_step: int,
        workdir: pathlib.Path,
        every: int,
        batch_size: int,
        metric: str,
        nats_per_unit: float,
    ):
        super().__init__(start_step)
        self.path, self.every, self.batch_size = workdir / "metrics.jsonl", every, batch_size
        self.metric, self.nats_per_unit = metric, nats_per_unit
        self.since = (start_step, time.perf_counter())
        # Steps after the checkpoint are done again.
        if self.path.exists():
            lines = [line for line in self.path.read_text().splitlines() if line.strip()]
            kept = [line for line in lines if _step_of(line) <= start_step]
            write_atomically(self.path, "".join(f"{line}\n" for line in kept).encode())
        for path in (workdir / "tensorboard").glob("events*"):
            _rewrite_events(path, lambda event: event.step <= start_step)
        self.writer = tf.summary.create_file_writer(str(workdir / "tensorboard"))

    def on_train_begin(self, logs: Any = None) -> None:
        self.restored = [v.numpy() for metric in self.model.metrics for v in metric.variables]

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        # Keras has just set the means to zero, also those of an interval that a crash cut in two.
        variables = [v for metric in self.model.metrics for v in metric.variables]
        for variable, value in zip(variables, self.restored, strict=True):
            variable.assign(value)

    def on_step(self, step: int, logs: dict[str, float]) -> None:
        if not _due(self.every, self.previous, step):
            return
        now = time.perf_counter()
        steps, seconds = step - self.since[0], now - self.since[1]
        self.since = (step, now)
        rate = steps * self.batch_size / seconds
        values = {**logs, "examples_per_second": rate}
        if "log_prob" in logs:
            values[self.metric] = -logs["log_prob"] / self.nats_per_unit
        self.write(step, values)
        self.model.reset_metrics()

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Numbers; of lists of numbers, histograms for TensorBoard alone."""
        lists = {name: value for name, value in values.items() if isinstance(value, list)}
        numbers = {name: float(values[name]) for name in values if name not in lists}
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **numbers}) + "\n")
        with self.writer.as_default(step=step):
            for name, number in numbers.items():
                tf.summary.scalar(name, number)
            for name, value in lists.items():
                tf.summary.histogram(name, value)
        self.writer.flush()


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (json.JSONDecodeError, KeyError):  # the line that a crash cut short
        return math.inf


def _rewrite_events(path: pathlib.Path, is_kept: Callable[[event_pb2.Event], bool]) -> None:
    """Rewrites a file of TensorBoard's without the summaries that are not kept."""
    kept = []
    try:
        for record in tf.data.TFRecordDataset(str(path)):
            event = event_pb2.Event.FromString(record.numpy())
            if not event.HasField("summary") or is_kept(event):
                kept.append(record.numpy())
    except tf.errors.DataLossError:  # the record that a crash cut short
        pass
    with tempfile.TemporaryDirectory(dir=path.parent.parent) as folder:
        rewritten = pathlib.Path(folder) / path.name
        with tf.io.TFRecordWriter(str(rewritten)) as writer:
            for content in kept:
                writer.write(content)
        rewritten.replace(path)


class Validation(RunCallback):
    """Evaluates the averaged weights on the validation split and keeps the best of them.

    Without validation data the last weights are the ones kept.
    """

    def __init__(
        self,
        start_step: int,
        every: int,
        num_steps: int,
        evaluate: Likelihood,
        split: Any,
        training_split: Any,
        checkpoints: Checkpoints,
        metrics: Metrics,
        progress: Progress,
    ):
        super().__init__(start_step)
        self.every, self.num_steps = every, num_steps
        self.evaluate, self.split, self.checkpoints = evaluate, split, checkpoints
        self.training_split = training_split
        self.metrics, self.progress = metrics, progress

    def on_step(self, step: int, logs: dict[str, float]) -> None:
        if not _due(self.every, self.previous, step) and step != self.num_steps:
            return
        self.checkpoints.step.assign(step)
        with self.model.averaged_weights():
            self.model.recalibrate(self.training_split.x, self.training_split.y)
            if len(self.split) == 0:
                _save(lambda: self.checkpoints.save_best(math.inf), step == self.num_steps)
                return
            result = self.evaluate(self.split)
            value = result[result["metric"]]
            if value < float(self.checkpoints.best_value):
                _save(lambda: self.checkpoints.save_best(value), step == self.num_steps)
        reported = [result["metric"], *(name for name in result if name not in OF_EVERY_MODEL)]
        self.metrics.write(step, {f"validation/{name}": result[name] for name in reported})
        self.progress.validation = value


class Checkpointing(RunCallback):
    """Saves the state of the run, at intervals and after the last step."""

    def __init__(self, start_step: int, every: int, num_steps: int, checkpoints: Checkpoints):
        super().__init__(start_step)
        self.every, self.num_steps, self.checkpoints = every, num_steps, checkpoints
        self.seconds_before = float(checkpoints.seconds)
        self.began = time.perf_counter()

    def on_step(self, step: int, logs: dict[str, float]) -> None:
        self.checkpoints.step.assign(step)
        self.checkpoints.seconds.assign(self.seconds_before + time.perf_counter() - self.began)
        if _due(self.every, self.previous, step) or step == self.num_steps:
            _save(self.checkpoints.save, step == self.num_steps)


def _save(save: Callable[[], None], is_last: bool) -> None:
    """A full disk does not end the training; after the last step there is nothing left to try."""
    try:
        save()
    except OSError as error:
        if is_last:
            raise
        logging.error("%s Training goes on.", error)


class Guard(RunCallback):
    """Reports the steps that were skipped, with what was wrong; stops the run after a number of
    them in a row.

    The weights are those before the skipped steps: they are diagnosed by computing the same batches
    again, with other noise.

    Raises:
        FloatingPointError: `limit` steps in a row were skipped.
    """

    def __init__(self, start_step: int, limit: int, batches: Callable[[int, int], Any]):
        super().__init__(start_step)
        self.limit, self.batches = limit, batches
        self.in_a_row = 0

    def on_train_begin(self, logs: Any = None) -> None:
        self.total = int(self.model.skipped_steps.numpy())

    def on_step(self, step: int, logs: dict[str, float]) -> None:
        before, self.total = self.total, int(self.model.skipped_steps.numpy())
        skipped = self.total - before
        if skipped == 0:
            self.in_a_row = 0
            return
        self.in_a_row += skipped
        first = self.previous + 1
        reasons = [
            f"step {number}: {reason}"
            for number, batch in enumerate(self.batches(self.previous, step - self.previous), first)
            if (reason := diagnose(self.model, batch)) is not None
        ]
        text = "; ".join(reasons) or "computed again with other noise, all of it is finite"
        logging.warning(
            "%d of the steps %d to %d skipped (%d in all): %s.",
            skipped,
            first,
            step,
            self.total,
            text,
        )
        if self.in_a_row >= self.limit:
            raise FloatingPointError(
                f"{self.in_a_row} steps in a row up to step {step} were skipped "
                f"(config.max_skipped_steps={self.limit}): {text}. The weights are those before "
                "them, and so are the checkpoints."
            )


def diagnose(model: GenerativeModel, batch: Any) -> str | None:
    """What is wrong with a training step on this batch; None if nothing is.

    Names the first of these that is not finite: the data, a term of the objective (with the
    positions of its examples), a gradient; or a gradient too long for `skip_gradient_norm`.
    """
    x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
    if x.dtype.is_floating:
        finite = np.isfinite(x.numpy().reshape(len(x), -1)).all(axis=1)
        if not finite.all():
            return f"x is not finite in the examples {_first(~finite)} of the batch"
    if model.augmentations:
        x = model.augment(x, model.next_seed(0))
    for player in model._players():
        with tf.GradientTape() as tape, model._training():
            terms = player.loss(x, y)
            loss = tf.reduce_mean(terms["loss"])
        for name, value in player.named(terms).items():
            finite = np.isfinite(np.atleast_1d(value.numpy()))
            if not finite.all():
                return f"the term {name!r} is not finite in the examples {_first(~finite)}"
        gradients = tape.gradient(loss, player.variables)
        for variable, gradient in zip(player.variables, gradients, strict=True):
            if gradient is not None and not np.isfinite(gradient).all():
                return f"the gradient of {variable.path} is not finite"
        norm = float(tf.linalg.global_norm([g for g in gradients if g is not None]))
        limit = model.skip_gradient_norm
        if not math.isfinite(norm) or (limit is not None and norm > limit):
            return f"the gradient is {norm:.3g} long (skip_gradient_norm={limit})"
    return None


def _first(mask: np.ndarray, most: int = 10) -> str:
    positions = np.flatnonzero(mask)
    return ", ".join(map(str, positions[:most])) + (", ..." if len(positions) > most else "")


class Interruption(RunCallback):
    """On SIGTERM or SIGINT saves the state after the step that is running, and ends the process.

    The exit status is 128 + the signal's number: 143 after SIGTERM, 130 after SIGINT. A second
    signal ends the process at once, without saving.
    """

    def __init__(self, start_step: int, checkpoints: Checkpoints):
        super().__init__(start_step)
        self.checkpoints = checkpoints
        self.received: int | None = None
        self.before: dict[int, Any] = {}

    def on_train_begin(self, logs: Any = None) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self.before[number] = signal.signal(number, self._receive)

    def on_train_end(self, logs: Any = None) -> None:
        self.restore_handlers()

    def restore_handlers(self) -> None:
        """Gives the signals back to whom they belonged."""
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}

    def _receive(self, number: int, frame: Any) -> None:
        self.received = number
        self.restore_handlers()

    def on_step(self, step: int, logs: dict[str, float]) -> None:
        if self.received is None:
            return
        self.checkpoints.step.assign(step)
        self.checkpoints.save()
        name = signal.Signals(self.received).name
        print(f"{name}: saved after step {step}; the same command goes on from there.", flush=True)
        raise SystemExit(128 + self.received)


class Pictures(RunCallback):
    """Pictures of what the averaged weights draw, in TensorBoard; those of the last step are left
    to the end of the run, which has the best weights.

    Args:
        start_step: the run's step before the first one here.
        every: steps between pictures; 0 for none.
        num_steps: the run's last step.
        draw: the model's pictures by name, RGB `[H, W, 3]`.
        writer: TensorBoard's.
    """

    def __init__(
        self,
        start_step: int,
        every: int,
        num_steps: int,
        draw: Callable[[GenerativeModel], dict[str, np.ndarray]],
        writer: tf.summary.SummaryWriter,
    ):
        super().__init__(start_step)
        self.every, self.num_steps, self.draw, self.writer = every, num_steps, draw, writer

    def on_step(self, step: int, logs: dict[str, float]) -> None:
        if _due(self.every, self.previous, step) and step != self.num_steps:
            with self.model.averaged_weights():
                write_pictures(self.writer, step, self.draw(self.model))


def write_pictures(
    writer: tf.summary.SummaryWriter, step: int, pictures: dict[str, np.ndarray]
) -> None:
    """RGB pictures by name, in TensorBoard."""
    with writer.as_default(step=step):
        for name, image in pictures.items():
            tf.summary.image(name, image[None])
    writer.flush()


def write_last_pictures(
    workdir: pathlib.Path, num_steps: int, pictures: dict[str, np.ndarray]
) -> None:
    """The pictures of a finished run, in place of those that an earlier end of it has left."""
    for path in (workdir / "tensorboard").glob("events*"):
        _rewrite_events(
            path, lambda event: event.step < num_steps or event.summary.value[0].tag not in pictures
        )
    write_pictures(tf.summary.create_file_writer(str(workdir / "tensorboard")), num_steps, pictures)
