"""LaCIM as it is served, and pictures of exchanged causes."""

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

import tfgen
from apps import sample
from tests.conformance import randomize
from tests.export_checks import serve
from tfgen.data import Split
from tfgen.evaluation.pictures import image_rows
from tfgen.models import CSG, LaCIM
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


def test_picture_of_exchanged_causes(monkeypatch):
    """s of the image at the left, v of the image at the top; classes in turn."""
    model = CSG(**SMALL, context_size=2)
    randomize(model)
    x = np.random.default_rng(1).integers(0, 8, (6, 3, 4, 1)).astype("uint8")
    monkeypatch.setattr(sample, "load_test_split", lambda: Split(x, np.array([1, 1, 0, 0, 2, 1])))
    shown = x[[2, 0, 4, 3]]  # of the labels 0, 1, 2, 0
    rows = [np.concatenate([np.zeros_like(x[:1]), shown])]
    for image in shown:
        s, v = model.encode(np.stack([image] * 4))[:, :2], model.encode(shown)[:, 2:]
        rows.append(np.concatenate([image[None], model.decode(np.concatenate([s, v], axis=-1))]))
    if not flags.FLAGS.is_parsed():
        flags.FLAGS(["sample"])
    with flagsaver.flagsaver(num=4):
        found = sample.recombinations(model, None, {})
    np.testing.assert_array_equal(found, image_rows(np.stack(rows), 8))
    with pytest.raises(ValueError, match="--recombine must be absent: the model's latents are not"):
        sample.recombinations(object(), None, {})
