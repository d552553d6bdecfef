"""Codes of a split: what the metrics of latent-variable models look at."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfgen.checks import check_argument
from tfgen.models.latent.base import LatentVariableModel


def posterior_means(
    model: Any, split: Any, batch_size: int = 256, jit_compile: bool = True
) -> np.ndarray:
    """E_q[z | x] of every example, all latents as one vector: `[N, J]`, float64.

    Raises:
        ValueError: a model without latents.
    """
    is_latent = isinstance(model, LatentVariableModel)
    check_argument(is_latent, "model", "a LatentVariableModel", type(model).__name__)
    encode = tf.function(model.encode, jit_compile=jit_compile)
    batches = []
    for start in range(0, len(split), batch_size):
        # Full batches only, so that there is one shape to compile; the filling is dropped.
        rows = np.arange(start, start + batch_size) % len(split)
        y = tf.convert_to_tensor(split.y[rows]) if model.is_conditional else None
        parts = tf.nest.flatten(encode(tf.convert_to_tensor(split.x[rows]), y))
        codes = [part.numpy().astype("float64").reshape(batch_size, -1) for part in parts]
        batches.append(np.concatenate(codes, axis=1)[: len(split) - start])
    return np.concatenate(batches)


def check_has_posterior(model: Any) -> None:
    """A ValueError unless the model is defined by `prior`, `posterior` and `likelihood`."""
    has_one = isinstance(model, LatentVariableModel) and (
        type(model).posterior is not LatentVariableModel.posterior
    )
    allowed = "a LatentVariableModel defined by `prior`, `posterior` and `likelihood`"
    check_argument(has_one, "model", allowed, type(model).__name__)


def first_examples(model: Any, split: Any, num_examples: int) -> tuple[tf.Tensor, Any]:
    """x of the first examples, checked, and y for a conditional model, else None."""
    check_argument(len(split) >= 2, "split", "of at least two examples", len(split))
    chosen = split[:num_examples]
    y = tf.convert_to_tensor(chosen.y) if model.is_conditional else None
    return model.check_data(chosen.x), y
