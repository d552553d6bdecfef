"""Less memory for more computation."""

from typing import Any

import tensorflow as tf

from tfgen.bijectors.bijector import Bijector
from tfgen.layers.functions import recompute


class Recompute(Bijector):
    """The same map; its inside is not kept for the backward pass but computed again there.

    Of everything inside, only the input is in memory between the two passes. For a chain of steps,
    each in a `Recompute`, that is one array of the size of the data a step, beside the activations
    of one step's networks. The alternative, to keep nothing and find each step's input by inverting
    it, would save these arrays too, a hundredth of the activations in a Glow of 512 filters, at the
    cost of the inverse and of gradients at inputs that float32 has not quite restored.
    """

    def __init__(self, bijector: Bijector, **kwargs: Any):
        super().__init__(**kwargs)
        self.bijector = bijector

    def initialize(self, x: tf.Tensor, condition: Any = None) -> tf.Tensor:
        self._prepare(x, condition)
        return self.bijector.initialize(x, condition)

    def recalibrate(self, batches: Any, conditions: Any) -> list[Any]:
        return self.bijector.recalibrate(batches, conditions)

    def _forward(self, z: tf.Tensor, condition: Any) -> tuple[tf.Tensor, tf.Tensor]:
        return self._evaluate(self.bijector.forward_and_log_det, z, condition)

    def _inverse(self, x: tf.Tensor, condition: Any) -> tuple[tf.Tensor, tf.Tensor]:
        return self._evaluate(self.bijector.inverse_and_log_det, x, condition)

    def _evaluate(self, function: Any, x: tf.Tensor, condition: Any) -> Any:
        if not self.bijector.built:  # no variables can be made inside a custom gradient
            return function(x, condition)
        inputs = (x,) if condition is None else (x, condition)
        return recompute(function)(*inputs)
