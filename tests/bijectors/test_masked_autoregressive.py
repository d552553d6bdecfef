import numpy as np
import pytest
import tensorflow as tf

from tests.conformance import check_bijector, randomize
from tfgen.bijectors import (
    AffineTransformer,
    GatedTransformer,
    Invert,
    LocationScaleTransformer,
    MaskedAutoregressive,
    RationalQuadraticSplineTransformer,
)
from tfgen.layers import MaskedMLP


def step(shape=(4,), transformer=None, condition_size=0, dtype="float64", scale=0.5, **arguments):
    """With random weights; smooth units, so that none is dead."""
    transformer = LocationScaleTransformer(dtype=dtype) if transformer is None else transformer
    network = MaskedMLP(
        int(np.prod(shape)),
        transformer.num_parameters,
        **{"units": (7, 6), "activation": "tanh"} | arguments,
        condition_size=condition_size,
        dtype=dtype,
    )
    layer = MaskedAutoregressive(network, transformer, dtype=dtype)
    condition = np.zeros((1, condition_size)) if condition_size else None
    layer(np.zeros((1, *shape)), condition)
    randomize(layer, scale=scale)
    return layer


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def oracle(layer, z, condition=None):
    """x and log-determinant by one whole pass of the network for each value."""
    z = tf.constant(z) if not tf.is_tensor(z) else z
    flat = tf.reshape(z, [len(z), -1])
    columns, log_slopes = [tf.zeros_like(flat[:, :1])] * flat.shape[1], []
    for value in layer.network.order().numpy():
        parameters = layer.network(tf.concat(columns, 1), condition)[:, value]
        columns[value], log_slope = layer.transformer.forward(
            flat[:, value : value + 1], tf.cast(parameters, z.dtype)
        )
        log_slopes.append(log_slope)
    return tf.reshape(tf.concat(columns, 1), z.shape), tf.add_n(log_slopes)[:, 0]


CASES = [
    {},
    {"order": "random", "condition_size": 2, "direct": True},
    {"shape": (2, 1, 2), "order": "reversed", "degrees": "random", "units": (9,)},
    {"shape": (1,), "condition_size": 2},
    {"shape": (3,), "transformer": AffineTransformer},
    {"shape": (3,), "transformer": GatedTransformer, "order": "reversed"},
    {"shape": (2,), "transformer": RationalQuadraticSplineTransformer},
]


def made(case):
    case = dict(case)
    if "transformer" in case:
        case["transformer"] = case["transformer"](dtype="float64")
    layer = step(**case)
    shape = case.get("shape", (4,))
    condition = normal(3, 2, seed=1) if "condition_size" in case else None
    return layer, normal(3, *shape), condition


@pytest.mark.parametrize("case", CASES)
def test_bijector_and_oracle(case):
    layer, z, condition = made(case)
    check_bijector(layer, z, condition)
    x, log_det = layer.forward_and_log_det(z, condition)
    expected, expected_log_det = oracle(layer, z, condition)
    np.testing.assert_allclose(x, expected, atol=1e-12)
    np.testing.assert_allclose(log_det, expected_log_det, atol=1e-12)


def test_the_same_in_a_graph_and_compiled():
    layer, z, condition = made(CASES[1])
    expected, expected_log_det = oracle(layer, z, condition)
    for compiled in (False, True):
        specs = [tf.TensorSpec([None, 4], tf.float64), tf.TensorSpec([None, 2], tf.float64)]
        if compiled:  # a static batch size on one side only
            specs[0] = tf.TensorSpec([3, 4], tf.float64)
        function = tf.function(layer.forward_and_log_det, specs, jit_compile=compiled)
        x, log_det = function(z, condition)
        np.testing.assert_allclose(x, expected, atol=1e-12)
        np.testing.assert_allclose(log_det, expected_log_det, atol=1e-12)


def test_sampling_never_runs_the_whole_network(monkeypatch):
    layer, z, _ = made({})
    expected, _ = oracle(layer, z)

    def refuse(*args, **kwargs):
        raise AssertionError("a whole pass")

    monkeypatch.setattr(layer.network, "call", refuse)
    np.testing.assert_allclose(layer.forward_and_log_det(z)[0], expected, atol=1e-12)


def test_gradients_of_sampling_are_those_of_the_oracle():
    layer, z, condition = made(CASES[1])
    z = tf.constant(z)
    kernels = [layer.network.hidden[0].kernel.value, layer.network.outputs.kernel.value]
    gradients = []
    for function in (layer.forward_and_log_det, lambda *args: oracle(layer, *args)):
        with tf.GradientTape() as tape:
            tape.watch(z)
            x, log_det = function(z, condition)
            loss = tf.reduce_sum(x**2) + tf.reduce_sum(log_det)
        gradients.append(tape.gradient(loss, [z, *kernels]))
    for mine, its in zip(*gradients, strict=True):
        np.testing.assert_allclose(mine, its, atol=1e-10)
        assert np.abs(its).max() > 1e-2


@pytest.mark.parametrize("order", ["natural", "reversed", "random"])
def test_jacobian_is_triangular_in_the_order_with_the_scales_on_the_diagonal(order):
    layer = step((5,), order=order, units=(9, 8))
    x = tf.constant(normal(3, 5))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        u, log_det = layer(x)
    jacobian = tape.batch_jacobian(u, x, experimental_use_pfor=False).numpy()
    places = layer.network.order().numpy()
    jacobian = jacobian[:, places][:, :, places]
    assert (jacobian[:, ~np.tri(5, dtype=bool)] == 0.0).all()
    assert (np.abs(jacobian[:, np.tri(5, k=-1, dtype=bool)]).max(0) > 1e-4).all()
    raw, location = layer.network(x).numpy().transpose(2, 0, 1)
    alpha = 7.0 * np.tanh(raw / 7.0)
    diagonal = np.diagonal(jacobian, axis1=1, axis2=2)
    np.testing.assert_allclose(diagonal, np.exp(-alpha)[:, places], rtol=1e-12)
    np.testing.assert_allclose(log_det, -alpha.sum(1), rtol=1e-12)
    np.testing.assert_allclose(u, (x - location) * np.exp(-alpha), rtol=1e-12)


def test_rows_do_not_see_each_other():
    layer, z, condition = made(CASES[1])
    for function in (layer.forward_and_log_det, layer.inverse_and_log_det):
        value, log_det = function(z, condition)
        for row in range(3):
            one = function(z[row : row + 1], condition[row : row + 1])
            np.testing.assert_allclose(one[0][0], value[row], atol=1e-13)
            np.testing.assert_allclose(one[1][0], log_det[row], atol=1e-13)


def test_inverse_autoregressive_flow_updates_by_gates():
    layer = Invert(step(transformer=GatedTransformer(forget_bias=1.0)), dtype="float64")
    z = normal(3, 4)
    updated, log_det = layer.forward_and_log_det(z)
    s, m = layer.bijector.network(z).numpy().transpose(2, 0, 1)
    gate = 1.0 / (1.0 + np.exp(-7.0 * np.tanh(s / 7.0) - 1.0))
    np.testing.assert_allclose(updated, gate * z + (1.0 - gate) * m, rtol=1e-12)
    np.testing.assert_allclose(log_det, np.log(gate).sum(1), rtol=1e-12)
    np.testing.assert_allclose(layer.inverse_and_log_det(updated)[0], z, atol=1e-11)


def test_tails():
    """Networks are linear far out and log-scales bounded: finite, and the inverse holds."""
    for activation in ("relu", "tanh"):
        layer = step(activation=activation)
        x = 1e3 * normal(5, 4)
        z, log_det = layer(x)
        assert np.isfinite(log_det).all()
        np.testing.assert_allclose(layer.forward_and_log_det(z)[0], x, rtol=1e-6, atol=1e-6)


def test_16_bit_networks_give_float32_values():
    layer = step(dtype="mixed_bfloat16", scale=0.2)
    z = normal(3, 4).astype("float32")
    x, log_det = layer.forward_and_log_det(z)
    again, inverse_log_det = layer(x)
    assert {x.dtype, log_det.dtype, again.dtype, inverse_log_det.dtype} == {tf.float32}
    np.testing.assert_allclose(again, z, atol=0.1)


def test_refusals():
    with pytest.raises(ValueError, match="network must be of 2 outputs a value; received: 3"):
        MaskedAutoregressive(MaskedMLP(4, 3, (5,)))
    layer = MaskedAutoregressive(MaskedMLP(4, 2, (5,)))
    with pytest.raises(ValueError, match="network must be of 6 values; received: 4"):
        layer(np.zeros((1, 6)))
    with pytest.raises(ValueError, match="network must be of condition_size 2; received: 0"):
        layer(np.zeros((1, 4)), np.zeros((1, 2)))


def test_arguments_survive_serialisation():
    transformer = RationalQuadraticSplineTransformer(num_bins=3)
    layer = MaskedAutoregressive(MaskedMLP(4, 8, (5,), order="reversed"), transformer)
    again = MaskedAutoregressive.from_config(layer.get_config())
    np.testing.assert_array_equal(again.network.order(), [3, 2, 1, 0])
    assert again.transformer.num_bins == 3
