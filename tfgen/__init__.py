"""tfgen: likelihood-based deep generative models on Keras 3 and TensorFlow Probability.

Importing the package registers every class with Keras, so that a saved `.keras` file loads in a
fresh process after `import tfgen` alone.

Under Keras's JAX backend there is `tfgen.layers`, as far as its layers are written in `keras.ops`;
all other names are an `ImportError`.
"""

from typing import Any as _Any

import keras as _keras

from tfgen.checks import check_backend as _check_backend

if _keras.backend.backend() == "jax":
    from tfgen import layers

    def __getattr__(name: str) -> _Any:
        if name in __all__:
            _check_backend(f"tfgen.{name}")
        raise AttributeError(f"module 'tfgen' has no attribute {name!r}")

else:
    _check_backend("tfgen")
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
