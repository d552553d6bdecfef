"""Random transforms of a training batch, applied inside the training step.

Each is `transform(x, seed)`: a batch in native units and a stateless seed to a batch, the same
values for the same seed, compilable by XLA.
"""

from typing import Any

import tensorflow as tf

from tfgen import seeds
from tfgen.checks import check_integer
from tfgen.configurable import Configurable


class DynamicBinarization(Configurable):
    """Draws binary pixels from grey levels [1]: P(1) = x / (num_levels - 1).

    x `[B, ...]`, integers 0..num_levels-1 -> `[B, ...]`, {0, 1}, of the same dtype.

    [1] Salakhutdinov, Murray. On the quantitative analysis of deep belief networks. ICML 2008.
    """

    def __init__(self, num_levels: int = 256) -> None:
        check_integer("num_levels", num_levels, 2)
        self.num_levels = num_levels

    def __call__(self, x: Any, seed: Any) -> tf.Tensor:
        x = tf.convert_to_tensor(x)
        probability = tf.cast(x, tf.float32) / (self.num_levels - 1)
        uniform = seeds.uniform(tf.shape(x), seeds.as_seed(seed))
        return tf.cast(uniform < probability, x.dtype)


class HorizontalFlip(Configurable):
    """Mirrors each image from left to right with probability 1/2: x `[B, H, W, C]`."""

    def __call__(self, x: Any, seed: Any) -> tf.Tensor:
        x = tf.convert_to_tensor(x)
        uniform = seeds.uniform([tf.shape(x)[0], 1, 1, 1], seeds.as_seed(seed))
        return tf.where(uniform < 0.5, tf.reverse(x, axis=[2]), x)
