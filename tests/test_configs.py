"""Every config: its full model's arguments exist, its smoke version trains and reloads."""

import importlib
import json
import pathlib

import numpy as np
import pytest

import tfgen
from tfgen import models, objectives
from tfgen.build import constructor_arguments
from tfgen.training.config import check_config

NAMES = sorted(
    path.stem
    for path in (pathlib.Path(__file__).parent.parent / "configs").glob("*_*.py")
    if not path.stem.startswith("_")
)


def get_config(name, mode):
    return importlib.import_module(f"configs.{name}").get_config(mode).to_dict()


def test_there_are_configs():
    assert {"vae_digits", "realnvp_digits", "pixelcnn_digits"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_full_config_names_what_exists(name):
    config = get_config(name, None)
    check_config(config)
    for namespace, section in ((models, "model"), (objectives, "objective")):
        spec = dict(config[section])
        cls = getattr(namespace, spec.pop("type"))
        assert set(spec) <= constructor_arguments(cls)
    module = importlib.import_module(f"configs.{name}")
    assert f"--config=configs/{name}.py" in module.__doc__, "the docstring holds the command"


@pytest.mark.parametrize("name", NAMES)
def test_smoke_trains_two_steps_and_reloads(name, tmp_path):
    config = get_config(name, "smoke")
    # Each model's own test compiles its training step; here that would be half of the time.
    config["jit_compile"] = False
    results = tfgen.training.train(config, tmp_path)
    assert results["best_step"] in (1, 2)  # the better of the two by validation
    assert np.isfinite(results["nats"])
    assert json.loads((tmp_path / "results.json").read_text()) == results
    model = tfgen.load(tmp_path)
    assert type(model).__name__ == config["model"]["type"]
    again = tfgen.training.run.evaluate(tmp_path)
    assert again["nats"] == pytest.approx(results["nats"], rel=1e-6)
