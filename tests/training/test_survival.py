"""What a run survives: kills, signals, bad steps, damaged files and full disks."""

import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.test_generative_model import AffineFlow
from tests.training.test_run import lines_of, small_config
from tfgen.objectives import NegativeLogProb
from tfgen.training import callbacks, train
from tfgen.training.checkpoints import Checkpoints
from tfgen.training.config import build_model, compile_model, load_data, resolve_model
from tfgen.training.files import exclusive

ROOT = pathlib.Path(__file__).parent.parent.parent
TRAIN = """
import json, sys
from tfgen.training import train
train(json.loads(sys.argv[1]), sys.argv[2])
"""


def start(config, workdir):
    command = [sys.executable, "-c", TRAIN, json.dumps(config), str(workdir)]
    return subprocess.Popen(command, cwd=ROOT, stdout=-1, stderr=-1, text=True)


def wait_for_step(process, workdir, step):
    """Until the run has written a line of metrics of `step` or later."""
    path, deadline = workdir / "metrics.jsonl", time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        lines = path.read_text().splitlines() if path.exists() else []
        if lines and lines[-1].endswith("}") and json.loads(lines[-1])["step"] >= step:
            return
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()[1][-2000:]


def state_of(config, workdir):
    """Every variable of the newest state."""
    data = load_data(config)
    model = build_model(config, resolve_model(config, data))
    compile_model(model, config, data.info)
    model._create_means()
    checkpoints = Checkpoints(workdir, model)
    assert checkpoints.restore()
    # By position: Keras numbers the names of a process's objects.
    values = {
        (index, v.name): v.numpy()
        for index, v in enumerate([*model.variables, *model.optimizer.variables])
    }
    return int(checkpoints.step), values


# Dropout, binarisation at every step, averaged weights, latent draws; validation in between.
RUN = {
    "num_steps": 200,
    "batch_size": 16,
    "log_every_steps": 10,
    "checkpoint_every_steps": 7,
    "validate_every_steps": 100,
    "deterministic": True,
    "jit_compile": False,
    "data": {"name": "digits", "binarize": "dynamic"},
    "model": {
        "type": "VAE",
        "latent_shape": [2],
        "encoder": {"type": "MLPEncoder", "units": [8], "dropout": 0.5},
        "decoder": {"type": "MLPDecoder", "units": [8]},
    },
    "objective": {"type": "ELBO"},
}


def test_a_killed_run_ends_with_the_same_bits_and_sigterm_saves(tmp_path):
    config = small_config(**RUN)
    whole = start(config, tmp_path / "whole")
    cut = start(config, tmp_path / "cut")
    wait_for_step(cut, tmp_path / "cut", 30)
    cut.kill()
    cut.communicate()

    cut = start(config, tmp_path / "cut")
    wait_for_step(cut, tmp_path / "cut", 80)
    cut.send_signal(signal.SIGTERM)
    output, errors = cut.communicate(timeout=300)
    assert cut.returncode == 143, errors[-2000:]
    assert "SIGTERM: saved after step" in output
    saved = int(output.split("saved after step ")[1].split(";")[0])
    assert state_of(config, tmp_path / "cut")[0] == saved

    for process in (whole, start(config, tmp_path / "cut")):
        assert process.wait(timeout=300) == 0, process.communicate()[1][-2000:]
    step, expected = state_of(config, tmp_path / "whole")
    assert step == 200
    _, received = state_of(config, tmp_path / "cut")
    for (name, value), other in zip(expected.items(), received.values(), strict=True):
        np.testing.assert_array_equal(other, value, err_msg=str(name))

    whole, cut = lines_of(tmp_path / "whole"), lines_of(tmp_path / "cut")
    assert [line.keys() for line in cut] == [line.keys() for line in whole]
    for ours, theirs in zip(cut, whole, strict=True):
        same = [key for key in theirs if key != "examples_per_second"]
        assert [ours[key] for key in same] == [theirs[key] for key in same]
    assert events_of(tmp_path / "cut") == events_of(tmp_path / "whole")
    results = [json.loads((tmp_path / w / "results.json").read_text()) for w in ("cut", "whole")]
    assert results[0]["nats"] == results[1]["nats"]


def events_of(workdir):
    """(step, tag) of every scalar in TensorBoard's files."""
    found = []
    for path in (workdir / "tensorboard").glob("events*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            found += [(event.step, value.tag) for value in event.summary.value]
    return sorted(found)


def test_a_workdir_belongs_to_one_process(tmp_path):
    code = f"""
import sys
from tfgen.training.files import exclusive
with exclusive({str(tmp_path)!r}):
    print("inside", flush=True)
    sys.stdin.read()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=-1, stdout=-1, text=True
    )
    assert process.stdout.readline() == "inside\n"
    with (
        pytest.raises(ValueError, match=f"in use by process {process.pid} on"),
        exclusive(tmp_path),
    ):
        pass
    with pytest.raises(ValueError, match="workdir must be used by one process at a time"):
        train(small_config(), tmp_path)
    process.kill()
    process.wait()
    with exclusive(tmp_path):  # what a killed process held is free
        pass


class Poisoned(NegativeLogProb):
    """Not finite for the batches that hold an example above the threshold."""

    threshold = np.inf

    def __call__(self, model, x, y=None):
        terms = super().__call__(model, x, y)
        bad = tf.reduce_any(x > self.threshold, axis=1)
        return {**terms, "loss": tf.where(bad, np.nan, terms["loss"])}


def compiled(**arguments):
    model = AffineFlow([3])
    model.compile(Poisoned(), keras.optimizers.Adam(0.1, use_ema=True), **arguments)
    return model


@pytest.mark.parametrize("jit_compile", [True, False])
def test_a_step_that_is_not_finite_leaves_no_trace(jit_compile, monkeypatch):
    """Weights, moments, averages and means are those of a run without the bad batch."""
    rng = np.random.default_rng(0)
    good = [rng.standard_normal((8, 3)).astype("float32") for _ in range(3)]
    bad = good[0].copy()
    bad[5] = 100.0
    monkeypatch.setattr(Poisoned, "threshold", 50.0)
    ends = []
    for batches in ([good[0], bad, good[1], bad, good[2]], good):
        model = compiled(jit_compile=jit_compile)
        history = model.fit(
            tf.data.Dataset.from_tensor_slices(np.stack(batches)), verbose=0
        ).history
        state = [v.numpy() for v in [*model.weights, *model.optimizer.variables]]
        ends.append((state, history["loss"], int(model.skipped_steps)))
    for a, b in zip(ends[0][0], ends[1][0], strict=True):
        np.testing.assert_array_equal(a, b)
    assert ends[0][1] == ends[1][1]
    assert [end[2] for end in ends] == [2, 0]
    assert callbacks.diagnose(model, tf.constant(good[0])) is None
    diagnosis = callbacks.diagnose(model, tf.constant(bad))
    assert diagnosis == "the term 'loss' is not finite in the examples 5"
    bad[2] = np.nan
    diagnosis = callbacks.diagnose(model, tf.constant(bad))
    assert diagnosis == "x is not finite in the examples 2 of the batch"


def test_long_gradients_are_skipped_on_request():
    x = np.full((8, 3), 5.0, "float32")
    model = compiled(jit_compile=False)
    norm = model.fit(x, verbose=0).history["gradient_norm"][0]
    assert norm > 1.0
    for limit, skipped in ((0.9 * norm, 1), (1.1 * norm, 0)):
        model = compiled(jit_compile=False, skip_gradient_norm=limit)
        before = [v.numpy() for v in model.trainable_variables]
        model.fit(x, verbose=0)
        moved = any(
            (a != b.numpy()).any() for a, b in zip(before, model.trainable_variables, strict=True)
        )
        assert int(model.skipped_steps) == skipped
        assert moved == (not skipped)
    with pytest.raises(ValueError, match="skip_gradient_norm must be positive; received: 0"):
        compiled(skip_gradient_norm=0.0)


def test_a_run_that_diverges_stops_with_a_diagnosis_and_good_checkpoints(tmp_path, monkeypatch):
    config = small_config(num_steps=40, max_skipped_steps=5, jit_compile=False, log_every_steps=1)
    config["objective"] = {"type": f"{__name__}.Poisoned"}

    def poison(self, step, logs):
        if step == 9:
            monkeypatch.setattr(Poisoned, "threshold", -np.inf)
            self.model.make_train_function(force=True)

    monkeypatch.setattr(callbacks.Pictures, "on_step", poison)
    with pytest.raises(FloatingPointError, match=r"5 steps in a row up to step 14 .*'loss' is not"):
        train(config, tmp_path)
    step, values = state_of(config, tmp_path)
    assert step == 12  # saved while steps were skipped
    assert all(np.isfinite(value).all() for value in values.values())
    assert all(np.isfinite(list(line.values())).all() for line in lines_of(tmp_path))


def checkpoints_of(folder, value=0.0, keep=2):
    model = AffineFlow([3])
    model.trainable_variables[0].assign([value] * 3)
    return model, Checkpoints(folder, model, keep)


def save(checkpoints, step):
    checkpoints.step.assign(step)
    checkpoints.save()


def test_the_newest_checkpoints_are_kept_and_damaged_ones_passed_over(tmp_path):
    model, checkpoints = checkpoints_of(tmp_path, keep=3)
    for step in range(1, 6):
        model.trainable_variables[0].assign([step] * 3)
        save(checkpoints, step)
    latest = tmp_path / "checkpoints" / "latest"
    assert sorted(path.name for path in latest.iterdir()) == ["step-3", "step-4", "step-5"]
    (data,) = (latest / "step-5").glob("*.data*")
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1  # one bit: only the checksum can tell
    data.write_bytes(content)
    (latest / "step-4" / "state.index").unlink()
    (latest / ".writing-6").mkdir()  # what a kill inside a save leaves
    model, checkpoints = checkpoints_of(tmp_path)
    assert checkpoints.restore()
    assert int(checkpoints.step) == 3
    np.testing.assert_array_equal(model.trainable_variables[0], [3.0] * 3)
    for path in (latest / "step-3").iterdir():
        path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"None of the checkpoints in .* can be read"):
        checkpoints.restore()


def test_the_same_step_again_never_stands_in_place_of_the_old_one(tmp_path):
    model, checkpoints = checkpoints_of(tmp_path, keep=1)
    for value in (1.0, 2.0, 3.0):
        model.trainable_variables[0].assign([value] * 3)
        save(checkpoints, 4)
    (left,) = (tmp_path / "checkpoints" / "latest").iterdir()
    assert left.name == "step-4.2"
    model, checkpoints = checkpoints_of(tmp_path)
    assert checkpoints.restore()
    np.testing.assert_array_equal(model.trainable_variables[0], [3.0] * 3)


def test_a_save_that_fails_keeps_the_checkpoints_before(tmp_path):
    """The operating system refuses to write: a limit on the size of files is our full disk."""
    _, checkpoints = checkpoints_of(tmp_path)
    save(checkpoints, 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16, before[1]))
        with pytest.raises(OSError, match=r"step 2 could not be written .*stay: step-1"):
            save(checkpoints, 2)
        best = float(checkpoints.best_value)
        with pytest.raises(OSError, match="could not be written"):
            checkpoints.save_best(1.0)
        assert float(checkpoints.best_value) == best
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    latest = tmp_path / "checkpoints" / "latest"
    assert os.listdir(latest) == ["step-1"]
    _, checkpoints = checkpoints_of(tmp_path)
    assert checkpoints.restore()
    assert int(checkpoints.step) == 1


def test_another_config_goes_on_only_when_asked_for(tmp_path):
    config = small_config(jit_compile=False)
    train(config, tmp_path)
    longer = small_config(jit_compile=False, num_steps=16)
    longer["optimizer"]["config"] = {**longer["optimizer"]["config"], "learning_rate": 1e-9}
    with pytest.raises(ValueError, match="these differ: num_steps: 12 -> 16; optimizer"):
        train(longer, tmp_path)
    _, before = state_of(config, tmp_path)
    assert train(longer, tmp_path, allow_changes=True)["num_steps"] == 16
    step, after = state_of(longer, tmp_path)
    assert step == 16
    for weight in [key for key in before if key[1] in ("loc", "log_scale")]:
        # The new learning rate holds: the weights stand still.
        np.testing.assert_allclose(after[weight], before[weight], atol=1e-6)
