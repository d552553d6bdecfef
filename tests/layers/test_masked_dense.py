"""The masked network of MADE: degrees, dependence by autodiff, and the pass value by value."""

import numpy as np
import pytest
import tensorflow as tf

from tests.conformance import randomize
from tfgen.layers import IncrementalPass, MaskedDense, MaskedMLP
from tfgen.layers.masked_dense import hidden_degrees, input_degrees


def test_degrees():
    np.testing.assert_array_equal(input_degrees(4), [1, 2, 3, 4])
    np.testing.assert_array_equal(input_degrees(4, "reversed"), [4, 3, 2, 1])
    np.testing.assert_array_equal(np.sort(input_degrees(9, "random")), np.arange(1, 10))
    first, second = hidden_degrees(4, [7, 2])
    np.testing.assert_array_equal(first, [1, 2, 3, 1, 2, 3, 1])
    np.testing.assert_array_equal(second, [1, 2])
    np.testing.assert_array_equal(hidden_degrees(1, [2])[0], [0, 0])
    np.testing.assert_array_equal(hidden_degrees(1, [2], "random")[0], [0, 0])
    layers = hidden_degrees(50, [3, 200], "random")
    assert layers[0].min() <= layers[1].min()  # else a unit would see nothing
    assert layers[1].max() == 49
    assert len(np.unique(layers[1])) > 30


def test_random_degrees_never_change():
    # A saved model holds its arguments and not its masks.
    np.testing.assert_array_equal(input_degrees(6, "random", [0, 1, 0]), [4, 1, 5, 6, 2, 3])
    (degrees,) = hidden_degrees(6, [8], "random", [0, 1, 1])
    np.testing.assert_array_equal(degrees, [4, 4, 1, 4, 1, 3, 5, 5])


def test_masked_dense_is_the_masked_product():
    rng = np.random.default_rng(0)
    layer = MaskedDense(3)
    x, mask = rng.standard_normal((5, 4)).astype("float32"), rng.random((4, 3)) < 0.5
    layer(x, mask)
    randomize(layer)
    kernel, bias = layer.get_weights()
    np.testing.assert_allclose(layer(x, mask), x @ (kernel * mask) + bias, rtol=1e-5, atol=1e-6)
    # What stands under the mask has no effect at all, and gets no gradient.
    expected = layer(x, mask)
    layer.kernel.assign(np.where(mask, kernel, 1e30))
    np.testing.assert_array_equal(layer(x, mask), expected)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x, mask) ** 2)
    assert (tape.gradient(loss, layer.kernel.value).numpy()[~mask] == 0.0).all()


def network(num_values=6, num_outputs=2, units=(10, 12), condition_size=0, **arguments):
    """With random weights, smooth, so that no unit is dead."""
    made = MaskedMLP(
        num_values,
        num_outputs,
        units,
        activation="tanh",
        condition_size=condition_size,
        **arguments,
    )
    made.build((None, num_values))
    randomize(made, scale=0.5)
    return made


def inputs(made, num=5, seed=0):
    rng = np.random.default_rng(seed)
    x = tf.constant(rng.standard_normal((num, made.num_values)), made.compute_dtype)
    condition = tf.constant(rng.standard_normal((num, made.condition_size)), made.compute_dtype)
    return x, condition if made.condition_size else None


def dependence(made, mask_index):
    """Which value's outputs depend on which value, both by their places in the order."""
    x, condition = inputs(made)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        parameters = made(x, condition, mask_index=mask_index)
    jacobian = tape.batch_jacobian(parameters, x, experimental_use_pfor=False)
    found = np.abs(jacobian.numpy()).max(axis=(0, 2)) > 0.0
    order = made.order(mask_index).numpy()
    return found[np.ix_(order, order)]


def paths(made, mask_index, direct):
    """The same from the degrees alone."""
    values, *hidden = (degrees.numpy() for degrees in made.degrees(mask_index))
    reached = np.eye(made.num_values, dtype=bool)
    below = values
    for degrees in hidden:
        reached = reached @ (below[:, None] <= degrees)
        below = degrees
    reached = reached @ (below[:, None] < values)
    if direct:
        reached |= values[:, None] < values
    order = np.argsort(values)
    return reached[np.ix_(order, order)].T


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"order": "reversed"},
        {"order": "random", "direct": True},
        {"order": "random", "num_masks": 3, "condition_size": 2},
        {"units": (5,)},
        {"units": ()},
        {"units": (2, 9, 3), "direct": True, "degrees": "random", "num_masks": 2},
    ],
)
def test_every_output_sees_all_earlier_values_and_no_other(arguments):
    made = network(**arguments)
    for mask_index in range(made.num_masks):
        strictly_lower = np.tri(6, k=-1, dtype=bool)
        np.testing.assert_array_equal(dependence(made, mask_index), strictly_lower)


def test_random_degrees_lose_what_their_paths_lose_and_no_more():
    made = network(units=(4, 5), order="random", degrees="random", num_masks=4)
    lost = 0
    for mask_index in range(4):
        expected = paths(made, mask_index, direct=False)
        np.testing.assert_array_equal(dependence(made, mask_index), expected)
        lost += np.tri(6, k=-1).sum() - expected.sum()
    assert lost > 0


def test_masks_differ_and_follow_the_seed():
    arguments = {"order": "random", "degrees": "random", "num_masks": 2}
    tables = [network(mask_seed=seed, **arguments).degrees(m) for seed in (0, 1) for m in (0, 1)]
    for layer in range(3):
        assert len({tuple(table[layer].numpy()) for table in tables}) == 4


def test_outputs_flip_with_their_own_value_never():
    # All weights one: what is not masked counts fully.
    made = network(units=(8,), order="random", direct=True)
    made.set_weights([np.ones_like(weight) for weight in made.get_weights()])
    x = np.random.default_rng(0).integers(0, 2, (1, 6)).astype("float32")
    expected = made(x).numpy()
    for value in range(6):
        flipped = np.array(x)
        flipped[:, value] = 1.0 - flipped[:, value]
        np.testing.assert_array_equal(made(flipped)[:, value], expected[:, value])


def test_a_condition_reaches_every_output_and_vanishes_with_its_weights():
    made = network(condition_size=3, order="random")
    x, condition = inputs(made)
    changes = np.abs(made(x, condition + 1.0) - made(x, condition)).max(axis=(0, 2))
    assert (changes > 1e-3).all()
    for shift in made.shifts:
        shift.kernel.assign(tf.zeros_like(shift.kernel))
    plain = network(order="random")
    for mine, its in zip([*plain.hidden, plain.outputs], [*made.hidden, made.outputs], strict=True):
        mine.set_weights(its.get_weights())
    np.testing.assert_array_equal(made(x, condition), plain(x))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "arguments",
    [
        {"units": ()},
        {"order": "reversed", "units": (3,)},
        {"order": "random", "direct": True, "condition_size": 2},
        {"order": "random", "degrees": "random", "num_masks": 2, "units": (17, 4)},
        {"num_values": 1, "condition_size": 2, "direct": True},
    ],
)
def test_value_by_value_equals_the_full_pass(arguments, dtype):
    made = network(dtype=dtype, **arguments)
    tolerance = 1e-6 if dtype == "float32" else 1e-14
    x, condition = inputs(made)
    for mask_index in range(made.num_masks):
        steps = IncrementalPass(made, condition, tf.constant(mask_index))
        expected = made(x, condition, mask_index=mask_index)
        state, previous = steps.initial_state(5), tf.fill([5], tf.cast(np.nan, dtype))
        for place, value in enumerate(made.order(mask_index)):
            parameters, state = steps.step(tf.constant(place), previous, state)
            np.testing.assert_allclose(parameters, expected[:, value], atol=tolerance)
            previous = x[:, value]
        layers = made.activations(x, condition, mask_index)
        assert len(state) == len(layers)
        for layer, (found, hidden) in enumerate(zip(state[1:], layers[1:], strict=True), start=1):
            by_degree = np.argsort(made.degrees(mask_index)[layer], kind="stable")
            expected_layer = np.transpose(hidden)[by_degree]
            np.testing.assert_allclose(found, expected_layer, atol=tolerance)


def test_all_values_together_cost_about_one_pass():
    # Rows of the kernels that D steps multiply with, against those there are.
    made = network(num_values=20, units=(57, 190))
    steps = IncrementalPass(made, None)
    for (_, size), layer in zip(steps.windows, made.hidden, strict=True):
        assert 20 * size < 1.1 * layer.units


def test_dropout_acts_in_training_only():
    made = network(dropout=0.5)
    x, _ = inputs(made)
    np.testing.assert_array_equal(made(x), made(x))
    assert not np.allclose(made(x, training=True), made(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_values": 0}, "num_values must be an integer >= 1; received: 0"),
        ({"num_outputs": 0}, "num_outputs must be an integer >= 1; received: 0"),
        ({"units": (3, 0)}, "units must be an integer >= 1; received: 0"),
        ({"order": "raster"}, "order must be one of 'natural', 'reversed', 'random'; received"),
        ({"degrees": "uniform"}, "degrees must be one of 'sequential', 'random'; received"),
        ({"num_masks": 0}, "num_masks must be an integer >= 1; received: 0"),
        ({"num_masks": 2}, "num_masks must be 1 where order and degrees are not random"),
        ({"condition_size": -1}, "condition_size must be an integer >= 0; received: -1"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\); received: 1.0"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        network(**arguments)
