"""tfgen: likelihood-based deep generative models on Keras 3 and TensorFlow Probability.

Importing the package registers every class with Keras, so that a saved `.keras` file loads in a
fresh process after `import tfgen` alone.
"""

import os as _os


def _check_backend(backend: str) -> None:
    if backend != "tensorflow":
        raise ImportError(
            "tfgen runs on Keras's TensorFlow backend only, because its distributions are "
            f"TensorFlow Probability's; received: {backend!r}. Set KERAS_BACKEND=tensorflow."
        )


_check_backend(_os.environ.get("KERAS_BACKEND", "tensorflow"))  # before Keras imports another one

import keras as _keras

_check_backend(_keras.backend.backend())  # which its configuration file may set

from tfgen import (
    bijectors,
    data,
    distributions,
    evaluation,
    inference,
    latents,
    layers,
    models,
    objectives,
    training,
)
from tfgen.serving.export import export
from tfgen.training.run import load

__version__ = "0.1.0"

__all__ = [
    "bijectors",
    "data",
    "distributions",
    "evaluation",
    "export",
    "inference",
    "latents",
    "layers",
    "load",
    "models",
    "objectives",
    "training",
]
