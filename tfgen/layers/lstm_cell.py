"""The cell that PixelRNN's two recurrent layers share, and the scan over an image with it."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

NUM_GATES = 4


def lstm_cell(gates: tf.Tensor, c: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """c' = f c + i g, h' = o tanh(c'), with [o, f, i, g] = [s, s, s, tanh](gates), s the sigmoid.

    `gates` `[..., 4 F]` is the sum of input-to-state and state-to-state terms, c `[..., F]`.
    Returns h', c'.
    """
    o, f, i, g = tf.split(gates, NUM_GATES, axis=-1)
    c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
    return tf.sigmoid(o) * tf.tanh(c), c


def scan(step: Callable[..., tuple[tf.Tensor, Any]], initial: Any, inputs: tf.Tensor) -> tf.Tensor:
    """y_t of (y_t, state) = step(t, inputs_t, state) for t = 0..T-1, `[T, ...] -> [T, ...]`.

    T is static, as XLA's gradient of a loop demands. Only y is kept, where `tf.scan` keeps all that
    the state holds. Unrolled, the steps of one layer alone take XLA minutes to compile.
    """
    num_steps = inputs.shape[0]
    dtype, shape = inputs.dtype, inputs.shape[1:]
    inputs = tf.TensorArray(dtype, num_steps, element_shape=shape).unstack(inputs)
    outputs = tf.TensorArray(dtype, num_steps)

    def body(t: tf.Tensor, state: Any, outputs: tf.TensorArray) -> tuple[Any, ...]:
        y, state = step(t, inputs.read(t), state)
        return t + 1, state, outputs.write(t, y)

    _, _, outputs = tf.while_loop(
        lambda t, *_: t < num_steps,
        body,
        (tf.constant(0), initial, outputs),
        maximum_iterations=num_steps,
    )
    return outputs.stack()
