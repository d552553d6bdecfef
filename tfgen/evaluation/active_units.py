"""How many latent dimensions carry information about x."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfgen.checks import check_argument
from tfgen.models.latent.base import LatentVariableModel


def active_units(
    model: Any, split: Any, threshold: float = 0.01, batch_size: int = 256
) -> dict[str, Any]:
    """Latent dimensions u with A_u = Var_x(E_q[z_u | x]) above the threshold [1].

    The variance over the whole split is the unbiased one (N - 1). A collapsed dimension, whose
    posterior is the prior for every x, has A_u = 0.

    Args:
        model: a latent-variable model.
        split: at least two examples.
        threshold: 0.01 in [1].
        batch_size: examples at a time.

    Returns:
        `active_units` and `num_latent_units`.

    Raises:
        ValueError: a model without latents, or fewer than two examples.

    [1] Burda, Grosse, Salakhutdinov. Importance weighted autoencoders. ICLR 2016. arXiv:1509.00519
    """
    is_latent = isinstance(model, LatentVariableModel)
    check_argument(is_latent, "model", "a LatentVariableModel", type(model).__name__)
    check_argument(len(split) >= 2, "split", "of at least two examples", len(split))
    encode = tf.function(model.encode, jit_compile=True)
    means = []
    for start in range(0, len(split), batch_size):
        # Full batches only, so that there is one shape to compile; the filling is dropped.
        rows = np.arange(start, start + batch_size) % len(split)
        y = split.y[rows] if model.is_conditional else None
        mean = encode(tf.convert_to_tensor(split.x[rows]), y)
        means.append(mean.numpy()[: len(split) - start])
    codes = np.concatenate(means).reshape(len(split), -1).astype("float64")
    variances = codes.var(axis=0, ddof=1)
    return {
        "active_units": int((variances > threshold).sum()),
        "num_latent_units": codes.shape[1],
    }
