"""Domains: what the shift does to pixels, and what is kept apart from what."""

import numpy as np
import pytest

from tfgen import data
from tfgen.data.domains import (
    AdaptationSplit,
    Domains,
    _move,
    _on_canvas,
    coloured_images,
    domain_folders,
    shifted_images,
)
from tfgen.data.splits import DataInfo, Split

SMALL = {"source": "digits", "canvas": (8, 14), "shift": 2, "shift_scale": 0.4, "noise_scale": 0.8}


def test_moves_are_whole_pixels_to_the_right():
    x = np.arange(1, 13, dtype="uint8").reshape(1, 2, 3, 2)
    moved = _move(np.repeat(x, 4, 0), np.array([0, 1, -2, 5]))
    np.testing.assert_array_equal(moved[0], x[0])
    np.testing.assert_array_equal(moved[1][:, 1:], x[0][:, :2])
    np.testing.assert_array_equal(moved[2][:, :1], x[0][:, 2:])
    assert not moved[1][:, 0].any()
    assert not moved[2][:, 1:].any()
    assert not moved[3].any()


def test_canvas_and_zoom():
    """Centred zeros around an image; constant images stay constant when resized."""
    x = np.full((2, 4, 4, 1), 7, "uint8")
    placed = _on_canvas(x, (10, 12), 2.0)
    assert placed.shape == (2, 10, 12, 1)
    assert (placed[:, 1:9, 2:10] == 7).all()
    assert placed.sum() == 2 * 64 * 7
    with pytest.raises(ValueError, match=r"canvas must be at least \(4, 4\), the image"):
        _on_canvas(x, (3, 9), 1.0)


def centre(part):
    """Mean column of the ink, relative to the middle, `[N]`."""
    ink = part.x.sum(axis=(1, 3)).astype(float)
    columns = np.arange(ink.shape[1]) - (ink.shape[1] - 1) / 2
    return (ink * columns).sum(1) / ink.sum(1)


def test_shifted_digits():
    """Every test domain moves the classes as its name says; nothing else is in the images."""
    domains = shifted_images(**SMALL, num_copies=3)
    assert domains.info.event_shape == (8, 14, 1)
    assert domains.info.num_classes == 2
    expected = {"in_domain": (-2, 2), "centred": (0, 0), "noisy": (0, 0), "reversed": (2, -2)}
    unmoved = domains.tests["centred"]
    for name, part in {"train": domains.train, **domains.tests}.items():
        for label, shift in enumerate(expected.get(name, (-2, 2))):
            start = np.mean(centre(unmoved)[unmoved.y == label])
            moved = np.mean(centre(part)[part.y == label])
            assert moved - start == pytest.approx(shift, abs=0.25)
    for name in ("in_domain", "noisy", "reversed"):
        difference = centre(domains.tests[name]) - centre(unmoved)
        assert np.std(difference[unmoved.y == 0]) > 0.2
        rounded = np.abs(difference - np.rint(difference)) < 1e-9
        cut_off = domains.tests[name].x.sum((1, 2, 3)) < unmoved.x.sum((1, 2, 3))
        assert (rounded | cut_off).all()


def test_no_image_is_in_two_sets():
    """Copies of one image are on one side of the split; test images are the source's own."""
    domains = shifted_images("digits", shift=0, shift_scale=0, num_copies=2)
    train, validation, test = (
        {image.tobytes() for image in part.x}
        for part in (domains.train, domains.validation, domains.tests["centred"])
    )
    assert not train & validation
    assert not train & test
    assert not validation & test
    assert len(domains.train) == 2 * len(train)
    source = data.load("digits", labels=True)
    assert len(domains.tests["centred"]) == (source.test.y < 2).sum()
    pool = (source.train.y < 2).sum() + (source.validation.y < 2).sum()
    assert len(domains.train) + len(domains.validation) == 2 * pool
    assert len(domains.validation) == 2 * round(0.2 * pool)


def test_same_seed_same_domains():
    first, again = (shifted_images(**SMALL, split_seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.tests["noisy"].x, again.tests["noisy"].x)
    assert not np.array_equal(first.train.x, shifted_images(**SMALL, split_seed=4).train.x)


def test_coloured_digits():
    """The grey image is in one channel; the share that agrees with the class is the domain's."""
    domains = coloured_images("digits", agreement=0.9, num_copies=4)
    shares = {"in_domain": 0.9, "independent": 0.5, "reversed": 0.1}
    for name, share in shares.items():
        part = domains.tests[name]
        channel = part.x.sum((1, 2)).argmax(-1)
        np.testing.assert_array_equal(part.x.sum(-1), part.x.max(-1))
        assert np.mean(channel == part.y) == pytest.approx(share, abs=0.08)
    channel = domains.train.x.sum((1, 2)).argmax(-1)
    assert np.mean(channel == domains.train.y) == pytest.approx(0.9, abs=0.02)
    assert set(np.unique(domains.train.y)) == {0, 1}


def test_several_training_domains():
    """Each has its own agreement; training examples say which domain they are of if asked to."""
    agreements, options = (0.6, 0.99), {"num_copies": 4, "test_agreement": 0.1}
    domains = coloured_images("digits", agreement=agreements, index_domains=True, **options)
    assert domains.info.num_domains == 2
    for part in (domains.train, domains.validation):
        agrees = part.x.sum((1, 2)).argmax(-1) == part.y
        for index, agreement in enumerate(agreements):
            mine = part.domain == index
            assert np.mean(mine) == pytest.approx(0.5, abs=0.05)
            assert np.mean(agrees[mine]) == pytest.approx(agreement, abs=0.05)
    for name, share in (("in_domain", 0.795), ("independent", 0.5), ("reversed", 0.1)):
        part = domains.tests[name]
        assert part.domain is None
        assert np.mean(part.x.sum((1, 2)).argmax(-1) == part.y) == pytest.approx(share, abs=0.08)

    pooled = coloured_images("digits", agreement=agreements, **options)
    assert pooled.train.domain is pooled.info.num_domains is None
    np.testing.assert_array_equal(pooled.train.x, domains.train.x)

    def known(x, targets):
        return {(a.tobytes(), *pair.tolist()) for a, pair in zip(x, targets, strict=True)}

    everything = known(domains.train.x, domains.train.targets)
    for x, y in domains.train.training_batches(8, seed=0, num_steps=3):
        assert y.shape == (8, 2)
        assert known(x.numpy(), y.numpy()) <= everything
    picked = domains.train[np.array([3, 1])]
    np.testing.assert_array_equal(picked.targets, domains.train.targets[[3, 1]])
    for name in ("train", "validation"):
        (_, y), *_ = getattr(domains, name).batches(5)
        np.testing.assert_array_equal(y, getattr(domains, name).targets[:5])


def test_batches_to_adapt_to():
    """B labelled examples, in turn with B images of the test domain without a label; the rest as
    before. So equal parts of a batch, a worker's too, adapt as the whole does."""
    splits = data.load("shifted_images", labels=True, test="reversed", adapt=True, **SMALL)
    assert isinstance(splits.train, AdaptationSplit)
    test_images = {image.tobytes() for image in splits.test.x}
    seen = set()
    for x, y in splits.train.training_batches(8, seed=0, num_steps=12):
        assert x.shape == (16, 8, 14, 1)
        assert (y[1::2].numpy() == -1).all()
        assert (y[::2].numpy() >= 0).all()
        assert all(image.tobytes() in test_images for image in x[1::2].numpy())
        seen |= {image.tobytes() for image in x[1::2].numpy()}
    assert len(seen) > 50
    halves = [splits.train.training_batches(8, 0, 11, 1, worker, 2) for worker in (0, 1)]
    of_workers = zip(*(next(iter(half)) for half in halves), strict=True)
    for parts, whole in zip(of_workers, (x, y), strict=True):
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    resumed = splits.train.training_batches(8, seed=0, start_step=11, num_steps=1)
    np.testing.assert_array_equal(next(iter(resumed))[0], x)
    assert len(splits.train) == len(splits.train.y)
    plain = data.load("shifted_images", labels=True, test="reversed", **SMALL)
    np.testing.assert_array_equal(plain.test.x, splits.test.x)
    assert type(plain.train) is Split


def write_domains(folder, sizes=(8, 8, 8), domains=("photo", "sketch")):
    """Domains of two classes, ten images each; class and domain are in the grey value."""
    from PIL import Image

    for index, (domain, size) in enumerate(zip(domains, sizes, strict=False)):
        for grey, label in ((50, "cat"), (180, "dog")):
            where = folder / domain / label
            where.mkdir(parents=True)
            for i in range(10):
                Image.new("L", (size, size), grey + 20 * index + i).save(where / f"{i}.png")


def test_folders(tmp_path):
    write_domains(tmp_path)
    options = {"path": str(tmp_path), "train_domains": "photo"}
    splits = data.load("domain_folders", labels=True, test="sketch", **options)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (16, 4, 20)
    assert splits.info.event_shape == (8, 8, 1)
    for part in (splits.train, splits.validation, splits.test):
        np.testing.assert_array_equal(part.x[:, 0, 0, 0] >= 180, part.y == 1)  # cat 0, dog 1
    with pytest.raises(ValueError, match="train_domains must be several where index_domains"):
        domain_folders(str(tmp_path), ["sketch"], index_domains=True)
    with pytest.raises(ValueError, match="test must be one of 'sketch'; received: 'photo'"):
        data.load("domain_folders", labels=True, test="photo", **options)
    with pytest.raises(ValueError, match="train_domains must be one of 'photo', 'sketch'"):
        domain_folders(str(tmp_path), "drawing")
    with pytest.raises(ValueError, match="tests must be at least one test domain"):
        domain_folders(str(tmp_path), ["photo", "sketch"])
    (tmp_path / "sketch" / "dog").rename(tmp_path / "sketch" / "wolf")
    with pytest.raises(ValueError, match=r"must have the classes cat, dog .* received: cat, wolf"):
        domain_folders(str(tmp_path), "photo")


def test_folders_of_several_training_domains(tmp_path):
    """The index is the position in `train_domains`, shuffled with the images."""
    write_domains(tmp_path, domains=("photo", "sketch", "print"))
    domains = domain_folders(str(tmp_path), ["sketch", "photo"], index_domains=True)
    assert list(domains.tests) == ["print"]
    of_image = {"photo": 0, "sketch": 20, "print": 40}  # added to the grey values
    for part in (domains.train, domains.validation):
        grey = part.x[:, 0, 0, 0].astype(int) - np.where(part.y == 1, 180, 50)
        expected = np.where(grey >= of_image["sketch"], 0, 1)
        np.testing.assert_array_equal(part.domain, expected)
    options = {"path": str(tmp_path), "train_domains": ["sketch", "photo"], "test": "print"}
    splits = data.load("domain_folders", labels=True, index_domains=True, **options)
    assert splits.info.num_domains == 2
    with pytest.raises(ValueError, match="adapt must be False where domains are told apart"):
        data.load("domain_folders", labels=True, index_domains=True, adapt=True, **options)
    with pytest.raises(ValueError, match="index_domains must be True or False; received: 1"):
        domain_folders(str(tmp_path), ["sketch", "photo"], index_domains=1)


def test_target_of_another_shape_is_refused(tmp_path):
    write_domains(tmp_path, sizes=(8, 9))
    with pytest.raises(ValueError, match=r"'sketch' must hold uint8 examples of shape \(8, 8, 1\)"):
        domain_folders(str(tmp_path), "photo")
    assert domain_folders(str(tmp_path), "photo", resize=6).info.event_shape == (6, 6, 1)


def part(labels, shape=(2, 2, 1)):
    return Split(np.zeros((len(labels), *shape), "uint8"), np.array(labels, "int32"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": part([1, 1])}, r"'train' must hold at least two classes; received: \[1\] alone"),
        ({"tests": {"far": part([0, 0])}}, "'far' must hold at least two classes"),
        ({"tests": {"far": part([0, 2])}}, r"'far': labels must be integers 0\.\.1; received: 2"),
        ({"train": part([0, -1])}, "labels must be integers 0..1; received: -1"),
        (
            {"validation": part([])},
            "validation must be non-empty: choices may rest on the training",
        ),
        ({"tests": {}}, "tests must be at least one test domain"),
    ],
)
def test_refusals(change, message):
    parts = {"train": part([0, 1]), "validation": part([1]), "tests": {"far": part([0, 1])}}
    info = DataInfo("mine", (2, 2, 1), num_levels=256, num_classes=2)
    Domains(**parts, info=info)
    with pytest.raises(ValueError, match=message):
        Domains(**{**parts, **change}, info=info)


def test_a_training_domain_of_one_class_is_refused():
    """Although both together have two."""
    train = Split(np.zeros((4, 2, 2, 1), "uint8"), np.array([0, 0, 0, 1], "int32"))
    train = Split(train.x, train.y, np.array([0, 0, 1, 1], "int32"))
    info = DataInfo("mine", (2, 2, 1), num_levels=256, num_classes=2, num_domains=2)
    with pytest.raises(
        ValueError, match=r"training domain 0 must hold at least two .* \[0\] alone"
    ):
        Domains(train, part([1]), {"far": part([0, 1])}, info)


def test_refusals_of_sources():
    with pytest.raises(ValueError, match=r"agreement must be in \[0, 1\]; received: \(0.9, 1.2\)"):
        coloured_images("digits", agreement=(0.9, 1.2))
    with pytest.raises(ValueError, match=r"test_agreement must be in \[0, 1\]; received: -1"):
        coloured_images("digits", test_agreement=-1)
    with pytest.raises(ValueError, match="agreement must be several where index_domains is True"):
        coloured_images("digits", index_domains=True)
    with pytest.raises(ValueError, match=r"classes must be labels 0\.\.9; received: 11"):
        shifted_images("digits", classes=(0, 11))
    with pytest.raises(ValueError, match="validation must be non-empty"):
        shifted_images("digits", validation_fraction=0.0)
    with pytest.raises(ValueError, match=r"source must be a set of images; received: .*iris"):
        shifted_images("iris")
    with pytest.raises(ValueError, match="needs the option 'test'"):
        data.load("shifted_images", labels=True, source="digits")
    with pytest.raises(ValueError, match=r"has no option 'shifts'. Did you mean 'shift'"):
        data.load("shifted_images", labels=True, source="digits", test="centred", shifts=3)
