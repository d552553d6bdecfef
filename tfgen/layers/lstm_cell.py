"""The cell that PixelRNN's two recurrent layers share, and the scan over an image with it."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

NUM_GATES = 4

State = tuple[tf.Tensor, tf.Tensor]  # h, c


def lstm_cell(gates: tf.Tensor, c: tf.Tensor) -> State:
    """c' = f c + i g, h' = o tanh(c'), with [o, f, i, g] = [s, s, s, tanh](gates), s the sigmoid.

    `gates` `[..., 4 F]` is the sum of input-to-state and state-to-state terms, c `[..., F]`.
    Returns h', c'.
    """
    o, f, i, g = tf.split(gates, NUM_GATES, axis=-1)
    c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
    return tf.sigmoid(o) * tf.tanh(c), c


def scan(
    step: Callable[..., State], initial: State, inputs: tf.Tensor, parameters: Any
) -> tf.Tensor:
    """h of (h, c) <- step(t, inputs_t, (h, c), parameters), for t = 0..T-1, `[T, ...]`.

    The gradient keeps the states alone and computes each step again, backwards: the loop that
    automatic differentiation makes keeps every intermediate result of every step, and takes up to
    twice as long. `step` must reach all that is to receive a gradient through its arguments;
    there are no second derivatives. T is static, as XLA demands; unrolled, the steps of one layer
    take XLA minutes to compile.
    """
    num_steps = inputs.shape[0]

    @tf.custom_gradient
    def run(inputs: tf.Tensor, *flat: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
        initial_state, arguments = tf.nest.pack_sequence_as((initial, parameters), flat)

        def forward(t: tf.Tensor, state: State, arrays: Any) -> Any:
            state = step(t, inputs[t], state, arguments)
            return t + 1, state, [a.write(t, s) for a, s in zip(arrays, state, strict=True)]

        arrays = [tf.TensorArray(s.dtype, num_steps, element_shape=s.shape) for s in initial_state]
        _, _, arrays = tf.while_loop(
            lambda t, *_: t < num_steps,
            forward,
            (tf.constant(0), initial_state, arrays),
            maximum_iterations=num_steps,
        )
        after = [a.stack() for a in arrays]

        def gradient(d_outputs: tf.Tensor) -> list[tf.Tensor]:
            before = [
                tf.concat([first[None], states[:-1]], axis=0)
                for first, states in zip(initial_state, after, strict=True)
            ]

            def backward(t: tf.Tensor, d_state: State, d_arguments: Any, d_inputs: Any) -> Any:
                sources = (inputs[t], (before[0][t], before[1][t]), arguments)
                with tf.GradientTape() as tape:
                    tape.watch(sources)
                    state = step(t, *sources)
                d_state = (d_state[0] + d_outputs[t], d_state[1])
                d_input, d_state, d_step = tape.gradient(
                    state, sources, d_state, tf.UnconnectedGradients.ZERO
                )
                d_arguments = tf.nest.map_structure(tf.add, d_arguments, d_step)
                return t - 1, d_state, d_arguments, d_inputs.write(t, d_input)

            zeros = tf.nest.map_structure(tf.zeros_like, (initial_state, arguments))
            d_inputs = tf.TensorArray(inputs.dtype, num_steps, element_shape=inputs.shape[1:])
            _, d_state, d_arguments, d_inputs = tf.while_loop(
                lambda t, *_: t >= 0,
                backward,
                (tf.constant(num_steps - 1), *zeros, d_inputs),
                maximum_iterations=num_steps,
            )
            return [d_inputs.stack(), *tf.nest.flatten((d_state, d_arguments))]

        return after[0], gradient

    return run(inputs, *tf.nest.flatten((initial, parameters)))
