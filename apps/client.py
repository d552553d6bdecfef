"""Calls a model on a TensorFlow Serving server, over gRPC or REST.

python -m apps.client --server=localhost:8500 --model=digits --signature=log_prob \\
  --input=x=digits.npz
python -m apps.client --server=localhost:8501 --rest --model=digits --signature=sample \\
  --input=num_samples=4 --input=seed=[0,7] --out=samples.npz

An input is a file, `.npy` or `.npz` (the array of the input's name, or the only one), or JSON. The
server says what a signature takes; values are converted to its types where nothing is lost. gRPC
needs the extra `serving` (tensorflow-serving-api, grpcio); REST needs numpy alone, and of the
repository this file, `common.py` and `serving_clients.py`.
"""

from typing import Any

import numpy as np
from absl import flags

from apps.common import run
from apps.serving_clients import GrpcClient, RestClient, read_input

_SERVER = flags.DEFINE_string("server", None, "HOST:PORT.")
_MODEL = flags.DEFINE_string("model", None, "Name of the model on the server.")
_VERSION = flags.DEFINE_integer("version", None, "Version of the model; the latest without.")
_SIGNATURE = flags.DEFINE_string("signature", "serving_default", "Signature to call.")
_INPUT = flags.DEFINE_multi_string("input", [], "NAME=FILE or NAME=JSON, once for each input.")
_REST = flags.DEFINE_boolean("rest", False, "Call over REST; else gRPC.")
_OUT = flags.DEFINE_string("out", None, "File to write the outputs to, .npz; printed without.")
_TIMEOUT_SECONDS = flags.DEFINE_float("timeout_seconds", 600.0, "Longest wait for an answer.")

USAGE = "python -m apps.client --server=HOST:PORT --model=NAME --input=NAME=VALUE [--rest]"


def main() -> None:
    for name, flag in (("--server", _SERVER), ("--model", _MODEL)):
        if flag.value is None:
            raise ValueError(f"{name} must be given; received: nothing.")
    if _OUT.value is not None and not _OUT.value.endswith(".npz"):
        raise ValueError(f"--out must end in .npz; received: {_OUT.value!r}.")
    inputs = dict(read_input(text) for text in _INPUT.value)
    of_protocol = RestClient if _REST.value else GrpcClient
    client = of_protocol(
        str(_SERVER.value), str(_MODEL.value), _VERSION.value, _TIMEOUT_SECONDS.value
    )
    outputs: dict[str, Any] = client(_SIGNATURE.value, inputs)
    for name, value in outputs.items():
        print(f"  {name}  {value.dtype} {list(value.shape)}")
        if _OUT.value is None:
            print(np.array2string(value, threshold=100, prefix="  "))
    if _OUT.value is not None:
        np.savez_compressed(_OUT.value, **outputs)
        print(f"\n  {_OUT.value}")


if __name__ == "__main__":
    run(main, USAGE)
