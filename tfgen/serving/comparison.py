"""Whether an exported model computes, in a server's session, what the live model computes."""

import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfgen.models.generative_model import GenerativeModel
from tfgen.serving import warmup
from tfgen.serving.warmup import Request

SESSION = pathlib.Path(__file__).parent / "session.py"

# A live draw takes about as long as the session's; what took longer there is not drawn again.
LONGEST_DRAW_SECONDS = 5.0


class Answers(NamedTuple):
    """What a session answered, and the seconds of loading and of each request."""

    outputs: list[dict[str, np.ndarray]]
    load_seconds: float
    seconds: np.ndarray


def check_numbers(
    model: GenerativeModel,
    traced: Mapping[str, Callable[..., Any]],
    folder: pathlib.Path,
    recorded: Sequence[Request],
    others: Sequence[Request] = (),
) -> None:
    """Replays requests in a clean process and compares the answers with the live model's.

    The recorded ones are read back from the version's own warm-up file, where it has one.

    Signatures that draw are compared with the function that was traced for the export, on the live
    weights (eagerly they would be compiled first), if the draw took at most five seconds, on a CPU,
    in float32 or float64; the others must be finite, or levels of the data. Of integers drawn one
    after the other most rows must agree: where rounding changes one of them, the rest of that row
    is another draw.

    Raises:
        RuntimeError: another number, or a session that fails.
    """
    requests = [*recorded, *others]
    if (folder / warmup.FILE).exists():
        answers = answer(folder, others, folder / warmup.FILE)
    else:
        answers = answer(folder, requests)
    is_exact = model.compute_dtype in ("float32", "float64")
    can_draw = is_exact and not tf.config.list_physical_devices("GPU")
    tolerance = 1e-4 if is_exact else 5e-2
    functions = model.signatures()
    agreeing: dict[str, list[bool]] = {}
    for (signature, inputs), received, seconds in zip(
        requests, answers.outputs, answers.seconds, strict=True
    ):
        is_draw = "seed" in inputs
        if is_draw and not (can_draw and seconds <= LONGEST_DRAW_SECONDS):
            _check_range(signature, received, model.num_levels)
            continue
        function = traced[signature] if is_draw else functions[signature][0]
        with tf.device("CPU:0"):  # as in the session: accelerators round differently
            expected = function(*map(tf.constant, inputs.values()))
        for name, value in expected.items():
            value = np.asarray(value)
            key = f"Output {name!r} of signature {signature!r}"
            is_close = _is_close(received[name], value, tolerance)
            if is_draw and value.dtype.kind in "iu":
                rows = agreeing.setdefault(key, [])
                rows += [bool(row.all()) for row in is_close]
                is_close = np.array(np.mean(rows) > 0.5)
            if not is_close.all():
                raise RuntimeError(
                    f"{key} differs from the live model's: {_first(received[name])} exported, "
                    f"{_first(value)} live."
                )


def answer(
    folder: pathlib.Path, requests: Sequence[Request], warmup_file: pathlib.Path | None = None
) -> Answers:
    """The session's answers in a clean process: to the records of `warmup_file`, then to the
    requests."""
    with tempfile.TemporaryDirectory() as scratch:
        source = pathlib.Path(scratch, "requests.npz")
        arrays: dict[str, Any] = {
            f"{index}|{signature}|{name}": value
            for index, (signature, inputs) in enumerate(requests)
            for name, value in inputs.items()
        }
        np.savez(source, **arrays)
        sources = [source] if warmup_file is None else [warmup_file.absolute(), source]
        answers = pathlib.Path(scratch, "answers.npz")
        process = subprocess.run(
            [sys.executable, "-P", SESSION, folder.absolute(), answers, *sources],
            cwd=scratch,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"},
            capture_output=True,
            text=True,
        )
        if process.returncode:
            raise RuntimeError(
                "The exported model does not run in a TensorFlow session:\n"
                f"{process.stderr[-3000:]}"
            )
        arrays = dict(np.load(answers))
    load_seconds, seconds = arrays.pop("load_seconds"), arrays.pop("seconds")
    outputs: list[dict[str, np.ndarray]] = [{} for _ in seconds]
    for key, value in arrays.items():
        index, name = key.split("|")
        outputs[int(index)][name] = value
    return Answers(outputs, float(load_seconds), seconds)


def _check_range(signature: str, received: Mapping[str, np.ndarray], num_levels: Any) -> None:
    for name, value in received.items():
        is_level = value.dtype != np.uint8 or value.max(initial=0) < num_levels
        if not (np.isfinite(value).all() and is_level):
            raise RuntimeError(
                f"Output {name!r} of signature {signature!r} holds values that are no data: "
                f"{_first(value)}."
            )


def _is_close(received: np.ndarray, expected: np.ndarray, tolerance: float) -> np.ndarray:
    """Elementwise; one false for another shape."""
    if received.shape != expected.shape:
        return np.zeros(expected.shape[:1] or [1], bool)
    # A value on the edge between two levels may be rounded to either.
    scale = max(1.0, float(np.max(np.abs(expected[np.isfinite(expected)]), initial=0.0)))
    atol = 1.0 if expected.dtype.kind in "iu" else tolerance * scale
    first, second = (np.asarray(a, "float64") for a in (received, expected))
    return np.isclose(first, second, rtol=0.0, atol=atol, equal_nan=True)


def _first(values: Any) -> list[Any]:
    return np.asarray(values).ravel()[:4].tolist()
