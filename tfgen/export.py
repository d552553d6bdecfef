"""SavedModels that any TensorFlow runtime can serve."""

import contextlib
import fcntl
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tfgen.checks import check_argument
from tfgen.models.generative_model import GenerativeModel

PARTIAL = ".partial"

# Python functions do not travel, and a server does not compile with XLA on a CPU unless told to;
# the libraries of the Python wheel do both, so that only looking at the graph shows it.
PYTHON_OPS = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}
XLA_ATTRIBUTE = "_XlaMustCompile"
XLA_SUFFIX = "_xla"  # of the signatures that may

# Answers requests in a TensorFlow session, which restores variables as a server does. (What
# `tf.saved_model.load` restores in Python may fail there.)
SESSION = """
import sys
for name in ("keras", "tf_keras", "tensorflow_probability", "tfgen"):
    sys.modules[name] = None  # importing it raises ImportError
import numpy as np
import tensorflow as tf
folder, requests, answers = sys.argv[1:]
inputs = {}
for key, value in np.load(requests).items():
    signature, name = key.split("/")
    inputs.setdefault(signature, {})[name] = value
outputs = {}
with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    signatures = tf.compat.v1.saved_model.load(session, ["serve"], folder).signature_def
    for signature, values in inputs.items():
        definition = signatures[signature]
        feed = {definition.inputs[name].name: value for name, value in values.items()}
        fetches = {name: tensor.name for name, tensor in definition.outputs.items()}
        for name, value in session.run(fetches, feed).items():
            outputs[f"{signature}/{name}"] = value
np.savez(answers, **outputs)
"""


def export(model: GenerativeModel, path: Any) -> pathlib.Path:
    """Writes the model as a SavedModel into a new version directory `path/1`, `path/2`, ...

    One signature for each entry of `model.signatures()`; the first, `log_prob`, is also
    `serving_default`. Outputs are dictionaries of float32 (under any dtype policy) or uint8 tensors
    with a free batch dimension. The weights are the averaged ones where the optimizer keeps
    averages; the optimizer's own state stays behind.

    The version appears under its number when it is complete and has been checked: its graph holds
    no Python function, no assignment to a variable, and no XLA compilation except in signatures
    whose names end in `_xla`; and in a process without
    Keras and tfgen a TensorFlow session gives the numbers of the live model. An export that fails
    leaves nothing; what a killed one leaves is not under a number and goes with the next export.

    Args:
        model: any `GenerativeModel`.
        path: folder of all versions of the model; made if it does not exist.

    Returns:
        The version directory.

    Raises:
        ValueError: `model` is not a `GenerativeModel`, or `path` is not a folder.
        RuntimeError: the exported model failed its check.
    """
    is_model = isinstance(model, GenerativeModel)
    check_argument(is_model, "model", "a GenerativeModel", type(model).__name__)
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
            with model.averaged_weights():
                _write(model, partial)
                _check_graph(partial, model.signatures())
                _check_numbers(model, partial)
            version = path / str(_next_version(path))
            os.rename(partial, version)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            if is_new:
                with contextlib.suppress(OSError):
                    path.rmdir()
            raise
    return version


def signature_table(path: Any) -> dict[str, dict[str, dict[str, tuple[str, tuple]]]]:
    """What a SavedModel offers: signature -> "inputs", "outputs" -> name -> (dtype, shape)."""
    table = {}
    for name, definition in sorted(_meta_graph(path).signature_def.items()):
        if not name.startswith("__"):  # TensorFlow's own
            table[name] = {
                "inputs": _named_types(definition.inputs),
                "outputs": _named_types(definition.outputs),
            }
    return table


def _named_types(tensors: Any) -> dict[str, tuple[str, tuple]]:
    return {
        name: (tf.dtypes.as_dtype(info.dtype).name, tuple(tf.TensorShape(info.tensor_shape)))
        for name, info in sorted(tensors.items())
    }


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


def _write(model: GenerativeModel, folder: pathlib.Path) -> None:
    # Not `archive.track(model)`: it traces `call` for float inputs, and every function of the model
    # that is compiled. The variables that the signatures use are found without it.
    archive = keras.export.ExportArchive()
    for name, (function, specs) in model.signatures().items():
        archive.add_endpoint(name, _float32_outputs(function), specs)
    archive.write_out(str(folder), verbose=False)


def _float32_outputs(function: Callable[..., dict[str, tf.Tensor]]) -> Callable[..., Any]:
    def serve(*inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            name: tf.cast(value, tf.float32) if value.dtype.is_floating else value
            for name, value in function(*inputs).items()
        }

    return serve


# ---------------------------------------------------------------------- what the graph holds


def _meta_graph(folder: Any) -> Any:
    file = pathlib.Path(folder) / "saved_model.pb"
    return saved_model_pb2.SavedModel.FromString(file.read_bytes()).meta_graphs[0]


def _check_graph(folder: Any, signatures: Iterable[str]) -> None:
    meta_graph = _meta_graph(folder)
    for signature in signatures:
        definition = meta_graph.signature_def[signature]
        for name, (_, shape) in _named_types(definition.outputs).items():
            if not shape or shape[0] is not None:
                raise RuntimeError(
                    f"Output {name!r} of signature {signature!r} must have a free batch dimension; "
                    f"its shape is {shape}."
                )
        for op, attributes in _reached(meta_graph, definition):
            fault = None
            if op in PYTHON_OPS:
                fault = f"calls Python (op {op})"
            elif op.startswith("Assign"):
                fault = f"changes a variable (op {op}): a draw in it does not take the seed"
            elif _demands_xla(attributes) and not signature.endswith(XLA_SUFFIX):
                fault = f"demands XLA compilation ({XLA_ATTRIBUTE} of {op})"
            if fault:
                raise RuntimeError(f"Signature {signature!r} cannot be served: it {fault}.")


def _demands_xla(attributes: Any) -> bool:
    return XLA_ATTRIBUTE in attributes and attributes[XLA_ATTRIBUTE].b


def _reached(meta_graph: Any, definition: Any) -> Iterator[tuple[str, Any]]:
    """(op or function name, attributes) of all nodes and functions that a signature runs."""
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    functions = {f.signature.name: f for f in meta_graph.graph_def.library.function}
    waiting = [_node_name(tensor.name) for tensor in definition.outputs.values()]
    seen_nodes, seen_functions = set(waiting), set[str]()
    called: list[Any] = []
    while waiting:
        node = nodes[waiting.pop()]
        called.append(node)
        inputs = {_node_name(name) for name in node.input} - seen_nodes
        seen_nodes |= inputs
        waiting += inputs
    while called:
        node = called.pop()
        yield node.op, node.attr
        for name in _called_functions(node) - seen_functions:
            if name in functions:
                seen_functions.add(name)
                yield name, functions[name].attr
                called += functions[name].node_def


def _node_name(tensor: str) -> str:
    return tensor.lstrip("^").split(":")[0]


def _called_functions(node: Any) -> set[str]:
    names = {node.op}  # a function can be called as an op of its name
    for value in node.attr.values():
        names |= {value.func.name, *(function.name for function in value.list.func)}
    return names


# ---------------------------------------------------------------------- what it computes


def _check_numbers(model: GenerativeModel, folder: pathlib.Path) -> None:
    """Compares all signatures but `sample`, which may take minutes, with the live model."""
    rng = np.random.default_rng(0)
    requests, expected = {}, {}
    for signature, (function, specs) in model.signatures().items():
        if any(spec.name == "seed" for spec in specs):
            continue
        values = [_example(model, spec, rng) for spec in specs]
        for spec, value in zip(specs, values, strict=True):
            requests[f"{signature}/{spec.name}"] = value
        with tf.device("CPU:0"):  # as in the session: accelerators round differently
            for name, value in function(*map(tf.constant, values)).items():
                expected[f"{signature}/{name}"] = value.numpy()
    received = _run_session(folder, requests)
    exact = model.compute_dtype in ("float32", "float64")
    tolerance = 1e-4 if exact else 5e-2
    for key, value in expected.items():
        _check_close(key, received[key], value, tolerance)


def _example(model: GenerativeModel, spec: tf.TensorSpec, rng: np.random.Generator) -> np.ndarray:
    """Random values that a signature's input accepts, two examples."""
    shape = [2 if size is None else size for size in spec.shape]
    if spec.dtype.is_floating:
        return rng.standard_normal(shape).astype(spec.dtype.as_numpy_dtype)
    bound = model.num_classes if spec.name == "y" else model.num_levels
    return rng.integers(0, bound, shape).astype(spec.dtype.as_numpy_dtype)


def _run_session(folder: pathlib.Path, requests: dict[str, Any]) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as scratch:
        files = [os.path.join(scratch, name) for name in ("requests.npz", "answers.npz")]
        np.savez(files[0], **requests)
        process = subprocess.run(
            [sys.executable, "-c", SESSION, str(folder.absolute()), *files],
            cwd=scratch,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"},
            capture_output=True,
            text=True,
        )
        if process.returncode:
            reason = process.stderr[-3000:]
            raise RuntimeError(
                f"The exported model does not run in a TensorFlow session:\n{reason}"
            )
        return dict(np.load(files[1]))


def _check_close(key: str, received: Any, expected: Any, tolerance: float) -> None:
    # A value on the edge between two levels may be rounded to either.
    scale = max(1.0, float(np.max(np.abs(expected[np.isfinite(expected)]), initial=0.0)))
    atol = 1.0 if np.issubdtype(expected.dtype, np.integer) else tolerance * scale
    same_shape = received.shape == expected.shape
    first, second = (np.asarray(a, "float64") for a in (received, expected))
    if not same_shape or not np.allclose(first, second, rtol=0.0, atol=atol, equal_nan=True):
        signature, name = key.split("/")
        raise RuntimeError(
            f"Output {name!r} of signature {signature!r} differs from the live model's: "
            f"{_first(received)} exported, {_first(expected)} live."
        )


def _first(values: Sequence[Any]) -> list[Any]:
    return np.asarray(values).ravel()[:4].tolist()
