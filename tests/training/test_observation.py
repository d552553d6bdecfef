"""What a run shows of itself: TensorBoard, metrics, pictures, progress."""

import io
import json
import os
import pty
import sys
import termios

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfgen
from tests.training.test_run import lines_of, small_config
from tfgen.evaluation import Likelihood
from tfgen.evaluation.pictures import image_grid, image_pairs
from tfgen.models import NICE, ResNetIAFVAE
from tfgen.training import callbacks, train
from tfgen.training.config import load_data

MODEL = {
    "type": "VAE",
    "latent_shape": [3],
    "encoder": {"type": "MLPEncoder", "units": [4]},
    "decoder": {"type": "MLPDecoder", "units": [4]},
}
NATS_PER_UNIT = 16 * np.log(2.0)


def config_of_images():
    return small_config(
        data={"name": "random_images", "event_shape": [4, 4, 1], "num_levels": 2},
        model=MODEL,
        objective={"type": "ELBO"},
        jit_compile=False,
        sample_every_steps=4,
    )


def events_of(workdir):
    """tag -> step -> value: of scalars the number, of pictures and histograms the tensor."""
    found = {}
    for path in sorted((workdir / "tensorboard").glob("events*")):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                steps = found.setdefault(value.tag, {})
                assert event.step not in steps, f"{value.tag} twice at step {event.step}"
                steps[event.step] = tf.make_ndarray(value.tensor)
    return found


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train(config_of_images(), folder)
    return folder


@pytest.fixture(scope="module")
def model(workdir):
    return tfgen.load(workdir)


def test_terms_in_their_units_are_in_the_metrics_and_in_tensorboard(workdir):
    lines, events = lines_of(workdir), events_of(workdir)
    training = [line for line in lines if "loss" in line]
    assert [line["step"] for line in training] == [2, 4, 6, 8, 10, 12]
    for line in training:
        assert line["log_prob"] == pytest.approx(-line["reconstruction"] - line["kl"], rel=1e-5)
        assert line["bits_per_dim"] == pytest.approx(-line["log_prob"] / NATS_PER_UNIT)
        assert line["gradient_norm"] > 0
    for line in lines:
        for name in line.keys() - {"step"}:
            assert events[name][line["step"]] == pytest.approx(line[name], rel=1e-6)


def test_kl_of_every_dimension_is_a_histogram_and_a_result(workdir, model):
    data = load_data(config_of_images())
    columns = Likelihood(model, 256, jit_compile=False).per_example(data.test)
    results = json.loads((workdir / "results.json").read_text())
    assert columns["kl_per_group"].shape == (len(data.test), 3)
    np.testing.assert_allclose(results["kl_per_group"], columns["kl_per_group"].mean(0), rtol=1e-5)
    assert sum(results["kl_per_group"]) == pytest.approx(results["kl"], rel=1e-5)
    assert "effective_sample_size" not in results  # of one draw it is 1
    histograms = events_of(workdir)["validation/kl_per_group"]
    assert sorted(histograms) == [6, 12]
    for step, buckets in histograms.items():  # rows: left, right, count
        assert buckets[:, 2].sum() == 3
        (line,) = [
            line for line in lines_of(workdir) if line.get("validation/kl") and line["step"] == step
        ]
        assert 3 * buckets[:, 0].min() <= line["validation/kl"] <= 3 * buckets[:, 1].max()
        assert "validation/kl_per_group" not in line


def test_kl_of_every_layer_adds_up():
    model = ResNetIAFVAE([4, 4, 1], 2, depths=[2, 1], filters=4, latent_channels=2, flow_depth=1)
    x = np.random.default_rng(0).integers(0, 2, (5, 4, 4, 1), "uint8")
    report, terms = model.report(x, seed=3), model.terms(x, None, 1, seed=3)
    rows = terms.kl.numpy()  # two channels a layer, the topmost layer first
    for number, of_layer in enumerate(np.split(rows, 3), 1):
        np.testing.assert_allclose(report[f"kl_layer/{number}"], of_layer.sum(0), rtol=1e-6)
    np.testing.assert_allclose(report["kl"], rows.sum(0), rtol=1e-5)
    np.testing.assert_array_equal(report["kl_per_group"], rows.T)


def test_pictures_are_of_the_weights_they_say(workdir, model):
    """The last ones of the best weights, here and in the files; the ones before on the way."""
    data, events = load_data(config_of_images()), events_of(workdir)
    assert sorted(events["samples"]) == sorted(events["reconstructions"]) == [4, 8, 12]
    x = data.validation.x[:2]
    expected = {
        "samples": image_grid(model.sample(4, seed=0).numpy(), 2),
        "reconstructions": image_pairs(x, model.decode(model.encode(x)).numpy(), 2),
    }
    for name, picture in expected.items():
        in_file = np.asarray(Image.open(workdir / f"{name}.png"))
        np.testing.assert_array_equal(in_file, picture)
        in_tensorboard = np.asarray(Image.open(io.BytesIO(events[name][12][2])))
        np.testing.assert_array_equal(in_tensorboard, picture)


def test_an_interrupted_run_shows_each_step_once(workdir, tmp_path, monkeypatch):
    """Cut before the checkpoint of step 8, and after the pictures of the last step."""
    save, write = callbacks.Checkpointing.on_step, callbacks.write_pictures

    def save_until_8(self, step, logs):
        if step == 8:
            raise KeyboardInterrupt
        save(self, step, logs)

    def write_until_12(writer, step, pictures):
        write(writer, step, pictures)
        if step == 12:
            raise KeyboardInterrupt

    cuts = (
        (callbacks.Checkpointing, "on_step", save_until_8),
        (callbacks, "write_pictures", write_until_12),
    )
    for cut in cuts:
        with monkeypatch.context() as patch:
            patch.setattr(*cut)
            with pytest.raises(KeyboardInterrupt):
                train(config_of_images(), tmp_path)
    train(config_of_images(), tmp_path)
    cut, whole = events_of(tmp_path), events_of(workdir)
    assert cut.keys() == whole.keys()
    for tag, steps in whole.items():
        assert sorted(cut[tag]) == sorted(steps), tag
    for name in ("samples", "reconstructions"):
        for step, picture in whole[name].items():
            np.testing.assert_array_equal(cut[name][step], picture)


def test_flows_reconstruct_the_data():
    model = NICE([4, 4, 1], 17, units=8, num_layers=1)
    x = np.random.default_rng(0).integers(0, 17, (5, 4, 4, 1), "uint8")
    assert model.has_reconstructions
    np.testing.assert_array_equal(model.reconstruct(x, seed=1), x)


def show_progress(monkeypatch):
    """Of a hundred steps of a second each."""
    clock = iter(range(1000))
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: float(next(clock)))
    progress = callbacks.Progress(0, 100, 2.0, "bits/dim")
    progress.set_params({"steps": 100})
    for batch in range(100):
        progress.validation = 3.5 if batch > 50 else None
        progress.on_train_batch_end(batch, {"log_prob": -4.0})
    progress.on_train_end()


def test_a_log_has_plain_lines(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    show_progress(monkeypatch)
    assert sys.stderr.getvalue().split("\n") == [
        "step 1/100, 2.000 bits/dim",
        "step 31/100, 2.000 bits/dim, 1 steps/s, 01:09 left",
        "step 61/100, 2.000 bits/dim, validation 3.500, 1 steps/s, 00:39 left",
        "step 91/100, 2.000 bits/dim, validation 3.500, 1 steps/s, 00:09 left",
        "step 100/100, 2.000 bits/dim, validation 3.500, 1 steps/s, 00:00 left",
        "",
    ]


def test_a_terminal_has_a_bar(monkeypatch):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        show_progress(monkeypatch)
        terminal.flush()
        output = ""
        while not output.endswith("\n"):  # the end of the bar
            output += os.read(ours, 4096).decode()
    os.close(ours)
    assert "\n" not in output.rstrip("\r\n")
    last = output.rstrip().split("\r")[-1]
    assert "100/100" in last
    assert "2.000 bits/dim, validation 3.500" in last
