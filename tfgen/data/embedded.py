"""Real data that scikit-learn carries in its package: no download, no files to find.

[1] Alpaydin, Kaynak. Optical recognition of handwritten digits. UCI Machine Learning Repository.
    1998. doi:10.24432/C50P49
"""

import numpy as np

from tfgen.data.binarize import binarize_splits
from tfgen.data.splits import DataInfo, DataSplits, Split, random_split, split_sizes

_SPLIT_SEED = 0
_DIGITS_VALIDATION, _DIGITS_TEST = 200, 300
_TABLE_FRACTION = 0.1


def load_digits(binarize: str | None = None) -> DataSplits:
    """Handwritten digits [1]: 1,797 grey images 8x8x1 with the values 0..16, ten classes.

    Args:
        binarize: None, "fixed" or "dynamic", see `tfgen.data.binarize`.
    """
    import sklearn.datasets

    bunch = sklearn.datasets.load_digits()
    images = bunch.images.astype(np.uint8)[..., None]
    data = Split(images, bunch.target.astype(np.int32))
    parts = random_split(data, _DIGITS_VALIDATION, _DIGITS_TEST, _SPLIT_SEED)
    info = DataInfo(
        name="digits",
        event_shape=(8, 8, 1),
        num_levels=17,
        num_classes=10,
        preprocessing=(
            "scikit-learn's 1,797 digits, grey values 0..16 as they are.",
            f"Shuffled with seed {_SPLIT_SEED} and cut into 1,297 for training, 200 for validation "
            "and 300 for testing.",
        ),
    )
    return binarize_splits(DataSplits(*parts, info), binarize)


def load_table(name: str) -> DataSplits:
    """One of scikit-learn's tables in its native units, float32 `[N, D]`.

    `iris` (150 x 4, 3 classes), `wine` (178 x 13, 3 classes), `breast_cancer` (569 x 30, 2 classes)
    and `diabetes` (442 x 10, no classes).
    """
    import sklearn.datasets

    options = {"scaled": False} if name == "diabetes" else {}
    bunch = getattr(sklearn.datasets, f"load_{name}")(**options)
    x = bunch.data.astype(np.float32)
    classes = getattr(bunch, "target_names", None)
    data = Split(x, None if classes is None else bunch.target.astype(np.int32))
    num_validation, num_test = split_sizes(len(x), _TABLE_FRACTION, _TABLE_FRACTION, name)
    num_train = len(x) - num_validation - num_test
    info = DataInfo(
        name=name,
        event_shape=x.shape[1:],
        num_classes=None if classes is None else len(classes),
        preprocessing=(
            f"scikit-learn's {name}, {len(x)} rows of {x.shape[1]} columns, unscaled.",
            f"Shuffled with seed {_SPLIT_SEED} and cut into {num_train} for training, "
            f"{num_validation} for validation and {num_test} for testing.",
        ),
    )
    return DataSplits(*random_split(data, num_validation, num_test, _SPLIT_SEED), info)
