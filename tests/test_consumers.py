"""Programs that know nothing of tfgen run exported models: C, TensorFlow's own tool, TFLite."""

import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import tfgen
from tests.conformance import randomize
from tests.export_checks import check_served, signature_definitions
from tfgen.models import RealNVP
from tfgen.serving.latency import latency

SOURCE = pathlib.Path(__file__).parent / "saved_model_consumer.c"
TENSORFLOW = pathlib.Path(tf.__file__).parent
NUMBERS = {"float32": 1, "int32": 3, "uint8": 4, "bool": 10}  # of tensorflow/c/tf_datatype.h


@pytest.fixture(scope="module")
def model():
    model = RealNVP((3,), num_couplings=2, filters=8, num_blocks=1)
    randomize(model)
    return model


@pytest.fixture(scope="module")
def version(model, tmp_path_factory):
    return tfgen.export(model, tmp_path_factory.mktemp("served") / "points")


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(3, 3)).astype("float32")


def test_every_signature_of_a_flow_of_vectors(model, version, x, tmp_path):
    check_served(version, model, x, tmp_path)


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    """The C program, compiled against the wheel's header and libraries."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is not installed")
    path = tmp_path_factory.mktemp("consumer") / "consumer"
    libraries = [TENSORFLOW / f"libtensorflow_{name}.so.2" for name in ("cc", "framework")]
    command = [
        compiler,
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
        SOURCE,
        f"-I{TENSORFLOW / 'include'}",
    ]
    subprocess.run([*command, *libraries, f"-Wl,-rpath,{TENSORFLOW}", "-o", path], check=True)
    return path


def run_c(program, version, signature, inputs, scratch):
    """The signature's only output, from the C program."""
    definition = signature_definitions(version)[signature]
    (output,) = definition.outputs.values()
    arguments = []
    for name, value in inputs.items():
        value.tofile(scratch / name)
        dims = "x".join(map(str, value.shape))
        number = NUMBERS[value.dtype.name]
        arguments.append(f"{definition.inputs[name].name}={number}:{dims}:{scratch / name}")
    command = [program, version, output.name, *arguments]
    process = subprocess.run(command, capture_output=True)
    assert process.returncode == 0, process.stderr[-2000:]
    version_and_shape = process.stderr.decode().splitlines()[-1]
    assert version_and_shape.startswith(f"TensorFlow {tf.__version__}:")
    shape = [int(size) for size in version_and_shape.split(":")[1].split()]
    return np.frombuffer(process.stdout, tf.dtypes.as_dtype(output.dtype).as_numpy_dtype).reshape(
        shape
    )


def test_c_program(program, model, version, x, tmp_path):
    log_prob = run_c(program, version, "log_prob", {"x": x}, tmp_path)
    np.testing.assert_allclose(log_prob, model.log_prob(x), atol=1e-5)
    inputs = {"num_samples": np.array(4, "int32"), "seed": np.array([0, 5], "int32")}
    drawn = run_c(program, version, "sample", inputs, tmp_path)
    np.testing.assert_allclose(drawn, model.sample(4, seed=5), atol=1e-5)


def test_saved_model_cli(model, version, x, tmp_path):
    np.save(tmp_path / "x.npy", x)
    tool = pathlib.Path(sys.executable).parent / "saved_model_cli"
    if not tool.exists():
        pytest.skip("saved_model_cli is not installed")
    command = [tool, "run", "--dir", version, "--tag_set", "serve", "--signature_def", "log_prob"]
    command += ["--inputs", f"x={tmp_path / 'x.npy'}", "--outdir", tmp_path / "out"]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr[-2000:]
    log_prob = np.load(tmp_path / "out" / "log_prob.npy")
    np.testing.assert_allclose(log_prob, model.log_prob(x), atol=1e-5)


@pytest.mark.parametrize("signature", ["log_prob", "encode", "decode"])
def test_tflite(signature, model, version, x):
    """Another runtime with kernels of its own. The result counts: a conversion that has lost the
    weights ends without an error, too."""
    converter = tf.lite.TFLiteConverter.from_saved_model(str(version), signature_keys=[signature])
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    run = interpreter.get_signature_runner(signature)
    function, specs = model.signatures()[signature]
    for batch in (x, x[:1]):
        ((_, expected),) = function(tf.constant(batch)).items()
        (received,) = run(**{specs[0].name: batch}).values()
        np.testing.assert_allclose(received, expected, atol=1e-4)


def test_latency_is_of_every_signature_and_batch_size(model, version):
    rows = latency(model, version, (1, 3), num_repeats=1)
    assert [row[:2] for row in rows] == [(name, n) for name in model.signatures() for n in (1, 3)]
    for _, batch_size, served, in_one_thread, live, throughput in rows:
        assert in_one_thread > 0.0 and live > 0.0
        assert throughput == round(1e3 * batch_size / served)
