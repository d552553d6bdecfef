"""Train, validation and test sets by name, with fixed splits and recorded preprocessing."""

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from tfgen import needs_tensorflow as needs_tensorflow
from tfgen.data import augment
from tfgen.data.arrays import load_npz
from tfgen.data.audio import load_audio_folder
from tfgen.data.domains import coloured_images, domain_folders, one_test_domain, shifted_images
from tfgen.data.embedded import load_digits, load_table
from tfgen.data.image_files import load_image_folder, load_image_patches
from tfgen.data.mnist_5k import load_mnist_5k
from tfgen.data.real_tables import load_diamonds, load_flights
from tfgen.data.splits import DataInfo, DataSplits, Split
from tfgen.data.synthetic import load_random_images, load_random_table
from tfgen.data.tables import load_csv, load_parquet
from tfgen.data.tfds import load_tfds
from tfgen.data.toy import TOY_DENSITIES, load_toy
from tfgen.data.uci import load_bsds300, load_gas, load_hepmass, load_miniboone, load_power
from tfgen.data.validate import validate

__all__ = ["DataInfo", "DataSplits", "Split", "augment", "load", "names"]

_LOADERS: Mapping[str, Callable[..., DataSplits]] = {
    "audio_folder": load_audio_folder,
    "bsds300": load_bsds300,
    "coloured_images": one_test_domain(coloured_images),
    "csv": load_csv,
    "diamonds": load_diamonds,
    "digits": load_digits,
    "domain_folders": one_test_domain(domain_folders),
    "flights": load_flights,
    "gas": load_gas,
    "hepmass": load_hepmass,
    "image_folder": load_image_folder,
    "image_patches": load_image_patches,
    "miniboone": load_miniboone,
    "mnist_5k": load_mnist_5k,
    "npz": load_npz,
    "parquet": load_parquet,
    "power": load_power,
    "random_images": load_random_images,
    "random_table": load_random_table,
    "shifted_images": one_test_domain(shifted_images),
    **{
        name: functools.partial(load_table, name)
        for name in ("breast_cancer", "diabetes", "iris", "wine")
    },
    **{name: functools.partial(load_toy, name) for name in TOY_DENSITIES},
}


def names() -> tuple[str, ...]:
    """The names that `load` knows besides those of TensorFlow Datasets."""
    return tuple(sorted(_LOADERS))


def load(name: str, labels: bool = False, **options: Any) -> DataSplits:
    """The train, validation and test set of a data set, with what a model must know about it.

    Args:
        name: one of `names()`, or the name of a set in TensorFlow Datasets. The user's own data are
            `audio_folder`, `image_folder`, `image_patches`, `npz`, `csv` and `parquet`, and files
            of the paper on masked autoregressive flows `power`, `gas`, `hepmass`, `miniboone` and
            `bsds300`, with the option `path`.
        labels: whether the sets have class labels `y`, or `y` is None.
        **options: the loader's own, see the `load_<name>` functions of this package, and
            `tfgen.data.tfds.load_tfds` for TensorFlow Datasets.

    Raises:
        ValueError: an unknown name or option, data that no model should be trained on, or
            `labels=True` for a set without labels; the message names the file or argument, what is
            allowed and what came.
        FileNotFoundError: a TensorFlow Datasets name without prepared data.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"name must be the name of a data set; received: {name!r}.")
    if not isinstance(labels, bool):
        raise ValueError(f"labels must be True or False; received: {labels!r}.")
    loader = _LOADERS.get(name)
    if loader is None:
        loader = functools.partial(load_tfds, name, other_names=names())
    parameters = dict(inspect.signature(loader).parameters)
    takes_labels = parameters.pop("labels", None) is not None
    parameters.pop("other_names", None)
    _check_options(name, options, parameters)
    splits = loader(labels=labels, **options) if takes_labels else loader(**options)
    splits = validate(splits, f"data set {name!r}")
    if labels:
        if splits.train.y is None:
            raise ValueError(f"labels must be False for {name!r}, which has none; received: True.")
        return splits
    return splits.without_labels()


def _check_options(
    name: str, options: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter]
) -> None:
    for key in options:
        if key not in parameters:
            close = difflib.get_close_matches(key, parameters, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            allowed = ", ".join(["labels", *sorted(parameters)])
            raise ValueError(f"data set {name!r} has no option {key!r}.{hint} Allowed: {allowed}.")
    for key, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and key not in options:
            raise ValueError(f"data set {name!r} needs the option {key!r}.")
