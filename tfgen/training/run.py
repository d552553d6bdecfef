"""One run: from a config to a trained model, its test likelihood and its samples."""

import contextlib
import io
import json
import math
import os
import pathlib
import platform
import signal
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import tensorflow as tf

from tfgen.checks import check_argument
from tfgen.data.binarize import fixed_train
from tfgen.evaluation.likelihood import Likelihood
from tfgen.evaluation.metrics import evaluate_metrics, needs_train
from tfgen.evaluation.pictures import image_pairs, picture, png
from tfgen.evaluation.sounds import wav
from tfgen.models.generative_model import GenerativeModel
from tfgen.training import callbacks
from tfgen.training.checkpoints import Checkpoints
from tfgen.training.config import (
    build_model,
    check_config,
    compile_model,
    flatten,
    load_data,
    load_labelled_data,
    resolve_model,
)
from tfgen.training.devices import Devices, devices
from tfgen.training.files import exclusive, read_json, write_atomically, write_json


def train(config: Mapping[str, Any], workdir: Any, allow_changes: bool = False) -> dict[str, Any]:
    """Trains, evaluates and samples one model; goes on where an interrupted run stopped.

    On SIGTERM or SIGINT the state is saved after the step that is running, and the process ends
    with the status 143 or 130. With `config.deterministic` a run that was interrupted, killed even,
    and continued on the same machine ends with the weights of an uninterrupted one, bit for bit.
    (TensorFlow's operations are then deterministic, and Keras compiles no step with XLA.)

    With `config.strategy="mirrored"` or `"multi_worker"` (`tfgen.training.devices`) the replicas
    have equal parts of every batch, in order, and the mean of their gradients moves the weights:
    the steps are those of one device, but for the noise, which each replica draws for itself. The
    workers are equal processes with a common `workdir`; all of them read the checkpoints, the chief
    alone writes. If one is lost the others end with an error; the same commands go on.

    Writes into `workdir`: `config.json` (what was run, in full), `checkpoints/`, `metrics.jsonl`,
    `tensorboard/`, `results.json`, `samples.png` or, of audio, `samples.wav`, and, of models with
    codes for images, `reconstructions.png`. Everything that the config asks for is built and
    checked before the first file is written. A finished run is left as it is.

    Args:
        config: nested mappings, as `configs/common.py` makes them.
        workdir: the run's folder.
        allow_changes: go on with a run although its config was another one; the differences are
            printed. What does not fit the checkpoint is still refused.

    Returns:
        The contents of `results.json`; nothing on workers other than the chief.

    Raises:
        ValueError: an impossible value, an unknown name, bad data, a `workdir` that holds a run
            of another config, or one that another process is using.
        FloatingPointError: `config.max_skipped_steps` steps in a row had a loss or a gradient that
            was not finite.
        OSError: the last checkpoint could not be written.
    """
    workdir = pathlib.Path(workdir)
    config = json.loads(json.dumps(config))
    check_config(config)
    placed = devices(config["strategy"])
    num_parts = placed.num_replicas * config["num_micro_batches"]
    is_multiple = config["batch_size"] % num_parts == 0
    check_argument(
        is_multiple,
        "config.batch_size",
        f"a multiple of {num_parts} (replicas and micro-batches)",
        config["batch_size"],
    )
    data = load_data(config)
    spec = resolve_model(config, data)
    sample_rate_hz = data.info.sample_rate_hz
    audio = {} if sample_rate_hz is None else {"sample_rate_hz": sample_rate_hz}
    resolved = json.loads(json.dumps({**config, "model": spec, **audio}))
    if config["deterministic"]:
        tf.config.experimental.enable_op_determinism()
    changed = _changes(resolved, workdir)
    if changed and not allow_changes:
        raise ValueError(
            f"workdir must be new or hold a run of the same config; in {workdir} these differ: "
            + "; ".join(changed)
        )
    path = workdir / "results.json"
    if not changed and path.exists() and read_json(path).get("completed"):
        print(f"{workdir} holds a finished run; nothing to do.")
        return read_json(path)
    with placed.strategy.scope():
        model = build_model(config, spec)
        compile_model(model, config, data.info)
    _check_evaluation(config)
    with exclusive(workdir) if placed.is_chief else contextlib.nullcontext():
        if changed:
            print("Going on with another config: " + "; ".join(changed))
        return _run(model, data, config, resolved, workdir, placed)


def _run(
    model: GenerativeModel,
    data: Any,
    config: Mapping[str, Any],
    resolved: Mapping[str, Any],
    workdir: pathlib.Path,
    placed: Devices,
) -> dict[str, Any]:
    num_steps, batch_size = config["num_steps"], config["batch_size"]
    sample_rate_hz = resolved.get("sample_rate_hz")
    if placed.is_chief:
        write_json(workdir / "config.json", resolved)
    _initialize(model, data, config)
    model._create_means()
    checkpoints = Checkpoints(workdir, model, config["keep_checkpoints"])
    checkpoints.restore()
    start = int(checkpoints.step)
    placed.check_same("the step of the newest checkpoint", start)
    if start < num_steps:
        _fit(model, data, config, workdir, checkpoints, start, placed)
    if not placed.is_chief:
        return {}

    training_seconds = round(float(checkpoints.seconds), 1)
    checkpoints.restore_best()
    results = {
        **evaluate_model(model, data, config),
        "num_parameters": int(model.count_params()),
        "best_step": int(checkpoints.step),
        "num_steps": num_steps,
        "batch_size": batch_size,
        "training_seconds": training_seconds,
        "skipped_steps": int(model.skipped_steps.numpy()),
        "completed": True,
        **provenance(),
    }
    samples = _samples(model, config)
    if samples is not None:
        save_samples(samples, model.num_levels, workdir / "samples", sample_rate_hz)
    pictures = _pictures(model, samples, data, config)
    if "reconstructions" in pictures:
        write_atomically(workdir / "reconstructions.png", png(pictures["reconstructions"]))
    callbacks.write_last_pictures(workdir, num_steps, pictures)
    write_json(workdir / "results.json", results)
    return results


def load(workdir: Any) -> GenerativeModel:
    """The trained model of a run, with the weights that its reports are about.

    These are the best ones by validation, averaged if the optimizer averages.

    Raises:
        ValueError: `workdir` holds no run, or one without a checkpoint.
    """
    workdir = pathlib.Path(workdir)
    config = read_config(workdir)
    model = build_model(config, config["model"])
    found = Checkpoints(workdir, model).restore_best()
    check_argument(found, "workdir", "a run that has been validated at least once", str(workdir))
    return model


def read_config(workdir: Any) -> dict[str, Any]:
    """The resolved config of a run."""
    path = pathlib.Path(workdir) / "config.json"
    check_argument(path.exists(), "workdir", "a folder with a run (config.json)", str(workdir))
    return read_json(path)


def evaluate(workdir: Any) -> dict[str, Any]:
    """Evaluates a run's model on the whole test split again and writes `results.json`."""
    workdir = pathlib.Path(workdir)
    config = read_config(workdir)
    model = load(workdir)
    path = workdir / "results.json"
    before = read_json(path) if path.exists() else {}
    # What the run itself recorded (steps, seconds, provenance) stays.
    results = {**before, **evaluate_model(model, load_data(config), config)}
    write_json(path, results)
    return results


def evaluate_model(model: GenerativeModel, data: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """The config's evaluation of the model as it stands: the test split's likelihood, further
    metrics, and which data they are of."""
    options = config["evaluation"]
    evaluator = Likelihood(model, options["batch_size"], config["jit_compile"], **options["report"])
    results = evaluator(data.test)
    averaged = config["optimizer"].get("config", {}).get("use_ema")
    results["weights"] = "ema" if averaged else "raw"
    results["data"] = {
        "name": data.info.name,
        "binarization": data.info.binarization,
        "preprocessing": list(data.info.preprocessing),
    }
    specs = options["metrics"]
    test, train = data.test, None
    if needs_train(specs):
        labelled = load_labelled_data(config)
        test, train = labelled.test, fixed_train(labelled)
    return results | evaluate_metrics(specs, model, test, train, config["jit_compile"])


def save_samples(
    samples: Any, num_levels: int | None, path: Any, sample_rate_hz: int | None = None
) -> pathlib.Path:
    """Writes `path.png`, or `path.npz` for what has no picture; returns the file's path.

    With a sample rate, the samples are audio, mu-law classes `[N, T]`, and it writes `path.wav`.
    """
    path = pathlib.Path(path)
    if sample_rate_hz is not None and num_levels is not None:
        path = path.with_suffix(".wav")
        write_atomically(path, wav(samples, num_levels, sample_rate_hz))
        return path
    image = picture(samples, num_levels)
    if image is None:
        return save_array(samples, path.with_suffix(".npz"))
    path = path.with_suffix(".png")
    write_atomically(path, png(image))
    return path


def save_array(samples: Any, path: Any) -> pathlib.Path:
    """Writes the samples in data units as `x` of an `.npz` file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=np.asarray(samples))
    write_atomically(path, buffer.getvalue())
    return pathlib.Path(path)


def provenance() -> dict[str, Any]:
    """What a number needs to be made again: commit, command, hardware, versions."""
    root = pathlib.Path(__file__).parent
    try:
        git = ["git", "-C", str(root)]
        commit = subprocess.check_output([*git, "rev-parse", "HEAD"], text=True, stderr=-3).strip()
        dirty = subprocess.check_output([*git, "status", "--porcelain", "-uno"], text=True)
        commit += "+changes" if dirty else ""
    except (OSError, subprocess.CalledProcessError):
        commit = "unknown"
    packages = ("tensorflow", "keras", "tensorflow-probability", "numpy")
    return {
        "commit": commit,
        "command": _command(),
        "hardware": f"{_processor()}, {_num_cores()} cores, {_devices()}",
        "versions": {"python": platform.python_version(), **{p: version(p) for p in packages}},
    }


def _fit(
    model: GenerativeModel,
    data: Any,
    config: Mapping[str, Any],
    workdir: pathlib.Path,
    checkpoints: Checkpoints,
    start: int,
    placed: Devices,
) -> None:
    def batches(start_step: int, num_steps: int, *part: int) -> tf.data.Dataset:
        return data.train.training_batches(
            config["batch_size"], config["seed"], start_step, num_steps, *part
        )

    def fit(others: list[Any]) -> None:
        part = placed.worker, placed.num_workers
        model.fit(
            batches(start, num_steps - start, *part).prefetch(config["prefetch_batches"]),
            epochs=1,
            shuffle=False,
            verbose=0,
            callbacks=others,
        )

    num_steps = config["num_steps"]
    guard = callbacks.Guard(start, config["max_skipped_steps"], batches)
    if not placed.is_chief:
        # The chief saves and leaves; one that left before it would keep it waiting.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        fit([guard])
        return
    discrete = model.num_levels is not None
    nats_per_unit = model.num_dims * math.log(2.0) if discrete else 1.0
    unit, metric = ("bits/dim", "bits_per_dim") if discrete else ("nats", "nats")
    progress = callbacks.Progress(start, num_steps, nats_per_unit, unit)
    metrics = callbacks.Metrics(
        start, workdir, config["log_every_steps"], config["batch_size"], metric, nats_per_unit
    )
    options = config["evaluation"]
    validation = callbacks.Validation(
        start,
        config["validate_every_steps"],
        num_steps,
        Likelihood(model, options["batch_size"], config["jit_compile"]),
        data.validation,
        data.train,
        checkpoints,
        metrics,
        progress,
    )
    pictures = callbacks.Pictures(
        start,
        config["sample_every_steps"],
        num_steps,
        lambda model: _pictures(model, _samples(model, config), data, config),
        metrics.writer,
    )
    saving = callbacks.Checkpointing(
        start, config["checkpoint_every_steps"], num_steps, checkpoints
    )

    interruption = callbacks.Interruption(start, checkpoints)
    try:
        fit([progress, guard, metrics, validation, pictures, saving, interruption])
    finally:
        interruption.restore_handlers()


def _initialize(model: GenerativeModel, data: Any, config: Mapping[str, Any]) -> None:
    """Data-dependent initialisation on the training split's first batch."""
    size = max(config["batch_size"], 128)
    batch = next(iter(data.train.training_batches(size, config["seed"], 0, 1)))
    x, y = batch if isinstance(batch, tuple) else (batch, None)
    if model.augmentations:
        x = model.augment(x, model.next_seed(config["seed"]))
    model.initialize(model.check_data(x), y)


def _samples(model: GenerativeModel, config: Mapping[str, Any]) -> Any:
    """Samples of all classes in turn; None for a model of labels alone."""
    if not model.has_samples:
        return None
    num_samples = config["num_sample_images"]
    labels = None if model.num_classes is None else tf.range(num_samples) % model.num_classes
    return model.sample(num_samples, labels, seed=config["seed"])


def _pictures(
    model: GenerativeModel, samples: Any, data: Any, config: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """`samples`, and `reconstructions` of validation images (of test images, where there are no
    others) each at the right of its original; without what the model or the data do not have."""
    pictures = {}
    image = None if samples is None else picture(samples, model.num_levels)
    if image is not None:
        pictures["samples"] = image
    if model.has_reconstructions and len(model.event_shape) == 3:
        split = data.validation if len(data.validation) else data.test
        shown = split[: max(1, config["num_sample_images"] // 2)]
        y = shown.y if model.is_conditional else None
        decoded = np.asarray(model.reconstruct(shown.x, y, config["seed"]))
        pictures["reconstructions"] = image_pairs(shown.x, decoded, model.num_levels)
    return pictures


def _check_evaluation(config: Mapping[str, Any]) -> None:
    if needs_train(config["evaluation"]["metrics"]):
        load_labelled_data(config)


def _changes(config: dict[str, Any], workdir: pathlib.Path) -> list[str]:
    """Where the config differs from that of the run in `workdir`."""
    path = workdir / "config.json"
    if not path.exists():
        return []
    before, now = flatten(read_json(path)), flatten(config)
    return [
        f"{key}: {before.get(key)!r} -> {now.get(key)!r}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]


def _command() -> str:
    module = getattr(sys.modules["__main__"], "__spec__", None)  # of `python -m apps.train`
    program = [sys.argv[0]] if module is None else ["-m", module.name]
    return " ".join(["python", *program, *sys.argv[1:]])


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _devices() -> str:
    gpus = tf.config.list_physical_devices("GPU")
    return f"{len(gpus)} GPU" if gpus else "no GPU"
