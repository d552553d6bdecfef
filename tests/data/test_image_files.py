"""Folders of images and photographs: pixels, classes, transforms, splits, refusals."""

import numpy as np
import pytest
from PIL import Image

import tfgen.data


def _save(folder, name, array, **options):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def _everything(splits):
    return np.concatenate([splits.train.x, splits.validation.x, splits.test.x])


@pytest.fixture
def images():
    return np.random.RandomState(0).randint(256, size=(10, 6, 4, 3)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path, images):
    for position, image in enumerate(images):
        _save(tmp_path, f"class_{position % 2}/deep/{position}.png", image)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".thumbnails").mkdir()
    _save(tmp_path, ".thumbnails/0.png", images[0])
    return tmp_path


def test_a_folder_gives_its_pixels_and_its_subfolders_as_classes(folder, images):
    splits = tfgen.data.load("image_folder", labels=True, path=str(folder))
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [8, 1, 1]
    assert splits.info.event_shape == (6, 4, 3)
    assert (splits.info.num_levels, splits.info.num_classes) == (256, 2)
    x = _everything(splits)
    y = np.concatenate([splits.train.y, splits.validation.y, splits.test.y])
    for image, label in zip(x, y, strict=True):
        (position,) = np.flatnonzero((images == image).all(axis=(1, 2, 3)))
        assert label == position % 2


def test_the_split_depends_on_the_seed_alone(folder):
    first, second, other = (
        tfgen.data.load("image_folder", path=str(folder), split_seed=seed, test_fraction=0.3)
        for seed in (0, 0, 1)
    )
    assert len(first.test) == 3
    np.testing.assert_array_equal(first.test.x, second.test.x)
    assert not np.array_equal(first.test.x, other.test.x)


def test_crop_resize_and_grey(tmp_path):
    ramp = np.arange(8 * 12, dtype=np.uint8).reshape(8, 12)
    for position in range(3):
        _save(tmp_path, f"{position}.png", np.repeat(ramp[..., None], 3, axis=-1))
    crop = tfgen.data.load("image_folder", path=str(tmp_path), center_crop=4, channels=1)
    np.testing.assert_array_equal(crop.test.x[0, ..., 0], ramp[2:6, 4:8])
    small = tfgen.data.load("image_folder", path=str(tmp_path), resize=2)
    assert small.info.event_shape == (2, 2, 3)
    # Antialiased: about the means of the quarters of the central 8 x 8 square, not 4 of its pixels.
    quarters = ramp[:, 2:10].reshape(2, 4, 2, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(small.test.x[0, ..., 0], quarters, atol=6)
    assert any("resampled to 2 x 2" in step for step in small.info.preprocessing)


def test_grey_files_have_one_channel_and_jpeg_is_read(tmp_path):
    grey = np.full((5, 5), 77, np.uint8)
    for position in range(3):
        _save(tmp_path, f"{position}.JPG", grey, format="JPEG", quality=95)
    splits = tfgen.data.load("image_folder", path=str(tmp_path))
    assert splits.train.x.shape == (1, 5, 5, 1)
    assert np.abs(splits.train.x.astype(int) - 77).max() <= 1


def test_exif_orientation_is_applied(tmp_path):
    image = np.zeros((4, 6), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    for position in range(3):
        _save(tmp_path, f"{position}.png", image, exif=exif)
    assert tfgen.data.load("image_folder", path=str(tmp_path)).info.event_shape == (6, 4, 1)


def test_binarization_of_a_folder(folder):
    splits = tfgen.data.load("image_folder", path=str(folder), binarize="fixed")
    assert splits.info.num_levels == 2
    assert set(np.unique(_everything(splits))) == {0, 1}


def test_refusals_of_a_folder(tmp_path, folder, images):
    def load(**options):
        return tfgen.data.load("image_folder", **{"path": str(folder), **options})

    with pytest.raises(ValueError, match=r"existing folder; received: .*nowhere"):
        load(path=str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty' must hold images \(.*there are none"):
        load(path=str(tmp_path / "empty"))
    with pytest.raises(
        ValueError, match=r"center_crop must be at most .*received: 5 .*6 x 4 pixels"
    ):
        load(center_crop=5)
    with pytest.raises(ValueError, match="channels must be one of None, 1, 3; received: 2"):
        load(channels=2)
    with pytest.raises(ValueError, match="resize must be an integer >= 1; received: 0"):
        load(resize=0)
    with pytest.raises(ValueError, match=r"must be less than 1; received: 1\.05"):
        load(test_fraction=0.95)
    loose = _save(folder, "loose.png", images[0])
    with pytest.raises(ValueError, match=r"one subfolder .*loose\.png' outside any subfolder"):
        load(labels=True)
    loose.unlink()
    odd = _save(folder, "odd.png", images[0][:, :3])
    with pytest.raises(ValueError, match=r"one shape.*\(6, 4, 3\) and .*odd\.png' .*\(6, 3, 3\)"):
        load()
    odd.unlink()
    broken = _save(folder, "broken.png", images[0])
    broken.write_bytes(broken.read_bytes()[:60])
    with pytest.raises(ValueError, match=r"broken\.png' must be a readable PNG or JPEG image"):
        load()
    broken.write_text("not an image at all")
    with pytest.raises(ValueError, match=r"broken\.png' must be a readable PNG or JPEG image"):
        load()
    broken.unlink()
    deep = _save(folder, "deep.png", np.zeros((6, 4), np.uint16))
    with pytest.raises(ValueError, match=r"deep\.png' must have 8 bits a channel"):
        load()
    deep.unlink()
    _save(folder, "glass.png", np.dstack([images[0], np.full((6, 4), 128, np.uint8)]))
    with pytest.raises(ValueError, match=r"glass\.png' must be opaque"):
        load()


def _photographs(folder, num, height=10, width=13):
    """Each photograph has a constant first channel; the other two hold the coordinates."""
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    for position in range(num):
        photograph = np.stack([np.full_like(rows, position), rows, columns], axis=-1)
        _save(folder, f"{position}.png", photograph.astype(np.uint8))


def test_patches_are_cut_from_a_grid_and_split_by_photograph(tmp_path):
    _photographs(tmp_path, 5)
    splits = tfgen.data.load("image_patches", path=str(tmp_path), patch_size=4, stride=3)
    assert splits.info.event_shape == (4, 4, 3)
    photographs = []
    for part, num in ((splits.train, 3), (splits.validation, 1), (splits.test, 1)):
        assert len(part) == num * 3 * 4
        photographs.append(set(np.unique(part.x[..., 0])))
        corners = {tuple(patch[0, 0, 1:]) for patch in part.x}
        assert corners == {(row, column) for row in (0, 3, 6) for column in (0, 3, 6, 9)}
        # Rows stay rows, columns stay columns.
        offset = part.x[:, :, :, 1:].astype(int) - part.x[:, :1, :1, 1:]
        assert (offset[..., 0] == np.arange(4)[:, None]).all()
        assert (offset[..., 1] == np.arange(4)).all()
    assert [len(group) for group in photographs] == [3, 1, 1]
    assert len(set.union(*photographs)) == 5


def test_patches_do_not_overlap_unless_asked(tmp_path):
    _photographs(tmp_path, 3)
    splits = tfgen.data.load("image_patches", path=str(tmp_path), patch_size=4)
    assert len(splits.test) == 2 * 3


def test_refusals_of_patches(tmp_path):
    _photographs(tmp_path, 2)
    with pytest.raises(ValueError, match=r"at least 3 photographs.*received: 2"):
        tfgen.data.load("image_patches", path=str(tmp_path), patch_size=4)
    _photographs(tmp_path, 3)
    with pytest.raises(ValueError, match=r"patch_size must be at most .*11 for .*10 x 13 pixels"):
        tfgen.data.load("image_patches", path=str(tmp_path), patch_size=11)
    with pytest.raises(ValueError, match="stride must be an integer >= 1; received: 0"):
        tfgen.data.load("image_patches", path=str(tmp_path), stride=0)
    with pytest.raises(ValueError, match="channels must be one of 1, 3; received: None"):
        tfgen.data.load("image_patches", path=str(tmp_path), channels=None)
