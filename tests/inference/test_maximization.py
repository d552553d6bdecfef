"""Gradient ascent on latents against closed forms."""

import numpy as np
import pytest
import tensorflow as tf

from tfgen.inference.maximization import maximize

CENTRE = np.array([[1.0, -2.0], [0.3, 0.0]])
START = np.array([[3.0, 3.0], [-1.0, 2.0]])


def concave(z):
    return -tf.reduce_sum([1.0, 50.0] * tf.square(z - CENTRE), axis=-1)


def test_first_step_is_the_learning_rate_uphill():
    """Adam's first step is the sign of the gradient, whatever its size; no step is the start."""
    np.testing.assert_array_equal(maximize(concave, tf.constant(START), 0, 0.1), START)
    moved = maximize(concave, tf.constant(START), 1, 0.1)
    np.testing.assert_allclose(moved, START + 0.1 * np.sign(CENTRE - START), atol=1e-6)


def test_maximum_of_a_quadratic():
    """Each row has its own; compiled and not, the same."""
    found = []
    for jit_compile in (False, True):
        ascend = tf.function(lambda z: maximize(concave, z, 400, 0.3), jit_compile=jit_compile)
        found.append(ascend(tf.constant(START)))
        np.testing.assert_allclose(found[-1], CENTRE, atol=1e-6)
        other = np.stack([START[0], np.array([70.0, 5.0])])  # the first row does not see the second
        np.testing.assert_array_equal(ascend(tf.constant(other))[0], found[-1][0])
    np.testing.assert_allclose(*found, atol=1e-9)


def test_refusals():
    with pytest.raises(ValueError, match="num_steps must be an integer >= 0"):
        maximize(concave, tf.constant(START), -1, 0.1)
    with pytest.raises(ValueError, match="learning_rate must be positive"):
        maximize(concave, tf.constant(START), 1, 0.0)
