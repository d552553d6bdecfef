"""The checks that every loader's output passes before anything is trained on it.

Each message names the file or argument, what is allowed and what came.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tfgen.data.splits import DataSplits, Split

MAX_NUM_LEVELS = 256


def check_path(name: str, path: Any, is_folder: bool = False) -> Path:
    """`path` as a Path; a ValueError unless it is an existing file (or folder)."""
    kind = "folder" if is_folder else "file"
    if not isinstance(path, str | Path):
        raise ValueError(f"{name} must be the path of a {kind}; received: {path!r}.")
    path = Path(path).expanduser()
    if not (path.is_dir() if is_folder else path.is_file()):
        raise ValueError(f"{name} must be an existing {kind}; received: {str(path)!r}.")
    return path


def check_not_empty(num_examples: int, source: str) -> None:
    """A ValueError if there are no examples."""
    if num_examples == 0:
        raise ValueError(f"{source} must hold at least one example; it is empty.")


def check_is_not_scaled_image(x: np.ndarray, source: str) -> None:
    """Refuses float images: a density over pixels needs their integer values.

    Scaled pixels have a finite number of values, so a continuous density could grow without bound
    on them; and bits/dim would be off by log2 of the scale.
    """
    if not np.issubdtype(x.dtype, np.floating) or x.ndim != 4 or x.size == 0:
        return
    low, high = float(x.min()), float(x.max())
    if low >= -1.0 and high <= 1.0:
        hint = "multiply back to 0..255, round and convert with .astype('uint8')"
    elif low >= 0.0 and high <= 255.0 and bool(np.all(x == np.round(x))):
        hint = "convert them with .astype('uint8')"
    else:
        return
    raise ValueError(
        f"{source}: images must be integers 0..255 of dtype uint8; received: {x.dtype} of shape "
        f"{x.shape} with values in [{low:g}, {high:g}] ({hint})."
    )


def check_finite(x: np.ndarray, source: str, column_names: Iterable[str] | None = None) -> None:
    """Refuses NaN and infinity; the message names the first row, and the column of a table."""
    finite = np.isfinite(x)
    if finite.all():
        return
    row = int(np.argwhere(~finite.reshape(len(x), -1).all(axis=1))[0, 0])
    where = f"row {row}"
    value = x[row][~finite[row]].flat[0]
    if column_names is not None:
        column = int(np.argwhere(~finite[row])[0, 0])
        where = f"column {list(column_names)[column]!r}, row {row}"
    raise ValueError(
        f"{source} must hold finite numbers; received: {value} in {where} (rows count from 0)."
    )


def check_levels(x: np.ndarray, num_levels: int, source: str) -> None:
    """A ValueError unless the discrete values lie in 0..num_levels-1."""
    highest = int(x.max(initial=0))
    if highest >= num_levels:
        raise ValueError(
            f"{source} must hold integers 0..{num_levels - 1} (num_levels={num_levels}); "
            f"received: {highest}."
        )


def check_labels(y: np.ndarray, num_examples: int, num_classes: int, source: str) -> None:
    """A ValueError unless y is int32 `[N]` with values in 0..num_classes-1."""
    if y.shape != (num_examples,) or y.dtype != np.int32:
        raise ValueError(
            f"{source}: labels must be int32 of shape ({num_examples},); "
            f"received: {y.dtype} of shape {y.shape}."
        )
    if len(y) and not (y.min() >= 0 and y.max() < num_classes):
        wrong = y[(y < 0) | (y >= num_classes)][0]
        raise ValueError(
            f"{source}: labels must be integers 0..{num_classes - 1}; received: {wrong}."
        )


def validate(splits: DataSplits, source: str) -> DataSplits:
    """Checks a loader's output and returns it.

    The validation set may be empty, the train and test sets may not.

    Args:
        splits: what the loader made.
        source: the file, folder or data set that messages name.

    Raises:
        ValueError: empty sets, wrong shapes or dtypes, values out of range, NaN or infinity.
    """
    info = splits.info
    check_not_empty(len(splits.train), f"{source}: the train set")
    check_not_empty(len(splits.test), f"{source}: the test set")
    for name in ("train", "validation", "test"):
        split: Split = getattr(splits, name)
        where = f"{source}, {name} set"
        if split.x.dtype != info.event_dtype or split.x.shape[1:] != info.event_shape:
            raise ValueError(
                f"{where}: x must be {info.event_dtype} of shape (N, "
                f"{', '.join(map(str, info.event_shape))}); received: {split.x.dtype} of shape "
                f"{split.x.shape}."
            )
        if info.num_levels is None:
            check_finite(split.x, where)
        else:
            levels = info.train_num_levels if name == "train" else info.num_levels
            check_levels(split.x, levels or MAX_NUM_LEVELS, where)
        if info.num_classes is not None and split.y is not None:
            check_labels(split.y, len(split), info.num_classes, where)
    return splits
