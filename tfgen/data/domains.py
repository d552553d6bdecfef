"""Labelled domains that differ in what goes with the label: some to train on, others to predict.

Train and validation sets are of the training domain, or of several, pooled; test sets are of
others. Nothing that is learned or chosen may see labels of a test domain; unlabelled images of one
may be trained on, as `AdaptationSplit`.

[1] Liu, Sun, Wang, Tang, Li, Qin, Chen, Liu. Learning causal semantic representation for
    out-of-distribution prediction. NeurIPS 2021. arXiv:2011.01681
[2] Sun, Wu, Zheng, Liu, Qin, Chen, Liu. Recovering latent causal factor for generalization to
    distributional shifts. NeurIPS 2021.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfgen.checks import check_argument, check_integer, check_one_of
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
    split_sizes,
)
from tfgen.data.validate import MAX_NUM_LEVELS, check_labels, check_path

UNLABELLED = -1


@dataclasses.dataclass(frozen=True, eq=False)
class AdaptationSplit(Split):
    """Labelled examples of the training domain, and images `target` of another without labels.

    A training batch holds B of each: x `[2 B, ...]`, in turn, so that equal parts of a batch hold
    as many of each; the label of the targets is -1. What is not training sees the labelled examples
    only.
    """

    target: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))

    def training_batches(
        self,
        batch_size: int,
        seed: int,
        start_step: int = 0,
        num_steps: int | None = None,
        worker: int = 0,
        num_workers: int = 1,
    ) -> tf.data.Dataset:
        which = (start_step, num_steps, worker, num_workers)
        labelled = super().training_batches(batch_size, seed, *which)
        # Another seed: else equally large sets would be visited in the same order.
        targets = Split(self.target).training_batches(batch_size, seed + 1, *which)

        def join(example: tuple[tf.Tensor, tf.Tensor], target: tf.Tensor) -> tuple:
            x, y = example
            return in_turn(x, target), in_turn(y, tf.fill(tf.shape(y), UNLABELLED))

        def in_turn(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
            both = tf.stack([a, tf.cast(b, a.dtype)], axis=1)
            return tf.reshape(both, tf.concat([[-1], tf.shape(a)[1:]], axis=0))

        return tf.data.Dataset.zip(labelled, targets).map(join)


@dataclasses.dataclass(frozen=True, eq=False)
class Domains:
    """Training domains, split into train and validation, and test domains by name.

    Where the training examples say which domain they are of (`Split.domain`), `info.num_domains` is
    the number of these; test examples never do.

    Raises:
        ValueError: no validation examples, a domain of one class only, labels outside
            0..num_classes-1, or test images of another shape or type.
    """

    train: Split
    validation: Split
    tests: Mapping[str, Split]
    info: DataInfo

    def __post_init__(self) -> None:
        parts = {"train": self.train, "validation": self.validation, **self.tests}
        check_argument(self.tests, "tests", "at least one test domain", list(self.tests))
        num_validation = len(self.validation)
        check_argument(
            num_validation > 0,
            "validation",
            "non-empty: choices may rest on the training domain only",
            f"{num_validation} examples",
        )
        for name, part in parts.items():
            where = f"domain data {name!r}"
            if part.x.shape[1:] != self.info.event_shape or part.x.dtype != self.train.x.dtype:
                raise ValueError(
                    f"{where} must hold {self.train.x.dtype} examples of shape "
                    f"{self.info.event_shape}, as the training domain; received: {part.x.dtype} "
                    f"of shape {part.x.shape[1:]}."
                )
            if part.y is None:
                raise ValueError(f"{where} must have labels; received: none.")
            check_labels(part.y, len(part), self.info.num_classes or 0, where)
            classes = np.unique(part.y)
            if len(classes) < 2 and name != "validation":
                raise ValueError(
                    f"{where} must hold at least two classes; received: {classes.tolist()} alone."
                )
        for index in range(self.info.num_domains or 0):
            assert self.train.y is not None
            classes = np.unique(self.train.y[self.train.domain == index])
            if len(classes) < 2:
                raise ValueError(
                    f"training domain {index} must hold at least two classes; received: "
                    f"{classes.tolist()} alone."
                )

    def splits(self, test: str, adapt: bool = False) -> DataSplits:
        """One test domain's view: its test set, and with `adapt` its images to train on.

        The images are those of the test set (transductive, as in [1]), without their labels.
        """
        check_one_of("test", test, tuple(self.tests))
        train = self.train
        if adapt:
            is_pooled = self.info.num_domains is None
            check_argument(is_pooled, "adapt", "False where domains are told apart", adapt)
            train = AdaptationSplit(train.x, train.y, target=self.tests[test].x)
        described = f"Test domain {test!r}" + (", its images also to adapt to." if adapt else ".")
        info = dataclasses.replace(self.info, preprocessing=(*self.info.preprocessing, described))
        return DataSplits(train, self.validation, self.tests[test], info)


# ---------------------------------------------------------------------- images from data sets


def shifted_images(
    source: str,
    classes: Sequence[int | Sequence[int]] = (0, 1),
    canvas: Sequence[int] | None = None,
    zoom: float = 1.0,
    shift: float = 5.0,
    shift_scale: float = 1.0,
    noise_scale: float = 2.0,
    num_copies: int = 1,
    validation_fraction: float = 0.2,
    split_seed: int = 0,
    data_dir: str | None = None,
) -> Domains:
    """Images moved sideways: in the training domain by the class, as shifted MNIST of [1].

    The first class is moved by N(-shift, shift_scale^2) pixels, the last by N(shift, ...), others
    in between; rounded to whole pixels, with zeros moved in. The test domains come from the
    source's test set: "in_domain", moved likewise; "centred", not moved; "noisy", moved by
    N(0, noise_scale^2) whatever the class; "reversed", with the classes' means exchanged.

    Args:
        source: a set of `tfgen.data.load` with grey or colour images and labels: "mnist" or
            "fashion_mnist" where they are prepared, "mnist_5k", "digits".
        classes: of the source, in the order of the new labels; a sequence is one new class.
        canvas: `[H, W]` to put each image into the middle of; None is the image's own size.
        zoom: of the images before that, bilinear.
        shift, shift_scale, noise_scale: in pixels.
        num_copies: differently moved copies of each training and validation image.
        validation_fraction: share of the source's training images.
        split_seed: seed of the split and of the moves.
        data_dir: of TensorFlow Datasets.

    Raises:
        ValueError: see `Domains`.
    """
    check_argument(zoom > 0, "zoom", "positive", zoom)
    check_integer("num_copies", num_copies, minimum=1)
    for name, value in (("shift_scale", shift_scale), ("noise_scale", noise_scale)):
        check_argument(value >= 0, name, "non-negative", value)
    train, validation, test, levels, described = _source(
        source, classes, validation_fraction, split_seed, data_dir
    )
    train, validation, test = (
        Split(_on_canvas(part.x, canvas, zoom), part.y) for part in (train, validation, test)
    )
    train, validation = (_repeat(part, num_copies) for part in (train, validation))
    random = np.random.RandomState(split_seed)
    means = np.linspace(-shift, shift, len(classes))

    def moved(part: Split, means: np.ndarray, scale: float) -> Split:
        pixels = np.rint(means[part.y] + scale * random.standard_normal(len(part))).astype(int)
        return Split(_move(part.x, pixels), part.y)

    info = DataInfo(
        name="shifted_images",
        event_shape=train.x.shape[1:],
        num_levels=levels,
        num_classes=len(classes),
        preprocessing=(
            *described,
            f"Training domain: moved by N({-shift:g}, {shift_scale:g}^2) pixels for the first "
            f"class to N({shift:g}, {shift_scale:g}^2) for the last, {num_copies} copies.",
        ),
    )
    return Domains(
        train=moved(train, means, shift_scale),
        validation=moved(validation, means, shift_scale),
        tests={
            "in_domain": moved(test, means, shift_scale),
            "centred": test,
            "noisy": moved(test, 0 * means, noise_scale),
            "reversed": moved(test, -means, shift_scale),
        },
        info=info,
    )


def coloured_images(
    source: str,
    classes: Sequence[int | Sequence[int]] = ((0, 1, 2, 3, 4), (5, 6, 7, 8, 9)),
    agreement: float | Sequence[float] = 0.95,
    test_agreement: float | None = None,
    index_domains: bool = False,
    num_copies: int = 1,
    validation_fraction: float = 0.2,
    split_seed: int = 0,
    data_dir: str | None = None,
) -> Domains:
    """Grey images in colours that go with the class in the training domain, as in [2].

    An image of class k is in colour channel k with the probability `agreement`, else in one of the
    others' channels. Test domains, from the source's test set: "in_domain"; "independent", every
    colour as likely; "reversed", with the probability `test_agreement`.

    Args:
        agreement: in the training domain, in [0, 1]; a sequence is several training domains, and
            an image (a copy) is of any of them with the same probability.
        test_agreement: of "reversed"; None is 1 less the mean of `agreement`.
        index_domains: whether training examples say which domain they are of.
        source, classes, num_copies, validation_fraction, split_seed, data_dir: as for
            `shifted_images`; two or three classes.

    Raises:
        ValueError: see `Domains`; images that are not grey.
    """
    agreements = np.atleast_1d(np.asarray(agreement, float))
    inside = len(agreements) > 0 and bool(np.all((agreements >= 0) & (agreements <= 1)))
    check_argument(inside, "agreement", "in [0, 1]", agreement)
    if test_agreement is None:
        test_agreement = 1.0 - float(agreements.mean())
    check_argument(0 <= test_agreement <= 1, "test_agreement", "in [0, 1]", test_agreement)
    num_domains = _num_domains(index_domains, "agreement", agreements.tolist())
    check_argument(len(classes) in (2, 3), "classes", "two or three", classes)
    check_integer("num_copies", num_copies, minimum=1)
    train, validation, test, levels, described = _source(
        source, classes, validation_fraction, split_seed, data_dir
    )
    check_argument(train.x.shape[-1] == 1, "source", "a set of grey images", source)
    random = np.random.RandomState(split_seed)

    def coloured(part: Split, agreements: np.ndarray, indexed: bool = False) -> Split:
        assert part.y is not None
        domain = np.zeros(len(part), np.int32)
        if len(agreements) > 1:
            domain = random.randint(0, len(agreements), len(part)).astype(np.int32)
        others = random.randint(1, len(classes), len(part))
        agrees = random.random_sample(len(part)) < agreements[domain]
        channel = np.where(agrees, part.y, (part.y + others) % len(classes))
        x = part.x * np.eye(3, dtype=part.x.dtype)[channel][:, None, None]
        return Split(x, part.y, domain if indexed else None)

    info = DataInfo(
        name="coloured_images",
        event_shape=(*train.x.shape[1:3], 3),
        num_levels=levels,
        num_classes=len(classes),
        num_domains=num_domains,
        preprocessing=(
            *described,
            f"Training: the colour is the class's with the probability "
            f"{' or '.join(f'{value:g}' for value in agreements)}, {num_copies} copies.",
        ),
    )
    return Domains(
        train=coloured(_repeat(train, num_copies), agreements, index_domains),
        validation=coloured(_repeat(validation, num_copies), agreements, index_domains),
        tests={
            "in_domain": coloured(test, agreements),
            "independent": coloured(test, np.array([1 / len(classes)])),
            "reversed": coloured(test, np.array([test_agreement])),
        },
        info=info,
    )


def _num_domains(index_domains: bool, name: str, domains: Sequence[Any]) -> int | None:
    """How many training domains examples are to be told apart by; None for pooled ones."""
    check_argument(isinstance(index_domains, bool), "index_domains", "True or False", index_domains)
    if not index_domains:
        return None
    check_argument(len(domains) > 1, name, "several where index_domains is True", domains)
    return len(domains)


def _source(
    source: str,
    classes: Sequence[int | Sequence[int]],
    validation_fraction: float,
    split_seed: int,
    data_dir: str | None,
) -> tuple[Split, Split, Split, int | None, tuple[str, ...]]:
    """Train, validation and test images of the chosen classes, their levels, what was done."""
    from tfgen import data  # whose index this module is part of

    check_argument(len(classes) >= 2, "classes", "at least two", classes)
    check_integer("split_seed", split_seed, 0)
    options = {} if data_dir is None else {"data_dir": data_dir}
    loaded = data.load(source, labels=True, **options)
    is_image = len(loaded.info.event_shape) == 3
    check_argument(is_image, "source", "a set of images", f"{source!r}")
    groups = [[group] if isinstance(group, int) else list(group) for group in classes]
    known = range(loaded.info.num_classes or 0)
    for label in (label for group in groups for label in group):
        check_argument(label in known, "classes", f"labels 0..{len(known) - 1}", label)

    def chosen(*parts: Split) -> Split:
        x = np.concatenate([part.x for part in parts])
        y = np.concatenate([part.y for part in parts if part.y is not None])
        new = np.full(len(known), UNLABELLED, np.int32)
        for label, group in enumerate(groups):
            new[group] = label
        kept = new[y] != UNLABELLED
        return Split(x[kept], new[y[kept]])

    pool = chosen(loaded.train, loaded.validation)
    num_validation, _ = split_sizes(len(pool), validation_fraction, 0.0, f"data set {source!r}")
    train, validation, _ = random_split(pool, num_validation, 0, split_seed)
    described = (
        *loaded.info.preprocessing,
        f"Classes {', '.join(map(str, groups))} of {source}; its training and validation images "
        f"shuffled with seed {split_seed}, {len(validation)} for validation.",
    )
    return train, validation, chosen(loaded.test), loaded.info.num_levels, described


def _on_canvas(x: np.ndarray, canvas: Sequence[int] | None, zoom: float) -> np.ndarray:
    """The images, resized by `zoom`, in the middle of zeros."""
    from PIL import Image

    if zoom != 1.0:
        size = tuple(round(zoom * side) for side in x.shape[2:0:-1])
        channels = np.moveaxis(x, -1, 1).reshape(-1, *x.shape[1:3])
        resized = np.stack(
            [Image.fromarray(image).resize(size, Image.Resampling.BILINEAR) for image in channels]
        )
        x = np.moveaxis(resized.reshape(len(x), -1, size[1], size[0]), 1, -1)
    if canvas is None:
        return x
    height, width = canvas
    fits = height >= x.shape[1] and width >= x.shape[2]
    check_argument(fits, "canvas", f"at least {x.shape[1:3]}, the image", tuple(canvas))
    top, left = (height - x.shape[1]) // 2, (width - x.shape[2]) // 2
    padding = ((0, 0), (top, height - x.shape[1] - top), (left, width - x.shape[2] - left), (0, 0))
    return np.pad(x, padding)


def _move(x: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Each image moved to the right by its number of pixels; zeros come in."""
    columns = np.arange(x.shape[2]) - pixels[:, None]
    inside = (columns >= 0) & (columns < x.shape[2])
    rows = np.arange(len(x))[:, None]
    # The two index arrays come first: [N, W, H, C].
    taken = x[rows, :, np.clip(columns, 0, x.shape[2] - 1)]
    return np.moveaxis(taken * inside[..., None, None].astype(x.dtype), 1, 2)


def _repeat(part: Split, num_copies: int) -> Split:
    return part[np.repeat(np.arange(len(part)), num_copies)]


# ---------------------------------------------------------------------- the user's own


def domain_folders(
    path: str,
    train_domains: str | Sequence[str],
    resize: int | None = None,
    center_crop: int | None = None,
    channels: int | None = None,
    index_domains: bool = False,
    validation_fraction: float = 0.2,
    split_seed: int = 0,
) -> Domains:
    """Images in folders `path/domain/class/`, PNG or JPEG; all domains have the same classes.

    Args:
        path: the folder of the domains.
        train_domains: name of the training domain, or names, which are pooled as in [1]; every
            other domain is a test domain.
        resize: resample the largest central square to this side.
        center_crop: cut out the central square of this side, before `resize`.
        channels: 1 converts to grey, 3 to RGB; None takes the files as they are.
        index_domains: whether training examples say which of `train_domains` they are of.
        validation_fraction: share of the training domain.
        split_seed: seed of the split.

    Raises:
        ValueError: see `Domains`; domains with other classes, an unreadable file, or images of
            several shapes.
    """
    check_image_options(resize, center_crop, channels)
    check_integer("split_seed", split_seed, 0)
    folder = check_path("path", path, is_folder=True)
    names = sorted(child.name for child in folder.iterdir() if child.is_dir())
    names = [name for name in names if not name.startswith(".")]
    chosen = [train_domains] if isinstance(train_domains, str) else list(train_domains)
    check_argument(chosen, "train_domains", "at least one name", train_domains)
    for name in chosen:
        check_one_of("train_domains", name, names)
    num_domains = _num_domains(index_domains, "train_domains", chosen)
    classes: list[str] | None = None
    domains = {}
    for name in names:
        files = list_images(folder / name)
        labels = [file.relative_to(folder / name).parts[0] for file in files]
        found = sorted(set(labels))
        classes = found if classes is None else classes
        if found != classes:
            raise ValueError(
                f"domain {str(folder / name)!r} must have the classes {', '.join(classes)} as "
                f"{names[0]!r} has, one subfolder each; received: {', '.join(found)}."
            )
        sources = [repr(str(file)) for file in files]
        images = [
            transform_image(read_image(file), source, resize, center_crop, channels)
            for file, source in zip(files, sources, strict=True)
        ]
        y = np.array([found.index(label) for label in labels], np.int32)
        domains[name] = Split(stack_images(images, sources), y)
    pool = _pooled([domains[name] for name in chosen], index_domains)
    num_validation, _ = split_sizes(len(pool), validation_fraction, 0.0, f"folder {str(folder)!r}")
    train, validation, _ = random_split(pool, num_validation, 0, split_seed)
    info = DataInfo(
        name="domain_folders",
        event_shape=train.x.shape[1:],
        num_levels=MAX_NUM_LEVELS,
        num_classes=len(classes or ()),
        num_domains=num_domains,
        preprocessing=(
            f"Domains below {str(folder)!r}; classes {', '.join(classes or ())}.",
            *describe_transforms(resize, center_crop, channels),
            f"Training domain {', '.join(chosen)}, shuffled with seed {split_seed}, "
            f"{len(validation)} of {len(pool)} for validation.",
        ),
    )
    tests = {name: part for name, part in domains.items() if name not in chosen}
    return Domains(train, validation, tests, info)


def _pooled(parts: Sequence[Split], indexed: bool) -> Split:
    shapes = {part.x.shape[1:] for part in parts}
    check_argument(len(shapes) == 1, "train_domains", "of one image shape", sorted(shapes))
    domain = np.repeat(np.arange(len(parts), dtype=np.int32), [len(part) for part in parts])
    return Split(
        np.concatenate([part.x for part in parts]),
        np.concatenate([part.y for part in parts if part.y is not None]),
        domain if indexed else None,
    )


def one_test_domain(make: Callable[..., Domains]) -> Callable[..., DataSplits]:
    """`make` as a loader of `tfgen.data.load`: with the options `test`, a domain's name, and
    `adapt`, see `Domains.splits`."""

    @functools.wraps(make)
    def load(test: str, adapt: bool = False, **options: Any) -> DataSplits:
        check_argument(isinstance(adapt, bool), "adapt", "True or False", adapt)
        return make(**options).splits(test, adapt)

    of_test = list(inspect.signature(load, follow_wrapped=False).parameters.values())[:2]
    of_make = inspect.signature(make).parameters.values()
    keyword = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*of_make, *of_test)]
    load.__signature__ = inspect.Signature(keyword)  # type: ignore[attr-defined]
    return load


_MAKERS: Mapping[str, Callable[..., Domains]] = {
    make.__name__: make for make in (coloured_images, domain_folders, shifted_images)
}


def load_domains(name: str, **options: Any) -> Domains:
    """All domains of "coloured_images", "domain_folders" or "shifted_images", with its options."""
    check_one_of("name", name, tuple(_MAKERS))
    return _MAKERS[name](**options)
