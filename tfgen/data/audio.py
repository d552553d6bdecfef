"""Audio: chunks of the WAV files below a folder, companded to 8 bits by the mu-law."""

import wave
from pathlib import Path
from typing import Any

import numpy as np

from tfgen.checks import check_argument, check_integer
from tfgen.data.splits import DataInfo, DataSplits, Split, shuffled_positions, split_sizes
from tfgen.data.validate import MAX_NUM_LEVELS, check_path

FULL_SCALE = 32_768  # of 16-bit samples


def mu_law_encode(x: Any, num_levels: int = 256) -> np.ndarray:
    """Classes 0..num_levels-1 of a waveform in [-1, 1], uint8; with mu = num_levels - 1 [1],

        F(x) = sign(x) ln(1 + mu |x|) / ln(1 + mu),   class = floor(mu (F(x) + 1) / 2 + 1/2).

    Values outside [-1, 1] are clipped. Silence, x = 0, is class 128 of 256.

    [1] ITU-T Recommendation G.711. Pulse Code Modulation (PCM) of Voice Frequencies. 1988. As used
        in van den Oord et al. WaveNet. 2016. arXiv:1609.03499, section 2.2.
    """
    mu = _mu(num_levels)
    x = np.clip(np.asarray(x, np.float64), -1.0, 1.0)
    companded = np.sign(x) * np.log1p(mu * np.abs(x)) / np.log1p(mu)
    return np.floor(mu * (companded + 1.0) / 2.0 + 0.5).astype(np.uint8)


def mu_law_decode(classes: Any, num_levels: int = 256) -> np.ndarray:
    """A waveform in [-1, 1] from classes, float64: y = 2 class / mu - 1, with mu = num_levels - 1,

    x = sign(y) ((1 + mu)^|y| - 1) / mu.
    """
    mu = _mu(num_levels)
    y = 2.0 * np.asarray(classes, np.float64) / mu - 1.0
    return np.sign(y) * np.expm1(np.abs(y) * np.log1p(mu)) / mu


def _mu(num_levels: int) -> int:
    check_integer("num_levels", num_levels, 2)
    limit = f"<= {MAX_NUM_LEVELS}"
    check_argument(num_levels <= MAX_NUM_LEVELS, "num_levels", limit, num_levels)
    return num_levels - 1


def load_audio_folder(
    path: str,
    labels: bool = False,
    sample_rate_hz: int | None = None,
    chunk_length: int = 4096,
    stride: int | None = None,
    num_levels: int = MAX_NUM_LEVELS,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
    split_seed: int = 0,
) -> DataSplits:
    """Chunks of the WAV files below a folder, mu-law classes uint8 `[N, chunk_length]`.

    The split is by file: chunks of one recording are alike, and must not stand on both sides of a
    split. What is left at a file's end, shorter than a chunk, is dropped, not filled up: silence
    costs few bits and would flatter the likelihood.

    Args:
        path: the folder; at least three files, mono with 16 bits a sample, of one sample rate.
        labels: whether the folder's immediate subfolders (speakers) are the classes, in
            alphabetical order.
        sample_rate_hz: what the files must have; None takes what they have.
        chunk_length: samples of a chunk.
        stride: distance between chunks for training; None is `chunk_length`, chunks that do not
            overlap. Those for validation and testing never do.
        num_levels: number of mu-law classes.
        validation_fraction: share of the files for validation.
        test_fraction: share of the files for testing.
        split_seed: seed of the split.

    Raises:
        ValueError: fewer than three files; an unreadable file, not mono, not of 16 bits or of
            another sample rate; a split without a file as long as a chunk.
    """
    stride = chunk_length if stride is None else stride
    check_integer("chunk_length", chunk_length, 1)
    check_integer("stride", stride, 1)
    if sample_rate_hz is not None:
        check_integer("sample_rate_hz", sample_rate_hz, 1)
    _mu(num_levels)
    folder = check_path("path", path, is_folder=True)
    groups = split_files(path, validation_fraction, test_fraction, split_seed)
    classes = _classes(folder, [file for group in groups for file in group]) if labels else None
    splits, described = [], []
    for name, files, distance in zip(
        ("training", "validation", "testing"),
        groups,
        (stride, chunk_length, chunk_length),
        strict=True,
    ):
        chunks, y, num_short, num_samples = [], [], 0, 0
        for file in files:
            samples, rate = read_wav(file)
            sample_rate_hz = rate if sample_rate_hz is None else sample_rate_hz
            if rate != sample_rate_hz:
                raise ValueError(
                    f"{str(file)!r} must have the sample rate {sample_rate_hz} Hz, as the option "
                    f"sample_rate_hz or the first file has it; received: {rate} Hz."
                )
            num_samples += len(samples)
            if len(samples) < chunk_length:
                num_short += 1
                continue
            codes = mu_law_encode(samples / FULL_SCALE, num_levels)
            windows = np.lib.stride_tricks.sliding_window_view(codes, chunk_length)[::distance]
            chunks.append(windows)
            if classes is not None:
                label = classes.index(file.relative_to(folder).parts[0])
                y.append(np.full(len(windows), label, np.int32))
        if files and not chunks:
            raise ValueError(
                f"chunk_length must be at most the length of some file for {name} (received: "
                f"{chunk_length}); all {len(files)} below {str(folder)!r} are shorter."
            )
        x = np.concatenate([np.zeros((0, chunk_length), np.uint8), *chunks])
        labels_of_x = np.concatenate([np.zeros(0, np.int32), *y])
        splits.append(Split(x, None if classes is None else labels_of_x))
        described.append(
            f"{len(files)} files for {name}, {num_samples / (sample_rate_hz or 1):.0f} s: {len(x)} "
            f"chunks; {num_short} files are shorter than a chunk."
        )
    info = DataInfo(
        name="audio_folder",
        event_shape=(chunk_length,),
        num_levels=num_levels,
        num_classes=None if classes is None else len(classes),
        sample_rate_hz=sample_rate_hz,
        preprocessing=(
            f"WAV files below {str(folder)!r}, mono, 16 bits, {sample_rate_hz} Hz, companded to "
            f"{num_levels} mu-law classes.",
            f"Chunks of {chunk_length} samples, {stride} apart for training; the rest of a file "
            "is dropped.",
            *(() if classes is None else (f"Classes are the subfolders: {', '.join(classes)}.",)),
            f"Files shuffled with seed {split_seed} and split.",
            *described,
        ),
    )
    train, validation, test = splits
    return DataSplits(train, validation, test, info)


def split_files(
    path: str, validation_fraction: float = 0.1, test_fraction: float = 0.1, split_seed: int = 0
) -> tuple[list[Path], list[Path], list[Path]]:
    """The WAV files below a folder for training, validation and testing, each in path order.

    Raises:
        ValueError: fewer than three files, or impossible fractions.
    """
    check_integer("split_seed", split_seed, 0)
    folder = check_path("path", path, is_folder=True)
    files = sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() == ".wav"
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )
    source = f"folder {str(folder)!r}"
    if len(files) < 3:
        raise ValueError(
            f"{source} must hold at least 3 WAV files, one each to train, validate and test; "
            f"received: {len(files)}."
        )
    num_validation, num_test = split_sizes(len(files), validation_fraction, test_fraction, source)
    order = shuffled_positions(len(files), split_seed)
    num_train = len(files) - num_validation - num_test
    train, validation, test = (
        [files[position] for position in sorted(group)]
        for group in np.split(order, [num_train, num_train + num_validation])
    )
    return train, validation, test


def read_wav(path: Any) -> tuple[np.ndarray, int]:
    """The samples of a WAV file, int16 `[T]`, and its sample rate in Hz.

    Raises:
        ValueError: unreadable, not mono or not of 16 bits; names the file.
    """
    try:
        with wave.open(str(path), "rb") as file:
            channels, width = file.getnchannels(), file.getsampwidth()
            rate, content = file.getframerate(), file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise ValueError(
            f"{str(path)!r} must be a readable WAV file of PCM samples; received: {error}."
        ) from error
    if channels != 1:
        raise ValueError(f"{str(path)!r} must be mono; received: {channels} channels.")
    if width != 2:
        raise ValueError(f"{str(path)!r} must have 16 bits a sample; received: {8 * width}.")
    return np.frombuffer(content, "<i2"), rate


def _classes(folder: Path, files: list[Path]) -> list[str]:
    loose = [file for file in files if file.parent == folder]
    if loose:
        raise ValueError(
            f"folder {str(folder)!r} must hold one subfolder of WAV files a class for labels=True; "
            f"received: the file {str(loose[0])!r} outside any subfolder."
        )
    return sorted({file.relative_to(folder).parts[0] for file in files})
