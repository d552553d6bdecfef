"""The latents of one data point by gradient ascent."""

import math
from collections.abc import Callable

import tensorflow as tf

from tfgen.checks import check_argument, check_integer

# Of Adam's running means of the gradient and of its square, and against division by zero.
DECAYS = (0.9, 0.999)
EPSILON = 1e-8


def maximize(
    function: Callable[[tf.Tensor], tf.Tensor],
    start: tf.Tensor,
    num_steps: int,
    learning_rate: float,
) -> tf.Tensor:
    """argmax over z of `function(z)`, each row for itself, by Adam [1] from `start`.

    The learning rate falls to zero as half a cosine, so that the iterates settle. No gradient goes
    through the result.

    Args:
        function: `[B, ...] -> [B]`; row b depends on z_b alone.
        start: first values of z, `[B, ...]`.
        num_steps: of ascent; 0 gives `start`.
        learning_rate: of the first step; about how far an entry of z moves in it.

    Raises:
        ValueError: a number of steps below zero, or a learning rate that is not positive.

    [1] Kingma, Ba. Adam: a method for stochastic optimization. ICLR 2015. arXiv:1412.6980
    """
    check_integer("num_steps", num_steps, minimum=0)
    check_argument(learning_rate > 0, "learning_rate", "positive", learning_rate)
    dtype = start.dtype

    def ascend(step: tf.Tensor, z: tf.Tensor, mean: tf.Tensor, square: tf.Tensor) -> tuple:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(z)
            value = tf.reduce_sum(function(z))
        gradient = tape.gradient(value, z)
        t = tf.cast(step, dtype)
        mean = DECAYS[0] * mean + (1.0 - DECAYS[0]) * gradient
        square = DECAYS[1] * square + (1.0 - DECAYS[1]) * tf.square(gradient)
        first = mean / (1.0 - tf.pow(tf.cast(DECAYS[0], dtype), t + 1.0))
        second = square / (1.0 - tf.pow(tf.cast(DECAYS[1], dtype), t + 1.0))
        rate = 0.5 * learning_rate * (1.0 + tf.cos(math.pi * t / max(num_steps, 1)))
        return step + 1, z + rate * first / (tf.sqrt(second) + EPSILON), mean, square

    start = tf.stop_gradient(start)
    _, z, _, _ = tf.while_loop(
        lambda step, *_: step < num_steps,
        ascend,
        (tf.constant(0), start, tf.zeros_like(start), tf.zeros_like(start)),
        parallel_iterations=1,
        maximum_iterations=num_steps,
    )
    return tf.stop_gradient(z)
