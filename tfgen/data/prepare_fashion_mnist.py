"""Prepares the complete Fashion-MNIST for `tfds.load("fashion_mnist")` from Debian's package.

    apt-get install dataset-fashion-mnist
    python -m tfgen.data.prepare_fashion_mnist [--debian_dir=DIR] [--data_dir=DIR]

Debian's four files are the publisher's deflate streams under a gzip header without the file name
and the time. The bytes that were taken out are known, so the publisher's files are rebuilt exactly,
checked against the SHA-256 sums that TensorFlow Datasets (TFDS) records, and handed to the
unmodified TFDS builder, which checks them again and prepares the data set once. No network is used.

Xiao, Rasul, Vollgraf. Fashion-MNIST: a novel image dataset for benchmarking machine learning
algorithms. 2017. arXiv:1708.07747
"""

import argparse
import hashlib
import os
import shutil
import struct
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

DEBIAN_DIR = "/usr/share/datasets/fashion-mnist"

_FIXED_HEADER_BYTES = 10  # RFC 1952: magic, method, flags, time, extra flags, operating system
_NAME_FLAG = 0x08


class SourceFile(NamedTuple):
    """A file as its publisher distributes it: the stored modification time and its SHA-256."""

    name: str
    mtime: int
    sha256: str


SOURCE_FILES = (
    SourceFile(
        "train-images-idx3-ubyte",
        1504176606,
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    ),
    SourceFile(
        "train-labels-idx1-ubyte",
        1504176606,
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    ),
    SourceFile(
        "t10k-images-idx3-ubyte",
        1504176627,
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    ),
    SourceFile(
        "t10k-labels-idx1-ubyte",
        1504176627,
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
)


def restore_gzip_header(stripped: bytes, name: str, mtime: int) -> bytes:
    """The gzip member of `stripped` with its original file name and time in the header again."""
    header = struct.pack("<4BI2B", 0x1F, 0x8B, 8, _NAME_FLAG, mtime, 0, 3)
    return header + name.encode("latin-1") + b"\0" + stripped[_FIXED_HEADER_BYTES:]


def rebuild_source_files(debian_dir: str | os.PathLike[str], out_dir: Path) -> None:
    """Writes the publisher's four `.gz` files to `out_dir`.

    Files in `debian_dir` that are the publisher's own already are copied.

    Raises:
        ValueError: a file is missing or does not have the recorded SHA-256; the message names it.
    """
    debian_dir = Path(debian_dir)
    for source in SOURCE_FILES:
        path = debian_dir / f"{source.name}.gz"
        if not path.is_file():
            raise ValueError(
                f"debian_dir must hold the four files of Debian's package dataset-fashion-mnist "
                f"(on Debian: apt-get install dataset-fashion-mnist); missing: {path}."
            )
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != source.sha256:
            data = restore_gzip_header(data, source.name, source.mtime)
        received = hashlib.sha256(data).hexdigest()
        if received != source.sha256:
            raise ValueError(
                f"{path} is truncated, damaged or another version: with the publisher's gzip "
                f"header its SHA-256 must be {source.sha256}; received: {received}. "
                "Reinstall it: apt-get install --reinstall dataset-fashion-mnist."
            )
        (out_dir / path.name).write_bytes(data)


def prepare_fashion_mnist(
    debian_dir: str | os.PathLike[str] = DEBIAN_DIR,
    data_dir: str | os.PathLike[str] | None = None,
) -> tuple[Path, bool]:
    """Prepares Fashion-MNIST in the TFDS directory `data_dir`, unless it is there already.

    The work is done in a temporary sibling directory that is renamed at the end, so `data_dir`
    never holds a half-written data set.

    Args:
        debian_dir: where Debian's package `dataset-fashion-mnist` put its files.
        data_dir: TFDS's data directory; None is `$TFDS_DATA_DIR`, else `~/tensorflow_datasets`.

    Returns:
        The directory of the prepared data set, and whether this call has prepared it.

    Raises:
        ValueError: a source file is missing or damaged.
    """
    from tfgen.data.tfds import prepared_directory, resolve_data_dir

    data_dir = resolve_data_dir(data_dir)
    existing = prepared_directory("fashion_mnist", data_dir)
    if existing is not None:
        return existing, False
    data_dir.mkdir(parents=True, exist_ok=True)
    work_dir = Path(tempfile.mkdtemp(prefix=".fashion_mnist.incomplete.", dir=data_dir))
    try:
        rebuild_source_files(debian_dir, work_dir)

        import tensorflow_datasets as tfds

        download_config = tfds.download.DownloadConfig(
            manual_dir=work_dir, try_download_gcs=False, force_checksums_validation=True
        )
        tfds.load(
            "fashion_mnist",
            data_dir=work_dir,
            download_and_prepare_kwargs={"download_config": download_config},
        )
        built = prepared_directory("fashion_mnist", work_dir)
        if built is None:
            raise RuntimeError(f"TensorFlow Datasets left nothing in {work_dir}.")
        target = data_dir / "fashion_mnist" / built.name
        target.parent.mkdir(exist_ok=True)
        try:
            built.rename(target)
        except OSError:
            # Another process may have finished first; what it wrote is the same.
            if prepared_directory("fashion_mnist", data_dir) is None:
                raise
        return target, True
    finally:
        shutil.rmtree(work_dir, ignore_errors=True)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tfgen.data.prepare_fashion_mnist",
        description="Prepare Fashion-MNIST for TensorFlow Datasets from Debian's package "
        "dataset-fashion-mnist, without a network.",
    )
    parser.add_argument("--debian_dir", default=DEBIAN_DIR, help="default: %(default)s")
    parser.add_argument(
        "--data_dir", default=None, help="default: $TFDS_DATA_DIR, else ~/tensorflow_datasets"
    )
    arguments = parser.parse_args(argv)
    try:
        path, prepared = prepare_fashion_mnist(arguments.debian_dir, arguments.data_dir)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"Fashion-MNIST {'prepared' if prepared else 'is already prepared'}: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
