"""Clients of a TensorFlow Serving server, over gRPC and over REST: numpy in, numpy out.

`apps/client.py` is their command line. Neither needs tfgen.
"""

import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np


def read_input(text: str) -> tuple[str, np.ndarray]:
    """The name and value of `NAME=FILE` or `NAME=JSON`."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise ValueError(f"--input must be NAME=FILE or NAME=JSON; received: {text!r}.")
    if not value.endswith((".npy", ".npz")):
        try:
            return name, np.asarray(json.loads(value))
        except ValueError:
            raise ValueError(
                f"--input must be NAME=FILE.npz, NAME=FILE.npy or NAME=JSON; received: {text!r}."
            ) from None
    content = np.load(value)
    if isinstance(content, np.ndarray):
        return name, content
    key = name if name in content.files or len(content.files) != 1 else content.files[0]
    if key not in content.files:
        raise ValueError(f"{value} must hold an array {name!r} or only one; it has {content.files}")
    return name, content[key]


Types = dict[str, tuple[str, list[int]]]  # name -> dtype and shape, -1 for a free size

_DTYPES = {"DT_FLOAT": "float32", "DT_INT32": "int32", "DT_UINT8": "uint8", "DT_BOOL": "bool"}


class Signature(NamedTuple):
    inputs: Types
    outputs: Types


class Client:
    """Calls the signatures of one model: `client("log_prob", {"x": x})`.

    A subclass gives `signatures` and `predict`, over one protocol or another.

    Args:
        server: `host:port`.
        model: the model's name on the server.
        version: of the model; None for the latest.
        timeout_seconds: longest wait for an answer.
    """

    def __init__(
        self, server: str, model: str, version: int | None = None, timeout_seconds: float = 600.0
    ):
        self.server, self.model, self.version = server, model, version
        self.timeout_seconds = timeout_seconds

    def signatures(self) -> dict[str, Signature]:
        raise NotImplementedError

    def predict(
        self, name: str, signature: Signature, inputs: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """The answer to a request whose inputs have the right names, shapes and types."""
        raise NotImplementedError

    def __call__(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The outputs by name.

        Raises:
            ValueError: inputs that the signature does not take; whatever the server refuses.
            OSError: no answer.
        """
        signatures = self.signatures()
        if signature not in signatures:
            names = ", ".join(sorted(signatures))
            raise ValueError(f"signature must be one of {names}; received: {signature!r}.")
        expected = signatures[signature].inputs
        if expected.keys() != inputs.keys():
            raise ValueError(
                f"inputs of {signature!r} must be {', '.join(sorted(expected))}; received: "
                f"{', '.join(sorted(inputs)) or 'none'}."
            )
        values = {name: _as_type(name, inputs[name], *expected[name]) for name in expected}
        return self.predict(signature, signatures[signature], values)


class GrpcClient(Client):
    """Over gRPC, port 8500 of the official image."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        try:
            import grpc
            from tensorflow_serving.apis import prediction_service_pb2_grpc
        except ImportError as error:
            raise ImportError(
                f"gRPC needs the extra serving, pip install 'tfgen[serving]' ({error}); --rest "
                "does without."
            ) from error
        sizes = ("grpc.max_receive_message_length", "grpc.max_send_message_length")
        self._channel = grpc.insecure_channel(self.server, [(name, -1) for name in sizes])
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def signatures(self) -> dict[str, Signature]:
        import tensorflow as tf
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._fill(request.model_spec)
        response = self._send(self._stub.GetModelMetadata, request)
        definitions = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(definitions)

        def types(tensors: Any) -> Types:
            return {
                name: (tf.dtypes.as_dtype(t.dtype).name, [d.size for d in t.tensor_shape.dim])
                for name, t in tensors.items()
            }

        return {
            name: Signature(types(definition.inputs), types(definition.outputs))
            for name, definition in definitions.signature_def.items()
            if not name.startswith("__")  # TensorFlow's own
        }

    def predict(
        self, name: str, signature: Signature, inputs: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        self._fill(request.model_spec)
        request.model_spec.signature_name = name
        for key, value in inputs.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
        response = self._send(self._stub.Predict, request)
        return {key: tf.make_ndarray(tensor) for key, tensor in response.outputs.items()}

    def _fill(self, spec: Any) -> None:
        spec.name = self.model
        if self.version is not None:
            spec.version.value = self.version

    def _send(self, method: Any, request: Any) -> Any:
        import grpc

        try:
            return method(request, timeout=self.timeout_seconds)
        except grpc.RpcError as error:
            raise OSError(f"{self.server}: {error.code().name}: {error.details()}") from None


class RestClient(Client):
    """Over REST, port 8501 of the official image: the "inputs" form of Predict."""

    def signatures(self) -> dict[str, Signature]:
        content = self._send("/metadata")
        definitions = content["metadata"]["signature_def"]["signature_def"]

        def types(tensors: Any) -> Types:
            return {
                name: (
                    _DTYPES.get(t["dtype"], t["dtype"]),
                    [int(dim["size"]) for dim in t["tensor_shape"].get("dim", [])],
                )
                for name, t in tensors.items()
            }

        return {
            name: Signature(types(definition.get("inputs", {})), types(definition["outputs"]))
            for name, definition in definitions.items()
            if not name.startswith("__")  # TensorFlow's own
        }

    def predict(
        self, name: str, signature: Signature, inputs: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        values = {key: value.tolist() for key, value in inputs.items()}
        outputs = self._send(":predict", {"signature_name": name, "inputs": values})["outputs"]
        if len(signature.outputs) == 1:  # whose name the server leaves out
            outputs = dict.fromkeys(signature.outputs, outputs)
        return {key: np.asarray(value, signature.outputs[key][0]) for key, value in outputs.items()}

    def _send(self, what: str, body: Any = None) -> Any:
        version = "" if self.version is None else f"/versions/{self.version}"
        url = f"http://{self.server}/v1/models/{self.model}{version}{what}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=self.timeout_seconds) as response:
                return json.loads(response.read())
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            with contextlib.suppress(ValueError, KeyError, TypeError):
                text = json.loads(text)["error"]
            raise OSError(f"{self.server}: {error.code}: {text}") from None
        except urllib.error.URLError as error:
            raise OSError(f"{self.server}: {error.reason}") from None


def _as_type(name: str, value: Any, dtype: str, shape: list[int]) -> np.ndarray:
    """The value in the signature's type; refused where the conversion changes it."""
    value = np.asarray(value)
    fits = value.ndim == len(shape) and all(
        size in (-1, actual) for size, actual in zip(shape, value.shape, strict=False)
    )
    if not fits:
        expected = ["B" if size == -1 else size for size in shape]
        raise ValueError(
            f"input {name!r} must be of shape {expected}; received: {list(value.shape)}."
        )
    with np.errstate(invalid="ignore"):
        converted = value.astype(dtype)
    # Rounding real numbers to float32 is what a request is; any other change is a mistake.
    if value.dtype != dtype and dtype != "float32" and not np.array_equal(converted, value):
        raise ValueError(f"input {name!r} must hold {dtype} values; received: {value.dtype}.")
    return converted
