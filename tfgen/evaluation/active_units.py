"""How many latent dimensions carry information about x."""

from typing import Any

import numpy as np

from tfgen.checks import check_argument
from tfgen.evaluation.codes import posterior_means


def active_units(
    model: Any,
    split: Any,
    threshold: float = 0.01,
    batch_size: int = 256,
    jit_compile: bool = True,
) -> dict[str, Any]:
    """Latent dimensions u with A_u = Var_x(E_q[z_u | x]) above the threshold [1].

    A collapsed dimension, whose posterior is the prior for every x, has A_u = 0.

    Args:
        model: a latent-variable model.
        split: at least two examples.
        threshold: 0.01 in [1].
        batch_size: examples at a time.
        jit_compile: compile with XLA.

    Returns:
        `active_units` and `num_latent_units`.

    Raises:
        ValueError: a model without latents, or fewer than two examples.

    [1] Burda, Grosse, Salakhutdinov. Importance weighted autoencoders. ICLR 2016. arXiv:1509.00519
    """
    check_argument(len(split) >= 2, "split", "of at least two examples", len(split))
    activity = activities(posterior_means(model, split, batch_size, jit_compile))
    return {
        "active_units": int((activity > threshold).sum()),
        "num_latent_units": len(activity),
    }


def activities(codes: np.ndarray) -> np.ndarray:
    """A_u of posterior means `[N, J]`, `[J]`: their unbiased variance (N - 1) over the examples."""
    return codes.var(axis=0, ddof=1)
