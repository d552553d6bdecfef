"""Autoregressive networks as likelihoods p(x | z): exact windows, exact sums, samples, K draws."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.causality import check_cached_sampler, check_causal, stepwise_parameters
from tests.conformance import all_images, randomize
from tests.models.test_pixelcnn import check_frequencies, index_of
from tfgen import models
from tfgen.build import build
from tfgen.distributions import AutoregressiveLikelihood
from tfgen.layers.weight_norm import WeightNorm
from tfgen.models import VAE

NETWORKS = {
    "window": {"type": "PixelCNN", "window": [4, 2], "num_blocks": 1, "top_filters": 6},
    "PixelCNN": {"type": "PixelCNN", "num_blocks": 1, "top_filters": 6},
    "GatedPixelCNN": {
        "type": "GatedPixelCNN",
        "num_layers": 2,
        "kernel_size": 3,
        "first_kernel_size": 3,
        "top_filters": 6,
    },
    "PixelRNN": {"type": "PixelRNN", "num_layers": 1, "top_filters": 6},
    "PixelCNNPP": {
        "type": "PixelCNNPP",
        "num_blocks": 1,
        "num_mixtures": 2,
        "num_scales": 2,
        "dropout": 0.0,
    },
}


def network(name, event_shape, num_levels, num_features=2, **arguments):
    """A small network with random weights, none of them zero, conditioned on features."""
    spec = {**NETWORKS[name], "filters": 6, **arguments}
    data = {"event_shape": event_shape, "num_levels": num_levels, "num_features": num_features}
    made = build(models, spec, **data)
    randomize(made)
    return made


def vae(name, event_shape, num_levels, features_shape=None, random=True, **arguments):
    """A small VAE with the network as its likelihood."""
    model = VAE(
        event_shape,
        num_levels,
        latent_shape=[2],
        likelihood={
            "type": "AutoregressiveLikelihood",
            "network": {**NETWORKS[name], "filters": 6, **arguments},
            "features_shape": features_shape or [*event_shape[:2], 2],
        },
        encoder={"type": "MLPEncoder", "units": [8]},
        decoder={"type": "MLPDecoder", "units": [8]},
    )
    if random:
        randomize(model)
    return model


def images(num, shape, num_levels, seed=0):
    return np.random.default_rng(seed).integers(0, num_levels, (num, *shape)).astype("uint8")


def maps(num, shape, seed=0, num_features=2):
    rng = np.random.default_rng(seed)
    return rng.standard_normal([num, *shape[:2], num_features]).astype("float32")


# ---------------------------------------------------------------------- what is seen


def window_pixels(height, width, columns, rows):
    """Which pixels the window (A, B) holds: B rows above of A columns, (A - 1) // 2 to the left."""
    row, column = (index.ravel() for index in np.indices((height, width)))
    up = row[:, None] - row[None, :]
    right = column[None, :] - column[:, None]
    left = (columns - 1) // 2
    above = (up >= 1) & (up <= rows) & (right >= -left) & (right < columns - left)
    return above | ((up == 0) & (right < 0) & (right >= -left))


@pytest.mark.parametrize("window", [(4, 2), (5, 3), (7, 4), (2, 3), (3, 0), (1, 0)])
def test_the_window_is_exact(window):
    # The first three are those of CIFAR-10 in the paper. (4, 2): 4 x 2 above and one to the left.
    size = (6, 9, 1)
    expected = window_pixels(*size[:2], *window)
    columns, rows = window
    assert expected.sum(axis=1).max() == columns * rows + (columns - 1) // 2
    model = network("window", size, 8, window=window, num_blocks=2)
    check_causal(model, expected, condition=maps(8, size))


def test_the_window_of_colours_holds_the_colours_before_in_the_own_pixel():
    model = network("window", (3, 4, 3), 4, window=(4, 2))
    pixels = window_pixels(3, 4, 4, 2)
    expected = np.kron(pixels, np.ones((3, 3))) + np.kron(np.eye(12), np.tril(np.ones((3, 3)), -1))
    check_causal(model, expected.astype(bool), condition=maps(8, (3, 4)))


@pytest.mark.parametrize("name", ["GatedPixelCNN", "PixelCNNPP"])
def test_maps_open_no_path_to_the_future(name):
    deep = {"num_layers": 4} if name == "GatedPixelCNN" else {}
    model = network(name, (4, 4, 1), 8, **deep)
    check_causal(model, condition=tf.constant(maps(8, (4, 4))))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_position_sees_its_own_features(name):
    """Of a window, those alone; of others also what was seen by earlier positions."""
    shape = (4, 4, 1)
    model = network(name, shape, 8)
    x, condition = tf.constant(images(4, shape, 8)), tf.constant(maps(4, shape))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(condition)
        parameters = model.parameters(x, condition)
        parameters = tf.reduce_sum(tf.reshape(parameters, [4, 16, -1]), axis=-1)
    jacobian = np.abs(tape.batch_jacobian(parameters, condition, experimental_use_pfor=False))
    seen = jacobian.max(axis=(0, 4)).reshape(16, 16) > 0
    assert seen.diagonal().all()
    if name == "window":
        np.testing.assert_array_equal(seen, np.eye(16, dtype=bool))


def test_a_vector_is_a_constant_map():
    shape = (4, 4, 1)
    x, vector = images(3, shape, 8), np.array([[1.0, -1.0], [0.5, 2.0], [0.0, 1.0]], "float32")
    constant = np.broadcast_to(vector[:, None, None], [3, 4, 4, 2])
    for name in NETWORKS:
        model = network(name, shape, 8)
        expected = model.log_prob(x, vector)
        np.testing.assert_allclose(model.log_prob(x, constant), expected, rtol=1e-5)


# ---------------------------------------------------------------------- densities


@pytest.mark.parametrize(
    ("name", "shape", "num_levels"),
    [("window", (3, 3, 1), 2), ("window", (2, 1, 3), 3), ("PixelCNNPP", (2, 2, 1), 4)],
)
def test_sums_to_one_over_all_images_for_each_z(name, shape, num_levels):
    model = vae(name, shape, num_levels)
    x = all_images(shape, num_levels)
    z = tf.constant([[0.3, -1.0], [2.0, 0.5]])
    log_prob = model.likelihood(z).log_prob(x[:, None].astype("float32"))  # [N, 2]
    np.testing.assert_allclose(np.exp(log_prob).sum(axis=0), 1.0, atol=1e-5)
    assert np.abs(log_prob[:, 0] - log_prob[:, 1]).max() > 0.1


@pytest.mark.parametrize(
    ("name", "features_shape"), [("window", None), ("PixelCNNPP", None), ("PixelCNNPP", [3])]
)
def test_draws_of_z_are_as_if_one_by_one(name, features_shape):
    model = vae(name, (4, 4, 3), 8, features_shape)
    x = images(3, (4, 4, 3), 8).astype("float32")
    z = tf.constant(np.random.default_rng(1).standard_normal([2, 3, 2]).astype("float32"))
    p = model.likelihood(z)
    assert p.batch_shape == (2, 3)
    assert p.event_shape == (4, 4, 3)
    log_prob = p.log_prob(x)
    expected = [
        [model.likelihood(z[k, b]).log_prob(x[b]).numpy() for b in range(3)] for k in range(2)
    ]
    np.testing.assert_allclose(log_prob, expected, rtol=1e-5)


# ---------------------------------------------------------------------- samples


def test_the_cached_sampler_is_the_naive_one_given_maps():
    model = network("window", (4, 5, 1), 64, num_blocks=0)
    check_cached_sampler(model, images(3, (4, 5, 1), 64), maps(3, (4, 5)))


@pytest.mark.parametrize("name", ["GatedPixelCNN", "PixelRNN", "PixelCNNPP"])
def test_position_by_position_as_in_one_pass_given_maps(name):
    """Rows and columns of the map, at each resolution."""
    shape = (4, 4, 1)
    model = network(name, shape, 8)
    x, y = images(2, shape, 8), tf.constant(maps(2, shape))
    expected = tf.reshape(model.parameters(tf.constant(x), y), [2, 16, -1])
    np.testing.assert_allclose(stepwise_parameters(model, x, y), expected, atol=1e-5, rtol=1e-5)


def test_samples_follow_the_exact_probabilities_of_their_z():
    """Two z at once; the probabilities are those of the samples' own `log_prob`."""
    model = vae("window", (1, 3, 1), 4, window=[3, 0])
    p = model.likelihood(tf.constant([[0.3, -1.0], [2.0, 0.5]]))
    x = all_images((1, 3, 1), 4)
    probabilities = np.exp(p.log_prob(x[:, None].astype("float32")).numpy().astype("float64"))
    assert probabilities.max(axis=0).min() > 3.0 / len(x)  # far enough from uniform to tell
    drawn = p.sample(10_000, seed=(0, 1)).numpy()
    assert drawn.shape == (10_000, 2, 1, 3, 1)
    for column in range(2):
        counts = np.bincount(index_of(drawn[:, column], 4), minlength=len(x))
        check_frequencies(counts, probabilities[:, column])


def test_what_is_served():
    """The plain graph and its compilation draw what the model draws; there is no mean to serve."""
    model = vae("window", (2, 3, 1), 4, window=[3, 1], num_blocks=0)
    signatures = model.signatures()
    assert set(signatures) == {"encode", "log_prob", "sample", "sample_xla"}
    expected = model.sample(3, seed=5)
    for name in ("sample", "sample_xla"):
        function = tf.function(signatures[name][0])
        np.testing.assert_array_equal(function(tf.constant(3), tf.constant([0, 5]))["x"], expected)
        if name == "sample_xla":
            functions = function.get_concrete_function(*signatures[name][1]).graph.get_operations()
            compiled = [op for op in functions if "_XlaMustCompile" in op.node_def.attr]
    assert compiled
    with pytest.raises(NotImplementedError, match="the mean of a PixelCNN has no closed form"):
        model.decode(np.zeros([1, 2]))


# ---------------------------------------------------------------------- initialisation


def test_one_pass_of_the_vae_initialises_a_weight_normalised_network(monkeypatch, tmp_path):
    model = vae("PixelCNNPP", (4, 4, 1), 256, random=False)
    x = images(32, (4, 4, 1), 256)
    model.initialize(x)
    outputs = {}

    def call(layer, *arguments, **options):
        outputs[layer] = keras.Layer.__call__(layer, *arguments, **options)
        return outputs[layer]

    with monkeypatch.context() as patch:  # again, with the same draw of z
        patch.setattr(WeightNorm, "__call__", call)
        before = model.terms(x, seed=0).log_px
    assert len(outputs) > 20
    for layer, output in outputs.items():
        values = output.numpy().reshape(-1, layer.units).astype("float64")
        np.testing.assert_allclose(values.mean(axis=0), 0.0, atol=2e-3, err_msg=layer.path)
        np.testing.assert_allclose(values.std(axis=0), layer.gain, rtol=2e-2, err_msg=layer.path)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    loaded.initialize(x[:8])
    np.testing.assert_allclose(loaded.terms(x, seed=0).log_px, before, rtol=1e-6)


def test_dropout_acts_in_training_only():
    model = vae("PixelCNNPP", (4, 4, 1), 8, dropout=0.5)
    x, z = images(3, (4, 4, 1), 8).astype("float32"), tf.zeros([3, 2])
    plain = model.likelihood(z)
    np.testing.assert_array_equal(plain.log_prob(x), plain.log_prob(x))
    with model._training():
        training = model.likelihood(z)
    assert not np.allclose(training.log_prob(x), training.log_prob(x))
    np.testing.assert_array_equal(plain.log_prob(x), model.likelihood(z).log_prob(x))


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features_shape": [4, 3, 2]}, r"features_shape must be \(F,\) or \(4, 4, 'F'\)"),
        ({"features_shape": [4, 4, 0]}, r"features_shape\[-1\] must be an integer >= 1"),
        (
            {"network": {"type": "PixelCNN", "window": [0, 1]}},
            r"window\[0\] must be an integer >= 1",
        ),
        (
            {"network": {"type": "PixelCNN", "window": [3, -1]}},
            r"window\[1\] must be an integer >=",
        ),
        ({"network": {"type": "VAE"}}, "network must be an autoregressive model; received: 'VAE'"),
    ],
)
def test_refuses(arguments, message):
    given = {"network": NETWORKS["window"], "features_shape": [4, 4, 2]} | arguments
    with pytest.raises(ValueError, match=message):
        AutoregressiveLikelihood([4, 4, 1], 8, **given)


def test_refuses_a_network_of_other_features_and_maps_of_another_size():
    model = network("window", (4, 4, 1), 8)
    with pytest.raises(ValueError, match=r"network must be one with .*'num_features': 3"):
        AutoregressiveLikelihood([4, 4, 1], 8, model, [4, 4, 3])
    with pytest.raises(ValueError, match=r"y must be maps of shape \('B', 4, 4, 2\)"):
        model.log_prob(images(2, (4, 4, 1), 8), maps(2, (4, 5)))
