"""tfgen: likelihood-based deep generative models on Keras 3 and TensorFlow Probability.

Importing the package registers every class with Keras, so that a saved `.keras` file loads in a
fresh process after `import tfgen` alone.
"""

import keras as _keras

if _keras.backend.backend() != "tensorflow":
    raise ImportError(
        "tfgen runs on Keras's TensorFlow backend only, because its distributions are TensorFlow "
        f"Probability's; received: KERAS_BACKEND={_keras.backend.backend()!r}. "
        "Set KERAS_BACKEND=tensorflow."
    )

from tfgen import (
    bijectors,
    data,
    distributions,
    evaluation,
    inference,
    layers,
    models,
    objectives,
    training,
)
from tfgen.export import export
from tfgen.training.run import load

__version__ = "0.1.0"

__all__ = [
    "bijectors",
    "data",
    "distributions",
    "evaluation",
    "export",
    "inference",
    "layers",
    "load",
    "models",
    "objectives",
    "training",
]
