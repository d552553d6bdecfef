"""What is minimised, by whom."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import tensorflow as tf

from tfgen.configurable import Configurable


@dataclasses.dataclass(frozen=True)
class Player:
    """A loss and the variables that may move to lower it.

    Attributes:
        name: prefix of the player's terms in reports; empty if there is one player.
        loss: `(x, y) -> {"loss": [B], ...}`, per-example terms in nats.
        variables: what the optimizer moves.
    """

    name: str
    loss: Callable[[Any, Any], dict[str, tf.Tensor]]
    variables: Sequence[Any]

    def named(self, terms: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The terms under the player's prefix, "encoder/loss"."""
        return {f"{self.name}/{key}" if self.name else key: terms[key] for key in terms}


class Objective(Configurable):
    """A scalar to minimise over a model: the batch mean of `"loss"`.

    Calling it gives per-example terms `[B]` in nats: `"loss"`, which is minimised; `"log_prob"`,
    the exact log-likelihood or true lower bound of the batch, so that runs compare; and whatever
    else is worth a curve. Objectives of several players override `players`.
    """

    def __call__(self, model: Any, x: Any, y: Any = None) -> dict[str, tf.Tensor]:
        raise NotImplementedError

    def players(self, model: Any) -> list[Player]:
        return [Player("", partial(self, model), model.trainable_variables)]
