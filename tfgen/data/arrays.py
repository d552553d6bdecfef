"""The user's own arrays in a NumPy `.npz` archive."""

import zipfile

import numpy as np

from tfgen.checks import check_argument, check_integer
from tfgen.data.binarize import binarize_splits
from tfgen.data.splits import DataInfo, DataSplits, Split, random_split, split_sizes
from tfgen.data.validate import (
    MAX_NUM_LEVELS,
    check_finite,
    check_is_not_scaled_image,
    check_not_empty,
    check_path,
)

_SPLITS = ("train", "validation", "test")
_KEYS = ("x", "y", *(f"{array}_{split}" for split in _SPLITS for array in "xy"))


def load_npz(
    path: str,
    labels: bool = False,
    num_levels: int | None = None,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
    split_seed: int = 0,
    binarize: str | None = None,
) -> DataSplits:
    """Arrays from an `.npz` archive.

    The archive holds `x` and, for labels, `y`; or `x_train` and `x_test`, with or without
    `x_validation`, and `y_train`, `y_test`, `y_validation` likewise. Discrete data are uint8:
    images `[N, H, W, C]` with C = 1 or 3, sequences `[N, T, 1]` or vectors `[N, D]`. Continuous
    data are float32 or float64 of the same ranks and become float32. Labels are integers `[N]`.

    Args:
        path: the archive.
        labels: whether to read the labels.
        num_levels: discrete data take the values 0..num_levels-1; None is 256.
        validation_fraction: share of `x`, or of `x_train` without an `x_validation`.
        test_fraction: share of `x`; unused where there is an `x_test`.
        split_seed: seed of the split.
        binarize: None, "fixed" or "dynamic", see `tfgen.data.binarize`.

    Raises:
        ValueError: not such an archive; empty arrays; a wrong dtype, shape or label; float images
            scaled to [0, 1]; NaN or infinity.
    """
    check_integer("split_seed", split_seed, 0)
    file = check_path("path", path)
    source = f"npz file {str(file)!r}"
    try:
        archive = np.load(file, allow_pickle=False)
        arrays = {key: archive[key] for key in archive.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{source} must be a readable NumPy .npz; received: {error}.") from error
    given = {key for key in arrays if key.startswith("x")}
    layouts = ({"x"}, {"x_train", "x_test"}, {"x_train", "x_validation", "x_test"})
    if given not in layouts or not set(arrays) <= set(_KEYS):
        raise ValueError(
            f"{source} must hold either x or both x_train and x_test (allowed: {', '.join(_KEYS)});"
            f" received: {', '.join(sorted(arrays)) or 'nothing'}."
        )
    parts = {
        suffix: _part(arrays, suffix, labels, source)
        for suffix in ("", *(f"_{split}" for split in _SPLITS))
        if f"x{suffix}" in arrays
    }
    first = next(iter(parts.values()))
    is_discrete = first.x.dtype == np.uint8
    if is_discrete:
        num_levels = MAX_NUM_LEVELS if num_levels is None else num_levels
        check_integer("num_levels", num_levels, 2)
        limit = f"<= {MAX_NUM_LEVELS}"
        check_argument(num_levels <= MAX_NUM_LEVELS, "num_levels", limit, num_levels)
    else:
        check_argument(num_levels is None, "num_levels", "None for float data", num_levels)
    num_classes = None
    if labels:
        num_classes = 1 + max(int(part.y.max()) for part in parts.values() if part.y is not None)
    if "" in parts:
        sizes = split_sizes(len(first), validation_fraction, test_fraction, source)
        train, validation, test = random_split(first, *sizes, split_seed)
        described = "x shuffled"
    elif "_validation" in parts:
        train, validation, test = (parts[f"_{split}"] for split in _SPLITS)
        described = ""
    else:
        sizes = split_sizes(len(first), validation_fraction, 0.0, source)
        train, validation, _ = random_split(first, *sizes, split_seed)
        test = parts["_test"]
        described = "x_train shuffled"
    info = DataInfo(
        name="npz",
        event_shape=first.x.shape[1:],
        num_levels=num_levels,
        num_classes=num_classes,
        preprocessing=(
            f"Arrays of {str(file)!r} as they are.",
            *((f"{described} with seed {split_seed} to be split.",) if described else ()),
            f"{len(train)} examples for training, {len(validation)} for validation, {len(test)} "
            "for testing.",
        ),
    )
    return binarize_splits(DataSplits(train, validation, test, info), binarize)


def _part(arrays: dict[str, np.ndarray], suffix: str, labels: bool, source: str) -> Split:
    where = f"{source}, array x{suffix}"
    x = arrays[f"x{suffix}"]
    check_not_empty(x.size, where)
    is_float = x.dtype in (np.float32, np.float64)
    if not is_float and x.dtype != np.uint8:
        raise ValueError(
            f"{where} must be uint8 (discrete) or float32/float64 (continuous); "
            f"received: {x.dtype}."
        )
    check_is_not_scaled_image(x, where)
    shape_is_allowed = x.ndim in (2, 3, 4)
    if x.dtype == np.uint8 and shape_is_allowed:
        shape_is_allowed = x.shape[-1] in {2: (x.shape[-1],), 3: (1,), 4: (1, 3)}[x.ndim]
    if not shape_is_allowed:
        raise ValueError(
            f"{where} must have the shape [N, D], [N, T, C] or [N, H, W, C], for uint8 [N, D], "
            "[N, T, 1] or [N, H, W, C] with C = 1 or 3 (grey images need a last axis: "
            f"x[..., None]); received: {x.shape}."
        )
    if is_float:
        check_finite(x, where)
        with np.errstate(over="ignore"):  # infinite in float32, refused with the output
            x = x.astype(np.float32)
    if not labels:
        return Split(x)
    if f"y{suffix}" not in arrays:
        raise ValueError(f"{source} must hold y{suffix} for labels=True; it does not.")
    y = arrays[f"y{suffix}"]
    if y.shape != (len(x),) or not np.issubdtype(y.dtype, np.integer) or y.min() < 0:
        raise ValueError(
            f"{source}, array y{suffix} must hold {len(x)} integers >= 0 in one axis; received: "
            f"{y.dtype} of shape {y.shape}{f', least {y.min()}' if y.size else ''}."
        )
    return Split(x, y.astype(np.int32))
