"""CSV and Parquet tables: numbers, classes, and every refusal's message."""

import numpy as np
import pytest

import tfgen.data

NUMBERS = np.random.RandomState(0).standard_normal((20, 2))
KINDS = ["pear", "apple", "fig", "apple"] * 5


def _rows():
    return [f"{a!r},{b!r},{kind}" for (a, b), kind in zip(NUMBERS.tolist(), KINDS, strict=True)]


def _csv(tmp_path, lines, **options):
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(lines) + "\n", encoding=options.pop("encoding", "utf-8"))
    return tfgen.data.load("csv", path=str(path), **options)


def _parquet(tmp_path, table, **options):
    pyarrow = pytest.importorskip("pyarrow")
    path = tmp_path / "mine.parquet"
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table(table), path)
    return tfgen.data.load("parquet", path=str(path), **options)


def _check_fruit(splits):
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [16, 2, 2]
    assert splits.info.num_classes == 3
    assert any("apple, fig, pear" in step for step in splits.info.preprocessing)
    for part in (splits.train, splits.validation, splits.test):
        assert part.x.dtype == np.float32
        for row, label in zip(part.x, part.y, strict=True):
            (position,) = np.flatnonzero((NUMBERS.astype(np.float32) == row).all(axis=1))
            assert ("apple", "fig", "pear")[label] == KINDS[position]


def test_csv_with_word_labels(tmp_path):
    _check_fruit(_csv(tmp_path, ["a,b,kind", *_rows()], labels=True, label_column="kind"))


def test_parquet_with_word_labels(tmp_path):
    columns = {"a": NUMBERS[:, 0], "b": NUMBERS[:, 1], "kind": KINDS}
    _check_fruit(_parquet(tmp_path, columns, labels=True, label_column="kind"))


def test_both_formats_split_alike(tmp_path):
    first = _csv(tmp_path, ["a,b,kind", *_rows()], columns=["b"])
    second = _parquet(tmp_path, {"b": NUMBERS[:, 1], "kind": KINDS}, columns=["b"])
    np.testing.assert_array_equal(first.test.x, second.test.x)


def test_columns_are_taken_in_the_order_given(tmp_path):
    splits = _csv(tmp_path, ["a,b,kind", *_rows()], columns=["b", "a"])
    x = np.concatenate([splits.train.x, splits.validation.x, splits.test.x])
    expected = NUMBERS[:, ::-1].astype(np.float32)
    np.testing.assert_array_equal(np.sort(x, axis=0), np.sort(expected, axis=0))


def test_integer_labels_are_sorted_as_numbers(tmp_path):
    lines = ["a,label", *(f"{position}.0,{(10, 9, 2)[position % 3]}" for position in range(12))]
    splits = _csv(tmp_path, lines, labels=True, label_column="label")
    for part in (splits.train, splits.validation, splits.test):
        np.testing.assert_array_equal(part.y, 2 - part.x[:, 0].astype(int) % 3)


def test_dialects(tmp_path):
    lines = [" a ;b", *(f"{position};{position / 2}" for position in range(5))]
    marked = _csv(tmp_path, lines, delimiter=";", encoding="utf-8-sig", columns=["a", "b"])
    assert marked.info.event_shape == (2,)
    bare = _csv(tmp_path, ["1,2", "3,4", "", "5,6"], header=False, columns=["1"])
    x = np.concatenate([bare.train.x, bare.validation.x, bare.test.x])
    np.testing.assert_array_equal(np.sort(x[:, 0]), [2, 4, 6])


@pytest.mark.parametrize(
    ("lines", "options", "message"),
    [
        (["a,b", "1,2", "3,nan", "5,6"], {}, "finite numbers; received: nan in column 'b', row 1"),
        (["a,b", "1,2", "3,4", "inf,6"], {}, "finite numbers; received: inf in column 'a', row 2"),
        (["a,b", "1,2", "3,4", "1e99,6"], {}, "finite numbers; received: inf in column 'a', row 2"),
        (
            ["a,b", "1,2", "3,", "5,6"],
            {},
            "column 'b' must hold numbers only; received: '' in row 1",
        ),
        (["a,b", "1,2", "3,x", "5,6"], {}, "column 'b' must hold numbers only.*'x' in row 1"),
        (["a,b", "1,2", "3", "5,6"], {}, "2 cells in every line; received: 1 in line 3"),
        (["1,2", "3,4", "5,6"], {}, "must name the columns .*header=False; .*numbers there: 1,2"),
        (["a,a", "1,2", "3,4", "5,6"], {}, "name its columns differently; twice: 'a'"),
        (["a,b"], {}, r"mine\.csv' must hold at least one example; it is empty"),
        ([], {}, r"mine\.csv' must hold at least one example; it is empty"),
        (["a,b", "1,2", "3,4"], {}, "must hold at least 3 examples to be split; received: 2"),
        (["a,b", "1,2"], {"columns": ["c"]}, r"distinct columns of .*\('a', 'b'\).*received: 'c'"),
        (["a,b", "1,2"], {"columns": "a"}, "columns must be a sequence of column names; .*'a'"),
        (["a,b", "1,2"], {"columns": []}, "columns must leave at least one column"),
        (["a,b", "1,2"], {"columns": ["a", "a"]}, "columns must be distinct columns"),
        (
            ["a,b", "1,2"],
            {"label_column": "c"},
            r"label_column must be a column of .*received: 'c'",
        ),
        (["a,b", "1,2"], {"labels": True}, "label_column must name a column .*received: None"),
        (
            ["a,b", "1,x", "2,", "3,y"],
            {"labels": True, "label_column": "b"},
            "must have a label in every row; none in row 1",
        ),
        (["a,b", "1,2"], {"delimiter": ";;"}, "delimiter must be one character; received: ';;'"),
    ],
)
def test_csv_refusals(tmp_path, lines, options, message):
    with pytest.raises(ValueError, match=message):
        _csv(tmp_path, lines, **options)


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ({"a": [1.0, None, 3.0]}, {}, "finite numbers; received: nan in column 'a', row 1"),
        ({"n": [1, 2, None]}, {}, "finite numbers; received: nan in column 'n', row 2"),
        ({"a": ["x", "y", "z"]}, {}, "column 'a' must be numeric; received: type string"),
        ({"a": [True, False, True]}, {}, "column 'a' must be numeric; received: type bool"),
        ({"a": []}, {}, "must hold at least one example; it is empty"),
        (
            {"a": [1.0, 2.0, 3.0], "b": ["x", None, "y"]},
            {"labels": True, "label_column": "b"},
            "must have a label in every row; none in row 1",
        ),
    ],
)
def test_parquet_refusals(tmp_path, table, options, message):
    with pytest.raises(ValueError, match=message):
        _parquet(tmp_path, table, **options)


def test_a_file_that_is_not_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "mine.parquet").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"mine\.parquet' must be a readable Parquet file"):
        tfgen.data.load("parquet", path=str(tmp_path / "mine.parquet"))
