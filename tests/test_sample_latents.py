"""`apps.sample`'s pictures of latents against the model's own numbers, and what a run records."""

import json

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from PIL import Image

import tfgen
from apps import sample
from configs import vae_digits
from tfgen.data.binarize import fixed_train
from tfgen.evaluation import representation
from tfgen.evaluation.pictures import class_colour, image_grid
from tfgen.training import train


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vae") / "run"
    config = vae_digits.get_config("smoke")
    config.jit_compile = False
    config.data.binarize = "dynamic"
    config.model.latent_shape, config.model.likelihood = (3,), dict(type="Bernoulli")
    config.evaluation = dict(batch_size=300, report={}, metrics=("active_units", "representation"))
    train(config.to_dict(), folder)
    return folder


@pytest.fixture(scope="module")
def model(workdir):
    return tfgen.load(workdir)


@pytest.fixture(scope="module")
def test_set():
    return tfgen.data.load("digits", labels=True, binarize="dynamic").test


def picture(workdir, tmp_path, **arguments):
    out = tmp_path / arguments.pop("out", "picture.png")
    if not flags.FLAGS.is_parsed():
        flags.FLAGS(["sample"])
    with flagsaver.flagsaver(workdir=str(workdir), out=str(out), **arguments):
        sample.main()
    return np.asarray(Image.open(out))


def test_reconstructions_stand_beside_the_test_images(workdir, model, test_set, tmp_path):
    x = test_set.x[:8]
    decoded = model.decode(model.encode(x)).numpy()
    expected = image_grid(np.stack([x, decoded], 1).reshape(16, 8, 8, 1), 2, columns=4)
    shown = picture(workdir, tmp_path, num=8, reconstruct=True)
    np.testing.assert_array_equal(shown, expected)


def test_traversals_go_from_the_most_active_latent_down(workdir, model, test_set, tmp_path):
    codes = model.encode(test_set.x).numpy()
    rows = []
    for dimension in np.argsort(-codes.var(axis=0))[:2]:
        path = np.tile(codes[0], (9, 1))
        path[:, dimension] = np.linspace(-3, 3, 9)
        rows.append(model.decode(path).numpy())
    expected = image_grid(np.concatenate(rows), 2, columns=9)
    shown = picture(workdir, tmp_path, num=2, traverse=True)
    # A level of grey: codes of other batches differ in their last bits.
    np.testing.assert_allclose(shown.astype(int), expected.astype(int), atol=1)


def test_the_map_shows_codes_in_the_colours_of_labels(workdir, model, test_set, tmp_path, capsys):
    shown = picture(workdir, tmp_path, latent_map=True)
    codes = model.encode(test_set.x).numpy()
    values, axes = np.linalg.eigh(np.cov(codes.T))
    share = values[1:].sum() / values.sum()
    assert f"two principal components of 3: {share:.1%}" in capsys.readouterr().out
    points = (codes - codes.mean(0)) @ axes[:, [2, 1]]
    points *= np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1, 2]])[[2, 1]]
    low, high = points.min(0), points.max(0)
    reach = 0.55 * (high - low).max()
    assert (shown[:, :600] == 255).all(-1).mean() > 0.5
    # The outermost points are seldom painted over: they have their label's colour.
    seen = 0
    for index in np.argsort(-np.linalg.norm(points - points.mean(0), axis=1))[:20]:
        column, height = np.round((points[index] - (low + high) / 2 + reach) * 599 / (2 * reach))
        colour = class_colour(int(test_set.y[index]), 10)
        seen += (shown[599 - int(height), int(column)] == colour).all()
    assert seen >= 15


def test_results_say_which_data_they_are_of(workdir, model, test_set):
    results = json.loads((workdir / "results.json").read_text())
    assert results["data"]["name"] == "digits"
    assert results["data"]["binarization"] == "dynamic"
    assert any("the train set anew at each use" in s for s in results["data"]["preprocessing"])
    # Probes see the values that the model knows, and labels that it was not given.
    assert not model.is_conditional
    data = tfgen.data.load("digits", labels=True, binarize="dynamic")
    found = representation(model, data.test, fixed_train(data), jit_compile=False)
    for name, accuracy in found.items():
        assert results[name] == pytest.approx(accuracy, abs=0.02), name
    assert results["num_latent_units"] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reconstruct": True, "traverse": True}, "--reconstruct and --traverse must be given one"),
        ({"latent_map": True, "out": "map.npz"}, "--latent_map must be absent unless --out is a"),
    ],
)
def test_pictures_that_cannot_be(workdir, arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        picture(workdir, tmp_path, **arguments)


def test_models_without_latents_are_refused():
    flow = tfgen.models.NICE([2])
    for function in (sample.reconstructions, sample.latent_traversals, sample.latent_map):
        with pytest.raises(ValueError, match="must be absent: the model has no latents"):
            function(flow, None, {})
