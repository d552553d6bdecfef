"""Gated PixelCNN: causality without a blind spot, exact sums, the cached sampler."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tests.causality import check_cached_sampler, check_causal
from tests.conformance import check_model, check_sums_to_one, randomize
from tfgen.models import GatedPixelCNN
from tfgen.models.autoregressive.gated_pixelcnn import gate


def small(event_shape, num_levels, **arguments):
    """A small model with random weights, none of them zero."""
    sizes = {"filters": 6, "num_layers": 3, "kernel_size": 3, "top_filters": 6}
    model = GatedPixelCNN(event_shape, num_levels, **(sizes | arguments))
    randomize(model)
    return model


def random_images(num, event_shape, num_levels, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, num_levels, (num, *event_shape)).astype("uint8")


def test_no_leak_and_no_blind_spot():
    # 7x7 and five 3x3 layers reach every earlier pixel of a 9x9 image: 3,240 pairs.
    check_causal(small([9, 9, 1], 4, num_layers=6, filters=8, top_filters=32))


def test_colours_see_earlier_colours_of_their_own_pixel():
    check_causal(small([3, 3, 3], 4, filters=12, top_filters=48))


def test_reach_is_the_kernels():
    # With one layer of 3x3: one row up, one column to each side of it, one column to the left.
    model = small([4, 4, 1], 4, num_layers=1, first_kernel_size=3)
    row, column = (index.ravel() for index in np.indices((4, 4)))
    up, right = row[:, None] - row[None], column[None] - column[:, None]
    expected = ((up == 0) & (right == -1)) | (np.isin(up, [1, 2]) & (np.abs(right) <= 1))
    check_causal(model, expected)


def test_the_gate_keeps_colours_apart():
    # Three colours of two units each: channels f0 f1 g0 g1 of each colour.
    y = np.random.default_rng(0).standard_normal((1, 12)).astype("float32")
    by_colour = y.reshape(3, 2, 2)
    expected = np.tanh(by_colour[:, 0]) / (1.0 + np.exp(-by_colour[:, 1]))
    np.testing.assert_allclose(gate(tf.constant(y), 3)[0], expected.ravel(), rtol=1e-5)


@pytest.mark.parametrize(
    ("event_shape", "num_levels", "label"), [([2, 2, 1], 4, None), ([2, 1, 3], 3, 1)]
)
def test_sums_to_one_over_all_images(event_shape, num_levels, label):
    model = small(event_shape, num_levels, num_classes=None if label is None else 3)
    check_sums_to_one(model, label)


@pytest.mark.parametrize(
    ("event_shape", "num_levels", "num_classes"), [([4, 5, 1], 8, None), ([3, 2, 3], 4, 3)]
)
def test_the_cached_sampler_is_the_naive_one(event_shape, num_levels, num_classes):
    model = small(event_shape, num_levels, num_classes=num_classes)
    y = None if num_classes is None else np.arange(4) % 3
    check_cached_sampler(model, random_images(4, event_shape, num_levels), y)


def test_a_fresh_model_is_uniform():
    model = GatedPixelCNN([4, 5, 3], 256, filters=6, num_layers=2, top_filters=6)
    log_prob = model.log_prob(random_images(3, [4, 5, 3], 256))
    np.testing.assert_allclose(-log_prob / (60 * math.log(2.0)), 8.0, atol=1e-6)


def test_labels_act_through_both_stacks_and_through_nothing_else():
    model = small([4, 4, 1], 8, num_classes=2)
    x = random_images(4, [4, 4, 1], 8)
    first, other = model.log_prob(x, np.zeros(4, int)), model.log_prob(x, np.ones(4, int))
    assert (np.abs(first - other) > 1e-3).all()
    unconditional = small([4, 4, 1], 8)
    shifts = {id(variable) for shift in model.shifts for variable in shift.weights}
    others = [v for v in model.weights if id(v) not in shifts]
    for mine, its in zip(unconditional.weights, others, strict=True):
        mine.assign(its)
    for shift in model.shifts:
        shift.kernel.assign(tf.zeros_like(shift.kernel))
    np.testing.assert_allclose(
        model.log_prob(x, np.ones(4, int)), unconditional.log_prob(x), rtol=1e-6
    )


def test_conformance():
    arguments = {"filters": 6, "num_layers": 2, "kernel_size": 3, "top_filters": 12}
    model = GatedPixelCNN((3, 4, 3), 2, num_classes=3, **arguments)
    check_model(model, random_images(5, (3, 4, 3), 2), np.arange(5) % 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"event_shape": [8, 8]}, r"event_shape must be \(H, W, C\); received: \(8, 8\)"),
        ({"filters": 8}, "filters must be a multiple of 3; received: 8"),
        ({"kernel_size": 4}, "kernel_size must be odd; received: 4"),
        ({"num_layers": 0}, "num_layers must be an integer >= 1; received: 0"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        GatedPixelCNN(**{"event_shape": [8, 8, 3], "num_levels": 4} | arguments)
