"""The client against servers of both protocols on loopback, over one exported model."""

import http.server
import json
import pathlib
import re
import subprocess
import sys
import threading
from concurrent import futures

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import json_format, text_format

import tfgen
from apps import serving_clients as client
from tests.conformance import randomize
from tests.export_checks import check_served
from tfgen.models import PixelCNN
from tfgen.serving.session import ServedModel
from tfgen.serving.warmup import example_request

grpc = pytest.importorskip("grpc", reason="grpcio is not installed")
metadata_pb2, predict_pb2, service = (
    pytest.importorskip(
        f"tensorflow_serving.apis.{name}", reason="tensorflow-serving-api is not installed"
    )
    for name in ("get_model_metadata_pb2", "predict_pb2", "prediction_service_pb2_grpc")
)

ROOT = pathlib.Path(__file__).parent.parent
NAME = "pixels"
MODEL_PATHS = (f"/v1/models/{NAME}", f"/v1/models/{NAME}/versions/1")


class Service(service.PredictionServiceServicer):
    """TensorFlow Serving's service on a session."""

    def __init__(self, served):
        self.served = served

    def GetModelMetadata(self, request, context):  # noqa: N802
        self.check(request, context)
        response = metadata_pb2.GetModelMetadataResponse()
        response.metadata["signature_def"].Pack(signature_map(self.served))
        return response

    def Predict(self, request, context):  # noqa: N802
        self.check(request, context)
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        response = predict_pb2.PredictResponse()
        for name, value in self.served(request.model_spec.signature_name, inputs).items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response

    def check(self, request, context):
        if request.model_spec.name != NAME or request.model_spec.version.value not in (0, 1):
            context.abort(grpc.StatusCode.NOT_FOUND, "Servable not found for request")


def signature_map(served):
    return metadata_pb2.SignatureDefMap(signature_def=served.signatures)


def rest_handler(served):
    """TensorFlow Serving's REST: metadata, and Predict with "inputs"."""
    metadata = json_format.MessageToDict(signature_map(served), preserving_proto_field_name=True)
    kinds = {"f": "if", "i": "i", "u": "i", "b": "b"}  # of JSON values, by that of the input

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path not in [f"{of_model}/metadata" for of_model in MODEL_PATHS]:
                return self.answer(404, {"error": "Servable not found for request"})
            return self.answer(200, {"metadata": {"signature_def": metadata}})

        def do_POST(self):
            if self.path not in [f"{of_model}:predict" for of_model in MODEL_PATHS]:
                return self.answer(404, {"error": "Servable not found for request"})
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            definition = served.signatures[body["signature_name"]]
            inputs = {}
            for name, value in body["inputs"].items():
                dtype = tf.dtypes.as_dtype(definition.inputs[name].dtype).as_numpy_dtype
                array = np.asarray(value)
                if array.dtype.kind not in kinds[np.dtype(dtype).kind]:
                    return self.answer(400, {"error": f"{name} is not of expected type"})
                inputs[name] = array.astype(dtype)
            outputs = served(body["signature_name"], inputs)
            outputs = {name: value.tolist() for name, value in outputs.items()}
            if len(outputs) == 1:
                (outputs,) = outputs.values()
            return self.answer(200, {"outputs": outputs})

        def answer(self, status, content):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, *_):
            pass

    return Handler


@pytest.fixture(scope="module")
def model():
    model = PixelCNN((4, 4, 2), 5, filters=6, num_blocks=1, top_filters=6)
    randomize(model)
    return model


@pytest.fixture(scope="module")
def version(model, tmp_path_factory):
    return tfgen.export(model, tmp_path_factory.mktemp("served") / NAME)


@pytest.fixture(scope="module")
def servers(version):
    """Addresses by protocol."""
    served = ServedModel(version)
    grpc_server = grpc.server(futures.ThreadPoolExecutor(2))
    service.add_PredictionServiceServicer_to_server(Service(served), grpc_server)
    grpc_port = grpc_server.add_insecure_port("127.0.0.1:0")
    grpc_server.start()
    rest_server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), rest_handler(served))
    threading.Thread(target=rest_server.serve_forever, daemon=True).start()
    yield {"grpc": f"127.0.0.1:{grpc_port}", "rest": f"127.0.0.1:{rest_server.server_port}"}
    grpc_server.stop(None)
    rest_server.shutdown()
    rest_server.server_close()
    served.close()


@pytest.fixture(params=["grpc", "rest"])
def connect(request, servers):
    protocol = {"grpc": client.GrpcClient, "rest": client.RestClient}[request.param]

    def connect(name=NAME, version=1, server=servers[request.param]):
        return protocol(server, name, version, timeout_seconds=60.0)

    return connect


def images():
    return np.random.default_rng(0).integers(0, 5, (3, 4, 4, 2)).astype("uint8")


def test_every_signature_of_an_autoregressive_model(model, version, tmp_path):
    # Live samples are XLA's, the served ones a plain graph's: the same for the same seed.
    assert {"complete", "complete_xla", "sample", "sample_xla"} < set(model.signatures())
    check_served(version, model, images(), tmp_path)


def test_a_server_that_starts_operations_in_one_thread_gives_the_same_answers(model, version):
    free, in_one_thread = ServedModel(version), ServedModel(version, one_thread=True)
    for signature in model.signatures():
        _, inputs = example_request(model, signature, 3)
        expected = free(signature, inputs)
        for name, received in in_one_thread(signature, inputs).items():
            np.testing.assert_allclose(received, expected[name], rtol=1e-6, err_msg=signature)


def test_answers_are_the_live_models(model, connect):
    call, x = connect(), images()
    # Integers of another type, and lists: what a file or the command line gives.
    for signature in ("log_prob", "serving_default"):
        answer = call(signature, {"x": x.astype("int64")})
        assert answer["log_prob"].dtype == np.float32
        np.testing.assert_allclose(answer["log_prob"], model.log_prob(x), rtol=1e-5)
    drawn = call("sample", {"num_samples": 3, "seed": [0, 7]})["x"]
    assert drawn.dtype == np.uint8
    np.testing.assert_array_equal(drawn, model.sample(3, seed=7))
    mask = np.broadcast_to((np.arange(4) < 2)[:, None, None], x.shape)
    completed = call("complete", {"x": x, "mask": mask, "seed": [0, 7]})["x"]
    np.testing.assert_array_equal(completed, model.sample(3, seed=7, given=x, mask=mask))


def test_what_a_signature_does_not_take_is_refused_before_it_is_sent(connect):
    call, x = connect(), images()
    for signature, inputs, message in [
        ("logprob", {"x": x}, "signature must be one of complete, complete_xla, log_prob, sample"),
        ("log_prob", {}, "inputs of 'log_prob' must be x; received: none"),
        ("sample", {"num_samples": 2}, "must be num_samples, seed; received: num_samples"),
        ("log_prob", {"x": x[0]}, r"input 'x' must be of shape \['B', 4, 4, 2\]; received"),
        ("log_prob", {"x": x + 0.5}, "input 'x' must hold uint8 values; received: float64"),
        ("log_prob", {"x": x.astype("int64") - 1}, "input 'x' must hold uint8 values"),
        ("sample", {"num_samples": 2, "seed": [0, 2**40]}, "input 'seed' must hold int32 values"),
    ]:
        with pytest.raises(ValueError, match=message):
            call(signature, inputs)


def test_what_the_server_refuses_is_its_own_message(connect):
    with pytest.raises(OSError, match=r"127.0.0.1:\d+: (NOT_FOUND|404): Servable not found"):
        connect("other")("log_prob", {"x": images()})
    with pytest.raises(OSError, match=r"127.0.0.1:9: "):
        connect(server="127.0.0.1:9")("log_prob", {"x": images()})


def test_inputs_of_the_command_line(tmp_path):
    x = images()
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "one.npz", images=x)
    np.savez(tmp_path / "two.npz", x=x, y=np.arange(3))
    for file in ("x.npy", "one.npz", "two.npz"):
        name, value = client.read_input(f"x={tmp_path / file}")
        assert name == "x"
        np.testing.assert_array_equal(value, x)
    name, value = client.read_input("seed=[0, 7]")
    assert (name, value.tolist()) == ("seed", [0, 7])
    for text, message in [
        ("x", "--input must be NAME=FILE or NAME=JSON; received: 'x'"),
        ("x=digits.png", "--input must be NAME=FILE.npz, NAME=FILE.npy or NAME=JSON"),
        (f"z={tmp_path / 'two.npz'}", "must hold an array 'z' or only one"),
    ]:
        with pytest.raises(ValueError, match=message):
            client.read_input(text)


def test_model_config_of_the_documentation_is_one_for_the_server():
    config = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    text = (ROOT / "saved_models" / "README.md").read_text()
    (block,) = re.findall(
        r"^    (model_config_list \{\n.*?)^    \}", text, re.DOTALL | re.MULTILINE
    )
    models = text_format.Parse(block + "}", config.ModelServerConfig()).model_config_list.config
    assert [(m.name, m.base_path, m.model_platform) for m in models] == [
        ("digits", "/models/digits", "tensorflow"),
        ("fashion", "/models/fashion", "tensorflow"),
    ]


def run_client(*arguments):
    command = [sys.executable, "-m", "apps.client", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_command_over_rest_needs_neither_tensorflow_nor_tfgen(model, servers, tmp_path):
    arguments = [f"--model={NAME}", "--signature=sample", "--input=num_samples=3"]
    arguments += ["--input=seed=[0,7]", f"--out={tmp_path / 'drawn.npz'}", "--rest"]
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nfor name in ('tensorflow', 'tfgen', 'grpc'): sys.modules[name] = None\n"
    )
    command = [sys.executable, "-m", "apps.client", f"--server={servers['rest']}", *arguments]
    environment = {"PYTHONPATH": str(tmp_path), "PATH": ""}
    process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr[-2000:]
    assert "x  uint8 [3, 4, 4, 2]" in process.stdout
    np.testing.assert_array_equal(np.load(tmp_path / "drawn.npz")["x"], model.sample(3, seed=7))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model=m"], "--server must be given"),
        (["--server=s", "--model=m", "--input=x"], "--input must be NAME=FILE or NAME=JSON"),
        (["--server=s", "--model=m", "--input=x=no.npz"], "no.npz"),
        (["--server=127.0.0.1:9", "--model=m", "--input=x=1", "--rest"], "Connection refused"),
    ],
)
def test_bad_invocation_is_one_line(arguments, message):
    process = run_client(*arguments)
    assert process.returncode == 2
    lines = [line for line in process.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert "Traceback" not in process.stderr
