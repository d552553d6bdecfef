"""Selection: the rule, the seal on test labels, going on, and the verdicts."""

import dataclasses
import importlib
import subprocess
import sys

import numpy as np
import pytest

from tfgen.data.domains import load_domains
from tfgen.data.splits import Split
from tfgen.training import selection
from tfgen.training.selection import SealedDomains, Trainer, accuracy, compare, select

FAST = {
    "name": "shifted_images",
    "labels": True,
    "source": "digits",
    "canvas": (8, 14),
    "shift": 2.0,
    "shift_scale": 0.4,
    "noise_scale": 0.8,
    "num_copies": 4,
    "test": "centred",
    "adapt": False,
}


def config(name="classifier_shifted_digits", **data):
    made = importlib.import_module(f"configs.{name}").get_config("smoke").to_dict()
    made["data"] = {**FAST, **data}
    made["num_steps"], made["validate_every_steps"], made["batch_size"] = 4, 1, 32
    made["jit_compile"] = False
    made["evaluation"]["batch_size"] = 128
    return made


def test_test_labels_are_sealed_until_the_choice_is_written(tmp_path):
    options = {key: FAST[key] for key in FAST if key not in ("labels", "test", "adapt")}
    sealed = SealedDomains(load_domains(**options), tmp_path / "choice.json")
    with pytest.raises(ValueError, match="test labels must be left alone until the choice"):
        sealed.tests()
    target = sealed.training_split("reversed")
    for _, y in target.training_batches(4, seed=0, num_steps=3):
        assert (y.numpy()[1::2] == -1).all()
    (tmp_path / "choice.json").write_text("{}")
    assert set(sealed.tests()) == {"in_domain", "centred", "noisy", "reversed"}


def test_choice_does_not_depend_on_test_labels(tmp_path, monkeypatch):
    """With all test labels exchanged the choice is the same, and accuracies are 1 - accuracy."""
    made = config("dann_shifted_digits", adapt=True)
    arguments = {"parameters": ["weight"], "values": [0.1], "num_seeds": 1}
    plain = select(made, tmp_path / "plain", **arguments)
    load = selection.load_domains

    def exchanged(*args, **kwargs):
        domains = load(*args, **kwargs)
        tests = {name: Split(part.x, 1 - part.y) for name, part in domains.tests.items()}
        return dataclasses.replace(domains, tests=tests)

    monkeypatch.setattr(selection, "load_domains", exchanged)
    other = select(made, tmp_path / "exchanged", **arguments)
    choices = [(tmp_path / name / "choice.json").read_text() for name in ("plain", "exchanged")]
    assert choices[0] == choices[1]
    assert plain["adapted_to"] == "centred"
    for name, row in plain["accuracy"].items():
        assert other["accuracy"][name]["median"] == pytest.approx(1 - row["median"], abs=1e-9)


def fake_runs(monkeypatch, validation):
    """Trainings of which only the accuracy matters, a function of the weights."""
    seen = []

    def run(self, config, is_final=False):
        objective = {k: v for k, v in config["objective"].items() if k not in ("type", "l2_weight")}
        seen.append((config["seed"], objective, is_final))
        accuracies = {"tests": {"centred": 0.5 + 0.1 * config["seed"]}} if is_final else {}
        return {"validation": validation(objective), **accuracies}

    monkeypatch.setattr(selection.Trainer, "run", run)
    return seen


def test_rule_takes_the_largest_weight_that_keeps_the_accuracy(tmp_path, monkeypatch):
    """From large to small, against the weight 0; no further than needed; then the next weight."""

    def validation(objective):
        kept = objective["generative_weight"] <= 1e-3 and objective["adaptation_weight"] <= 1e-2
        return 0.992 if kept else 0.9

    seen = fake_runs(monkeypatch, validation)
    results = select(
        config("csg_da_shifted_digits", adapt=True),
        tmp_path,
        ["generative_weight", "adaptation_weight"],
        [1e-4, 1e-1, 1e-3, 1e-2],
        num_seeds=3,
    )
    assert results["weights"] == {"generative_weight": 1e-3, "adaptation_weight": 1e-2}
    tried = [
        (objective["generative_weight"], objective["adaptation_weight"])
        for _, objective, is_final in seen
        if not is_final
    ]
    first = [(0.0, 0.0), (1e-1, 0.0), (1e-2, 0.0), (1e-3, 0.0)]
    assert tried == [*first, (1e-3, 0.0), (1e-3, 1e-1), (1e-3, 1e-2)]
    assert [seed for seed, _, is_final in seen if is_final] == [0, 1, 2]
    centred = results["accuracy"]["centred"]
    assert (centred["minimum"], centred["median"], centred["maximum"]) == (0.5, 0.6, 0.7)


def test_rule_without_any_that_keeps_it(tmp_path, monkeypatch):
    fake_runs(monkeypatch, lambda objective: 1.0 if objective["weight"] == 0 else 0.9)
    results = select(config("dann_shifted_digits"), tmp_path, ["weight"], [0.1, 0.01], 1)
    assert results["weights"] == {"weight": 0.0}


def test_shortcut_exists_and_the_same_call_goes_on(tmp_path, monkeypatch):
    """Cross-entropy learns the shift: right in the domain, wrong where the shift is reversed."""
    made = config()
    made["num_steps"], made["validate_every_steps"] = 600, 20
    made["model"]["feature_units"] = (32,)
    made["model"]["encoder"] = {"type": "MLPEncoder", "units": (64,)}
    results = select(made, tmp_path, num_seeds=1)
    rows = {name: row["median"] for name, row in results["accuracy"].items()}
    assert rows["in_domain"] >= 0.99
    assert rows["reversed"] <= 0.02
    assert rows["centred"] < 0.9
    assert results["validation_accuracy"]["median"] >= 0.99
    assert (tmp_path / "model.keras").exists()

    def refuse(*args):
        raise AssertionError("trained again")

    monkeypatch.setattr(selection, "build_model", refuse)
    again = select(made, tmp_path, num_seeds=1)
    assert again["accuracy"] == results["accuracy"]
    with pytest.raises(ValueError, match="workdir must be new, or of a selection with the same"):
        select({**made, "batch_size": 8}, tmp_path, num_seeds=1)
    with pytest.raises(ValueError, match="workdir must be one with the choice among"):
        select(made, tmp_path, ["weight"], num_seeds=1)


def test_a_second_seed_is_trained_as_if_alone(tmp_path):
    """Compiled once, each seed starts from its own weights, noise and a new optimizer."""
    made = config("csg_shifted_digits")
    options = {key: FAST[key] for key in FAST if key not in ("labels", "test", "adapt")}
    sealed = SealedDomains(load_domains(**options), tmp_path / "choice.json")
    both, alone = (Trainer(sealed, None, tmp_path / name) for name in ("both", "alone"))
    both.run(made)
    first = both.compiled["model"].get_weights()
    accuracies = [trainer.run({**made, "seed": 1}) for trainer in (both, alone)]
    assert accuracies[0] == accuracies[1]
    models = [trainer.compiled["model"] for trainer in (both, alone)]
    for a, b in zip(*(m.variables + m.optimizer.variables for m in models), strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(first, models[0].get_weights(), strict=True))


def test_accuracy_of_a_last_short_batch():
    part = Split(np.arange(7, dtype="float32")[:, None], np.array([1, 1, 0, 0, 0, 0, 1], "int32"))

    def predict(x):  # the label 1 for x < 3
        p = np.where(x.numpy()[:, 0] < 3, 0.9, 0.1)
        return np.stack([1 - p, p], axis=-1)

    assert accuracy(predict, part, 4) == pytest.approx(5 / 7)

    # Where examples say which domain they are of, the prediction is told so.
    indexed = Split(part.x, part.y, np.array([0, 0, 0, 0, 1, 1, 1], "int32"))
    by_domain = lambda x, domain: np.eye(2)[1 - domain.numpy()]  # noqa: E731
    assert accuracy(by_domain, indexed, 4) == pytest.approx(4 / 7)


def test_verdicts():
    def results(**seeds):
        accuracies = {name: {"seeds": values} for name, values in seeds.items()}
        return {"accuracy": accuracies, "num_seeds": 3}

    found = compare(
        results(a=[0.9, 0.8, 0.9], b=[0.2, 0.3, 0.1], c=[0.5, 0.6, 0.7]),
        results(a=[0.5, 0.7, 0.8], b=[0.4, 0.4, 0.2], c=[0.5, 0.5, 0.9]),
    )
    verdicts = {name: row["verdict"] for name, row in found.items()}
    assert verdicts == {"a": "helped", "b": "hurt", "c": "not told apart"}
    assert found["a"]["median"] == pytest.approx(0.1)
    with pytest.raises(ValueError, match="baseline must be of the same test domains"):
        compare(results(a=[1.0]), results(b=[1.0]))
    with pytest.raises(ValueError, match="baseline must be of as many seeds"):
        compare(results(a=[1.0]), results(a=[1.0, 1.0]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_seeds": 0}, "num_seeds must be an integer >= 1"),
        ({"values": [0.0]}, "values must be positive numbers"),
        ({"tolerance": 1.5}, r"tolerance must be in \[0, 1\)"),
        ({"parameters": ["weights"], "num_seeds": 1}, "CrossEntropy has no argument 'weights'"),
    ],
)
def test_refusals(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        select(config(), tmp_path, **arguments)


def test_data_without_domains_are_refused(tmp_path):
    made = config()
    made["data"] = {"name": "digits", "labels": True}
    with pytest.raises(ValueError, match="name must be one of 'coloured_images'"):
        select(made, tmp_path)


def test_app_names_what_is_missing(tmp_path):
    command = [sys.executable, "-m", "apps.select", "--config=configs/csg_shifted_digits.py:smoke"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert process.returncode == 2
    assert "--workdir must be given" in process.stderr
