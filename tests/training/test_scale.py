"""A batch in parts, on replicas or one after another: the steps are those of one device."""

import json
import os
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.test_generative_model import AffineFlow, TwoPlayers, data
from tests.training.families import FAMILIES, LEARNING_RATE, made
from tests.training.test_options import losses, momentum_model
from tests.training.test_run import lines_of, small_config
from tests.training.test_survival import ROOT, TRAIN, wait_for_step
from tfgen import seeds
from tfgen.data import load
from tfgen.models.data_parallel import Derivative, on_replicas
from tfgen.objectives import NegativeLogProb
from tfgen.training import train
from tfgen.training.devices import devices

# Averages, clipping of the whole gradient, validation of averaged weights, 40 epochs.
RUN = {
    "num_steps": 240,
    "log_every_steps": 20,
    "checkpoint_every_steps": 20,
    "validate_every_steps": 120,
    "optimizer": {
        "class_name": "AdamW",
        "config": {
            "learning_rate": 0.01,
            "weight_decay": 0.01,
            "use_ema": True,
            "ema_momentum": 0.9,
            "global_clipnorm": 2.0,
        },
    },
}


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("one")
    return workdir, train(small_config(**RUN), workdir)


def assert_same_run(workdir, one_device):
    """The curves and the result, up to the order of float32 sums."""
    expected, results = one_device
    ours, theirs = lines_of(workdir), lines_of(expected)
    assert [line.keys() for line in ours] == [line.keys() for line in theirs]
    for a, b in zip(ours, theirs, strict=True):
        for key in b.keys() - {"examples_per_second"}:
            assert a[key] == pytest.approx(b[key], rel=2e-5), (b["step"], key)
    received = json.loads((workdir / "results.json").read_text())
    assert received["nats"] == pytest.approx(results["nats"], rel=1e-5)
    assert received["best_step"] == results["best_step"]


def on_two_devices(*arguments):
    command = [sys.executable, "-m", "tests.training.two_replicas", *arguments]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert process.returncode == 0, process.stderr[-2000:]
    return process


def test_two_devices_take_the_steps_of_one(one_device, tmp_path):
    config = small_config(**RUN, strategy="mirrored")
    process = on_two_devices("train", json.dumps(config), str(tmp_path))
    assert_same_run(tmp_path, one_device)

    # Each replica has its part of the batch and noise of its own; the generator moves on by one.
    drawn = json.loads(process.stdout.splitlines()[-1])
    state, after = drawn["states"]
    assert after == [state[0], state[1] + 1]
    replicas = [seeds.fold_in(tf.constant(state, tf.int32), index) for index in (0, 1)]
    for name, number in (("first", 0), ("second", 1)):
        expected = [seeds.uniform([], replica + tf.constant([0, number])) for replica in replicas]
        assert drawn[name] == pytest.approx(np.mean(expected), rel=1e-6)
        assert expected[0] != expected[1]
    halves = data(8).reshape(2, -1).max(axis=1)
    assert drawn["position"] == pytest.approx(halves.mean(), rel=1e-6)

    # Scaled gradients, of a part perhaps, overflow at first: all replicas skip these steps, then
    # take those of one device without a scale.
    scaled, model = drawn["scaled"], momentum_model()
    num_skipped = 127 - int(np.log2(scaled["scale"]))
    assert 0 < num_skipped < 12
    expected = losses(model, 20 - num_skipped)
    expected = np.concatenate([np.full(num_skipped, expected[0]), expected])
    np.testing.assert_allclose(scaled["losses"], expected, rtol=1e-5)
    for ours, theirs in zip(scaled["weights"], model.trainable_variables, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)

    # The benchmark's steps are training steps of the whole batch: the first and two repetitions,
    # with XLA and without.
    figures, model = drawn["benchmark"], momentum_model()
    losses(model, 6, num_examples=8)
    assert (figures["num_replicas"], figures["batch_size"]) == (2, 8)
    assert figures["examples_per_second"] == pytest.approx(8 / figures["step_seconds"])
    assert "flop_per_step" not in figures
    for ours, theirs in zip(figures["weights"], model.trainable_variables, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def mean_of_halves(name):
    """Terms and weights after one step of a family, worked out on one device from the halves of
    the batch, each with its replica's number folded into the seeds."""
    model, x, y = made(name)
    model.initialize(x, y)
    generators = [v for v in model.variables if v.name == "seed_generator_state"]
    terms = {}
    for player in model._players():
        halves = []
        for replica in (0, 1):
            folded = [seeds.fold_in(tf.cast(v.value, tf.int32), replica) for v in generators]
            folded = [tf.cast(s, v.dtype) for s, v in zip(folded, generators, strict=True)]
            half = slice(4 * replica, 4 * replica + 4)
            with keras.StatelessScope(list(zip(generators, folded, strict=True))):
                derivative = model._derivative(player, x[half], None if y is None else y[half])
            halves.append(derivative)
        for state in generators:
            state.assign(state.value + tf.constant([0, 1], state.dtype))
        mine = {k: np.mean([half.terms[k] for half in halves]) for k in halves[0].terms}
        pairs = zip(*(half.gradients for half in halves), strict=True)
        gradients = [None if a is None else (a + b) / 2 for a, b in pairs]
        length = tf.linalg.global_norm([g for g in gradients if g is not None])
        terms |= player.named({**mine, "gradient_norm": float(length)})
        for variable, gradient in zip(player.variables, gradients, strict=True):
            if gradient is not None:
                variable.assign_sub(LEARNING_RATE * gradient)
    return terms, np.concatenate([v.numpy().ravel() for v in model.trainable_variables])


def test_a_step_of_every_family_is_the_mean_of_its_parts(tmp_path):
    on_two_devices("step", str(tmp_path / "steps.npz"))
    steps = np.load(tmp_path / "steps.npz")
    for name in FAMILIES:
        terms, weights = mean_of_halves(name)
        for term, value in terms.items():
            received = float(steps[f"{name}/{term}"])
            assert received == pytest.approx(value, rel=1e-4, abs=1e-5), (name, term)
        np.testing.assert_allclose(
            steps[f"{name}/weights"], weights, rtol=1e-4, atol=1e-5, err_msg=name
        )


def start_worker(index, ports, config, workdir):
    hosts = [f"127.0.0.1:{port}" for port in ports]
    task = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
    environment = {**os.environ, "TF_CONFIG": json.dumps(task), "TF_CPP_MIN_LOG_LEVEL": "2"}
    command = [sys.executable, "-c", TRAIN, json.dumps(config), str(workdir)]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=-1, stderr=subprocess.STDOUT, text=True
    )


def start_workers(config, workdir):
    sockets = [socket.socket() for _ in range(2)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return [start_worker(index, ports, config, workdir) for index in range(2)]


def test_two_workers_take_the_steps_of_one_also_after_one_was_killed(one_device, tmp_path):
    config = small_config(**RUN, strategy="multi_worker")
    chief, worker = start_workers(config, tmp_path)
    try:
        wait_for_step(chief, tmp_path, 60)
        worker.kill()
        worker.communicate()
        output, _ = chief.communicate(timeout=300)
    finally:
        chief.kill()
    assert chief.returncode == 1, output[-2000:]  # it cannot go on alone, and says so
    assert not (tmp_path / "results.json").exists()

    workers = start_workers(config, tmp_path)
    outputs = [process.communicate(timeout=300)[0] for process in workers]
    assert [process.returncode for process in workers] == [0, 0], outputs
    assert_same_run(tmp_path, one_device)


def fitted(num_micro_batches, objective=None, x=None, **arguments):
    keras.utils.set_random_seed(0)
    model = AffineFlow((3,))
    optimizer = keras.optimizers.Adam(0.05, use_ema=True, ema_momentum=0.8, global_clipnorm=5.0)
    model.compile(
        objective=objective, optimizer=optimizer, num_micro_batches=num_micro_batches, **arguments
    )
    x = data(96) if x is None else x
    history = model.fit(x, batch_size=32, epochs=2, shuffle=False, verbose=0).history
    return model, history


@pytest.mark.parametrize("jit_compile", [True, False])
@pytest.mark.parametrize("objective", [NegativeLogProb, TwoPlayers])
def test_micro_batches_take_the_steps_of_the_batch(objective, jit_compile):
    whole, expected = fitted(1, objective(), jit_compile=jit_compile)
    parts, received = fitted(4, objective(), jit_compile=jit_compile)
    assert list(received) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(received[name], values, rtol=1e-5, err_msg=name)
    ours = [*parts.variables, *parts.optimizer.variables]
    theirs = [*whole.variables, *whole.optimizer.variables]
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7, err_msg=b.path)


def test_one_bad_part_skips_the_step_of_all():
    class OnlySmall(NegativeLogProb):
        def __call__(self, model, x, y=None):
            terms = super().__call__(model, x, y)
            bad = tf.reduce_any(x > 100.0)
            return {name: tf.where(bad, np.nan, value) for name, value in terms.items()}

    x = data(96)
    good = np.concatenate([x[:32], x[64:]])
    x[40] = 1000.0
    whole, _ = fitted(4, OnlySmall(), good, jit_compile=False)
    skipped, _ = fitted(4, OnlySmall(), x, jit_compile=False)
    assert int(skipped.skipped_steps) == 2  # one of each epoch
    for a, b in zip(skipped.optimizer.variables, whole.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=b.path)


def test_what_layers_store_is_not_lost_on_replicas_in_silence():
    layer = keras.layers.BatchNormalization()
    layer.build([None, 3])

    def differentiate(x, y):
        loss = tf.reduce_mean(layer(x, training=True))
        return Derivative({}, loss, [])

    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    message = "layers that store what they see while they train; received: .*moving_mean"
    with pytest.raises(ValueError, match=message):
        on_replicas(strategy, differentiate, layer.variables, False, tf.zeros([4, 3]), None)


def test_workers_have_the_parts_of_a_batch_in_order():
    split = load("random_table", num_columns=3, num_examples=96).train
    whole = list(split.training_batches(12, seed=3, start_step=5, num_steps=9))
    parts = [list(split.training_batches(12, 3, 5, 9, worker, 3)) for worker in range(3)]
    for step, batch in enumerate(whole):
        np.testing.assert_array_equal(np.concatenate([part[step] for part in parts]), batch)
    with pytest.raises(
        ValueError, match="batch_size must be a multiple of 5 workers; received: 12"
    ):
        split.training_batches(12, 3, num_workers=5)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"strategy": "tpu"}, "config.strategy must be one of"),
        ({"batch_size": 16, "num_micro_batches": 3}, "config.batch_size must be a multiple of 3"),
        ({"num_micro_batches": 0}, "config.num_micro_batches must be"),
        (
            {"optimizer": {"class_name": "SGD", "config": {"gradient_accumulation_steps": 2}}},
            "optimizer.gradient_accumulation_steps must be None",
        ),
    ],
)
def test_impossible_parts_are_refused_before_anything_is_written(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        train(small_config(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "value", [None, "{", '{"cluster": {"worker": ["a:1"]}, "task": {"index": 1}}']
)
def test_workers_need_to_know_each_other(value, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if value is not None:
        monkeypatch.setenv("TF_CONFIG", value)
    with pytest.raises(ValueError, match="TF_CONFIG must be"):
        devices("multi_worker")
