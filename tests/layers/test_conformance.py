"""Every public layer is a good citizen of Keras."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from tests.conformance import randomize
from tests.layers.conformance import (
    BASE,
    CASES,
    NOT_LAYERS,
    arrays,
    check_layer,
    model_of,
    outputs_of,
)
from tfgen import bijectors, distributions, latents, layers

LOADER = """
import sys, json, pathlib, numpy as np, keras
import tfgen
folder = pathlib.Path(sys.argv[1])
for path in sorted(folder.glob("*.keras")):
    model = keras.models.load_model(path)
    inputs = list(np.load(path.with_suffix(".inputs.npz")).values())
    is_vae = hasattr(model, "log_prob")
    outputs = [model.log_prob(inputs[0], seed=3)] if is_vae else keras.tree.flatten(model(inputs))
    np.savez(path.with_suffix(".outputs.npz"), *outputs)
"""


@pytest.mark.parametrize("name", CASES)
def test_layer(name):
    assert type(CASES[name].layer()).__name__ == name
    check_layer(CASES[name])


def test_every_public_name_is_checked_or_is_not_a_layer():
    public = {
        name: getattr(package, name)
        for package in (layers, bijectors, latents, distributions)
        for name in package.__all__
    }
    assert set(public) == set(CASES) | set(NOT_LAYERS)
    assert not set(CASES) & set(NOT_LAYERS)
    for name, reason in NOT_LAYERS.items():
        if isinstance(public[name], type) and issubclass(public[name], keras.Layer):
            assert reason is BASE
            assert any(issubclass(public[case], public[name]) for case in CASES)


def test_a_fresh_process_loads_every_layer(tmp_path):
    expected = {}
    for name, case in CASES.items():
        model, inputs = model_of(case), arrays(case, 2)
        randomize(model)
        expected[name] = (
            outputs_of(case, model, inputs)
            if case.part is None
            else [model.log_prob(inputs[0], seed=3)]
        )
        model.save(tmp_path / f"{name}.keras")
        np.savez(tmp_path / f"{name}.inputs.npz", *inputs)
    command = [sys.executable, "-c", LOADER, str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    for name, outputs in expected.items():
        loaded = np.load(tmp_path / f"{name}.outputs.npz").values()
        for received, output in zip(loaded, outputs, strict=True):
            np.testing.assert_allclose(received, output, rtol=1e-5, atol=1e-6, err_msg=name)
