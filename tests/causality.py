"""What every autoregressive network owes: its causal Jacobian, a sampler equal to the oracle."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfgen.layers.causal import fixed_kernels
from tfgen.models.autoregressive.passes import Raster


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


def stepwise_parameters(model: Any, x: np.ndarray, y: Any = None) -> np.ndarray:
    """`parameters` of given data, one position after the other by the layers' steps.

    For colours inside a pixel: with those not reached yet at zero.
    """
    condition = model.condition(y, len(x))
    steps = Raster(model, tf.zeros(x.shape, x.dtype), condition)
    is_line = x.ndim == 2
    rows = x[:, None] if is_line else x
    colours = x.shape[-1] if len(model.position_shape) == 3 else 1
    found = []
    with fixed_kernels(model):
        memory = steps.initial_memory()
        for row in range(rows.shape[1]):
            line = steps.row(tf.constant(row), memory)
            state = line.initial_state()
            for column in range(rows.shape[2]):
                pixel = line.column(tf.constant(column), state)
                x_t = x[:, column : column + 1] if is_line else x[:, row, None, column, None]
                for colour in range(colours):
                    seen = x_t if is_line else x_t * (np.arange(x.shape[-1]) < colour)
                    parameters = pixel.parameters(tf.constant(seen.astype(x.dtype)))
                    parameters = tf.reshape(parameters, [len(x), colours, -1])
                    found.append(parameters[:, colour].numpy())
                state = pixel.remember(tf.constant(x_t))
            memory = line.remember(tf.constant(x if is_line else x[:, row, None]), state)
    return np.stack(found, axis=1)


def check_cached_sampler(model: Any, x: np.ndarray, y: Any = None) -> None:
    """Step by step, the parameters at every position are those of one pass over the whole data;
    and the compiled sampler and the plain graph of an export draw what the naive one draws.

    Args:
        model: an autoregressive model with random weights, none of them zero.
        x: data, by which each step is conditioned in turn.
        y: labels.
    """
    whole = model.parameters(tf.constant(x), model.condition(y, len(x)))
    whole = tf.reshape(whole, [len(x), -1, whole.shape[-1]])
    np.testing.assert_allclose(stepwise_parameters(model, x, y), whole, atol=1e-5, rtol=1e-5)
    naive = model.sample_naive(len(x), y, seed=3)
    assert len(np.unique(naive)) > 1
    np.testing.assert_array_equal(model.sample(len(x), y, seed=3), naive)
    graph = tf.function(lambda num, seed: model.sample(num, y, seed))
    np.testing.assert_array_equal(graph(tf.constant(len(x)), tf.constant([0, 3])), naive)
