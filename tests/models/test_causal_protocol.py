"""LaCIM as it is served, and pictures of exchanged causes."""

import numpy as np
from absl import flags
from absl.testing import flagsaver
from PIL import Image

import tfgen
from apps import sample
from configs import csg_shifted_digits
from tests.conformance import randomize
from tests.export_checks import serve
from tfgen.evaluation.pictures import image_rows
from tfgen.models import LaCIM
from tfgen.models.generative_model import EVALUATION_SEED

SMALL = {
    "event_shape": [3, 4, 1],
    "num_classes": 3,
    "num_levels": 8,
    "semantic_size": 2,
    "variation_size": 1,
    "encoder": {"type": "MLPEncoder", "units": [4]},
    "decoder": {"type": "MLPDecoder", "units": [4]},
}
X = np.random.default_rng(0).integers(0, 8, (3, 3, 4, 1)).astype("uint8")
Y = np.array([2, 0, 1], "int32")
DOMAIN = np.array([1, 0, 1], "int32")


def test_served_predictions_are_the_live_ones(tmp_path):
    """Every signature, in a process without Python's TensorFlow, for batches of one and three."""
    model = LaCIM(**SMALL, num_domains=2, num_steps=4)
    randomize(model)
    folder = tfgen.export(model, tmp_path / "served")
    seed = np.array([0, 5], "int32")
    drawn = dict(zip("xy", model.sample_labelled(3, seed), strict=True))
    requests = [("sample", {"num_samples": np.int32(3), "seed": seed}, drawn)]
    z = model.encode(X)
    requests.append(("decode", {"z": np.float32(z)}, {"x": model.decode(z)}))
    for rows in (slice(1), slice(3)):
        x, y, domain = X[rows], Y[rows], DOMAIN[rows]
        of_training = model.predict_training(x, domain, seed=EVALUATION_SEED)
        joint = model.log_prob(x, y, seed=EVALUATION_SEED)
        log_prob = {"log_prob": model.log_prob(x, seed=EVALUATION_SEED)}
        requests += [
            ("predict", {"x": x}, {"probabilities": model.predict(x)}),
            ("predict_training", {"x": x, "domain": domain}, {"probabilities": of_training}),
            ("log_prob", {"x": x}, log_prob),
            ("serving_default", {"x": x}, {"probabilities": model.predict(x)}),
            ("joint_log_prob", {"x": x, "y": y}, {"log_prob": joint}),
            ("encode", {"x": x}, {"z": model.encode(x)}),
        ]
    assert {name for name, _, _ in requests} == {*model.signatures(), "serving_default"}
    answers = serve(folder, [request[:2] for request in requests], tmp_path)
    for answer, (signature, _, live) in zip(answers, requests, strict=True):
        assert set(answer) == set(live), signature
        for name, value in live.items():
            np.testing.assert_allclose(answer[name], value, rtol=1e-4, atol=1e-4, err_msg=signature)


def test_picture_of_exchanged_causes(tmp_path):
    """s of the image at the left, v of the image at the top; classes in turn."""
    config = csg_shifted_digits.get_config("smoke")
    config.jit_compile = False
    workdir = tmp_path / "run"
    tfgen.training.train(config.to_dict(), workdir)
    model = tfgen.load(workdir)
    test = tfgen.data.load(
        "shifted_images", **{k: v for k, v in config.data.items() if k != "name"}
    )
    zeros, ones = (test.test.x[test.test.y == label] for label in (0, 1))
    x = np.stack([zeros[0], ones[0], zeros[1]])
    black = np.zeros_like(x[:1])
    rows = [np.concatenate([black, x])]
    for i in range(3):
        mixed = model.recombine(x[[i, i, i]], x)
        rows.append(np.concatenate([x[[i]], mixed]))
    if not flags.FLAGS.is_parsed():
        flags.FLAGS(["sample"])
    out = tmp_path / "picture.png"
    with flagsaver.flagsaver(workdir=str(workdir), out=str(out), num=3, recombine=True):
        sample.main()
    np.testing.assert_array_equal(np.asarray(Image.open(out)), image_rows(np.stack(rows), 17))
