"""TensorFlow Datasets by name: real small sets prepared by the test, mocked published ones."""

import pathlib
import socket

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

import tfgen.data
from tfgen.data.tfds import prepared_directory

PUBLISHED = {
    "mnist": ((28, 28, 1), 10, ("train", "test")),
    "fashion_mnist": ((28, 28, 1), 10, ("train", "test")),
    "cifar10": ((32, 32, 3), 10, ("train", "test")),
    "svhn_cropped": ((32, 32, 3), 10, ("train", "test", "extra")),
    "omniglot": ((105, 105, 3), 1623, ("train", "test", "small1", "small2")),
    "celeb_a": ((218, 178, 3), None, ("train", "validation", "test")),
    "binarized_mnist": ((28, 28, 1), None, ("train", "validation", "test")),
}


@pytest.fixture
def published(tmp_path):
    """A function that writes the metadata a prepared set would have, for `mock_data` to read."""

    def write(name, splits):
        builder = tfds.builder(name, data_dir=tmp_path)
        template = tfds.core.ShardedFileTemplate(
            dataset_name=builder.name, data_dir=builder.data_path, filetype_suffix="tfrecord"
        )
        builder.info.set_splits(
            tfds.core.splits.SplitDict(
                [
                    tfds.core.SplitInfo(
                        name=split, shard_lengths=[30], num_bytes=0, filename_template=template
                    )
                    for split in splits
                ]
            )
        )
        pathlib.Path(builder.data_path).mkdir(parents=True)
        builder.info.write_to_directory(builder.data_path)
        return str(tmp_path)

    return write


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_sets_by_name(name, published):
    event_shape, num_classes, splits = PUBLISHED[name]
    data_dir = published(name, splits)
    with tfds.testing.mock_data(
        num_examples=30,
        max_value=2 if name == "binarized_mnist" else 255,
        data_dir=data_dir,
        policy=tfds.testing.MockPolicy.USE_FILES,
    ):
        data = tfgen.data.load(name, labels=num_classes is not None, data_dir=data_dir)
        if num_classes is None:
            with pytest.raises(ValueError, match=r"labels must be False for .*no class feature"):
                tfgen.data.load(name, labels=True, data_dir=data_dir)
    assert data.info.event_shape == event_shape
    assert data.info.num_levels == (2 if name == "binarized_mnist" else 256)
    assert data.info.num_classes == num_classes
    assert len(data.test) == 30
    has_validation = "validation" in splits
    assert len(data.train) == (30 if has_validation else 27)
    assert len(data.validation) == (30 if has_validation else 3)
    assert data.train.x.dtype == np.uint8


def _store(data_dir, name, splits, features):
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        data_dir=data_dir,
        split_datasets={
            split: tf.data.Dataset.from_tensor_slices(values) for split, values in splits.items()
        },
        features=tfds.features.FeaturesDict(features),
    )


IMAGES = np.random.RandomState(0).randint(256, size=(23, 6, 5, 1)).astype(np.uint8)
TABLE = np.random.RandomState(1).standard_normal((20, 3))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("tfds")
    labels = np.arange(23) % 4
    features = {
        "image": tfds.features.Image(shape=(6, 5, 1)),
        "label": tfds.features.ClassLabel(num_classes=4),
    }
    images = {"image": IMAGES, "label": labels}
    _store(
        data_dir,
        "my_images",
        {
            "train": {key: value[:20] for key, value in images.items()},
            "test": {key: value[20:] for key, value in images.items()},
        },
        features,
    )
    _store(data_dir, "only_train", {"train": images}, features)
    _store(data_dir, "no_test", {"train": images, "validation": images}, features)
    _store(data_dir, "no_train", {"test": images}, features)
    table = {
        "measured": {"width": TABLE[:, 0], "length": TABLE[:, 1:]},
        "count": np.arange(20),
        "species": np.arange(20) % 2,
    }
    table_features = {
        "measured": {
            "width": tfds.features.Scalar(tf.float64),
            "length": tfds.features.Tensor(shape=(2,), dtype=tf.float64),
        },
        "count": tfds.features.Scalar(tf.int64),
        "species": tfds.features.ClassLabel(num_classes=2),
    }
    _store(data_dir, "my_table", {"train": table}, table_features)
    holed = {**table, "measured": {**table["measured"], "width": np.r_[TABLE[:-1, 0], np.nan]}}
    _store(data_dir, "holed_table", {"train": holed}, table_features)
    _store(data_dir, "words", {"train": {"text": ["a", "b", "c"]}}, {"text": tfds.features.Text()})
    return str(data_dir)


def _load(name, data_dir, **options):
    return tfgen.data.load(name, data_dir=data_dir, **options)


def _rows(*splits):
    x = np.concatenate([split.x.reshape(len(split), -1) for split in splits])
    return x[np.lexsort(x.T)]


def test_the_users_own_prepared_set(prepared):
    data = _load("my_images", prepared, labels=True)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [18, 2, 3]
    np.testing.assert_array_equal(_rows(data.train, data.validation), _rows(_split(IMAGES[:20])))
    np.testing.assert_array_equal(_rows(data.test), _rows(_split(IMAGES[20:])))
    for part in (data.train, data.validation, data.test):
        for image, label in zip(part.x, part.y, strict=True):
            (position,) = np.flatnonzero((image == IMAGES).all(axis=(1, 2, 3)))
            assert label == position % 4
    again = _load("my_images", prepared)
    np.testing.assert_array_equal(again.validation.x, data.validation.x)


def _split(x):
    return tfgen.data.Split(x)


def test_validation_examples(prepared):
    none = _load("my_images", prepared, validation_examples=0)
    assert [len(part) for part in (none.train, none.validation, none.test)] == [20, 0, 3]
    five = _load("my_images", prepared, validation_examples=5)
    assert [len(part) for part in (five.train, five.validation)] == [15, 5]
    with pytest.raises(ValueError, match=r"validation_examples must leave .*20; received: 20"):
        _load("my_images", prepared, validation_examples=20)
    with pytest.raises(ValueError, match="validation_examples must be an integer >= 0"):
        _load("my_images", prepared, validation_examples=-1)


def test_missing_splits_are_cut_from_train(prepared):
    data = _load("only_train", prepared)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [19, 2, 2]
    np.testing.assert_array_equal(
        _rows(data.train, data.validation, data.test), _rows(_split(IMAGES))
    )
    data = _load("no_test", prepared)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [21, 2, 23]
    assert "The published validation split is the test set." in data.info.preprocessing
    with pytest.raises(ValueError, match=r"no_train' must be a set with the split 'train'.*test"):
        _load("no_train", prepared)


def test_a_published_validation_split_cannot_be_resized(published):
    data_dir = published("celeb_a", PUBLISHED["celeb_a"][2])
    with (
        tfds.testing.mock_data(
            num_examples=3, data_dir=data_dir, policy=tfds.testing.MockPolicy.USE_FILES
        ),
        pytest.raises(ValueError, match=r"validation_examples must be None for .* of 3 examples"),
    ):
        _load("celeb_a", data_dir, validation_examples=2, resize=4)


def test_image_transforms(prepared):
    data = _load("my_images", prepared, center_crop=3)
    np.testing.assert_array_equal(_rows(data.test), _rows(_split(IMAGES[20:, 1:4, 1:4])))
    colour = _load("my_images", prepared, resize=4, channels=3)
    assert colour.info.event_shape == (4, 4, 3)
    np.testing.assert_array_equal(colour.test.x[..., 0], colour.test.x[..., 2])
    with pytest.raises(ValueError, match=r"center_crop must be at most .*received: 6 .*6 x 5"):
        _load("my_images", prepared, center_crop=6)


def test_binarization(prepared):
    dynamic = _load("my_images", prepared, binarize="dynamic")
    grey = _load("my_images", prepared)
    np.testing.assert_array_equal(dynamic.train.x, grey.train.x)
    assert (dynamic.info.num_levels, dynamic.info.train_num_levels) == (2, 256)
    assert dynamic.test.x.max() == 1


def test_float_features_make_a_table(prepared):
    data = _load("my_table", prepared, labels=True)
    assert data.info.num_levels is None
    # Columns in alphabetical order of the features: measured/length, measured/width.
    expected = TABLE[:, [1, 2, 0]].astype(np.float32)
    np.testing.assert_array_equal(
        _rows(data.train, data.validation, data.test), _rows(_split(expected))
    )
    for row, label in zip(data.train.x, data.train.y, strict=True):
        (position,) = np.flatnonzero((row == expected).all(axis=1))
        assert label == position % 2
    with pytest.raises(ValueError, match=r"resize must be None for the table .*received: 8"):
        _load("my_table", prepared, resize=8)
    with pytest.raises(ValueError, match=r"received: nan in column 'measured/width', row \d+"):
        _load("holed_table", prepared)
    with pytest.raises(ValueError, match=r"must have an image feature or floating.*received: text"):
        _load("words", prepared)


def test_versions_and_configs_are_looked_for_where_tfds_puts_them(tmp_path):
    for path in ("one/1.9.0", "one/1.10.0", "two/small/2.0.0"):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "dataset_info.json").write_text("{}")
    (tmp_path / "three/1.0.0").mkdir(parents=True)
    assert prepared_directory("one", tmp_path) == tmp_path / "one/1.10.0"
    assert prepared_directory("one:1.9.0", tmp_path) == tmp_path / "one/1.9.0"
    assert prepared_directory("one:2.0.0", tmp_path) is None
    assert prepared_directory("two", tmp_path) == tmp_path / "two/small/2.0.0"
    assert prepared_directory("two/small:2.0.0", tmp_path) == tmp_path / "two/small/2.0.0"
    assert prepared_directory("two/large", tmp_path) is None
    assert prepared_directory("three", tmp_path) is None


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        pytest.fail("the network was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", refuse)


def test_unprepared_data_fail_at_once_and_say_what_to_do(tmp_path, no_network):
    with pytest.raises(FileNotFoundError) as error:
        _load("cifar10", str(tmp_path))
    message = str(error.value)
    assert "'cifar10' is a TensorFlow Datasets name" in message
    assert f"looked for {tmp_path}/cifar10/" in message
    assert f"tfds build cifar10 --data_dir={tmp_path}" in message
    assert f'tfds.load("cifar10", data_dir="{tmp_path}", download=True)' in message
    with pytest.raises(FileNotFoundError, match=r"python -m tfgen.data.prepare_fashion_mnist"):
        _load("fashion_mnist", str(tmp_path))


def test_a_version_that_is_not_there_fails_at_once(prepared, no_network):
    with pytest.raises(FileNotFoundError, match=r"cifar10:9\.9\.9"):
        _load("cifar10:9.9.9", prepared)


def test_the_environment_says_where_to_look(tmp_path, monkeypatch, no_network):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "elsewhere"))
    with pytest.raises(FileNotFoundError, match=f"looked for {tmp_path}/elsewhere/mnist/"):
        tfgen.data.load("mnist")


def test_unknown_names_get_the_lists_and_close_matches(tmp_path, no_network):
    with pytest.raises(ValueError) as error:
        _load("fashion_mnits", str(tmp_path))
    message = str(error.value)
    assert "received: 'fashion_mnits'. Did you mean 'fashion_mnist'" in message
    for name in tfgen.data.names():
        assert name in message
    with pytest.raises(ValueError, match=r"received: 'digit'\. Did you mean 'digits'"):
        tfgen.data.load("digit")
