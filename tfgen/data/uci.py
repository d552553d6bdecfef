"""The five tables of the masked autoregressive flow paper [1], from files that the user has.

Columns, noise, splits and standardisation are those of the authors' code [2]; where a loader
differs, it says so. Each takes the files of the authors' archive [3] or the originals, and refuses
files that do not lead to the paper's number of columns. A Gaussian with full covariance tells
whether the preprocessing is the paper's: `python -m apps.yardsticks --config=configs/maf_power.py`.

[1] Papamakarios, Pavlakou, Murray. Masked autoregressive flow for density estimation. NeurIPS 2017.
    arXiv:1705.07057
[2] github.com/gpapamak/maf, folder datasets.
[3] Papamakarios. Preprocessed datasets for MAF experiments. Zenodo. 2018.
    doi:10.5281/zenodo.1161203
[4] UCI Machine Learning Repository, archive.ics.uci.edu: Individual household electric power
    consumption; Gas sensor array under dynamic gas mixtures; HEPMASS; MiniBooNE particle
    identification.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfgen.checks import check_argument
from tfgen.data.splits import DataInfo, DataSplits, Split
from tfgen.data.validate import check_finite, check_path

_POWER_SEED = 42  # the authors'
_GAS_SEED = 0
_LARGEST_CORRELATION = 0.98
_MOST_REPETITIONS = 5
_MISSING_EVENT = -100.0  # MiniBooNE's marker, -999, lies below; all energies lie above


def load_power(path: str) -> DataSplits:
    """Electric power consumption of a household, `[N, 6]`: global active power, voltage, three
    sub-meterings and the time of day.

    Uniform noise fills the resolution of each: 0.001 kW, 0.01 V, 1 Wh. Standardised by training and
    validation set together.

    Args:
        path: `data.npy` of the archive's folder `power` (eight columns), UCI's
            `household_power_consumption.txt`, or a folder with one of them. UCI's rows with missing
            values are left out, and its times get uniform noise of one minute, as the paper says;
            the authors' code adds none to those of `data.npy`.

    Raises:
        ValueError: no such file, or another one.
    """
    file = _find(path, "data.npy", "household_power_consumption.txt")
    random = np.random.RandomState(_POWER_SEED)
    if file.suffix == ".npy":
        x = _read_npy(file, num_columns=8)
        time_noise = 0.0
    else:
        with file.open(encoding="ascii", errors="replace") as lines:
            complete = (line for line in lines if "?" not in line)
            x = _read_text(
                file,
                complete,
                delimiter=";",
                skiprows=1,
                usecols=range(1, 9),
                converters={1: _minutes},
            )
        _check_columns(x, 8, file)
        x = np.roll(x, -1, axis=1)  # the archive has the time last
        time_noise = 1.0
    x = x[random.permutation(len(x))]
    x = np.delete(x, [1, 3], axis=1)  # reactive power, intensity
    voltage, active_power = (random.rand(len(x), 1) for _ in range(2))
    metering = random.rand(len(x), 3)
    time = time_noise * random.rand(len(x), 1)
    x = x + np.hstack([0.001 * active_power, 0.01 * voltage, metering, time])
    parts = _last_tenths(x)
    reference = np.concatenate(parts[:2])
    return _standardized(
        "power",
        parts,
        reference.mean(axis=0),
        reference.std(axis=0),
        f"Rows of {file.name}, shuffled with seed {_POWER_SEED}; reactive power, intensity and "
        "date left out; uniform noise of the measurements' resolution added.",
    )


def load_gas(path: str) -> DataSplits:
    """Sixteen gas sensors under mixtures of ethylene and carbon monoxide, `[N, 8]`.

    While some sensor correlates by more than 0.98 with another, the first such is left out.
    Standardised by all rows, the test set's too, as in [2]; rows are not shuffled.

    Args:
        path: UCI's `ethylene_CO.txt`, or `ethylene_CO.npy`, made once from the archive's pickle by
            `np.save("ethylene_CO.npy", pandas.read_pickle("ethylene_CO.pickle").to_numpy())`, or a
            folder with one of them. The authors drew a quarter of UCI's rows at random, and the
            pickle holds these; of the text, a quarter is drawn with a fixed seed, hence other rows.

    Raises:
        ValueError: no such file, or another one.
    """
    file = _find(path, "ethylene_CO.npy", "ethylene_CO.txt")
    if file.suffix == ".npy":
        x, rows = _read_npy(file, num_columns=19), "All rows"
    else:
        with file.open(encoding="ascii", errors="replace") as lines:
            x = _read_text(file, lines, skiprows=1)
        _check_columns(x, 19, file)
        chosen = np.random.RandomState(_GAS_SEED).permutation(len(x))[: len(x) // 4]
        x, rows = x[chosen], f"A quarter of the rows, drawn with seed {_GAS_SEED},"
    x = x[:, 3:]  # time and both concentrations
    related = np.corrcoef(x.T) > _LARGEST_CORRELATION
    kept = list(range(x.shape[1]))
    while (crowded := related[np.ix_(kept, kept)].sum(axis=1) > 1).any():
        kept.pop(int(np.argmax(crowded)))
    x = x[:, kept]
    _check_columns(x, 8, file, "after correlated sensors were left out")
    return _standardized(
        "gas",
        _last_tenths(x),
        x.mean(axis=0),
        x.std(axis=0, ddof=1),
        f"{rows} of {file.name}; sensors {', '.join(str(1 + k) for k in kept)} of 16, correlated "
        "less than 0.98.",
    )


def load_hepmass(path: str) -> DataSplits:
    """Simulated particle collisions, signal only, `[N, 21]`.

    Features are left out whose smallest value occurs more than five times in the training file. The
    authors meant the most frequent value, but their code counts the smallest, and the paper's
    numbers rest on that. Standardised by the training file, before the validation set is cut off.

    Args:
        path: folder with `1000_train.csv` and `1000_test.csv`, UCI's or the archive's.

    Raises:
        ValueError: no such files, or other ones.
    """
    folder = check_path("path", path, is_folder=True)
    parts = []
    for name in ("1000_train.csv", "1000_test.csv"):
        file = _find(str(folder / name), name)
        with file.open(encoding="ascii", errors="replace") as lines:
            # Rows of the test file have a column too many, the last.
            x = _read_text(file, lines, delimiter=",", skiprows=1, usecols=range(28))
        parts.append(x[x[:, 0] == 1.0, 1:])
        check_argument(len(parts[-1]) > 0, f"file {str(file)!r}", "one with rows of label 1", 0)
    train, test = parts
    loc, scale = train.mean(axis=0), train.std(axis=0, ddof=1)
    kept = ~_repeats_its_smallest_value(train)
    _check_columns(train[:, kept], 21, folder, "after discrete features were left out")
    num_validation = len(train) // 10
    parts = [train[: len(train) - num_validation], train[len(train) - num_validation :], test]
    return _standardized(
        "hepmass",
        [part[:, kept] for part in parts],
        loc[kept],
        scale[kept],
        "Rows of label 1 of 1000_train.csv and 1000_test.csv; features "
        f"{', '.join(map(str, np.flatnonzero(kept)))} of 27, from 0; the last tenth of the "
        "training file validates.",
    )


def load_miniboone(path: str) -> DataSplits:
    """Electron neutrinos of the MiniBooNE experiment, `[N, 43]`.

    Events without measurements are left out, then features whose smallest value occurs more than
    five times (see `load_hepmass`). Standardised by training and validation set together.

    Args:
        path: `data.npy` of the archive's folder `miniboone`, UCI's `MiniBooNE_PID.txt`, or a folder
            with one of them. Of UCI's the signal events are read, which come first.

    Raises:
        ValueError: no such file, or another one.
    """
    file = _find(path, "data.npy", "MiniBooNE_PID.txt")
    if file.suffix == ".npy":
        x = _read_npy(file, num_columns=43)
    else:
        with file.open(encoding="ascii", errors="replace") as lines:
            counts = next(lines, "").split()
            is_header = len(counts) == 2 and all(count.isdecimal() for count in counts)
            _check_file(is_header, file, "begin with the numbers of signal and background events")
            x = _read_text(file, lines, max_rows=int(counts[0]))
        _check_columns(x, 50, file)
        x = x[x[:, 0] >= _MISSING_EVENT]
        x = x[:, ~_repeats_its_smallest_value(x)]
        _check_columns(x, 43, file, "after discrete features were left out")
    parts = _last_tenths(x)
    reference = np.concatenate(parts[:2])
    return _standardized(
        "miniboone",
        parts,
        reference.mean(axis=0),
        reference.std(axis=0),
        f"Signal events of {file.name}, without outliers and discrete features.",
    )


def load_bsds300(path: str) -> DataSplits:
    """8x8 grey patches of natural images, mean removed, all pixels but the last, `[N, 63]`.

    The archive's file is preprocessed and split already.

    Args:
        path: `BSDS300.hdf5` of the archive, or a folder with it.

    Raises:
        ValueError: no such file, or another one.
    """
    import h5py  # Keras brings it

    file = _find(path, "BSDS300.hdf5")
    try:
        with h5py.File(file, "r") as archive:
            parts = [np.asarray(archive[name]) for name in ("train", "validation", "test")]
    except (OSError, KeyError) as error:
        raise ValueError(
            f"file {str(file)!r} must be an HDF5 file with train, validation and test; "
            f"received: {error}."
        ) from error
    for part in parts:
        _check_columns(part, 63, file)
    return _splits("bsds300", parts, f"Patches of {file.name} as they are.")


def _find(path: Any, *names: str) -> Path:
    """The file itself, or the one of `names` in the folder."""
    folder = Path(path).expanduser() if isinstance(path, str | Path) else path
    if isinstance(folder, Path) and folder.is_dir():
        present = [folder / name for name in names if (folder / name).is_file()]
        listed = " or ".join(names)
        check_argument(present, "path", f"{listed}, or a folder with it", str(folder))
        return present[0]
    return check_path("path", path)


def _read_npy(file: Path, num_columns: int) -> np.ndarray:
    try:
        x = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(
            f"file {str(file)!r} must be a readable NumPy .npy; received: {error}."
        ) from error
    _check_columns(x, num_columns, file)
    return x.astype(np.float64)


def _read_text(file: Path, lines: Iterable[str], **options: Any) -> np.ndarray:
    try:
        return np.loadtxt(lines, ndmin=2, comments=None, **options)
    except ValueError as error:
        raise ValueError(
            f"file {str(file)!r} must hold the same number of numbers in every line; "
            f"received: {error}."
        ) from error


def _minutes(time: str) -> float:
    hours, minutes, seconds = time.split(":")
    return 60.0 * int(hours) + int(minutes) + int(seconds) / 60.0


def _check_file(condition: Any, file: Path, allowed: str, received: Any = "another file") -> None:
    if not condition:
        raise ValueError(f"file {str(file)!r} must {allowed}; received: {received}.")


def _check_columns(x: np.ndarray, num_columns: int, file: Path, when: str = "") -> None:
    fits = x.ndim == 2 and len(x) > 0 and x.shape[1] == num_columns
    _check_file(fits, file, f"have {num_columns} columns {when}".rstrip(), f"shape {x.shape}")
    check_finite(x, f"file {str(file)!r}")


def _repeats_its_smallest_value(x: np.ndarray) -> np.ndarray:
    """For each feature, whether its smallest value occurs more than five times."""
    return (x == x.min(axis=0)).sum(axis=0) > _MOST_REPETITIONS


def _last_tenths(x: np.ndarray) -> list[np.ndarray]:
    """Train, validation, test set: the last tenth tests, the last tenth of the rest validates."""
    num_test = len(x) // 10
    num_validation = (len(x) - num_test) // 10
    num_train = len(x) - num_test - num_validation
    return np.split(x, [num_train, num_train + num_validation])


def _standardized(
    name: str,
    parts: Sequence[np.ndarray],
    loc: np.ndarray,
    scale: np.ndarray,
    described: str,
) -> DataSplits:
    parts = [(part - loc) / scale for part in parts]
    return _splits(name, parts, described, "Standardised: nats are those of standardised values.")


def _splits(name: str, parts: Sequence[np.ndarray], *described: str) -> DataSplits:
    train, validation, test = (Split(part.astype(np.float32)) for part in parts)
    sizes = f"{len(train)} rows for training, {len(validation)} for validation, {len(test)} for "
    info = DataInfo(
        name=name,
        event_shape=train.x.shape[1:],
        preprocessing=(*described, f"{sizes}testing."),
    )
    return DataSplits(train, validation, test, info)
