"""The layers that are written in `keras.ops`, under Keras's JAX backend, in a process of its own.

Their weights come from files that TensorFlow wrote; values and derivatives are TensorFlow's.
"""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.conformance import randomize
from tests.layers.conformance import CASES, arrays, loss_and_gradients, model_of
from tfgen import layers

TENSORFLOW_ONLY = {"DiagonalBiLSTM", "RowLSTM"}

SCRIPT = """
import sys, pathlib, jax, keras, numpy as np
import tfgen

def loss(trainable, fixed, inputs):
    outputs, _ = model.stateless_call(trainable, fixed, inputs)
    return sum(keras.ops.mean(keras.ops.sin(y)) for y in keras.tree.flatten(outputs))

for path in sorted(pathlib.Path(sys.argv[1]).glob("*.keras")):
    model = keras.models.load_model(path)
    inputs = list(np.load(path.with_suffix(".inputs.npz")).values())
    trainable = [v.value for v in model.trainable_variables]
    fixed = [v.value for v in model.non_trainable_variables]
    value, gradients = jax.jit(jax.value_and_grad(loss))(trainable, fixed, inputs)
    np.savez(path.with_suffix(".outputs.npz"), value, *gradients)

def error(function):
    try:
        function()
    except ImportError as error:
        return str(error)

def import_models():
    import tfgen.models

errors = [
    error(lambda: tfgen.layers.RowLSTM(2)),
    error(lambda: tfgen.layers.DiagonalBiLSTM(2)),
    error(lambda: tfgen.layers.IncrementalPass(tfgen.layers.MaskedMLP(2, 1, [3]), None)),
    error(lambda: tfgen.layers.MaskedConv2D(2, 3, "B").initial_state(1)),
    error(lambda: tfgen.layers.MaskedConv2D(2, 3, "B").initial_memory(1, 4)),
    error(lambda: tfgen.export),
    error(import_models),
]
print("\\n".join(errors))
"""


def run_under_jax(*arguments):
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed: pip install -e '.[test]'")
    quick = {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    environment = {**os.environ, **quick, "KERAS_BACKEND": "jax"}
    command = [sys.executable, "-c", SCRIPT, *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout.splitlines()


def test_values_and_gradients_are_those_of_tensorflow(tmp_path):
    expected = {}
    for name in sorted(set(layers.__all__) & set(CASES) - TENSORFLOW_ONLY):
        model, inputs = model_of(CASES[name]), arrays(CASES[name], 2)
        randomize(model)
        expected[name] = loss_and_gradients(CASES[name], model, inputs, model.trainable_variables)
        model.save(tmp_path / f"{name}.keras")
        np.savez(tmp_path / f"{name}.inputs.npz", *inputs)
    errors = run_under_jax(tmp_path)
    for name, (loss, gradients) in expected.items():
        value, *received = np.load(tmp_path / f"{name}.outputs.npz").values()
        np.testing.assert_allclose(value, loss, rtol=1e-5, atol=1e-6, err_msg=name)
        for mine, theirs in zip(received, gradients, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6, err_msg=name)
    names = (
        "RowLSTM",
        "DiagonalBiLSTM",
        "IncrementalPass",
        "A pass over the pixels",
        "A pass over the rows",
        "tfgen.export",
        "This part of tfgen",
    )
    assert len(errors) == len(names)
    for name, error in zip(names, errors, strict=True):
        assert error.startswith(f"{name} needs Keras's TensorFlow backend; received: 'jax'.")
