"""PixelCNN++: exact field of view, exact sums, both samplers, initialisation, another's code."""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.causality import check_cached_sampler, check_causal
from tests.conformance import check_model, check_sums_to_one, randomize
from tests.models import pixelcnn_pp_port as port
from tests.models.test_pixelcnn import check_frequencies, exact_probabilities, index_of
from tfgen.layers.weight_norm import WeightNorm
from tfgen.models import PixelCNNPP


def small(event_shape, num_levels, scale=0.3, **arguments):
    """A small model with random weights, none of them zero."""
    sizes = {"filters": 4, "num_blocks": 1, "num_mixtures": 2, "num_scales": 2, "dropout": 0.0}
    model = PixelCNNPP(event_shape, num_levels, **(sizes | arguments))
    randomize(model, scale=scale)
    return model


def random_images(num, event_shape, num_levels, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, num_levels, (num, *event_shape)).astype("uint8")


def weight_normed(model):
    return [layer for layer in model._flatten_layers() if isinstance(layer, WeightNorm)]


# ---------------------------------------------------------------------- causality


def shifted(reach, up, left):
    """What the pixel `up` rows above and `left` columns to the left reaches, `[H, W, *]`."""
    height, width, _ = reach.shape
    padded = np.pad(reach, [(up, 0), (max(left, 0), max(-left, 0)), (0, 0)])
    return padded[:height, max(-left, 0) :][:, :width]


def convolved(reach, ups, lefts):
    return np.any([shifted(reach, up, left) for up in ups for left in lefts], axis=0)


def reached_pixels(height, width, num_blocks, num_scales):
    """Which pixels a pixel's parameters can depend on, `[H * W, H * W]`.

    Sets of pixels in place of features, through the network as the paper draws it: two stacks,
    pushed on the way to the lowest resolution and popped on the way back.
    """

    def down(reach):
        return convolved(reach, [0, 1], [-1, 0, 1])

    def down_right(reach):
        return convolved(reach, [0, 1], [0, 1])

    def block(x, aux, convolution):
        return x | convolution(convolution(x) | aux)

    def grow(reach, sees_right):
        blocks = np.kron(reach, np.ones((2, 2, 1), bool))
        if sees_right:
            right = np.kron(shifted(reach, 0, -1), np.ones((2, 2, 1), bool))
            blocks[:, 1::2] |= right[:, 1::2]
        return blocks

    own = np.eye(height * width, dtype=bool).reshape(height, width, -1)
    us = [shifted(down(own), 1, 0)]
    above, left = convolved(own, [0], [-1, 0, 1]), convolved(own, [0, 1], [0])
    uls = [shifted(above, 1, 0) | shifted(left, 0, 1)]
    for scale in range(num_scales):
        if scale:
            us.append(down(us[-1])[::2, ::2])
            uls.append(down_right(uls[-1])[::2, ::2])
        for _ in range(num_blocks):
            us.append(block(us[-1], False, down))
            uls.append(block(uls[-1], us[-1], down_right))
    u, ul = us.pop(), uls.pop()
    for scale in reversed(range(num_scales)):
        for _ in range(num_blocks + (scale < num_scales - 1)):
            u = block(u, us.pop(), down)
            ul = block(ul, u | uls.pop(), down_right)
        if scale:
            u, ul = grow(u, sees_right=True), grow(ul, sees_right=False)
    assert not us and not uls
    return ul.reshape(height * width, height * width)


@pytest.mark.parametrize(("num_blocks", "missing"), [(1, 720), (2, 240), (5, 0)])
def test_reach_on_16x16_at_three_scales(num_blocks, missing):
    # Of the 32,640 pairs of a pixel and an earlier one.
    reached = reached_pixels(16, 16, num_blocks, num_scales=3)
    assert not np.triu(reached).any()
    assert 256 * 255 // 2 - reached.sum() == missing


@pytest.mark.parametrize(
    ("event_shape", "num_scales", "missing"),
    [([4, 8, 1], 1, 36), ([6, 8, 3], 2, 6), ([8, 8, 1], 3, 8)],
)
def test_causal_jacobian(event_shape, num_scales, missing):
    height, width, _ = event_shape
    num_pixels = height * width
    expected = reached_pixels(height, width, num_blocks=1, num_scales=num_scales)
    assert num_pixels * (num_pixels - 1) // 2 - expected.sum() == missing
    check_causal(small(event_shape, 256, num_scales=num_scales), expected)


@pytest.mark.parametrize(
    ("coefficient", "pair"),
    [(0, (0, 1)), (1, (0, 2)), (2, (1, 2))],
    ids=["2 on 1", "3 on 1", "3 on 2"],
)
def test_colours_of_a_pixel_depend_on_each_other_through_the_coefficients_only(coefficient, pair):
    # With one component, log p is a sum of terms of one colour each but for the pair that the
    # coefficient couples: the second difference over two other colours is zero. At the last
    # pixel, whose colours nothing else sees.
    model = small([2, 2, 3], 16, num_mixtures=1)
    keep = np.ones(10, "float32")
    keep[7:] = 0.0
    keep[7 + coefficient] = 1.0
    model.head.length.assign(keep * model.head.length)
    model.head.bias.assign(keep * model.head.bias)
    for first, second in [(0, 1), (0, 2), (1, 2)]:
        x = np.repeat(random_images(1, [2, 2, 3], 16), 4, axis=0)
        x[:, 1, 1, first], x[:, 1, 1, second] = [4, 11, 4, 11], [6, 6, 9, 9]
        log_prob = model.log_prob(x).numpy()
        difference = log_prob[0] - log_prob[1] - log_prob[2] + log_prob[3]
        assert (abs(difference) > 1e-3) == ((first, second) == pair)


# ---------------------------------------------------------------------- probabilities


@pytest.mark.parametrize(
    ("event_shape", "num_levels", "num_scales", "label"),
    [([2, 2, 1], 4, 2, None), ([2, 2, 1], 4, 1, 2), ([2, 1, 3], 3, 1, None)],
)
def test_sums_to_one_over_all_images(event_shape, num_levels, num_scales, label):
    num_classes = None if label is None else 3
    model = small(event_shape, num_levels, num_scales=num_scales, num_classes=num_classes)
    check_sums_to_one(model, label)


@pytest.mark.parametrize(
    ("event_shape", "num_levels", "num_scales", "label"),
    [([2, 2, 1], 4, 2, None), ([1, 2, 3], 2, 1, 2)],
)
def test_samples_follow_the_exact_probabilities(event_shape, num_levels, num_scales, label):
    num_classes = None if label is None else 3
    model = small(event_shape, num_levels, 0.6, num_scales=num_scales, num_classes=num_classes)
    x, probabilities = exact_probabilities(model, label)
    assert probabilities.max() > 3.0 / len(x)  # far enough from uniform to tell
    drawn = model.sample_naive(20_000, label, seed=0)
    counts = np.bincount(index_of(drawn, num_levels), minlength=len(x))
    check_frequencies(counts, probabilities)


def test_completion_follows_the_exact_conditional():
    # With the first row kept, the second is drawn from p(second row | first row).
    model = small([2, 2, 1], 4)
    x, probabilities = exact_probabilities(model)
    given = np.array([[3, 1], [0, 0]], "uint8").reshape(1, 2, 2, 1)
    agrees = (x == given)[:, 0].all(axis=(1, 2))
    conditional = np.where(agrees, probabilities, 0.0) / probabilities[agrees].sum()
    mask = np.array([[True, True], [False, False]])
    drawn = model.sample_naive(20_000, seed=1, given=given, mask=mask)
    counts = np.bincount(index_of(drawn, 4), minlength=len(x))
    assert counts[~agrees].sum() == 0
    check_frequencies(counts, conditional)


# ---------------------------------------------------------------------- the cached sampler


def test_the_cached_sampler_is_the_naive_one_at_three_scales():
    # Even and odd rows of each resolution.
    check_cached_sampler(small([8, 4, 1], 256, num_scales=3), random_images(3, [8, 4, 1], 256))


def test_the_cached_sampler_of_colours_with_classes_temperature_and_completion():
    model = small([4, 6, 3], 256, num_classes=3)
    x, y = random_images(3, [4, 6, 3], 256), np.array([2, 0, 1])
    check_cached_sampler(model, x, y)

    mask = np.random.default_rng(1).random([4, 6]) < 0.5
    drawn = model.sample(3, y, seed=0, given=x, mask=mask, temperature=0.5).numpy()
    naive = model.sample_naive(3, y, seed=0, given=x, mask=mask, temperature=0.5)
    np.testing.assert_array_equal(drawn, naive)
    np.testing.assert_array_equal(drawn[:, mask], x[:, mask])
    assert (drawn[:, ~mask] == x[:, ~mask]).mean() < 0.2
    # What stands at the other pixels of `given` cannot matter; labels and temperature do.
    other = np.where(mask[..., None], x, 7)
    again = model.sample(3, y, seed=0, given=other, mask=mask, temperature=0.5)
    np.testing.assert_array_equal(again, drawn)
    for labels, temperature in [((y + 1) % 3, 0.5), (y, 1.0)]:
        changed = model.sample(3, labels, seed=0, given=x, mask=mask, temperature=temperature)
        assert (changed != drawn).numpy().any()


# ---------------------------------------------------------------------- parts


def test_labels_matter_only_through_their_weights():
    model = small([4, 4, 1], 8, num_classes=3)
    x, labels = random_images(6, [4, 4, 1], 8), np.arange(6) % 3
    first, other = model.log_prob(x, labels), model.log_prob(x, (labels + 1) % 3)
    assert (np.abs(first - other) > 1e-3).all()

    shifts = [shift for stream in [*model.u, *model.ul] for shift in stream.shifts]
    assert (
        len(shifts) == len([*model.u[0].up, *model.u[0].down, *model.u[1].up, *model.u[1].down]) * 2
    )
    for shift in shifts:
        shift.kernel.assign(np.zeros(shift.kernel.shape))
    unconditional = small([4, 4, 1], 8)
    for mine, its in zip(weight_normed(unconditional), weight_normed(model), strict=True):
        mine.set_weights(its.get_weights())
    np.testing.assert_allclose(model.log_prob(x, labels), unconditional.log_prob(x), rtol=1e-6)


def test_every_block_sees_the_label():
    model = small([4, 4, 1], 8, num_classes=3)
    x, labels = random_images(6, [4, 4, 1], 8), np.arange(6) % 3
    shifts = [shift for stream in [*model.u, *model.ul] for shift in stream.shifts]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model.log_prob(x, labels))
    for gradient in tape.gradient(loss, [shift.kernel.value for shift in shifts]):
        assert np.any(gradient != 0, axis=1).all()


def test_features_condition_like_labels():
    # One-hot features are labels.
    by_label = small([4, 4, 1], 8, num_classes=3)
    by_feature = small([4, 4, 1], 8, num_features=3)
    by_feature.set_weights(by_label.get_weights())
    x, labels = random_images(6, [4, 4, 1], 8), np.arange(6) % 3
    features = np.eye(3, dtype="float32")[labels]
    np.testing.assert_allclose(
        by_feature.log_prob(x, features), by_label.log_prob(x, labels), rtol=1e-6
    )


def test_dropout_acts_in_training_only():
    model = small([4, 4, 1], 8, dropout=0.5)
    x = random_images(4, [4, 4, 1], 8)
    np.testing.assert_array_equal(model.log_prob(x), model.log_prob(x))
    with model._training():
        assert not np.allclose(model.log_prob(x), model.log_prob(x))


def test_recomputation_changes_no_gradient():
    model = small([4, 4, 1], 8, dropout=0.5, num_classes=3)
    saving = small([4, 4, 1], 8, dropout=0.5, num_classes=3, recompute=True)
    saving.set_weights(model.get_weights())
    x, y = random_images(4, [4, 4, 1], 8), np.arange(4) % 3
    gradients = []
    for each in (model, saving):
        each.seeds.state.assign([0, 1])
        with tf.GradientTape() as tape, each._training():
            loss = tf.reduce_sum(each.log_prob(x, y))
        gradients.append(tape.gradient(loss, [v.value for v in each.trainable_variables]))
    for plain, recomputed in zip(*gradients, strict=True):
        np.testing.assert_allclose(recomputed, plain, rtol=1e-4, atol=1e-5)


def test_half_precision_keeps_the_likelihood_in_single():
    x = random_images(4, [4, 4, 3], 256)
    model, half = small([4, 4, 3], 256), small([4, 4, 3], 256, dtype="mixed_bfloat16")
    log_prob = half.log_prob(x)
    assert log_prob.dtype == "float32"
    np.testing.assert_allclose(log_prob, model.log_prob(x), rtol=0.05)
    assert half.sample_naive(2, seed=0).shape == (2, 4, 4, 3)


# ---------------------------------------------------------------------- initialisation


def test_data_dependent_initialisation(monkeypatch, tmp_path):
    model = PixelCNNPP([8, 8, 3], filters=6, num_blocks=1, num_mixtures=2, num_classes=3)
    x, y = random_images(16, [8, 8, 3], 256), np.arange(16) % 3
    state = model.seeds.state.numpy()
    model.initialize(x, y)
    model.seeds.state.assign(state)

    outputs = {}

    def call(layer, *arguments, **options):
        assert layer not in outputs
        outputs[layer] = keras.Layer.__call__(layer, *arguments, **options)
        return outputs[layer]

    with monkeypatch.context() as patch, model._training():  # again, with the same dropout
        patch.setattr(WeightNorm, "__call__", call)
        model.parameters(x, model.condition(y, 16))
    assert set(outputs) == set(weight_normed(model))
    assert {layer.gain for layer in outputs} == {1.0, 0.1}
    for layer, output in outputs.items():
        values = output.numpy().reshape(-1, layer.units).astype("float64")
        np.testing.assert_allclose(values.mean(axis=0), 0.0, atol=1e-3, err_msg=layer.path)
        np.testing.assert_allclose(values.std(axis=0), layer.gain, atol=1e-2, err_msg=layer.path)

    weights = model.get_weights()
    other = random_images(16, [8, 8, 3], 256, seed=1)
    model.initialize(other, y)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    loaded.initialize(other, y)
    for same in (model, loaded):
        for found, expected in zip(same.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_conformance():
    model = PixelCNNPP(
        (3, 2, 3),
        5,
        num_classes=3,
        filters=4,
        num_blocks=1,
        num_mixtures=2,
        num_scales=1,
        dropout=0.1,
    )
    check_model(model, random_images(5, (3, 2, 3), 5), np.arange(5) % 3)


# ---------------------------------------------------------------------- another's code


def test_the_port_has_as_many_parameters_and_each_has_its_place():
    model = PixelCNNPP([32, 32, 3], filters=32, num_blocks=2, num_mixtures=10)
    shapes = port.state_shapes(nr_resnet=2, nr_filters=32, nr_logistic_mix=10)
    assert sum(np.prod(shape) for shape in shapes.values()) == 974_856
    assert sum(np.prod(v.shape) for v in model.trainable_variables) == 974_856

    rng = np.random.default_rng(0)
    state = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    used = []
    pairs = list(port.layer_names(model))
    for name, _ in pairs:
        used += [f"{name}.{part}" for part in ("weight_g", "weight_v", "bias")]
    assert sorted(used) == sorted(shapes)
    assigned = [variable.path for _, layer in pairs for variable in layer.trainable_variables]
    assert sorted(assigned) == sorted(v.path for v in model.trainable_variables)

    port.transplant(state, model)
    for name, layer in pairs:
        kernel = port.effective_kernel(name, state)
        if layer is model.head:
            kernel = kernel[:, port.parameter_order(10, 3)]
        np.testing.assert_allclose(layer.kernel, kernel, rtol=1e-4, atol=1e-5, err_msg=name)


def test_log_prob_is_the_loss_of_the_port(tmp_path):
    folder = os.environ.get("TFGEN_PIXELCNN_PP_PORT")
    if folder is None:
        pytest.skip("TFGEN_PIXELCNN_PP_PORT: a clone of github.com/pclucas14/pixel-cnn-pp")
    python = os.environ.get("TFGEN_TORCH_PYTHON", sys.executable)
    if subprocess.run([python, "-c", "import torch"], capture_output=True).returncode:
        pytest.skip("TFGEN_TORCH_PYTHON: a Python with torch, where this one has none")
    arguments = {"nr_resnet": 2, "nr_filters": 32, "nr_logistic_mix": 10}
    results = tmp_path / "port.npz"
    script = pathlib.Path(port.__file__)
    subprocess.run([python, script, folder, results, *map(str, arguments.values())], check=True)
    found = dict(np.load(results))
    x, loss = found.pop("x"), found.pop("loss")
    shapes = {name: values.shape for name, values in found.items()}
    assert shapes == port.state_shapes(**arguments)

    model = PixelCNNPP([32, 32, 3], filters=32, num_blocks=2, num_mixtures=10)
    port.transplant(found, model)
    np.testing.assert_allclose(-model.log_prob(x), loss, rtol=2e-6)


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"event_shape": [8, 8]}, r"event_shape must be \(H, W, C\); received: \(8, 8\)"),
        ({"event_shape": [8, 6, 1]}, "height and width that are multiples of 4"),
        ({"num_levels": None}, "num_levels must be an integer >= 2; received: None"),
        ({"filters": 0}, "filters must be an integer >= 1; received: 0"),
        ({"num_blocks": 0}, "num_blocks must be an integer >= 1; received: 0"),
        ({"num_mixtures": 0}, "num_mixtures must be an integer >= 1; received: 0"),
        ({"num_scales": 0}, "num_scales must be an integer >= 1; received: 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\); received: 1.0"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        PixelCNNPP(**{"event_shape": [8, 8, 3]} | arguments)
