"""Options that make steps cheaper leave them as they are."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.test_generative_model import AffineFlow, data
from tests.training.test_run import lines_of, small_config
from tests.training.test_survival import state_of
from tfgen.models import MAF
from tfgen.training import train
from tfgen.training.callbacks import Checkpointing


def curve(workdir):
    """What stands in metrics.jsonl of each step, in one mapping."""
    found = {}
    for line in lines_of(workdir):
        line.pop("examples_per_second", None)
        found.setdefault(line.pop("step"), {}).update(line)
    return found


def assert_same_state(workdir, other, rtol):
    """Weights, optimizer, averages and seeds of the newest checkpoints."""
    (step, ours), (last, theirs) = (state_of(small_config(), w) for w in (workdir, other))
    assert step == last == 14
    for value, ((_, name), expected) in zip(ours.values(), theirs.items(), strict=True):
        np.testing.assert_allclose(value, expected, rtol=rtol, atol=rtol / 10, err_msg=name)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("plain")
    train(small_config(num_steps=14, log_every_steps=1, max_skipped_steps=3), workdir)
    return workdir


@pytest.mark.parametrize("prefetch_batches", [0, 7])
def test_prefetching_changes_no_bit(plain, prefetch_batches, tmp_path):
    changes = {"num_steps": 14, "log_every_steps": 1, "max_skipped_steps": 3}
    train(small_config(**changes, prefetch_batches=prefetch_batches), tmp_path)
    assert curve(tmp_path) == curve(plain)
    assert_same_state(tmp_path, plain, rtol=0.0)


def test_several_steps_an_execution_are_the_same_steps(plain, tmp_path, monkeypatch):
    """Also interrupted, and with a last execution of fewer steps: 14 = 4 + 4 + [4] + 4 + 2."""
    config = small_config(
        num_steps=14, log_every_steps=1, max_skipped_steps=3, steps_per_execution=4
    )
    on_step = Checkpointing.on_step

    def crash(self, step, logs):
        if step == 12:
            raise KeyboardInterrupt
        on_step(self, step, logs)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpointing, "on_step", crash)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path)
    train(config, tmp_path)
    # One compiled program of four steps rounds its sums differently from four programs.
    assert_same_state(tmp_path, plain, rtol=1e-5)
    ours, theirs = curve(tmp_path), curve(plain)
    validated = [step for step, line in theirs.items() if any("validation" in k for k in line)]
    assert list(theirs) == list(range(1, 15)) and validated == [6, 12, 14]
    # A row at the end of each execution, of the means since the last; validation at the first end
    # that is not before its multiple.
    assert list(ours) == [4, 8, 12, 14]
    assert [s for s, line in ours.items() if any("validation" in k for k in line)] == [8, 12, 14]
    for end, start in ((4, 0), (8, 4), (12, 8), (14, 12)):
        mean = np.mean([theirs[step]["loss"] for step in range(start + 1, end + 1)])
        assert ours[end]["loss"] == pytest.approx(mean, rel=1e-5)


def momentum_model(initial_scale=None):
    """A model that learns with momentum, its loss scaled if a scale is given."""
    keras.utils.set_random_seed(0)
    model = AffineFlow((3,))
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    if initial_scale is not None:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=initial_scale)
    model.compile(optimizer=optimizer, jit_compile=False)
    return model


def losses(model, num_steps, num_examples=32):
    batch = tf.data.Dataset.from_tensors(data(num_examples))
    fits = [model.fit(batch, shuffle=False, verbose=0) for _ in range(num_steps)]
    return np.array([fit.history["loss"][0] for fit in fits])


def test_loss_scaling_leaves_the_steps_as_they_are():
    """Powers of two scale and unscale without rounding; an overflow costs its step alone."""
    plain, scaled = momentum_model(), momentum_model(2.0**10)
    expected = losses(plain, 8)
    np.testing.assert_array_equal(losses(scaled, 8), expected)
    for ours, theirs in zip(scaled.trainable_variables, plain.trainable_variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)

    # 2^127 times the gradient overflows; the scale is halved until it does not.
    scaled = momentum_model(2.0**127)
    received = losses(scaled, 20)
    num_skipped = 127 - int(np.log2(float(scaled.optimizer.dynamic_scale)))
    assert 0 < num_skipped < 12
    np.testing.assert_array_equal(received[:num_skipped], expected[0])
    np.testing.assert_array_equal(received[num_skipped : num_skipped + 8], expected)


def test_mixed_precision_follows_float32_within_its_rounding():
    """Losses of 12 steps of a network in half precision: apart by at most twice the unit roundoff,
    the first-order error of a product of two rounded numbers."""

    def curve_of(policy):
        keras.utils.set_random_seed(0)
        model = MAF((3,), num_layers=2, hidden=[32], dtype=policy)
        optimizer = keras.optimizers.Adam(0.01)
        if policy == "mixed_float16":
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2.0**8)
        model.compile(optimizer=optimizer, jit_compile=False)
        curve = losses(model, 12)
        assert int(model.optimizer.iterations) == 12  # none overflowed
        return curve

    expected = curve_of("float32")
    for policy, roundoff in (("mixed_bfloat16", 2.0**-8), ("mixed_float16", 2.0**-11)):
        difference = np.abs(curve_of(policy) / expected - 1.0).max()
        assert 1e-3 * roundoff < difference < 2 * roundoff, policy  # not in float32, and no further
