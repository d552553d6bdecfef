"""The causal Jacobian of an autoregressive model: no leak, and no gap that is not expected."""

from typing import Any

import numpy as np
import tensorflow as tf


def dependencies(
    model: Any, condition: Any = None, num_inputs: int = 8, seed: int = 0
) -> np.ndarray:
    """|d parameters of position i / d x at position j|, `[num_positions, num_positions]`.

    The largest over random real inputs (a ReLU may be dead at one of them) and over the values of a
    position; the parameters of a position enter by a random projection.
    """
    rng = np.random.default_rng(seed)
    num_positions = int(np.prod(model.position_shape))
    highest = 1.0 if model.num_levels is None else model.num_levels - 1.0
    x = tf.constant(rng.uniform(0.0, highest, [num_inputs, *model.event_shape]), model.float_dtype)

    @tf.function
    def jacobian(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            parameters = model.parameters(x, condition)
            parameters = tf.reshape(parameters, [num_inputs, num_positions, -1])
            projection = rng.standard_normal(parameters.shape[-1])
            parameters = tf.linalg.matvec(parameters, tf.constant(projection, parameters.dtype))
        return tape.batch_jacobian(parameters, x, experimental_use_pfor=False)

    derivatives = np.abs(jacobian(x).numpy()).max(axis=0)
    return derivatives.reshape(num_positions, num_positions, -1).max(axis=-1)


def check_causal(model: Any, expected: np.ndarray | None = None, condition: Any = None) -> None:
    """Zero leak, exactly; every earlier position reached, or exactly those of `expected`.

    Args:
        model: an autoregressive model with random weights, none of them zero.
        expected: bool `[num_positions, num_positions]`; by default all earlier positions.
        condition: as for `parameters`, for 8 examples.
    """
    found = dependencies(model, condition)
    future = np.triu(np.ones_like(found, bool))
    assert found[future].max() == 0.0, f"leak: {np.argwhere(future & (found != 0))[:5]}"
    expected = ~future if expected is None else expected
    missing, extra = expected & (found == 0), ~expected & (found != 0)
    assert not missing.any(), f"{missing.sum()} not reached: {np.argwhere(missing)[:5]}"
    assert not extra.any(), f"{extra.sum()} reached unexpectedly: {np.argwhere(extra)[:5]}"
