"""Maximum likelihood."""

from typing import Any

import tensorflow as tf

from tfgen.objectives.objective import Objective


class NegativeLogProb(Objective):
    """loss = -log p(x | y), in nats per example: maximum likelihood.

    In nats and not in bits/dim, because Adam's epsilon is not scale-free.
    """

    def __call__(self, model: Any, x: Any, y: Any = None) -> dict[str, tf.Tensor]:
        log_prob = model.log_prob(x, y)
        return {"loss": -log_prob, "log_prob": log_prob}
