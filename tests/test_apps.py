"""Each app as a user runs it: a process of its own, good and bad invocations."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parent.parent
SMOKE = "--config=configs/realnvp_digits.py:smoke"


def app(verb, *arguments, status=0):
    process = subprocess.run(
        [sys.executable, "-m", f"apps.{verb}", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert process.returncode == status, process.stderr[-2000:]
    return process.stdout if status == 0 else process.stderr


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    app("train", SMOKE, f"--workdir={folder}")
    return folder


def test_train_writes_what_it_says(workdir):
    for name in ("config.json", "metrics.jsonl", "results.json", "samples.png", "checkpoints"):
        assert (workdir / name).exists(), name
    assert list((workdir / "tensorboard").glob("events*"))
    results = json.loads((workdir / "results.json").read_text())
    keys = "metric kind nats bits_per_dim standard_error num_examples weights commit command"
    assert set(keys.split()) <= set(results)
    assert results["bits_per_dim"] == pytest.approx(results["nats"] / (64 * np.log(2)))
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2]
    config = json.loads((workdir / "config.json").read_text())
    assert config["model"]["event_shape"] == [8, 8, 1]
    assert config["model"]["num_levels"] == 17


def test_train_leaves_a_finished_run_alone(workdir):
    before = (workdir / "results.json").stat().st_mtime_ns
    assert "finished run; nothing to do" in app("train", SMOKE, f"--workdir={workdir}")
    assert (workdir / "results.json").stat().st_mtime_ns == before


def test_evaluate_agrees_with_training(workdir):
    before = json.loads((workdir / "results.json").read_text())
    app("evaluate", f"--workdir={workdir}")
    after = json.loads((workdir / "results.json").read_text())
    assert after["nats"] == pytest.approx(before["nats"], rel=1e-6)
    assert after["num_examples"] == before["num_examples"]


def test_sample_writes_pictures_and_arrays(workdir, tmp_path):
    app("sample", f"--workdir={workdir}", "--num=5", "--seed=3", f"--out={tmp_path / 'a.npz'}")
    app("sample", f"--workdir={workdir}", "--num=5", f"--out={tmp_path / 'a.png'}")
    x = np.load(tmp_path / "a.npz")["x"]
    assert x.shape == (5, 8, 8, 1)
    assert x.dtype == np.uint8
    assert x.max() <= 16
    import tfgen

    np.testing.assert_array_equal(x, tfgen.load(workdir).sample(5, seed=3))
    from PIL import Image

    assert Image.open(tmp_path / "a.png").size[0] > 3 * 8
    error = app("sample", f"--workdir={workdir}", "--keep_rows=4", status=2)
    assert "the model is not autoregressive" in error


def test_sample_draws_sweeps_and_paths(workdir, tmp_path):
    """Rows and columns of the pictures: a row a temperature, or a pair of test images."""
    from PIL import Image

    import tfgen
    from tfgen.evaluation.pictures import image_grid

    model, sweep, paths = tfgen.load(workdir), tmp_path / "sweep.png", tmp_path / "paths.png"
    arguments = ["--num=2", "--seed=3", "--temperatures=0,1"]
    app("sample", f"--workdir={workdir}", *arguments, f"--out={sweep}")
    rows = [model.sample(2, seed=3, temperature=value) for value in (0.0, 1.0)]
    expected = image_grid(np.concatenate(rows), 17, columns=2)
    np.testing.assert_array_equal(np.asarray(Image.open(sweep)), expected)

    app("sample", f"--workdir={workdir}", "--num=3", "--interpolate", f"--out={paths}")
    test = tfgen.data.load("digits").test.x[:6]
    picture = np.asarray(Image.open(paths))
    ends = image_grid(test, 17, columns=2)  # each row begins and ends with a test image
    side = ends.shape[1] // 2
    np.testing.assert_array_equal(picture[:, :side], ends[:, :side])
    np.testing.assert_array_equal(picture[:, -side:], ends[:, -side:])


def test_yardsticks_of_tables():
    output = app("yardsticks", "--data=wine")
    assert "full Gaussian, nats" in output
    assert "mixture of Gaussians, nats\n  num_components" in output


def test_export_and_benchmark(workdir, tmp_path):
    import tfgen

    app("export", f"--workdir={workdir}", f"--out={tmp_path / 'served'}")
    assert (tmp_path / "served" / "1" / "saved_model.pb").exists()
    arguments = ["--predict_replicas=1,8", "--link_bytes_per_second=1e6"]
    app("benchmark", SMOKE, *arguments, f"--json={tmp_path / 'b.json'}")
    figures = json.loads((tmp_path / "b.json").read_text())
    gradient_bytes = 4 * tfgen.load(workdir).count_params()  # and four for what does not train
    one, eight = figures["predictions"]
    alone = max(figures["step_seconds"], figures["input_seconds"])
    assert (one["num_replicas"], one["collective_seconds"], one["step_seconds"]) == (1, 0, alone)
    expected = 14 * (gradient_bytes / 8 / 1e6 + 5e-5)
    assert eight["collective_seconds"] == pytest.approx(expected, rel=0.05)
    assert eight["step_seconds"] == alone + eight["collective_seconds"]


BAD_INVOCATIONS = [
    ("train", [], "--config must be given"),
    ("train", [SMOKE], "--workdir must be given"),
    ("train", ["--config=configs/no_such.py", "--workdir=W"], "no_such.py"),
    ("train", [SMOKE, "--workdir=W", "--config.batch_sise=3"], "batch_sise"),
    ("train", [SMOKE, "--workdir=W", "--config.batch_size=many"], "batch_size"),
    ("train", [SMOKE, "--workdir=W", "extra"], "arguments must be --flags; received: ['extra']"),
    ("train", ["--config=configs/realnvp_digits.py:smok", "--workdir=W"], "must be 'smoke'"),
    ("train", [SMOKE, "--workdir=W", "--config.batch_size=0"], "config.batch_size must be"),
    ("train", [SMOKE, "--workdir=W", "--config.model.type=RealNPV"], "RealNPV"),
    ("train", [SMOKE, "--workdir=W", "--config.data.name=digitz"], "digitz"),
    ("train", [SMOKE, "--workdir=W", "--config.optimizer.class_name=Adamm"], "Adamm"),
    ("train", [SMOKE, "--workdir=W", "--config.objective.type=ELBOW"], "ELBOW"),
    ("train", [SMOKE, "--workdir=W", "--config.dtype_policy=float8"], "config.dtype_policy must"),
    ("evaluate", ["--workdir=W"], "workdir must be a folder with a run"),
    ("evaluate", [], "--workdir must be given"),
    ("sample", ["--workdir=W", "--num=0"], "--num must be at least 1"),
    ("sample", ["--workdir=W", "--out=grid.jpeg"], "--out must end in .png, .wav or .npz"),
    ("sample", ["--workdir=W", "--interpolate", "--keep_rows=2"], "given one at a time"),
    ("sample", ["--workdir=W", "--temperatures=1,hot"], "none negative; received: 'hot'"),
    ("sample", ["--workdir=W", "--interpolate", "--out=a.npz"], "unless --out is a .png file"),
    ("export", [], "--workdir must be given"),
    ("benchmark", [], "--config must be given"),
    ("benchmark", [SMOKE, "--predict_replicas=8,some"], "must be numbers of 1 and more; received"),
    ("report", ["--out=W"], "folders of runs must be given"),
]


@pytest.mark.parametrize(("verb", "arguments", "message"), BAD_INVOCATIONS)
def test_bad_invocation_is_one_line_and_writes_nothing(verb, arguments, message, tmp_path):
    folder = tmp_path / "W"
    arguments = [argument.replace("=W", f"={folder}") for argument in arguments]
    error = app(verb, *arguments, status=2)
    lines = [line for line in error.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert "Traceback" not in error
    assert not folder.exists()


def test_another_config_in_the_same_workdir_is_refused(workdir):
    error = app("train", SMOKE, f"--workdir={workdir}", "--config.batch_size=4", status=2)
    assert "these differ: batch_size: 8 -> 4" in error
