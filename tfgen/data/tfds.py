"""Data sets of TensorFlow Datasets (TFDS) by name, from data that are prepared on this machine.

TFDS, asked for data that are not there, tries the network for minutes. Here the directory is
looked for first, and nothing is ever downloaded.
"""

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfgen.checks import check_argument, check_integer
from tfgen.data.binarize import binarize_splits
from tfgen.data.images import (
    check_image_options,
    describe_transforms,
    stack_images,
    transform_image,
)
from tfgen.data.splits import DataInfo, DataSplits, Split, random_split
from tfgen.data.validate import MAX_NUM_LEVELS, check_finite

_SPLIT_SEED = 0
_MAX_DEFAULT_VALIDATION = 5_000
_BATCH_SIZE = 512
# TFDS stores these with the values 0..num_levels-1.
_NUM_LEVELS = {"binarized_mnist": 2}
_HOW_TO_GET = {
    "fashion_mnist": "without a network: apt-get install dataset-fashion-mnist && "
    "python -m tfgen.data.prepare_fashion_mnist{option}; with one: "
}


def resolve_data_dir(data_dir: str | os.PathLike[str] | None) -> Path:
    """`data_dir`, else `$TFDS_DATA_DIR`, else `~/tensorflow_datasets`, as TFDS does."""
    default = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(default if data_dir is None else data_dir).expanduser()


def prepared_directory(name: str, data_dir: Path) -> Path | None:
    """The directory of the newest prepared version of `name`, a TFDS name, or None.

    `name` is `set`, `set/config`, `set:version` or `set/config:version`.
    """
    path, _, version = name.partition(":")
    found: list[Path] = []
    for levels in ("*", "*/*") if "/" not in path else ("*",):
        found += (data_dir / path).glob(f"{levels}/dataset_info.json")
    directories = [file.parent for file in found if not version or file.parent.name == version]
    return max(directories, key=_version_key, default=None)


def _version_key(directory: Path) -> tuple[int, ...]:
    parts = directory.name.split(".")
    return tuple(int(part) if part.isdecimal() else -1 for part in parts)


def check_prepared(name: str, data_dir: Path, other_names: Iterable[str]) -> None:
    """Refuses a name that is unknown, or whose data are not prepared, without any network.

    Args:
        name: a TFDS name.
        data_dir: TFDS's data directory.
        other_names: names that are no TFDS names, for the message.

    Raises:
        ValueError: TFDS does not know the name.
        FileNotFoundError: the data are not in `data_dir`; the message says how to get them.
    """
    # TFDS's own code need not know a set that the user has prepared.
    if prepared_directory(name, data_dir) is not None:
        return
    import tensorflow_datasets as tfds

    known = tfds.list_builders(with_community_datasets=False)
    set_name = name.partition(":")[0].partition("/")[0]
    if set_name not in known:
        others = sorted(other_names)
        close = difflib.get_close_matches(set_name, [*others, *known], n=3)
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise ValueError(
            f"name must be one of tfgen's data sets ({', '.join(others)}) or the name of one of "
            f"TensorFlow Datasets' {len(known)}; received: {name!r}.{hint}"
        )
    option = "" if data_dir == resolve_data_dir(None) else f" --data_dir={data_dir}"
    without_network = _HOW_TO_GET.get(set_name, "").format(option=option)
    raise FileNotFoundError(
        f"{name!r} is a TensorFlow Datasets name, but there are no prepared data for it: looked "
        f"for {data_dir / name.replace(':', '/')}/**/dataset_info.json. tfgen never downloads. "
        f"To get it, {without_network}run `tfds build {name}{option}`, or "
        f'tfds.load("{name}", data_dir="{data_dir}", download=True) in Python, on a machine with a '
        f"network, and copy the directory to {data_dir} if that is another machine (or point the "
        "option data_dir, or the variable TFDS_DATA_DIR, at it)."
    )


def load_tfds(
    name: str,
    labels: bool = False,
    data_dir: str | None = None,
    resize: int | None = None,
    center_crop: int | None = None,
    channels: int | None = None,
    validation_examples: int | None = None,
    binarize: str | None = None,
    other_names: Iterable[str] = (),
) -> DataSplits:
    """A TFDS image set, uint8 `[N, H, W, C]`, or table, float32 `[N, D]`, read by `tfds.load`.

    An image set has a feature `image`, or one image feature. Of any other set the floating-point
    features, scalars and vectors in alphabetical order, are the columns of a table. Labels are the
    set's class feature.

    The test set is TFDS's `test`; without one, its `validation` (as papers do for ImageNet); with
    neither, a tenth of `train`. The validation set is TFDS's `validation`; where that is missing
    or serves as the test set, it is cut from `train` by a fixed seed.

    Args:
        name: the TFDS name: `set`, `set/config`, `set:version`.
        labels: whether to give labels.
        data_dir: TFDS's data directory; None is `$TFDS_DATA_DIR`, else `~/tensorflow_datasets`.
        resize: resample the largest central square to this side.
        center_crop: cut out the central square of this side, before `resize`.
        channels: 1 converts to grey, 3 to RGB; None takes the images as they are.
        validation_examples: size of the validation set that is cut from `train`; None is a tenth,
            at most 5,000; 0 trains on all of it.
        binarize: None, "fixed" or "dynamic", see `tfgen.data.binarize`.
        other_names: names that are no TFDS names, for the message about an unknown one.

    Raises:
        ValueError: an unknown name, impossible options, or features of another kind.
        FileNotFoundError: the data are not prepared; the message says how to get them.
    """
    check_image_options(resize, center_crop, channels)
    if validation_examples is not None:
        check_integer("validation_examples", validation_examples, 0)
    directory = resolve_data_dir(data_dir)
    check_prepared(name, directory, other_names)

    import tensorflow_datasets as tfds

    datasets, tfds_info = tfds.load(
        name,
        data_dir=directory,
        download=False,
        with_info=True,
        shuffle_files=False,
        read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
    )
    source = f"TFDS set {name!r}"
    check_argument("train" in datasets, source, "a set with the split 'train'", [*datasets])
    features = tfds_info.features
    image_key = _image_key(tfds, features, source)
    label_key = _label_key(tfds, tfds_info)
    if labels and label_key is None:
        raise ValueError(
            f"labels must be False for {source}: it has no class feature; its features are "
            f"{', '.join(features)}."
        )

    def read(split: str) -> Split:
        y_key = label_key if labels else None
        if image_key is None:
            return _read_table(tfds, datasets[split], features, y_key, f"{source}, {split}")
        transform = (resize, center_crop, channels)
        return _read_images(tfds, datasets[split], image_key, y_key, transform, source)

    if image_key is None:
        given = {"resize": resize, "center_crop": center_crop, "channels": channels}
        for option, value in given.items():
            check_argument(value is None, option, f"None for the table {source}", value)
    train, validation, test, sentences = _three_splits(
        {split: read(split) for split in ("train", "validation", "test") if split in datasets},
        validation_examples,
        source,
    )
    set_name = name.partition(":")[0]
    num_levels = _NUM_LEVELS.get(set_name, MAX_NUM_LEVELS) if image_key is not None else None
    info = DataInfo(
        name=name,
        event_shape=train.x.shape[1:],
        num_levels=num_levels,
        num_classes=features[label_key].num_classes if labels else None,
        preprocessing=(
            f"TFDS {tfds_info.full_name}.",
            *describe_transforms(resize, center_crop, channels),
            *sentences,
        ),
        binarization="fixed" if num_levels == 2 else None,  # by whoever published it
    )
    return binarize_splits(DataSplits(train, validation, test, info), binarize)


def _three_splits(
    given: Mapping[str, Split], validation_examples: int | None, source: str
) -> tuple[Split, Split, Split, list[str]]:
    train, validation, test = given["train"], given.get("validation"), given.get("test")
    sentences = []
    if test is None and validation is not None:
        test, validation = validation, None
        sentences.append("The published validation split is the test set.")
    if validation is not None and validation_examples is not None:
        raise ValueError(
            f"validation_examples must be None for {source}, which has a validation split of "
            f"{len(validation)} examples; received: {validation_examples}."
        )
    num_train = len(train)
    num_test = 0 if test is not None else max(1, num_train // 10)
    num_validation = 0
    if validation is None:
        num_validation = (
            max(1, min(_MAX_DEFAULT_VALIDATION, num_train // 10))
            if validation_examples is None
            else validation_examples
        )
    if num_train - num_validation - num_test < 1:
        raise ValueError(
            f"validation_examples must leave training examples of {source}'s {num_train}; "
            f"received: {num_validation}."
        )
    if num_validation or num_test:
        train, cut_validation, cut_test = random_split(train, num_validation, num_test, _SPLIT_SEED)
        cut = [f"{num_validation} for validation"] if num_validation else []
        cut += [f"{num_test} for testing"] if num_test else []
        sentences.append(
            f"Cut from the {num_train} training examples, shuffled with seed {_SPLIT_SEED}: "
            f"{' and '.join(cut)}, which leaves {len(train)}."
        )
    else:
        cut_validation, cut_test = train[:0], train[:0]
    validation = cut_validation if validation is None else validation
    test = cut_test if test is None else test
    sentences.append(f"Test set of {len(test)} examples.")
    return train, validation, test, sentences


def _image_key(tfds: Any, features: Any, source: str) -> str | None:
    images = [key for key, value in features.items() if isinstance(value, tfds.features.Image)]
    if not images:
        return None
    if "image" not in images and len(images) > 1:
        raise ValueError(
            f"{source} must have a feature 'image' or one image feature; received: "
            f"{', '.join(images)}."
        )
    key = "image" if "image" in images else images[0]
    if features[key].np_dtype != np.uint8:
        raise ValueError(
            f"{source} must have images of 8 bits a channel; received: {features[key].np_dtype}."
        )
    return key


def _label_key(tfds: Any, tfds_info: Any) -> str | None:
    features = tfds_info.features
    classes = [
        key for key, value in features.items() if isinstance(value, tfds.features.ClassLabel)
    ]
    supervised = tfds_info.supervised_keys
    if supervised is not None and supervised[-1] in classes:
        return supervised[-1]
    if "label" in classes:
        return "label"
    return classes[0] if len(classes) == 1 else None


def _read_images(
    tfds: Any,
    dataset: Any,
    image_key: str,
    label_key: str | None,
    transform: tuple[int | None, int | None, int | None],
    source: str,
) -> Split:
    from PIL import Image

    keys = [image_key] if label_key is None else [image_key, label_key]
    dataset = dataset.map(lambda example: [example[key] for key in keys])
    has_one_shape = dataset.element_spec[0].shape.is_fully_defined()
    if has_one_shape:
        dataset = dataset.batch(_BATCH_SIZE)
    chunks, labels = [], []
    for values in tfds.as_numpy(dataset):
        images = values[0] if has_one_shape else values[0][None]
        if any(option is not None for option in transform):
            images = np.stack(
                [
                    transform_image(Image.fromarray(_drop_grey_axis(image)), source, *transform)
                    for image in images
                ]
            )
        chunks.append(images)
        labels.append(values[1:])
    if has_one_shape:
        x = np.concatenate(chunks)
    else:
        names = [f"example {position} of {source}" for position in range(len(chunks))]
        x = stack_images([chunk[0] for chunk in chunks], names)
    if label_key is None:
        return Split(x)
    return Split(x, np.concatenate([np.atleast_1d(label[0]) for label in labels]).astype(np.int32))


def _drop_grey_axis(image: np.ndarray) -> np.ndarray:
    return image[..., 0] if image.shape[-1] == 1 else image


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested dicts with their paths, `outer/inner`."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", value


def _read_table(
    tfds: Any, dataset: Any, features: Any, label_key: str | None, source: str
) -> Split:
    import tensorflow as tf

    specs = dict(_leaves(features.get_tensor_info()))
    columns = {
        path: spec
        for path, spec in sorted(specs.items())
        if spec.dtype in (tf.float32, tf.float64, np.float32, np.float64)
        and len(spec.shape) <= 1
        and None not in spec.shape
        and path != label_key
    }
    if not columns:
        raise ValueError(
            f"{source} must have an image feature or floating-point features (scalars, vectors) to "
            f"model; received: {', '.join(specs)}."
        )

    def select(example: Any) -> tuple[tf.Tensor, ...]:
        values = dict(_leaves(example))
        x = [tf.reshape(tf.cast(values[path], tf.float32), [-1]) for path in columns]
        label = () if label_key is None else (values[label_key],)
        return (tf.concat(x, 0), *label)

    batches = [*tfds.as_numpy(dataset.map(select).batch(_BATCH_SIZE))]
    x = np.concatenate([batch[0] for batch in batches])
    names = [
        path if not spec.shape else f"{path}[{position}]"
        for path, spec in columns.items()
        for position in range(spec.shape[0] if spec.shape else 1)
    ]
    check_finite(x, source, column_names=names)
    if label_key is None:
        return Split(x)
    return Split(x, np.concatenate([batch[1] for batch in batches]).astype(np.int32))
