"""The user's own images: a folder of equal images, or patches cut from photographs."""

import numpy as np

from tfgen.checks import check_integer, check_one_of
from tfgen.data.binarize import binarize_splits
from tfgen.data.images import (
    check_image_options,
    describe_transforms,
    list_images,
    read_image,
    stack_images,
    transform_image,
)
from tfgen.data.splits import (
    DataInfo,
    DataSplits,
    Split,
    random_split,
    shuffled_positions,
    split_sizes,
)
from tfgen.data.validate import MAX_NUM_LEVELS, check_path


def load_image_folder(
    path: str,
    labels: bool = False,
    resize: int | None = None,
    center_crop: int | None = None,
    channels: int | None = None,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
    split_seed: int = 0,
    binarize: str | None = None,
) -> DataSplits:
    """The PNG and JPEG files below a folder, uint8 `[N, H, W, C]`.

    Args:
        path: the folder.
        labels: whether the folder's immediate subfolders are the classes, in alphabetical order.
        resize: resample the largest central square to this side.
        center_crop: cut out the central square of this side, before `resize`.
        channels: 1 converts to grey, 3 to RGB; None takes the files as they are.
        validation_fraction: share of the images for validation.
        test_fraction: share of the images for testing.
        split_seed: seed of the split.
        binarize: None, "fixed" or "dynamic", see `tfgen.data.binarize`.

    Raises:
        ValueError: no images, an unreadable file, or images of several shapes.
    """
    check_image_options(resize, center_crop, channels)
    check_integer("split_seed", split_seed, 0)
    folder = check_path("path", path, is_folder=True)
    files = list_images(folder)
    source = f"folder {str(folder)!r}"
    num_validation, num_test = split_sizes(len(files), validation_fraction, test_fraction, source)
    y, classes = None, None
    if labels:
        loose = [file for file in files if file.parent == folder]
        if loose:
            raise ValueError(
                f"{source} must hold one subfolder of images a class for labels=True; received: "
                f"the image {str(loose[0])!r} outside any subfolder."
            )
        names = [file.relative_to(folder).parts[0] for file in files]
        classes = sorted(set(names))
        y = np.array([classes.index(name) for name in names], np.int32)
    images = [
        transform_image(read_image(file), repr(str(file)), resize, center_crop, channels)
        for file in files
    ]
    x = stack_images(images, [repr(str(file)) for file in files])
    described = [f"{len(files)} images below {str(folder)!r}, in the order of their paths."]
    if classes is not None:
        described.append(f"Classes are the subfolders: {', '.join(classes)}.")
    info = DataInfo(
        name="image_folder",
        event_shape=x.shape[1:],
        num_levels=MAX_NUM_LEVELS,
        num_classes=None if classes is None else len(classes),
        preprocessing=(
            *described,
            *describe_transforms(resize, center_crop, channels),
            f"Shuffled with seed {split_seed} and cut into "
            f"{len(files) - num_validation - num_test} for training, {num_validation} for "
            f"validation and {num_test} for testing.",
        ),
    )
    parts = random_split(Split(x, y), num_validation, num_test, split_seed)
    return binarize_splits(DataSplits(*parts, info), binarize)


def load_image_patches(
    path: str,
    patch_size: int = 32,
    stride: int | None = None,
    channels: int = 3,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
    split_seed: int = 0,
) -> DataSplits:
    """Square patches of the photographs below a folder, uint8 `[N, patch_size, patch_size, C]`.

    The split is by photograph: patches of one photograph are alike, and must not stand on both
    sides of a split.

    Args:
        path: the folder; at least three photographs.
        patch_size: side of a patch.
        stride: distance between patches; None is `patch_size`, patches that do not overlap.
        channels: 1 converts to grey, 3 to RGB.
        validation_fraction: share of the photographs for validation.
        test_fraction: share of the photographs for testing.
        split_seed: seed of the split.

    Raises:
        ValueError: fewer than three photographs, an unreadable one, or one smaller than a patch.
    """
    stride = patch_size if stride is None else stride
    check_integer("patch_size", patch_size, 1)
    check_integer("stride", stride, 1)
    check_integer("split_seed", split_seed, 0)
    check_one_of("channels", channels, (1, 3))
    folder = check_path("path", path, is_folder=True)
    files = list_images(folder)
    if len(files) < 3:
        raise ValueError(
            f"folder {str(folder)!r} must hold at least 3 photographs, one each to train, validate "
            f"and test; received: {len(files)}."
        )
    num_validation, num_test = split_sizes(
        len(files), validation_fraction, test_fraction, f"folder {str(folder)!r}"
    )
    order = shuffled_positions(len(files), split_seed)
    num_train = len(files) - num_validation - num_test
    groups = np.split(order, [num_train, num_train + num_validation])
    empty = np.zeros((0, patch_size, patch_size, channels), np.uint8)

    def cut(position: int) -> np.ndarray:
        file = files[position]
        image = transform_image(read_image(file), repr(str(file)), None, None, channels)
        if min(image.shape[:2]) < patch_size:
            raise ValueError(
                f"patch_size must be at most the photographs' sides; received: {patch_size} for "
                f"{str(file)!r} with {image.shape[0]} x {image.shape[1]} pixels."
            )
        windows = np.lib.stride_tricks.sliding_window_view(
            image, (patch_size, patch_size), axis=(0, 1)
        )[::stride, ::stride]
        return windows.transpose(0, 1, 3, 4, 2).reshape(-1, patch_size, patch_size, channels)

    train, validation, test = (
        Split(np.concatenate([empty, *map(cut, sorted(group))])) for group in groups
    )
    names = ["; ".join(files[position].name for position in sorted(g)) for g in groups]
    info = DataInfo(
        name="image_patches",
        event_shape=(patch_size, patch_size, channels),
        num_levels=MAX_NUM_LEVELS,
        preprocessing=(
            f"Patches {patch_size} x {patch_size}, {stride} apart, of {len(files)} photographs "
            f"below {str(folder)!r}.",
            *describe_transforms(None, None, channels),
            f"Photographs shuffled with seed {split_seed}: {num_train} for training, "
            f"{num_validation} for validation ({names[1]}), {num_test} for testing ({names[2]}).",
        ),
    )
    return DataSplits(train, validation, test, info)
