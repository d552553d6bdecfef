"""WaveNet: exact receptive field, exact sums over all sequences, conditioning in time."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tests.causality import check_causal
from tests.conformance import all_images, check_model, check_sums_to_one, randomize
from tfgen.models import WaveNet

SIZES = {"residual_channels": 5, "dilation_channels": 6, "skip_channels": 7}


def small(length, num_levels=4, scale=0.5, **arguments):
    """A small model with random weights, none of them zero."""
    arguments = {"dilations": [1, 2], "num_stacks": 2} | SIZES | arguments
    model = WaveNet([length], num_levels, **arguments)
    randomize(model, scale=scale)
    return model


def random_sequences(num, length, num_levels=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, num_levels, (num, length)).astype("uint8")


def random_features(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


@pytest.mark.parametrize(
    ("arguments", "receptive_field"),
    [
        ({"dilations": [1, 2, 4], "num_stacks": 1}, 2 + 7),
        ({"dilations": [1, 3], "num_stacks": 2, "kernel_size": 3}, 3 + 2 * 8),
    ],
)
def test_every_conditional_sees_its_receptive_field_and_no_more(arguments, receptive_field):
    length = receptive_field + 5
    model = small(length, **arguments)
    assert model.receptive_field == receptive_field
    lag = np.arange(length)[:, None] - np.arange(length)
    check_causal(model, (lag >= 1) & (lag <= receptive_field))


def test_the_receptive_field_of_the_public_reference():
    # 5 stacks of dilations 1 to 512: 5,117 samples (github.com/ibab/tensorflow-wavenet).
    one = dict.fromkeys(SIZES, 1)
    assert WaveNet([1], 2, num_stacks=5, **one).receptive_field == 5117


@pytest.mark.parametrize(("label", "levels"), [(None, 3), (1, 2)])
def test_sums_to_one_over_all_sequences(label, levels):
    num_classes = None if label is None else 3
    check_sums_to_one(small(5 if label is None else 7, levels, num_classes=num_classes), label)


def test_sums_to_one_for_local_features():
    model = small(6, 3, num_features=2, hop_length=2)
    x = all_images([6], 3)
    log_prob = model.log_prob(x, random_features(3, 2))
    np.testing.assert_allclose(tf.reduce_sum(tf.exp(log_prob)), 1.0, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(("num_levels", "bits"), [(256, 8.0), (32, 5.0)])
def test_a_fresh_model_is_uniform(dtype, num_levels, bits):
    model = WaveNet([20], num_levels, dilations=[1, 2], num_stacks=1, **SIZES, dtype=dtype)
    log_prob = model.log_prob(random_sequences(3, 20, num_levels))
    np.testing.assert_allclose(-log_prob / (20 * math.log(2.0)), bits, atol=1e-6)


@pytest.mark.parametrize("kind", ["none", "labels", "local features"])
def test_the_cached_sampler_draws_what_the_naive_one_draws(kind):
    # The receptive field is 9 or 8 samples: every ring buffer comes round several times.
    length, y = 28, None
    arguments = {"kernel_size": 3, "num_stacks": 1}
    if kind == "labels":
        arguments, y = {"num_classes": 3}, np.arange(4) % 3
    elif kind == "local features":
        arguments, y = {"num_features": 2, "hop_length": 4}, random_features(4, 7, 2)
    model = small(length, 16, **arguments)
    given = random_sequences(4, length, 16)
    mask = np.arange(length) < 7
    arguments = {"y": y, "seed": 1, "given": given, "mask": mask}
    expected = tf.function(lambda: model.sample_naive(4, **arguments))().numpy()
    # As exported, a plain graph.
    drawn = tf.function(lambda: model.sample(4, **arguments))().numpy()
    np.testing.assert_array_equal(drawn, expected)
    np.testing.assert_array_equal(drawn[:, mask], given[:, mask])
    if kind == "labels":  # compiled
        np.testing.assert_array_equal(model.sample(4, **arguments), expected)


def test_local_features_act_on_their_own_time_and_what_hears_it():
    # A feature enters the layers at its own time; through the layers after the first it goes on,
    # as far as their dilations reach.
    hop, length, dilations = 3, 18, [1, 2, 4]
    arguments = {"dilations": dilations, "num_stacks": 1}
    model = small(length, num_features=2, hop_length=hop, **arguments)
    x = tf.constant(random_sequences(4, length))
    y = tf.constant(random_features(4, length // hop, 2))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(y)
        logits = tf.reduce_sum(tf.sin(model.parameters(x, model.condition(y, 4))), axis=-1)
    jacobian = tape.batch_jacobian(logits, y, experimental_use_pfor=False)
    found = np.abs(jacobian).max(axis=(0, 3)) > 0
    lag = np.arange(length)[:, None] - np.arange(length)
    heard = (lag >= 0) & (lag <= sum(dilations[1:]))
    expected = heard.reshape(length, -1, hop).any(axis=-1)
    np.testing.assert_array_equal(found, expected)


def test_constant_local_features_are_global_ones():
    by_time = small(12, num_features=2, hop_length=4)
    whole = small(12, num_features=2)
    whole.set_weights(by_time.get_weights())
    x, y = random_sequences(5, 12), random_features(5, 2)
    local = np.repeat(y[:, None], 3, axis=1)
    np.testing.assert_allclose(by_time.log_prob(x, local), whole.log_prob(x, y), rtol=1e-6)
    one = by_time.log_prob(x, local[0])
    np.testing.assert_allclose(one, whole.log_prob(x, np.tile(y[:1], [5, 1])), rtol=1e-6)


def test_labels_matter_only_through_their_weights():
    model, unconditional = small(12, num_classes=3), small(12)
    x, labels = random_sequences(6, 12), np.arange(6) % 3
    first, other = model.log_prob(x, labels), model.log_prob(x, (labels + 1) % 3)
    assert (np.abs(first - other) > 1e-3).all()
    model.shifts.kernel.assign(tf.zeros_like(model.shifts.kernel))
    for mine, its in zip(
        unconditional.layers, [m for m in model.layers if m != model.shifts], strict=True
    ):
        mine.set_weights(its.get_weights())
    np.testing.assert_allclose(model.log_prob(x, labels), unconditional.log_prob(x), rtol=1e-6)


def test_another_length_continues_the_same_process():
    # The likelihood of a beginning is that of the whole, cut off.
    model = small(10)
    short = model.at_length(6)
    x = random_sequences(5, 10)
    by_sample = model.conditionals(x).log_prob(tf.cast(x, "float32"))
    expected = tf.reduce_sum(by_sample[:, :6], axis=1)
    np.testing.assert_allclose(short.log_prob(x[:, :6]), expected, rtol=1e-5)
    drawn = model.at_length(30).sample(2, seed=0)
    assert drawn.shape == (2, 30)
    np.testing.assert_array_equal(drawn[:, :10], model.sample(2, seed=0))


def test_conformance():
    model = WaveNet(
        [12],
        5,
        num_features=2,
        hop_length=3,
        dilations=[1, 2],
        num_stacks=2,
        kernel_size=3,
        **SIZES,
    )
    check_model(model, random_sequences(5, 12, 5), random_features(5, 4, 2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"event_shape": [8, 1]}, r"event_shape must be \(T,\); received: \(8, 1\)"),
        ({"num_levels": None}, "num_levels must be an integer >= 2; received: None"),
        ({"dilations": []}, r"dilations must be not empty; received: \[\]"),
        ({"dilations": [0]}, "dilation must be an integer >= 1; received: 0"),
        ({"num_stacks": 0}, "num_stacks must be an integer >= 1; received: 0"),
        ({"kernel_size": 0}, "kernel_size must be an integer >= 1; received: 0"),
        ({"skip_channels": 0}, "skip_channels must be an integer >= 1; received: 0"),
        ({"hop_length": 2}, "hop_length must be None where num_features is None; received: 2"),
        (
            {"hop_length": 3, "num_features": 1},
            "hop_length must be a divisor of T = 8; received: 3",
        ),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        WaveNet(**{"event_shape": [8]} | arguments)


def test_refuses_local_features_of_another_length():
    model = small(12, num_features=2, hop_length=4)
    x = random_sequences(5, 12)
    for y in (random_features(5, 2), random_features(5, 12, 2), np.zeros(5, "int32")):
        with pytest.raises(ValueError, match=r"y must be features of shape \['B', 3, 2\]"):
            model.log_prob(x, y)
