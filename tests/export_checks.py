"""What every exported model owes the people who serve it, as one check that a test calls."""

import importlib.util
import pathlib
import subprocess
import sys
from typing import Any

import numpy as np
from tensorflow.core.protobuf import saved_model_pb2

import tfgen
from tfgen.models.generative_model import EVALUATION_SEED
from tfgen.serving.session import read_warmup

RUNNER = pathlib.Path(__file__).parent / "saved_model_runner.py"


def signature_definitions(folder: Any) -> dict[str, Any]:
    content = (pathlib.Path(folder) / "saved_model.pb").read_bytes()
    (meta_graph,) = saved_model_pb2.SavedModel.FromString(content).meta_graphs
    return {k: v for k, v in meta_graph.signature_def.items() if not k.startswith("__")}


def serve(folder: Any, requests: list[tuple[str, dict[str, Any]]], scratch: Any) -> list[dict]:
    """Answers `(signature, inputs)` requests in a process without Python's TensorFlow."""
    definitions = signature_definitions(folder)
    files = [pathlib.Path(scratch) / name for name in ("requests.npz", "answers.npz")]
    arrays = {}
    for index, (signature, inputs) in enumerate(requests):
        definition = definitions[signature]
        fetched = ",".join(info.name for info in definition.outputs.values())
        for name, value in inputs.items():
            arrays[f"{index}|{fetched}|{definition.inputs[name].name}"] = value
    np.savez(files[0], **arrays)
    command = [sys.executable, RUNNER, folder, *files]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr[-3000:]
    answers = np.load(files[1])
    return [
        {
            name: answers[f"{index}|{info.name}"]
            for name, info in definitions[signature].outputs.items()
        }
        for index, (signature, _) in enumerate(requests)
    ]


def check_export(model: Any, x: Any, scratch: Any, y: Any = None, tolerance: float = 1e-4) -> None:
    """Exports the model and checks what came out."""
    folder = tfgen.export(model, pathlib.Path(scratch) / "served")
    check_served(folder, model, x, scratch, y, tolerance)


def check_served(
    folder: Any,
    model: Any,
    x: Any,
    scratch: Any,
    y: Any = None,
    tolerance: float = 1e-4,
    warmed: Any = None,
) -> None:
    """Every signature of the exported model against the live one, for one and three examples.

    `x`: three examples; `y`: their labels for a conditional model; `warmed`: the signatures with
    warm-up records, if not all standard ones.
    """
    signatures = model.signatures()
    labels = {} if y is None else {"y": y}
    expected = []  # (signature, inputs, the live model's answer)
    for n in (1, 3):
        given = {name: value[:n] for name, value in labels.items()}
        log_prob = model.log_prob(x[:n], **given, seed=EVALUATION_SEED)
        inputs = {"x": x[:n], **given}
        expected.append(("log_prob", inputs, {"log_prob": log_prob}))
        expected.append(("serving_default", inputs, {"log_prob": log_prob}))
        if hasattr(model, "encode"):
            z = signatures["encode"][0](*inputs.values())["z"]
            expected.append(("encode", inputs, {"z": z}))
        if "decode" in signatures:
            decoded = {"x": signatures["decode"][0](z, *given.values())["x"]}
            expected.append(("decode", {"z": np.float32(z), **given}, decoded))
            if "reconstruct" in signatures:
                expected.append(("reconstruct", inputs, decoded))

    for seed in (5, 6):
        inputs = {**(labels or {"num_samples": np.int32(3)}), "seed": np.array([0, seed], "int32")}
        drawn = {"x": model.sample(3, **labels, seed=inputs["seed"])}
        samplers = [name for name in signatures if name.startswith("sample")]
        expected += [(name, inputs, drawn) for name in samplers]
    if "complete" in signatures:
        mask = np.random.default_rng(1).random((*x.shape[:-1], 1)) < 0.3
        mask = np.broadcast_to(mask, x.shape)  # whole pixels
        completed = model.sample(3, **labels, seed=7, given=x, mask=mask).numpy()
        np.testing.assert_array_equal(completed[mask], x[mask])
        assert (completed != x).any()
        inputs = {"x": x, "mask": mask, **labels, "seed": np.array([0, 7], "int32")}
        completions = [(name, inputs, {"x": completed}) for name in ("complete", "complete_xla")]
        expected = [*completions, *expected]
    one = {**({"y": y[:1]} if labels else {"num_samples": np.int32(1)}), "seed": inputs["seed"]}

    answers = check_answers(folder, model, expected, scratch, tolerance, warmed, [("sample", one)])
    *_, last, single = answers
    before = answers[-2 - len(samplers)]  # the same signature with the other seed
    assert not np.array_equal(last["x"], before["x"]), "two seeds, one sample"
    assert single["x"].shape == (1, *model.event_shape)


def check_answers(
    folder: Any,
    model: Any,
    expected: list[tuple[str, dict[str, Any], dict[str, Any]]],
    scratch: Any,
    tolerance: float = 1e-4,
    warmed: Any = None,
    others: Any = (),
) -> list[dict[str, np.ndarray]]:
    """The exported model has the signatures of `expected`, and no others; it answers (signature,
    inputs, the live model's answer). Returns the answers, those to `others` last."""
    standard = [name for name in model.signatures() if not name.endswith("_xla")]
    check_warmup(folder, standard if warmed is None else warmed)
    assert set(signature_definitions(folder)) == {signature for signature, _, _ in expected}
    check_types(folder, model)
    requests = [(signature, inputs) for signature, inputs, _ in expected]
    answers = serve(folder, [*requests, *others], scratch)
    for answer, (signature, _, live) in zip(answers, expected, strict=False):
        assert set(answer) == set(live), signature
        for name, value in live.items():
            check_close(answer[name], np.asarray(value), tolerance, signature)
    return answers


def check_warmup(folder: Any, signatures: Any) -> None:
    """A record for each of the signatures, of one example and of eight."""
    path = pathlib.Path(folder) / "assets.extra" / "tf_serving_warmup_requests"
    assert path.exists() == (importlib.util.find_spec("tensorflow_serving") is not None)
    if path.exists():
        sizes = []
        for name, inputs in read_warmup(path):
            inputs.pop("seed", None)
            (size,) = {value.shape[0] if value.ndim else int(value) for value in inputs.values()}
            sizes.append((name, size))
        assert sizes == [(name, size) for name in signatures for size in (1, 8)]


def check_types(folder: Any, model: Any) -> None:
    """float32 or data at the boundary, the batch dimension free, in every signature."""
    for signature, definition in signature_definitions(folder).items():
        for name, info in [*definition.inputs.items(), *definition.outputs.items()]:
            dtype = {1: "float32", 3: "int32", 4: "uint8", 10: "bool"}[info.dtype]
            sizes = [size.size for size in info.tensor_shape.dim]
            where = f"{signature}: {name}"
            if name == "num_samples":
                assert (dtype, sizes) == ("int32", []), where
            elif name == "seed":
                assert (dtype, sizes) == ("int32", [2]), where
            else:
                assert sizes[0] == -1, where
                assert all(size > 0 for size in sizes[1:]), where
            if name == "mask":
                assert (dtype, sizes[1:]) == ("bool", list(model.event_shape)), where
            elif name == "x" and signature not in ("decode", "reconstruct"):
                assert dtype == model.event_dtype, where
                assert sizes[1:] == list(model.event_shape), where
            elif name in ("log_prob", "z"):
                assert dtype == "float32", where


def check_close(received: np.ndarray, expected: np.ndarray, tolerance: float, what: str) -> None:
    assert received.shape == expected.shape, what
    received, is_discrete = received.astype("float64"), expected.dtype == np.uint8
    expected = expected.astype("float64")
    if is_discrete:  # a real number on the edge between two levels may go to either
        assert np.abs(received - expected).max() <= 1, what
        assert np.mean(received != expected) < 0.02, what
    else:
        scale = max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(received, expected, atol=tolerance * scale, err_msg=what)
