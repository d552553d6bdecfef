import numpy as np
import pytest
import tensorflow as tf

from tests.conformance import check_bijector, randomize
from tfgen.bijectors import Chain, ChannelCoupling, InvertibleConv1x1, Recompute
from tfgen.bijectors.actnorm import ActNorm
from tfgen.layers import ResidualNetwork


def step():
    network = ResidualNetwork(4, filters=4, num_blocks=1, dtype="float64")
    coupling = ChannelCoupling(network, 1, dtype="float64")
    norm, conv = ActNorm(dtype="float64"), InvertibleConv1x1(dtype="float64")
    return Chain([norm, conv, coupling], dtype="float64")


@pytest.fixture(params=[False, True], ids=["alone", "conditional"])
def pair(request):
    """A chain of two steps, plain and wrapped, of the same weights; inputs of both."""
    x = np.random.default_rng(0).standard_normal((3, 2, 2, 4))
    inputs = [x, np.random.default_rng(1).standard_normal((3, 2))] if request.param else [x]
    steps = [step(), step()]
    plain = Chain(steps, dtype="float64")
    plain(*inputs)
    randomize(plain)
    wrapped = Chain([Recompute(s, dtype="float64") for s in steps], dtype="float64")
    return plain, wrapped, [tf.constant(value) for value in inputs]


def values_and_gradients(layer, direction, inputs):
    """Of the variables by their paths, as a wrapper may list them in another order."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value, log_det = getattr(layer, f"{direction}_and_log_det")(*inputs)
        loss = tf.reduce_sum(tf.sin(value)) + tf.reduce_sum(tf.square(log_det))
    sources = {v.path: v.value for v in layer.trainable_variables}
    sources |= {f"input_{i}": x for i, x in enumerate(inputs)}
    return {"value": value, "log_det": log_det, **tape.gradient(loss, sources)}


@pytest.mark.parametrize("direction", ["inverse", "forward"])
def test_same_values_and_gradients(pair, direction):
    plain, wrapped, inputs = pair
    wrapped(*inputs)  # builds the wrappers
    expected = values_and_gradients(plain, direction, inputs)
    assert all(np.any(value != 0) for value in expected.values())
    in_graph = tf.function(lambda *inputs: values_and_gradients(wrapped, direction, list(inputs)))
    for received in (values_and_gradients(wrapped, direction, inputs), in_graph(*inputs)):
        assert set(received) == set(expected)
        for name, value in received.items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-9, atol=1e-11, err_msg=name)


def test_bijector_and_initialisation(pair):
    plain, wrapped, inputs = pair
    check_bijector(wrapped, *inputs)
    np.testing.assert_allclose(wrapped.initialize(*inputs), plain(*inputs)[0], rtol=1e-12)
