"""A run: resume, best weights, averaged weights, refusals."""

import json

import numpy as np
import pytest

import tfgen
from configs import common
from tfgen.evaluation import Likelihood
from tfgen.training import callbacks, train
from tfgen.training.checkpoints import Checkpoints
from tfgen.training.config import build_model, compile_model, load_data, resolve_model


def small_config(**changes):
    config = common.default()
    config.num_steps, config.batch_size = 12, 16
    config.log_every_steps, config.checkpoint_every_steps, config.validate_every_steps = 2, 4, 6
    config.num_sample_images = 4
    config.data = {"name": "random_table", "num_columns": 3, "num_examples": 96}
    config.model = {"type": "tests.models.test_generative_model.AffineFlow"}
    config.optimizer.config = {"learning_rate": 0.05, "use_ema": True, "ema_momentum": 0.8}
    config = config.to_dict()
    config.update(changes)
    return config


def lines_of(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_an_interrupted_run_ends_as_an_uninterrupted_one(tmp_path, monkeypatch):
    config = small_config()
    expected = train(config, tmp_path / "whole")

    on_step = callbacks.Checkpointing.on_step

    def crash(self, step, logs):
        if step == 11:
            raise KeyboardInterrupt
        on_step(self, step, logs)

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Checkpointing, "on_step", crash)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "cut")
    assert lines_of(tmp_path / "cut")[-1]["step"] == 10  # two steps after the last checkpoint
    assert not (tmp_path / "cut" / "results.json").exists()
    with (tmp_path / "cut" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 11, "lo')  # what a crash leaves of a line
    results = train(config, tmp_path / "cut")

    assert results["nats"] == pytest.approx(expected["nats"], rel=1e-6)
    assert results["best_step"] == expected["best_step"]
    whole, cut = lines_of(tmp_path / "whole"), lines_of(tmp_path / "cut")
    assert [line["step"] for line in cut] == [line["step"] for line in whole]
    for ours, theirs in zip(cut, whole, strict=True):
        for key in theirs.keys() - {"examples_per_second"}:
            # The mean that the crash cut in two is of the steps since the checkpoint.
            assert ours[key] == pytest.approx(theirs[key], rel=1e-5)
    for a, b in zip(
        tfgen.load(tmp_path / "cut").weights, tfgen.load(tmp_path / "whole").weights, strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(tmp_path):
    config = small_config()
    train(config, tmp_path)
    data = load_data(config)
    model = build_model(config, resolve_model(config, data))
    compile_model(model, config, data.info)
    newest = sorted((tmp_path / "checkpoints" / "latest").glob("step-12/*.data*"))[0]
    newest.write_bytes(newest.read_bytes()[:10])
    checkpoints = Checkpoints(tmp_path, model)
    assert checkpoints.restore()
    assert int(checkpoints.step) == 8


def test_results_are_of_the_best_averaged_weights(tmp_path):
    config = small_config()
    results = train(config, tmp_path)
    assert results["weights"] == "ema"
    validation = {
        line["step"]: line["validation/nats"]
        for line in lines_of(tmp_path)
        if "validation/nats" in line
    }
    assert results["best_step"] == min(validation, key=validation.get)
    data = load_data(config)
    model = tfgen.load(tmp_path)
    # One number from the definition, beside the report's.
    nats = -model.log_prob(data.test.x).numpy()
    assert results["nats"] == pytest.approx(nats.mean(), rel=1e-5)
    error = nats.std(ddof=1) / np.sqrt(len(nats))
    assert results["standard_error"] == pytest.approx(error, rel=1e-4)
    # The averaged weights are not the raw ones that the run would go on with.
    resumed = build_model(config, resolve_model(config, data))
    compile_model(resumed, config, data.info)
    Checkpoints(tmp_path, resumed).restore()
    assert not np.allclose(resumed.bijector.loc, model.bijector.loc, rtol=1e-3)
    with resumed.averaged_weights():
        validation_now = Likelihood(resumed, 64)(data.validation)["nats"]
    assert validation_now == pytest.approx(validation[12], rel=1e-5)


def test_evaluation_does_not_depend_on_the_batch_size(tmp_path):
    config = small_config()
    data = load_data(config)
    model = build_model(config, resolve_model(config, data))
    nats = [Likelihood(model, size)(data.test)["nats"] for size in (4, 7, 1000)]
    np.testing.assert_allclose(nats, nats[0], rtol=1e-6)


def test_cosine_decay_reaches_zero_and_warms_up(tmp_path):
    config = small_config(learning_rate_decay="cosine", warmup_steps=4)
    data = load_data(config)
    model = build_model(config, resolve_model(config, data))
    compile_model(model, config, data.info)
    rate = model.optimizer._learning_rate
    np.testing.assert_allclose([rate(s) for s in (0, 2, 4, 8, 12)], [0, 0.025, 0.05, 0.025, 0])


def test_without_validation_data_the_last_weights_are_kept(tmp_path):
    table = tmp_path / "table.npz"
    np.savez(table, x=np.random.default_rng(0).standard_normal((50, 3)).astype("float32"))
    data = {"name": "npz", "path": str(table), "validation_fraction": 0.0}
    assert train(small_config(data=data), tmp_path / "run")["best_step"] == 12


def test_dynamic_binarisation_draws_new_images_at_every_step(tmp_path):
    config = small_config(data={"name": "digits", "binarize": "dynamic"})
    data = load_data(config)
    assert data.train.x.max() == 16
    assert data.test.x.max() == 1
    model = build_model(config, {**resolve_model(config, data), "num_levels": 2})
    compile_model(model, config, data.info)
    grey = np.full((500, 8, 8, 1), 4, "uint8")
    first, second = (model.augment(grey, seed).numpy() for seed in ([0, 1], [0, 2]))
    assert set(np.unique(first)) == {0, 1}
    assert first.mean() == pytest.approx(0.25, abs=0.01)
    assert (first != second).mean() == pytest.approx(2 * 0.25 * 0.75, abs=0.01)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_steps": 0}, "config.num_steps must be an integer >= 1; received: 0"),
        ({"warmup_steps": 12}, "config.warmup_steps must be less than num_steps"),
        (
            {"learning_rate_decay": "linear"},
            "config.learning_rate_decay must be one of 'none', 'cos",
        ),
        (
            {"optimizer": {"class_name": "Adam", "config": {"learning_rate": -1.0}}},
            "config.optimizer.config.learning_rate must be a positive number",
        ),
        ({"optimizer": {"class_name": "Adamm"}}, "config.optimizer must be a Keras optimizer"),
        ({"objective": {"type": "Elbow"}}, "type must be one of .*NegativeLogProb"),
        (
            {"evaluation": {"batch_size": 8, "report": {}, "metrics": ("bits",)}},
            "config.evaluation.metrics must be one of",
        ),
        ({"augmentations": [{"type": "Rotate"}]}, "type must be one of .*HorizontalFlip"),
    ],
)
def test_impossible_configs_are_refused_before_anything_is_written(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        train(small_config(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()
