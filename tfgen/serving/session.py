"""A SavedModel in a TensorFlow session, which restores variables as a server does.

    python -P session.py FOLDER ANSWERS.npz REQUESTS...

answers requests in a process that has neither Keras nor tfgen. REQUESTS are files of warm-up
records or `.npz` files with arrays named `<request>|<signature>|<input>`; ANSWERS gets
`<request>|<output>`, and the seconds it took: `load_seconds`, and `seconds` of each request.

What `tf.saved_model.load` restores in Python may fail here, and on a server.
"""

import sys

if __name__ == "__main__":
    for name in ("keras", "tf_keras", "tensorflow_probability", "tfgen"):
        sys.modules[name] = None  # type: ignore[assignment]  # importing it raises ImportError

import time
from typing import Any

import numpy as np
import tensorflow as tf


class ServedModel:
    """Calls `model(signature, inputs)` by name, as a server's Predict does.

    Args:
        folder: the version.
        one_thread: start operations one after another in one thread, each itself still free to use
            all; on a CPU only.

    Attributes:
        signatures: name -> `SignatureDef`.
    """

    def __init__(self, folder: Any, one_thread: bool = False):
        config = tf.compat.v1.ConfigProto()
        config.experimental.executor_type = "SINGLE_THREADED_EXECUTOR" if one_thread else ""
        with tf.Graph().as_default():
            self._session = tf.compat.v1.Session(config=config)
            loaded = tf.compat.v1.saved_model.load(self._session, ["serve"], str(folder))
        self.signatures = {
            name: definition
            for name, definition in loaded.signature_def.items()
            if not name.startswith("__")  # TensorFlow's own
        }

    def __call__(self, signature: str, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
        definition = self.signatures[signature]
        feed = {definition.inputs[name].name: value for name, value in inputs.items()}
        fetches = {name: tensor.name for name, tensor in definition.outputs.items()}
        return self._session.run(fetches, feed)

    def close(self) -> None:
        self._session.close()


def read_warmup(path: Any) -> list[tuple[str, dict[str, np.ndarray]]]:
    """The (signature, inputs) of a file of warm-up records."""
    from tensorflow_serving.apis import prediction_log_pb2

    requests = []
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        requests.append((request.model_spec.signature_name, inputs))
    return requests


def _read_arrays(path: str) -> list[tuple[str, dict[str, np.ndarray]]]:
    requests: dict[int, tuple[str, dict[str, np.ndarray]]] = {}
    for key, value in np.load(path).items():
        index, signature, name = key.split("|")
        requests.setdefault(int(index), (signature, {}))[1][name] = value
    return [requests[index] for index in sorted(requests)]


def main(folder: str, answers: str, *sources: str) -> None:
    requests = []
    for source in sources:
        requests += _read_arrays(source) if source.endswith(".npz") else read_warmup(source)
    start = time.perf_counter()
    model = ServedModel(folder)
    times = [time.perf_counter() - start]
    outputs: dict[str, Any] = {}
    for index, (signature, inputs) in enumerate(requests):
        start = time.perf_counter()
        for name, value in model(signature, inputs).items():
            outputs[f"{index}|{name}"] = value
        times.append(time.perf_counter() - start)
    np.savez(answers, load_seconds=times[0], seconds=times[1:], **outputs)


if __name__ == "__main__":
    main(*sys.argv[1:])
