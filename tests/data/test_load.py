"""`load`: names, options, labels, and the embedded sets' frozen splits."""

import ast
import hashlib
import math
import pathlib

import numpy as np
import pytest

import tfgen.data

DIGITS_DIGESTS = {
    "train": "1730c3a5c19d41a9",
    "validation": "5fb62f72c4aa8baa",
    "test": "705e34f794b00dae",
}


def _sorted_rows(x: np.ndarray) -> np.ndarray:
    rows = x.reshape(len(x), -1)
    return rows[np.lexsort(rows.T)]


def test_the_digits_split_is_frozen():
    splits = tfgen.data.load("digits", labels=True)
    digests = {
        name: hashlib.sha256(split.x.tobytes() + split.y.astype("<i4").tobytes()).hexdigest()[:16]
        for name, split in (
            ("train", splits.train),
            ("validation", splits.validation),
            ("test", splits.test),
        )
    }
    assert digests == DIGITS_DIGESTS
    assert splits.info.event_shape == (8, 8, 1)
    assert (splits.info.num_levels, splits.info.num_classes) == (17, 10)


def test_the_digits_splits_are_scikit_learns_digits_dealt_out_once():
    import sklearn.datasets

    splits = tfgen.data.load("digits", labels=True)
    parts = (splits.train, splits.validation, splits.test)
    assert [len(part) for part in parts] == [1297, 200, 300]
    rows = np.concatenate(
        [np.concatenate([part.x.reshape(-1, 64), part.y[:, None]], axis=1) for part in parts]
    )
    bunch = sklearn.datasets.load_digits()
    original = np.concatenate([bunch.data, bunch.target[:, None]], axis=1)
    np.testing.assert_array_equal(_sorted_rows(rows), _sorted_rows(original))


@pytest.mark.parametrize(
    ("name", "num_rows", "num_columns", "num_classes"),
    [("iris", 150, 4, 3), ("wine", 178, 13, 3), ("breast_cancer", 569, 30, 2)],
)
def test_tables_are_complete_and_in_native_units(name, num_rows, num_columns, num_classes):
    import sklearn.datasets

    splits = tfgen.data.load(name, labels=True)
    x = np.concatenate([splits.train.x, splits.validation.x, splits.test.x])
    assert x.dtype == np.float32
    assert x.shape == (num_rows, num_columns)
    original = getattr(sklearn.datasets, f"load_{name}")().data.astype(np.float32)
    np.testing.assert_array_equal(_sorted_rows(x), _sorted_rows(original))
    assert splits.info.num_classes == num_classes
    assert splits.info.num_levels is None


def test_diabetes_keeps_its_units():
    x = tfgen.data.load("diabetes").train.x
    assert x[:, 0].min() >= 18
    assert x[:, 0].max() == 79  # years; scikit-learn's default scales every column to norm 1


def test_without_labels_there_are_no_labels():
    splits = tfgen.data.load("digits")
    assert splits.train.y is None
    assert splits.info.num_classes is None


@pytest.mark.parametrize("name", ["diabetes", "banana", "random_table", "random_images"])
def test_labels_are_refused_where_there_are_none(name):
    with pytest.raises(ValueError, match=f"labels must be False for '{name}'.*received: True"):
        tfgen.data.load(name, labels=True)


def test_random_images_are_uniform_on_every_level():
    splits = tfgen.data.load(
        "random_images",
        labels=True,
        event_shape=[3, 2, 3],
        num_levels=5,
        num_examples=2000,
        num_classes=4,
    )
    assert splits.train.x.shape == (2000, 3, 2, 3)
    counts = np.bincount(splits.train.x.ravel(), minlength=5)
    assert len(counts) == 5
    assert np.abs(counts / splits.train.x.size - 0.2).max() < 0.01
    np.testing.assert_array_equal(np.unique(splits.test.y), np.arange(4))
    assert not np.array_equal(splits.train.x, splits.test.x)
    again = tfgen.data.load(
        "random_images", event_shape=(3, 2, 3), num_levels=5, num_examples=2000, num_classes=4
    )
    np.testing.assert_array_equal(again.train.x, splits.train.x)


def test_random_table_has_the_entropy_it_states():
    splits = tfgen.data.load("random_table", num_columns=3, num_examples=20_000)
    x = splits.train.x.astype(np.float64)
    nats = 0.5 * np.sum(x**2 + math.log(2 * math.pi), axis=1)
    error = nats.std() / math.sqrt(len(nats))
    assert abs(nats.mean() - splits.info.entropy) < 4 * error


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("", {}, "name must be the name of a data set; received: ''"),
        ("digits", {"labels": 1}, "labels must be True or False; received: 1"),
        ("digits", {"binarise": "fixed"}, "no option 'binarise'. Did you mean 'binarize'.*Allowed"),
        ("iris", {"path": "x"}, "'iris' has no option 'path'.*Allowed: labels"),
        ("csv", {}, "data set 'csv' needs the option 'path'"),
        (
            "digits",
            {"binarize": "soft"},
            "binarize must be one of None, 'dynamic', 'fixed'.*'soft'",
        ),
        ("banana", {"num_examples": 0}, "num_examples must be an integer >= 1; received: 0"),
        ("random_images", {"num_levels": 1}, "num_levels must be an integer >= 2; received: 1"),
        ("random_images", {"num_levels": 257}, "num_levels must be <= 256; received: 257"),
        ("random_images", {"event_shape": 8}, "event_shape must be a sequence of positive"),
        ("random_images", {"event_shape": (8, 0)}, "event_shape must be a sequence of positive"),
    ],
)
def test_bad_names_and_options(name, options, message):
    with pytest.raises(ValueError, match=message):
        tfgen.data.load(name, **options)


def test_heavy_packages_are_imported_only_where_they_are_used():
    heavy = {"PIL", "pandas", "pyarrow", "sklearn", "tensorflow_datasets"}
    for file in pathlib.Path(tfgen.data.__file__).parent.glob("*.py"):
        for node in ast.parse(file.read_text()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not heavy & {name.partition(".")[0] for name in names}, file
