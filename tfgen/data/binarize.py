"""Binary images from grey ones: pixels drawn with P(1) = x / (num_levels - 1) [1].

- "fixed": every set is drawn once with fixed seeds; `num_levels` is 2 everywhere.
- "dynamic": validation and test sets are drawn once with fixed seeds, and `train.x` keeps its grey
  levels (`info.train_num_levels`); the training step draws it anew at every use with
  `tfgen.data.augment.DynamicBinarization`.

[1] Salakhutdinov, Murray. On the quantitative analysis of deep belief networks. ICML 2008.
"""

import dataclasses

import numpy as np

from tfgen.checks import check_one_of
from tfgen.data.splits import DataSplits, Split

BINARIZATIONS = (None, "dynamic", "fixed")
_SEEDS = {"train": 0, "validation": 1, "test": 2}


def sample_binary(x: np.ndarray, num_levels: int, seed: int) -> np.ndarray:
    """Binary pixels, uint8 of x's shape, drawn with P(1) = x / (num_levels - 1)."""
    random = np.random.RandomState(seed)
    binary = np.empty_like(x)
    for start in range(0, len(x), 1024):  # the uniform numbers are float64
        part = x[start : start + 1024]
        binary[start : start + 1024] = random.random_sample(part.shape) * (num_levels - 1) < part
    return binary


def binarize_splits(splits: DataSplits, binarize: str | None) -> DataSplits:
    """`splits` of grey images with the binarisation applied and recorded.

    Raises:
        ValueError: an unknown binarisation, or data that are not grey images.
    """
    check_one_of("binarize", binarize, BINARIZATIONS)
    if binarize is None:
        return splits
    info = splits.info
    num_levels = info.num_levels
    if num_levels is None or num_levels == 2 or len(info.event_shape) != 3:
        raise ValueError(
            f"binarize must be None for data that are not grey-level images; received: "
            f"{binarize!r} for {info.name!r} with event_shape={info.event_shape}, "
            f"num_levels={num_levels}."
        )

    def drawn(name: str) -> Split:
        split: Split = getattr(splits, name)
        return Split(sample_binary(split.x, num_levels, _SEEDS[name]), split.y)

    dynamic = binarize == "dynamic"
    sentence = (
        "Binarised with P(1) = grey level / highest level: validation and test sets once with "
        f"seeds {_SEEDS['validation']} and {_SEEDS['test']}, the train set anew at each use."
        if dynamic
        else "Binarised once with P(1) = grey level / highest level, seeds "
        f"{', '.join(map(str, _SEEDS.values()))} for train, validation and test."
    )
    info = dataclasses.replace(
        info,
        num_levels=2,
        train_num_levels=num_levels if dynamic else 2,
        binarization=binarize,
        preprocessing=(*info.preprocessing, sentence),
    )
    train = splits.train if dynamic else drawn("train")
    return DataSplits(train, drawn("validation"), drawn("test"), info)


def fixed_train(splits: DataSplits) -> Split:
    """The training set in the values that a model knows, as metrics that evaluate on it need it.

    Grey levels of dynamic binarisation are drawn once, as those of "fixed" are.
    """
    train, info = splits.train, splits.info
    if info.train_num_levels is None or info.train_num_levels == info.num_levels:
        return train
    return Split(sample_binary(train.x, info.train_num_levels, _SEEDS["train"]), train.y)
