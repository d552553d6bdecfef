"""What happens beside the steps: progress, metrics, validation, checkpoints, pictures."""

import json
import math
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from tqdm import tqdm

from tfgen.evaluation.likelihood import Likelihood
from tfgen.evaluation.pictures import picture
from tfgen.models.generative_model import GenerativeModel
from tfgen.training.checkpoints import Checkpoints


def _due(every: int, previous: int, step: int) -> bool:
    """True if a multiple of `every` was passed since the previous call (0: never)."""
    return every > 0 and step // every > previous // every


class RunCallback(keras.callbacks.Callback):
    """Counts the run's steps across resumes and calls `on_step(step)` after each execution."""

    def __init__(self, start_step: int):
        super().__init__()
        self.start_step = self.step = self.previous = start_step

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.previous, self.step = self.step, self.start_step + batch + 1
        self.on_step(self.step, logs or {})

    def on_step(self, step: int, logs: dict[str, float]) -> None:
        raise NotImplementedError


class Progress(RunCallback):
    """A bar with the likelihood so far and the time left."""

    def __init__(self, start_step: int, num_steps: int, nats_per_unit: float, unit: str):
        super().__init__(start_step)
        self.unit, self.nats_per_unit = unit, nats_per_unit
        self.validation: float | None = None
        self.bar = tqdm(
            total=num_steps,
            initial=start_step,
            unit="step",
            dynamic_ncols=True,
            # One line every half minute where nobody watches.
            mininterval=0.2 if sys.stderr.isatty() else 30,
        )

    def on_step(self, step: int, logs: dict[str, float]) -> None:
        if "log_prob" in logs:
            text = f"{-logs['log_prob'] / self.nats_per_unit:.3f} {self.unit}"
            if self.validation is not None:
                text += f", validation {self.validation:.3f}"
            self.bar.set_postfix_str(text, refresh=False)
        self.bar.update(step - self.previous)

    def on_train_end(self, logs: Any = None) -> None:
        self.bar.close()


class Metrics(RunCallback):
    """The means since the last line, as a line of `metrics.jsonl` and as TensorBoard scalars."""

    def __init__(self, start_step: int, workdir: pathlib.Path, every: int, batch_size: int):
        super().__init__(start_step)
        self.path, self.every, self.batch_size = workdir / "metrics.jsonl", every, batch_size
        self.writer = tf.summary.create_file_writer(str(workdir / "tensorboard"))
        self.since = (start_step, time.perf_counter())
        if self.path.exists():  # steps after the checkpoint are done again
            lines = [line for line in self.path.read_text().splitlines() if line.strip()]
            kept = [line for line in lines if _step_of(line) <= start_step]
            self.path.write_text("".join(f"{line}\n" for line in kept))

    def on_step(self, step: int, logs: dict[str, float]) -> None:
        if not _due(self.every, self.previous, step):
            return
        now = time.perf_counter()
        steps, seconds = step - self.since[0], now - self.since[1]
        self.since = (step, now)
        rate = steps * self.batch_size / seconds
        self.write(step, {**logs, "examples_per_second": rate})
        self.model.reset_metrics()

    def write(self, step: int, values: dict[str, float]) -> None:
        values = {name: float(value) for name, value in values.items()}
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        with self.writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(name, value)
        self.writer.flush()


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (json.JSONDecodeError, KeyError):  # the line that a crash cut short
        return math.inf


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
                self.checkpoints.save_best(math.inf)
                return
            result = self.evaluate(self.split)
            value = result[result["metric"]]
            if value < float(self.checkpoints.best_value):
                self.checkpoints.save_best(value)
        self.metrics.write(step, {f"validation/{result['metric']}": value})
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
            self.checkpoints.save()


class SamplePictures(RunCallback):
    """Pictures of samples from the averaged weights, in TensorBoard."""

    def __init__(
        self,
        start_step: int,
        every: int,
        sample: Callable[[GenerativeModel], Any],
        writer: tf.summary.SummaryWriter,
    ):
        super().__init__(start_step)
        self.every, self.sample, self.writer = every, sample, writer

    def on_step(self, step: int, logs: dict[str, float]) -> None:
        if _due(self.every, self.previous, step):
            with self.model.averaged_weights():
                self.write(step, self.sample(self.model))

    def write(self, step: int, samples: Any) -> None:
        image = picture(samples, self.model.num_levels)
        if image is not None:
            with self.writer.as_default(step=step):
                tf.summary.image("samples", image[None])
            self.writer.flush()
