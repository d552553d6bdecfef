"""Requests that a server replays before it declares a version ready, and that an export is checked
by.

TensorFlow Serving reads them from `assets.extra/tf_serving_warmup_requests`, a TFRecord of
`PredictionLog`, when it loads a version. A version whose replay fails is not loaded: hence no
records of signatures that demand XLA, which not every server has.
"""

import importlib.util
import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfgen.models.generative_model import GenerativeModel
from tfgen.serving.graph import XLA_SUFFIX

FILE = pathlib.PurePath("assets.extra", "tf_serving_warmup_requests")
BATCH_SIZES = (1, 8)

Request = tuple[str, dict[str, np.ndarray]]  # signature and inputs


def is_available() -> bool:
    """Whether the extra `serving` (tensorflow-serving-api) is installed."""
    return importlib.util.find_spec("tensorflow_serving") is not None


def standard_signatures(model: GenerativeModel) -> list[str]:
    """Those that every server runs."""
    return [name for name in model.signatures() if not name.endswith(XLA_SUFFIX)]


def example_requests(model: GenerativeModel, batch_sizes: Sequence[int]) -> list[Request]:
    """One request for each standard signature and batch size, of random values."""
    return [
        example_request(model, signature, batch_size)
        for signature in standard_signatures(model)
        for batch_size in batch_sizes
    ]


def example_request(model: GenerativeModel, signature: str, batch_size: int) -> Request:
    """One request to any signature, of random values."""
    rng = np.random.default_rng(0)
    specs = model.signatures()[signature][1]
    return signature, {spec.name: _example(model, spec, batch_size, rng) for spec in specs}


def write(requests: Sequence[Request], model_name: str, folder: pathlib.Path) -> pathlib.Path:
    """Writes the records of a version directory; the extra `serving` must be installed."""
    from tensorflow_serving.apis import prediction_log_pb2

    path = folder / FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in requests:
            log = prediction_log_pb2.PredictionLog()
            request = log.predict_log.request
            request.model_spec.name = model_name
            request.model_spec.signature_name = signature
            for name, value in inputs.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
            writer.write(log.SerializeToString())
    return path


def _example(
    model: GenerativeModel, spec: tf.TensorSpec, batch_size: int, rng: np.random.Generator
) -> np.ndarray:
    """Random values that a signature's input accepts."""
    dtype = spec.dtype.as_numpy_dtype
    if spec.name == "num_samples":
        return np.array(batch_size, dtype)
    shape = [batch_size if size is None else size for size in spec.shape]
    if spec.dtype.is_floating:
        return rng.standard_normal(shape).astype(dtype)
    bounds = {"x": model.num_levels, "y": model.num_classes, "mask": 2, "seed": 2**31 - 1}
    return rng.integers(0, bounds.get(spec.name, 1), shape).astype(dtype)  # an index: 0
