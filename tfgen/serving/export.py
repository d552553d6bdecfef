"""`tfgen.export`."""

import contextlib
import fcntl
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfgen.checks import check_argument, check_integer, check_one_of
from tfgen.models.generative_model import GenerativeModel
from tfgen.serving import warmup
from tfgen.serving.comparison import check_numbers
from tfgen.serving.graph import check_graph
from tfgen.serving.model_card import check_card, write_card

PARTIAL = ".partial"


def export(
    model: GenerativeModel,
    path: Any,
    card: Mapping[str, Any] | None = None,
    warmup_batch_sizes: Sequence[int] = warmup.BATCH_SIZES,
    warmup_signatures: Sequence[str] | None = None,
) -> pathlib.Path:
    """Writes the model as a SavedModel into a new version directory `path/1`, `path/2`, ...

    One signature for each entry of `model.signatures()`; the first, `log_prob` or, of a model that
    predicts labels, `predict`, is also `serving_default`. Outputs are dictionaries of tensors with
    a free batch dimension: float32 (under any dtype policy), levels uint8, labels int32. The
    weights are the averaged ones where the optimizer keeps averages; the optimizer's own state
    stays behind.

    Beside them, in `assets.extra`: `model_card.json` and `MODEL_CARD.md`, and, where the extra
    `serving` is installed, warm-up records for TensorFlow Serving, one for each standard signature
    and batch size.

    The version appears under its number when it is complete and has been checked: its graph holds
    no Python function, no assignment to a variable, and no XLA compilation except in signatures
    whose names end in `_xla`; and in a process without Keras and tfgen a TensorFlow session replays
    the warm-up records and gives the numbers of the live model (`comparison.check_numbers` says
    for which draws it does not look). An export that fails leaves nothing; what a killed one leaves
    is not under a number and goes with the next export.

    Args:
        model: any `GenerativeModel`.
        path: folder of all versions of the model; made if it does not exist. Its name is the
            model's.
        card: what the model card says besides the facts of the export: the keys `data`, `metric`,
            `value`, `kind`, `commit`, `command`, `config`, `notes` and any other, JSON values.
        warmup_batch_sizes: of the warm-up records, and of the comparison.
        warmup_signatures: those with records; by default all standard ones. For a server that
            batches, leave out those with a seed: it refuses them, and with them the version.

    Returns:
        The version directory.

    Raises:
        ValueError: `model` is not a `GenerativeModel`, `path` is not a folder, `card` is no JSON
            object, a batch size is no positive integer, or a signature is none of the standard
            ones.
        RuntimeError: the exported model failed its check.
    """
    is_model = isinstance(model, GenerativeModel)
    check_argument(is_model, "model", "a GenerativeModel", type(model).__name__)
    check_card(card)
    check_argument(len(warmup_batch_sizes) > 0, "warmup_batch_sizes", "a list of integers", [])
    for size in warmup_batch_sizes:
        check_integer("warmup_batch_sizes", size, minimum=1)
    standard = warmup.standard_signatures(model)
    warmed = standard if warmup_signatures is None else warmup_signatures
    for signature in warmed:
        check_one_of("warmup_signatures", signature, standard)
    path = pathlib.Path(path)
    is_new = not path.exists()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        check_argument(False, "path", "a folder or new; no part of it a file", str(path))
    with _lock(path):
        partial = path / PARTIAL
        shutil.rmtree(partial, ignore_errors=True)  # of an export that was killed
        try:
            version = path / str(_next_version(path))
            requests = warmup.example_requests(model, warmup_batch_sizes)
            recorded = [request for request in requests if request[0] in warmed]
            others = [request for request in requests if request[0] not in warmed]
            name = path.absolute().name
            with model.averaged_weights():
                functions = _write(model, partial)
                check_graph(partial, model.signatures())
                if warmup.is_available():
                    warmup.write(recorded, name, partial)
                check_numbers(model, functions, partial, recorded, others)
            write_card(partial, model, name, int(version.name), card or {})
            os.rename(partial, version)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            if is_new:
                with contextlib.suppress(OSError):
                    path.rmdir()
            raise
    return version


@contextlib.contextmanager
def _lock(path: pathlib.Path) -> Iterator[None]:
    """One export at a time into one folder; the system frees the lock of a killed process."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _next_version(path: pathlib.Path) -> int:
    return 1 + max((int(p.name) for p in path.iterdir() if p.name.isdecimal()), default=0)


def _write(model: GenerativeModel, folder: pathlib.Path) -> dict[str, Callable[..., Any]]:
    """Writes the signatures; their traced functions, on the live weights."""
    # Not `archive.track(model)`: it traces `call` for float inputs, and every function of the model
    # that is compiled. The variables that the signatures use are found without it.
    archive = keras.export.ExportArchive()
    functions = {
        name: archive.add_endpoint(name, _float32_outputs(function), specs)
        for name, (function, specs) in model.signatures().items()
    }
    archive.write_out(str(folder), verbose=False)
    return functions


def _float32_outputs(function: Callable[..., dict[str, tf.Tensor]]) -> Callable[..., Any]:
    def serve(*inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            name: tf.cast(value, tf.float32) if value.dtype.is_floating else value
            for name, value in function(*inputs).items()
        }

    return serve
