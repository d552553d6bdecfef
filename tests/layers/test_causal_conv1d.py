"""The causal convolution against its sum written out, and its steps against the whole."""

import numpy as np
import pytest
import tensorflow as tf

from tests.conformance import randomize
from tfgen.layers import CausalConv1D


def make(channels=3, **arguments):
    layer = CausalConv1D(4, **arguments)
    layer.build((None, None, channels))
    randomize(layer)
    return layer


def sequence(length, channels=3, seed=0):
    return np.random.default_rng(seed).standard_normal((2, length, channels)).astype("float32")


def steps(layer, x, jit_compile):
    """The outputs at all times, one step at a time from the initial state."""

    @tf.function(jit_compile=jit_compile)
    def scan(x):
        def body(t, state, outputs):
            y, state = layer.step(x[:, t : t + 1], state)
            return t + 1, state, outputs.write(t, y[:, 0])

        outputs = tf.TensorArray("float32", x.shape[1], element_shape=[2, 4])
        loop = (tf.constant(0), layer.initial_state(2), outputs)
        outputs = tf.while_loop(lambda t, *_: t < x.shape[1], body, loop)[2]
        return tf.transpose(outputs.stack(), [1, 0, 2])

    return scan(tf.constant(x)).numpy()


@pytest.mark.parametrize(
    ("kernel_size", "dilation", "delay"), [(1, 1, 0), (1, 1, 3), (2, 8, 0), (3, 4, 0), (3, 2, 1)]
)
def test_the_sum_written_out(kernel_size, dilation, delay):
    layer = make(kernel_size=kernel_size, dilation=dilation, delay=delay)
    x = sequence(20)
    expected = np.zeros((2, 20, 4)) + layer.bias.numpy()
    for t in range(20):
        for j in range(kernel_size):
            past = t - delay - (kernel_size - 1 - j) * dilation
            if past >= 0:
                expected[:, t] += x[:, past] @ layer.kernel.numpy()[j]
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "jit_compile"),
    [
        ({"kernel_size": 2, "dilation": 8}, False),
        ({"kernel_size": 3, "dilation": 4, "delay": 1}, False),
        ({"kernel_size": 3, "dilation": 4, "delay": 1}, True),
        ({"kernel_size": 1}, False),
    ],
)
def test_steps_equal_the_whole(arguments, jit_compile):
    # Three times what the layer reaches: the ring buffer comes round three times.
    layer = make(**arguments)
    reach = layer.ages[0] + 1
    x = sequence(3 * reach + 2)
    whole = layer(x).numpy()
    np.testing.assert_allclose(steps(layer, x, jit_compile), whole, atol=1e-5)
    # Begun late, from zeros, steps agree once they have seen what the layer reaches.
    late = steps(layer, x[:, 5:], jit_compile)
    np.testing.assert_allclose(late[:, reach - 1 :], whole[:, 5 + reach - 1 :], atol=1e-5)
    if reach > 1:
        assert np.abs(late[:, reach - 2] - whole[:, 5 + reach - 2]).max() > 1e-3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filters": 0}, "filters must be an integer >= 1; received: 0"),
        ({"kernel_size": 0}, "kernel_size must be an integer >= 1; received: 0"),
        ({"dilation": 0}, "dilation must be an integer >= 1; received: 0"),
        ({"delay": -1}, "delay must be an integer >= 0; received: -1"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        CausalConv1D(**{"filters": 4} | arguments)
