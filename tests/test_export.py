"""Exports: what they hold, that they run without Python's TensorFlow, and what refuses them."""

import importlib
import json
import os
import pathlib
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfgen
from tests.conformance import randomize
from tests.export_checks import (
    check_answers,
    check_export,
    check_served,
    check_types,
    serve,
    signature_definitions,
)
from tfgen.models import (
    CSG,
    MADE,
    VAE,
    Classifier,
    GatedPixelCNN,
    LaCIM,
    PixelCNN,
    PixelCNNPP,
    PixelRNN,
    RealNVP,
    ResNetIAFVAE,
    WaveNet,
)
from tfgen.models.generative_model import EVALUATION_SEED
from tfgen.serving import comparison, warmup
from tfgen.serving.model_card import card_of_run
from tfgen.serving.session import ServedModel, read_warmup

ROOT = pathlib.Path(__file__).parent.parent
EXPORT = importlib.import_module("tfgen.serving.export")  # not `tfgen.export`, the function in it


def images(num, shape, num_levels):
    return np.random.default_rng(0).integers(0, num_levels, (num, *shape)).astype("uint8")


def small_model(**arguments):
    return _randomized(PixelCNN((2, 2, 1), 3, filters=2, num_blocks=0, top_filters=2, **arguments))


def _randomized(model):
    randomize(model)
    return model


@pytest.fixture
def unchecked(monkeypatch):
    """Without the comparison in another process, where a test is about something else."""
    monkeypatch.setattr(EXPORT, "check_numbers", lambda *_: None)


class TestEveryFamily:
    """Autoregressive models are in `test_client.py`, flows of vectors in `test_consumers.py`."""

    def test_flow_of_images(self, tmp_path):
        model = _randomized(
            RealNVP((4, 4, 1), num_levels=17, num_couplings=1, filters=4, num_blocks=1)
        )
        check_export(model, images(3, (4, 4, 1), 17), tmp_path)

    def test_latent_with_labels(self, tmp_path):
        networks = {"encoder": {"type": "MLPEncoder", "units": [8]}}
        networks["decoder"] = {"type": "MLPDecoder", "units": [8]}
        model = VAE((4, 4, 1), num_levels=2, num_classes=3, latent_shape=(2,), **networks)
        y = np.array([2, 0, 1], "int32")
        assert set(model.signatures()) == {"log_prob", "sample", "encode", "decode", "reconstruct"}
        check_export(_randomized(model), images(3, (4, 4, 1), 2), tmp_path, y)

    def test_hierarchy_of_latents(self, tmp_path):
        sizes = {"depths": (1, 1), "filters": 4, "latent_channels": 2, "flow_depth": 1}
        model = ResNetIAFVAE((3, 5, 1), num_levels=4, num_classes=3, **sizes)
        assert set(model.signatures()) == {"log_prob", "sample", "encode", "decode", "reconstruct"}
        y = np.array([2, 0, 1], "int32")
        check_export(_randomized(model), images(3, (3, 5, 1), 4), tmp_path, y)

    def test_autoregressive_likelihood(self, tmp_path):
        network = {"type": "PixelCNN", "filters": 4, "num_blocks": 0, "top_filters": 4}
        likelihood = {"type": "AutoregressiveLikelihood", "network": network}
        model = VAE(
            (2, 3, 1),
            num_levels=4,
            latent_shape=(2,),
            likelihood={**likelihood, "features_shape": (2, 3, 2)},
            encoder={"type": "MLPEncoder", "units": [8]},
            decoder={"type": "MLPDecoder", "units": [8]},
        )
        assert set(model.signatures()) == {"log_prob", "sample", "sample_xla", "encode"}
        check_export(_randomized(model), images(3, (2, 3, 1), 4), tmp_path)

    def test_causal(self, tmp_path):
        model = CSG(
            (4, 4, 1),
            num_classes=3,
            num_levels=5,
            semantic_size=2,
            variation_size=3,
            context_size=4,
            test_prior="independent",
            encoder={"type": "MLPEncoder", "units": [8]},
        )
        folder = tfgen.export(_randomized(model), tmp_path / "served")
        x, y, seed = images(3, (4, 4, 1), 5), np.array([2, 0, 1], "int32"), EVALUATION_SEED
        expected = []
        for n in (1, 3):
            on_x, z = {"x": x[:n]}, model.encode(x[:n])
            prediction = {"probabilities": model.predict(x[:n])}
            before = {"probabilities": model.predict_training(x[:n], seed=seed)}
            drawn = dict(zip("xy", model.sample_labelled(n, [0, 5]), strict=True))
            joint = {"log_prob": model.log_prob(x[:n], y[:n], seed=seed)}
            inputs = {"num_samples": np.int32(n), "seed": np.array([0, 5], "int32")}
            expected += [
                ("serving_default", on_x, prediction),
                ("predict", on_x, prediction),
                ("predict_training", on_x, before),
                ("log_prob", on_x, {"log_prob": model.log_prob(x[:n], seed=seed)}),
                ("joint_log_prob", {**on_x, "y": y[:n]}, joint),
                ("sample", inputs, drawn),
                ("encode", on_x, {"z": z}),
                ("decode", {"z": z.numpy()}, {"x": model.decode(z)}),
            ]
        answers = check_answers(folder, model, expected, tmp_path)
        assert answers[5]["y"].dtype == np.int32

    @pytest.mark.parametrize(
        "model",
        [
            pytest.param(lambda: MADE((4,), hidden=[8]), id="MADE"),
            pytest.param(
                lambda: GatedPixelCNN((2, 2, 1), 3, filters=2, num_layers=1, top_filters=2),
                id="GatedPixelCNN",
            ),
            pytest.param(
                lambda: PixelCNNPP((4, 4, 1), filters=2, num_blocks=1, num_mixtures=1),
                id="PixelCNNPP",
                marks=pytest.mark.slow,
            ),
            pytest.param(
                lambda: PixelRNN((2, 2, 1), 3, filters=2, num_layers=1, top_filters=2),
                id="PixelRNN",
                marks=pytest.mark.slow,
            ),
            pytest.param(
                lambda: WaveNet((4,), 3, dilations=[1], num_stacks=1, skip_channels=2),
                id="WaveNet",
            ),
            pytest.param(
                lambda: LaCIM((4,), 2, 2, posterior_units=[4], num_candidates=2, num_steps=2),
                id="LaCIM",
            ),
        ],
    )
    def test_all_others(self, model, tmp_path, monkeypatch):
        """The export's own check, without the process of its own; `complete` is the loop of all of
        a model's samplers."""

        def answer(folder, requests, warmup_file):
            served = ServedModel(folder)
            outputs = [served(*request) for request in [*read_warmup(warmup_file), *requests]]
            return comparison.Answers(outputs, 0.0, np.zeros(len(outputs)))

        monkeypatch.setattr(comparison, "answer", answer)
        model = _randomized(model())
        signatures = model.signatures()
        if "complete" in signatures:
            signatures = {name: signatures[name] for name in ("log_prob", "complete")}
        monkeypatch.setattr(type(model), "signatures", lambda _: signatures)
        version = tfgen.export(model, tmp_path / "served", warmup_batch_sizes=[2])
        check_types(version, model)
        assert set(signature_definitions(version)) == {*signatures, "serving_default"}

    def test_classifier(self, tmp_path):
        model = Classifier((4,), num_classes=3, feature_units=[4])
        folder = tfgen.export(_randomized(model), tmp_path / "served")
        x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
        y = np.array([2, 0, 1], "int32")
        prediction = {"probabilities": model.predict(x)}
        expected = [
            ("serving_default", {"x": x}, prediction),
            ("predict", {"x": x}, prediction),
            ("log_prob", {"x": x, "y": y}, {"log_prob": model.log_prob(x, y)}),
            ("log_prob", {"x": x[:1], "y": y[:1]}, {"log_prob": model.log_prob(x[:1], y[:1])}),
        ]
        check_answers(folder, model, expected, tmp_path)

    @pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64"])
    def test_float32_at_the_boundary_under_any_policy(self, policy, tmp_path):
        """Features to condition on, too."""
        networks = {"encoder": {"type": "MLPEncoder", "units": [8]}}
        networks["decoder"] = {"type": "MLPDecoder", "units": [8]}
        model = VAE((6,), latent_shape=(2,), num_features=2, dtype=policy, **networks)
        x = np.random.default_rng(0).normal(size=(3, 6)).astype("float32")
        y = np.random.default_rng(1).normal(size=(3, 2)).astype("float32")
        warmed = ["log_prob", "encode"]  # as for a server that batches
        folder = tfgen.export(_randomized(model), tmp_path / "served", warmup_signatures=warmed)
        tolerance = 3e-2 if "16" in policy else 1e-5
        check_served(folder, model, x, tmp_path, y, tolerance, warmed)


def test_weights_are_the_averages_and_nothing_of_the_optimizer(unchecked, tmp_path):
    model, x = small_model(), images(4, (2, 2, 1), 3)
    optimizer = keras.optimizers.Adam(0.3, use_ema=True, ema_momentum=0.8)
    model.compile(optimizer=optimizer, jit_compile=False)
    for _ in range(3):  # in the middle of training: weights and averages differ
        model.train_on_batch(x)
    raw = model.log_prob(x).numpy()
    with model.averaged_weights():
        averaged = model.log_prob(x).numpy()
    assert np.abs(raw - averaged).min() > 0.01

    version = tfgen.export(model, tmp_path / "served")

    (answer,) = serve(version, [("log_prob", {"x": x})], tmp_path)
    np.testing.assert_allclose(answer["log_prob"], averaged, atol=1e-5)
    np.testing.assert_array_equal(model.log_prob(x), raw)
    saved = tf.train.list_variables(str(version / "variables" / "variables"))
    sizes = sorted(int(np.prod(shape)) for name, shape in saved if "CHECKPOINT" not in name)
    assert sizes == sorted(int(np.prod(v.shape)) for v in model.weights)


def test_versions_are_numbered_and_never_overwritten(unchecked, tmp_path):
    model = small_model()
    assert tfgen.export(model, tmp_path / "served") == tmp_path / "served" / "1"
    (tmp_path / "served" / "7").mkdir()
    (tmp_path / "served" / "notes").mkdir()
    before = (tmp_path / "served" / "1" / "saved_model.pb").read_bytes()
    assert tfgen.export(model, str(tmp_path / "served")) == tmp_path / "served" / "8"
    assert (tmp_path / "served" / "1" / "saved_model.pb").read_bytes() == before
    assert sorted(os.listdir(tmp_path / "served")) == ["1", "7", "8", "notes"]


class TestInterruptions:
    def half_write(self, monkeypatch, error):
        def write_out(archive, folder, **_):
            pathlib.Path(folder).mkdir()
            (pathlib.Path(folder) / "saved_model.pb").write_bytes(b"half")
            raise error

        monkeypatch.setattr(type(keras.export.ExportArchive()), "write_out", write_out)

    @pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
    def test_failure_leaves_nothing(self, monkeypatch, tmp_path, error):
        self.half_write(monkeypatch, error)
        with pytest.raises(type(error)):
            tfgen.export(small_model(), tmp_path / "served")
        assert not (tmp_path / "served").exists()
        (tmp_path / "served" / "3").mkdir(parents=True)
        with pytest.raises(type(error)):
            tfgen.export(small_model(), tmp_path / "served")
        assert os.listdir(tmp_path / "served") == ["3"]

    def test_killed_export_leaves_no_version_and_the_next_one_cleans_up(self, unchecked, tmp_path):
        script = f"""
import os, signal
import tests.test_export as t
t.EXPORT.check_graph = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
t.EXPORT.export(t.small_model(), {str(tmp_path / "served")!r})
"""
        process = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True)
        assert process.returncode == -signal.SIGKILL, process.stderr[-2000:]
        (left,) = os.listdir(tmp_path / "served")
        assert not left.isdecimal()
        assert (tmp_path / "served" / left / "saved_model.pb").exists()
        assert tfgen.export(small_model(), tmp_path / "served").name == "1"
        assert os.listdir(tmp_path / "served") == ["1"]


class Faulty(PixelCNN):
    """A model whose `log_prob` signature is given by `function(self, x)`, outside the config."""

    function = None

    def signatures(self):
        signatures = super().signatures()
        function = type(self).function
        specs = signatures["log_prob"][1]
        return {"log_prob": (lambda x: {"log_prob": function(self, x)}, specs)}


def calls_python(self, x):
    return tf.ensure_shape(tf.py_function(lambda x: self.log_prob(x), [x], tf.float32), [None])


def demands_xla(self, x):
    return tf.function(self.log_prob, jit_compile=True)(x)


def draws_without_the_seed(self, x):
    return self.log_prob(x) + tf.cast(self.next_seed()[0], tf.float32)


def fixed_batch(self, x):
    return tf.reduce_sum(self.log_prob(x))


def forgotten_shape(self, x):
    size = tf.shape(x)[0]
    return tf.reshape(self.log_prob(x), [size, size // size])


def frozen_at_tracing(self, x):
    return self.log_prob(x) + (0.0 if tf.executing_eagerly() else 0.1)


class TestRefusals:
    @pytest.mark.parametrize(
        ("function", "message"),
        [
            (calls_python, "'log_prob' cannot be served: it calls Python"),
            (demands_xla, "'log_prob' cannot be served: it demands XLA"),
            (draws_without_the_seed, "'log_prob' cannot be served: it changes a variable"),
            (fixed_batch, "'log_prob' must have a free batch dimension"),
            (forgotten_shape, r"and no other; its shape is \(None, None\)"),
            (frozen_at_tracing, "'log_prob' of signature 'log_prob' differs from the live model's"),
        ],
    )
    def test_faulty_signature(self, function, message, monkeypatch, tmp_path):
        monkeypatch.setattr(Faulty, "function", function)
        # Without warm-up records the requests take another way to the session.
        monkeypatch.setattr(warmup, "is_available", lambda: False)
        model = Faulty((2, 2, 1), 3, filters=2, num_blocks=0, top_filters=2)
        with pytest.raises(RuntimeError, match=message):
            tfgen.export(model, tmp_path / "served")
        assert not (tmp_path / "served").exists()

    def test_variables_that_only_python_restores(self, monkeypatch, tmp_path):
        def write(model, folder):
            module = tf.Module()
            module.model = model.first  # Keras variables, not their `value`
            functions = {
                name: tf.function(function, input_signature=specs, autograph=False)
                for name, (function, specs) in model.signatures().items()
            }
            module.functions = functions
            module.rest = [v.value for v in model.top.variables]
            tf.saved_model.save(module, str(folder), signatures=functions)
            answer = tf.saved_model.load(str(folder)).signatures["log_prob"](tf.zeros_like(x))
            np.testing.assert_allclose(answer["log_prob"], model.log_prob(tf.zeros_like(x)))

        x = images(2, (2, 2, 1), 3)
        monkeypatch.setattr(EXPORT, "_write", write)
        with pytest.raises(RuntimeError, match="does not run in a TensorFlow session"):
            tfgen.export(small_model(), tmp_path / "served")

    def test_arguments(self, tmp_path):
        with pytest.raises(ValueError, match="model must be a GenerativeModel; received: 'Seq"):
            tfgen.export(keras.Sequential(), tmp_path / "served")
        (tmp_path / "file").write_text("")
        for path in (tmp_path / "file", tmp_path / "file" / "served"):
            with pytest.raises(ValueError, match="path must be a folder"):
                tfgen.export(small_model(), path)
        for arguments, message in [
            ({"card": ["digits"]}, "card must be a mapping"),
            ({"card": {"value": np.float32(1.0)}}, "card must be made of JSON values"),
            ({"warmup_batch_sizes": []}, "warmup_batch_sizes must be a list of integers"),
            ({"warmup_batch_sizes": [1, 0]}, "warmup_batch_sizes must be an integer >= 1"),
            ({"warmup_signatures": ["sample_xla"]}, "warmup_signatures must be one of 'log_prob'"),
        ]:
            with pytest.raises(ValueError, match=message):
                tfgen.export(small_model(), tmp_path / "new", **arguments)
        assert os.listdir(tmp_path) == ["file"]


class TestReplay:
    """The comparison with the live model, the session's answers given by hand."""

    def replay(self, monkeypatch, model, change, seconds=0.1):
        traced = {
            name: tf.function(function, autograph=False)
            for name, (function, _) in model.signatures().items()
        }
        requests = warmup.example_requests(model, [1, 8])
        outputs = [
            {
                key: change(name, value.numpy())
                for key, value in traced[name](*inputs.values()).items()
            }
            for name, inputs in requests
        ]
        answers = comparison.Answers(outputs, 1.0, np.full(len(requests), seconds))
        monkeypatch.setattr(comparison, "answer", lambda *_: answers)
        comparison.check_numbers(model, traced, pathlib.Path("nowhere"), requests)

    def test_draws_are_compared_row_by_row(self, monkeypatch):
        model = small_model()
        self.replay(monkeypatch, model, lambda name, value: value)

        def other_draws(name, value):
            return (value + 2) % 4 if name == "complete" else value

        with pytest.raises(RuntimeError, match="'x' of signature 'complete' differs from the live"):
            self.replay(monkeypatch, model, other_draws)

        def one_other_row(name, value):
            if name == "sample" and len(value) == 8:
                value[3] = (value[3] + 2) % 4
            return value

        self.replay(monkeypatch, model, one_other_row)

    @pytest.mark.parametrize(
        ("signature", "step", "message"),
        [
            ("sample", 3, "'sample' holds values that are no data"),
            ("log_prob", 1, "'log_prob' differs from the live model's"),
        ],
    )
    def test_slow_draws_must_be_data_and_all_else_the_same(
        self, signature, step, message, monkeypatch
    ):
        model = small_model()
        other_levels = {"sample": 1, "complete": 2}
        self.replay(
            monkeypatch,
            model,
            lambda name, value: (value + other_levels[name]) % 3 if name in other_levels else value,
            seconds=60,
        )
        with pytest.raises(RuntimeError, match=message):
            self.replay(
                monkeypatch,
                model,
                lambda name, value: value + step if name == signature else value,
                seconds=60,
            )


def test_model_card(unchecked, tmp_path):
    """What a run knows, and how the version is called."""
    run = tmp_path / "run"
    run.mkdir()
    config = {"data": {"name": "digits"}, "model": {"type": "PixelCNN"}, "seed": 3}
    results = {"metric": "bits_per_dim", "bits_per_dim": 1.5, "nats": 4.0, "kind": "exact"}
    results |= {"commit": "abc", "command": "python -m apps.train", "weights": "ema"}
    (run / "config.json").write_text(json.dumps(config))
    (run / "results.json").write_text(json.dumps(results))
    card = {**card_of_run(run), "notes": "Public domain."}
    version = tfgen.export(small_model(), tmp_path / "pixels", card)

    written = json.loads((version / "assets.extra" / "model_card.json").read_text())
    expected = {"name": "pixels", "version": 1, "model": "PixelCNN", "likelihood_kind": "exact"}
    expected |= {"metric": "bits_per_dim", "value": 1.5, "kind": "exact", "commit": "abc"}
    expected |= {"command": "python -m apps.train", "weights": "ema", "config": config}
    expected |= {"data": config["data"], "notes": "Public domain."}
    assert {key: written[key] for key in expected} == expected
    complete = written["signatures"]["complete"]
    assert complete["inputs"]["mask"] == {"dtype": "bool", "shape": [None, 2, 2, 1]}
    assert complete["outputs"] == {"x": {"dtype": "uint8", "shape": [None, 2, 2, 1]}}
    text = (version / "assets.extra" / "MODEL_CARD.md").read_text()
    for line in ("# pixels", "| value | 1.5 |", "| log_prob | output | log_prob | float32 | [B] |"):
        assert line in text.splitlines()
    with pytest.raises(ValueError, match=r"workdir must be a folder with a run"):
        card_of_run(tmp_path)


def test_type_check_sees_a_wrong_type(tmp_path):
    """The check that the tests above rest on: a float64 output, a fixed batch."""
    model = small_model()
    for dtype, batch in (("float64", None), ("float32", 2)):
        folder = str(tmp_path / f"{dtype}{batch}")
        archive = keras.export.ExportArchive()
        archive.add_endpoint(
            "log_prob",
            lambda x: {"log_prob": tf.cast(model.log_prob(x), dtype)},  # noqa: B023
            [tf.TensorSpec([batch, 2, 2, 1], tf.uint8, name="x")],
        )
        archive.write_out(folder, verbose=False)
        assert "log_prob" in signature_definitions(folder)
        with pytest.raises((AssertionError, KeyError)):
            check_types(folder, model)
