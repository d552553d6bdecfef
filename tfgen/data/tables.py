"""The user's own tables: CSV and Parquet files with numeric columns."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfgen.checks import check_argument, check_integer
from tfgen.data.splits import DataInfo, DataSplits, Split, random_split, split_sizes
from tfgen.data.validate import check_finite, check_not_empty, check_path

_MAX_CLASSES_LISTED = 20


def load_csv(
    path: str,
    labels: bool = False,
    columns: Sequence[str] | None = None,
    label_column: str | None = None,
    delimiter: str = ",",
    header: bool = True,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
    split_seed: int = 0,
) -> DataSplits:
    """The numeric columns of a CSV file (UTF-8), float32 `[N, D]` in native units.

    Args:
        path: the file.
        labels: whether to give the labels of `label_column`.
        columns: the columns to model, in this order; None is all but `label_column`.
        label_column: the column of class labels, integers or words; classes are numbered in sorted
            order.
        delimiter: the character between two cells.
        header: whether the first line holds the names; without, they are "0", "1", ...
        validation_fraction: share of the rows for validation.
        test_fraction: share of the rows for testing.
        split_seed: seed of the split.

    Raises:
        ValueError: an empty or ragged file, an unknown column, a cell that is no finite number.
    """
    file = check_path("path", path)
    source = f"CSV file {str(file)!r}"
    is_character = isinstance(delimiter, str) and len(delimiter) == 1
    check_argument(is_character, "delimiter", "one character", delimiter)
    names, rows = _read_csv(file, delimiter, header, source)
    cells = {name: [row[position] for row in rows] for position, name in enumerate(names)}
    _check_unique(names, source)
    check_not_empty(len(rows), source)
    chosen = _choose_columns(names, columns, label_column, labels, source)
    numbers = {name: _parse_numbers(cells[name], name, source) for name in chosen}
    label_cells = [_as_integer(cell) for cell in cells[label_column]] if labels else None  # type: ignore[index]
    return _split_table(
        "csv", file, numbers, label_cells, validation_fraction, test_fraction, split_seed
    )


def load_parquet(
    path: str,
    labels: bool = False,
    columns: Sequence[str] | None = None,
    label_column: str | None = None,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
    split_seed: int = 0,
) -> DataSplits:
    """The numeric columns of a Parquet file, float32 `[N, D]` in native units; needs `pyarrow`.

    Args:
        path: the file.
        labels: whether to give the labels of `label_column`.
        columns: the columns to model, in this order; None is all but `label_column`.
        label_column: the column of class labels, integers or words; classes are numbered in sorted
            order.
        validation_fraction: share of the rows for validation.
        test_fraction: share of the rows for testing.
        split_seed: seed of the split.

    Raises:
        ValueError: an unreadable or empty file, an unknown column, a column that is not numeric,
            missing values, NaN or infinity.
    """
    file = check_path("path", path)
    source = f"Parquet file {str(file)!r}"
    try:
        import pyarrow as pa
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError("parquet needs pyarrow: pip install pyarrow") from error
    try:
        table = pyarrow.parquet.ParquetFile(file).read()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{source} must be a readable Parquet file; received: {error}.") from error
    names = table.column_names
    _check_unique(names, source)
    check_not_empty(table.num_rows, source)
    chosen = _choose_columns(names, columns, label_column, labels, source)
    numbers = {}
    for name in chosen:
        column = table.column(name)
        if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
            raise ValueError(
                f"{source}: column {name!r} must be numeric; received: type {column.type}. "
                "Choose the columns with the option columns."
            )
        # Missing values become NaN, which is refused below by name and row.
        numbers[name] = column.cast(pa.float64(), safe=False).to_numpy()
    label_cells = table.column(label_column).to_pylist() if labels else None
    return _split_table(
        "parquet", file, numbers, label_cells, validation_fraction, test_fraction, split_seed
    )


def _read_csv(
    file: Path, delimiter: str, header: bool, source: str
) -> tuple[list[str], list[list[str]]]:
    rows: list[list[str]] = []
    try:
        # utf-8-sig: spreadsheets write a byte order mark, which must not enter the first name.
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, delimiter=delimiter)
            for row in reader:
                if not row:
                    continue
                if rows and len(row) != len(rows[0]):
                    raise ValueError(
                        f"{source} must have {len(rows[0])} cells in every line; received: "
                        f"{len(row)} in line {reader.line_num}."
                    )
                rows.append(row)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{source} must be a readable CSV file; received: {error}.") from error
    check_not_empty(len(rows), source)
    if not header:
        return [str(position) for position in range(len(rows[0]))], rows
    names = [cell.strip() for cell in rows[0]]
    if all(_is_number(name) for name in names):
        raise ValueError(
            f"{source} must name the columns in its first line, or be read with header=False; "
            f"received only numbers there: {delimiter.join(rows[0])}."
        )
    return names, rows[1:]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _as_integer(cell: str) -> int | str:
    cell = cell.strip()
    return int(cell) if cell.lstrip("+-").isdecimal() else cell


def _parse_numbers(cells: list[str], name: str, source: str) -> np.ndarray:
    try:
        return np.array(cells).astype(np.float64)
    except ValueError:
        row = next(row for row, cell in enumerate(cells) if not _is_number(cell))
        raise ValueError(
            f"{source}: column {name!r} must hold numbers only; received: {cells[row]!r} in row "
            f"{row} (rows count from 0, below the header). Choose the columns with the option "
            "columns."
        ) from None


def _check_unique(names: Sequence[str], source: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{source} must name its columns differently; twice: {name!r}.")


def _choose_columns(
    names: Sequence[str],
    columns: Sequence[str] | None,
    label_column: str | None,
    labels: bool,
    source: str,
) -> list[str]:
    listed = ", ".join(map(repr, names))
    if label_column is not None and label_column not in names:
        raise ValueError(
            f"label_column must be a column of {source} ({listed}); received: {label_column!r}."
        )
    if labels and label_column is None:
        raise ValueError(
            f"label_column must name a column of {source} ({listed}) for labels=True; "
            "received: None."
        )
    if columns is None:
        chosen = [name for name in names if name != label_column]
    else:
        is_sequence = isinstance(columns, Sequence) and not isinstance(columns, str)
        check_argument(is_sequence, "columns", "a sequence of column names", columns)
        chosen = list(columns)
    for name in chosen:
        if name not in names or name == label_column or chosen.count(name) > 1:
            raise ValueError(
                f"columns must be distinct columns of {source} ({listed}) other than label_column; "
                f"received: {name!r}."
            )
    if not chosen:
        raise ValueError(f"columns must leave at least one column of {source}; received: none.")
    return chosen


def _split_table(
    name: str,
    file: Path,
    numbers: Mapping[str, np.ndarray],
    label_cells: Sequence[Any] | None,
    validation_fraction: float,
    test_fraction: float,
    split_seed: int,
) -> DataSplits:
    check_integer("split_seed", split_seed, 0)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is refused
        x = np.stack(list(numbers.values()), axis=1).astype(np.float32)
    source = f"file {str(file)!r}"
    check_finite(x, source, column_names=numbers)
    sizes = split_sizes(len(x), validation_fraction, test_fraction, source)
    described = [f"{len(x)} rows of {str(file)!r}, columns {', '.join(numbers)}, unscaled."]
    y, num_classes = None, None
    if label_cells is not None:
        missing = [row for row, cell in enumerate(label_cells) if cell is None or cell == ""]
        if missing:
            raise ValueError(f"{source} must have a label in every row; none in row {missing[0]}.")
        if len({isinstance(cell, str) for cell in label_cells}) > 1:
            label_cells = [str(cell) for cell in label_cells]
        classes = sorted(set(label_cells))
        number = {cell: position for position, cell in enumerate(classes)}
        y = np.array([number[cell] for cell in label_cells], np.int32)
        num_classes = len(classes)
        more = ", ..." if num_classes > _MAX_CLASSES_LISTED else ""
        listed = ", ".join(map(str, classes[:_MAX_CLASSES_LISTED])) + more
        described.append(f"{num_classes} classes in sorted order: {listed}.")
    train, validation, test = random_split(Split(x, y), *sizes, split_seed)
    info = DataInfo(
        name=name,
        event_shape=(x.shape[1],),
        num_classes=num_classes,
        preprocessing=(
            *described,
            f"Shuffled with seed {split_seed} and cut into {len(train)} for training, "
            f"{len(validation)} for validation and {len(test)} for testing.",
        ),
    )
    return DataSplits(train, validation, test, info)
