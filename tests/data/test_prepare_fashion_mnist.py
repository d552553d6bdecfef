"""Fashion-MNIST from Debian's package: byte-exact files, and clear errors otherwise."""

import gzip
import hashlib
import io
import pathlib
import shutil

import pytest

import tfgen.data
from tfgen.data import prepare_fashion_mnist as module

needs_package = pytest.mark.skipif(
    not pathlib.Path(module.DEBIAN_DIR).is_dir(),
    reason="needs Debian's package: apt-get install dataset-fashion-mnist",
)
MTIME = 1504176606


def _published(payload: bytes, name: str) -> bytes:
    """A file as `gzip` itself writes it: with name and time."""
    buffer = io.BytesIO()
    with gzip.GzipFile(name, "wb", mtime=MTIME, fileobj=buffer) as file:
        file.write(payload)
    data = bytearray(buffer.getvalue())
    data[8:10] = b"\x00\x03"  # default level, Unix, as the publisher's
    return bytes(data)


def _stripped(published: bytes, name: str) -> bytes:
    """The same as `gzip -n` leaves it, and Debian with it."""
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + published[10 + len(name) + 1 :]


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Four small source files in place of the real ones."""
    debian_dir = tmp_path / "debian"
    debian_dir.mkdir()
    sources = []
    for number, source in enumerate(module.SOURCE_FILES):
        published = _published(b"pixels" * (number + 1), source.name)
        digest = hashlib.sha256(published).hexdigest()
        sources.append(module.SourceFile(source.name, MTIME, digest))
        (debian_dir / f"{source.name}.gz").write_bytes(_stripped(published, source.name))
    monkeypatch.setattr(module, "SOURCE_FILES", tuple(sources))
    return debian_dir


def test_the_header_is_put_back():
    published = _published(b"payload", "train-images-idx3-ubyte")
    stripped = _stripped(published, "train-images-idx3-ubyte")
    assert gzip.decompress(stripped) == b"payload"
    restored = module.restore_gzip_header(stripped, "train-images-idx3-ubyte", MTIME)
    assert restored == published


def test_the_recorded_sums_are_those_of_tensorflow_datasets():
    from tensorflow_datasets.core.download import checksums

    recorded = {
        info.filename: info.checksum
        for url, info in checksums.get_all_url_infos().items()
        if "fashion-mnist" in url
    }
    for source in module.SOURCE_FILES:
        assert recorded[f"{source.name}.gz"] == source.sha256


def test_stripped_and_published_files_are_both_taken(small, tmp_path):
    name = module.SOURCE_FILES[1].name
    published = _published(b"pixelspixels", name)
    (small / f"{name}.gz").write_bytes(published)
    out = tmp_path / "out"
    out.mkdir()
    module.rebuild_source_files(small, out)
    assert (out / f"{name}.gz").read_bytes() == published
    for source in module.SOURCE_FILES:
        data = (out / f"{source.name}.gz").read_bytes()
        assert hashlib.sha256(data).hexdigest() == source.sha256


@pytest.mark.parametrize("damage", [lambda data: data[:-3], lambda data: data[:-9] + b"?" * 9])
def test_a_damaged_file_is_named_and_nothing_is_left_behind(small, tmp_path, damage):
    file = small / "t10k-images-idx3-ubyte.gz"
    file.write_bytes(damage(file.read_bytes()))
    data_dir = tmp_path / "data"
    with pytest.raises(
        ValueError, match=r"t10k-images-idx3-ubyte\.gz is truncated, damaged .*SHA-256 must be "
    ):
        module.prepare_fashion_mnist(small, data_dir)
    assert list(data_dir.iterdir()) == []


def test_a_missing_package_says_how_to_get_it(tmp_path, capsys):
    arguments = [f"--debian_dir={tmp_path / 'none'}", f"--data_dir={tmp_path / 'data'}"]
    assert module.main(arguments) == 1
    message = capsys.readouterr().err
    assert "apt-get install dataset-fashion-mnist" in message
    assert f"missing: {tmp_path / 'none'}/train-images-idx3-ubyte.gz" in message
    assert list((tmp_path / "data").iterdir()) == []


def test_prepared_data_are_left_alone(tmp_path, capsys):
    prepared = tmp_path / "fashion_mnist" / "3.0.1"
    prepared.mkdir(parents=True)
    (prepared / "dataset_info.json").write_text("{}")
    arguments = [f"--debian_dir={tmp_path / 'none'}", f"--data_dir={tmp_path}"]
    assert module.main(arguments) == 0
    assert f"is already prepared: {prepared}" in capsys.readouterr().out
    assert (prepared / "dataset_info.json").read_text() == "{}"


@needs_package
def test_the_debian_files_become_the_published_ones(tmp_path):
    module.rebuild_source_files(module.DEBIAN_DIR, tmp_path)
    sizes = {"train-images-idx3-ubyte": 60_000 * 784 + 16, "t10k-labels-idx1-ubyte": 10_000 + 8}
    for name, size in sizes.items():
        assert len(gzip.decompress((tmp_path / f"{name}.gz").read_bytes())) == size


@needs_package
def test_a_truncated_debian_file_is_refused(tmp_path):
    debian_dir = tmp_path / "debian"
    shutil.copytree(module.DEBIAN_DIR, debian_dir)
    labels = debian_dir / "train-labels-idx1-ubyte.gz"
    labels.write_bytes(labels.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"train-labels-idx1-ubyte\.gz is truncated"):
        module.rebuild_source_files(debian_dir, tmp_path)


@needs_package
@pytest.mark.slow
def test_the_complete_set_end_to_end(tmp_path):
    path, prepared = module.prepare_fashion_mnist(data_dir=tmp_path)
    assert prepared
    assert [child.name for child in tmp_path.iterdir()] == ["fashion_mnist"]
    assert module.prepare_fashion_mnist(data_dir=tmp_path) == (path, False)
    data = tfgen.data.load("fashion_mnist", labels=True, data_dir=str(tmp_path))
    assert [len(part) for part in (data.train, data.validation, data.test)] == [55000, 5000, 10000]
    assert (data.test.y.reshape(-1, 1) == range(10)).sum(axis=0).tolist() == [1000] * 10
    whole = tfgen.data.load("fashion_mnist", data_dir=str(tmp_path), validation_examples=0)
    assert len(whole.train) == 60_000
    assert whole.train.x.mean() / 255 == pytest.approx(0.2860, abs=1e-4)  # as is widely quoted
