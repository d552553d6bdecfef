"""`.npz` archives: what is taken, and every refusal's message."""

import numpy as np
import pytest

import tfgen.data

RANDOM = np.random.RandomState(0)
IMAGES = RANDOM.randint(256, size=(20, 4, 3, 1)).astype(np.uint8)
TABLE = RANDOM.standard_normal((30, 5))
LABELS = np.arange(20) % 3


def _with_last(value):
    x = TABLE.copy()
    x[7:, 4] = value
    return x


def _load(tmp_path, arrays, **options):
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays)
    return tfgen.data.load("npz", path=str(path), **options)


def test_discrete_arrays_are_split_with_their_labels(tmp_path):
    splits = _load(tmp_path, {"x": IMAGES, "y": LABELS}, labels=True, test_fraction=0.2)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [14, 2, 4]
    assert splits.info.event_shape == (4, 3, 1)
    assert (splits.info.num_levels, splits.info.num_classes) == (256, 3)
    for part in (splits.train, splits.validation, splits.test):
        for image, label in zip(part.x, part.y, strict=True):
            (position,) = np.flatnonzero((image == IMAGES).all(axis=(1, 2, 3)))
            assert label == LABELS[position]


def test_given_splits_are_kept(tmp_path):
    arrays = {"x_train": IMAGES[:12], "x_test": IMAGES[15:], "x_validation": IMAGES[12:15]}
    splits = _load(tmp_path, arrays)
    np.testing.assert_array_equal(splits.train.x, IMAGES[:12])
    np.testing.assert_array_equal(splits.validation.x, IMAGES[12:15])
    np.testing.assert_array_equal(splits.test.x, IMAGES[15:])


def test_a_missing_validation_set_is_cut_from_the_train_set(tmp_path):
    splits = _load(tmp_path, {"x_train": IMAGES[:15], "x_test": IMAGES[15:]})
    assert [len(part) for part in (splits.train, splits.validation)] == [13, 2]
    np.testing.assert_array_equal(splits.test.x, IMAGES[15:])
    none = _load(tmp_path, {"x_train": IMAGES[:15], "x_test": IMAGES[15:]}, validation_fraction=0.0)
    assert [len(part) for part in (none.train, none.validation, none.test)] == [15, 0, 5]


def test_float_tables_are_continuous(tmp_path):
    splits = _load(tmp_path, {"x": TABLE})
    assert splits.info.num_levels is None
    assert splits.train.x.dtype == np.float32
    assert len(splits.train) == 24


def test_fewer_levels_and_binarization(tmp_path):
    few = IMAGES % 16
    splits = _load(tmp_path, {"x": few}, num_levels=16, binarize="dynamic")
    assert (splits.info.num_levels, splits.info.train_num_levels) == (2, 16)
    assert splits.train.x.max() == 15
    assert splits.test.x.max() == 1


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ({"x": IMAGES / 255.0}, {}, r"x: images must be integers 0\.\.255.*float64 .*values in \["),
        ({"x": IMAGES / 127.5 - 1}, {}, r"x: images must be integers 0\.\.255.*values in \[-"),
        ({"x": IMAGES * np.float32(1)}, {}, r"images must be integers.*astype\('uint8'\)"),
        ({"x": IMAGES.astype(np.int64)}, {}, "array x must be uint8 .*received: int64"),
        (
            {"x": IMAGES[..., 0]},
            {},
            r"array x must have the shape .*x\[\.\.\., None\].*\(20, 4, 3\)",
        ),
        ({"x": IMAGES.reshape(20, 3, 1, 4)}, {}, r"C = 1 or 3 .*received: \(20, 3, 1, 4\)"),
        ({"x": TABLE[0]}, {}, r"array x must have the shape \[N, D\].*received: \(5,\)"),
        ({"x": IMAGES[:0]}, {}, "array x must hold at least one example; it is empty"),
        ({"x": IMAGES[:2]}, {}, "must hold at least 3 examples to be split; received: 2"),
        ({"x": IMAGES}, {"test_fraction": 0}, "the test set must hold at least one example"),
        ({"x": _with_last(np.nan)}, {}, "finite numbers; received: nan in row 7"),
        ({"x": _with_last(-np.inf)}, {}, "finite numbers; received: -inf in row 7"),
        ({"x": TABLE * 1e300}, {}, "must hold finite numbers; received: "),
        ({"x": IMAGES}, {"num_levels": 100}, r"integers 0\.\.99 \(num_levels=100\); received: 2"),
        ({"x": TABLE}, {"num_levels": 4}, "num_levels must be None for float data; received: 4"),
        ({"x": TABLE}, {"binarize": "fixed"}, "binarize must be None for data that are not grey"),
        ({"x": IMAGES}, {"labels": True}, "must hold y for labels=True; it does not"),
        ({"x": IMAGES, "y": LABELS[:5]}, {"labels": True}, "y must hold 20 integers >= 0"),
        ({"x": IMAGES, "y": LABELS / 2}, {"labels": True}, "y must hold 20 integers.*float64"),
        ({"x": IMAGES, "y": LABELS - 1}, {"labels": True}, "y must hold 20 integers.*least -1"),
        ({"images": IMAGES}, {}, r"either x or both x_train and x_test .*received: images"),
        ({"x_train": IMAGES}, {}, "either x or both x_train and x_test .*received: x_train"),
        ({"x": IMAGES, "x_test": IMAGES}, {}, "either x or both x_train .*received: x, x_test"),
        (
            {"x_train": IMAGES, "x_test": IMAGES[:, :2]},
            {},
            r"test set: x must be .*\(20, 2, 3, 1\)",
        ),
    ],
)
def test_refusals(tmp_path, arrays, options, message):
    with pytest.raises(ValueError, match=message):
        _load(tmp_path, arrays, **options)


def test_files_that_are_no_archives(tmp_path):
    with pytest.raises(ValueError, match=r"existing file; received: .*none\.npz"):
        tfgen.data.load("npz", path=str(tmp_path / "none.npz"))
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(ValueError, match=r"text.npz' must be a readable NumPy \.npz"):
        tfgen.data.load("npz", path=str(tmp_path / "text.npz"))
    np.save(tmp_path / "array.npy", IMAGES)
    with pytest.raises(ValueError, match=r"array.npy' must be a readable NumPy \.npz"):
        tfgen.data.load("npz", path=str(tmp_path / "array.npy"))
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match=r"objects.npz' must be a readable NumPy \.npz"):
        tfgen.data.load("npz", path=str(tmp_path / "objects.npz"))
    with pytest.raises(ValueError, match="path must be the path of a file; received: 3"):
        tfgen.data.load("npz", path=3)
