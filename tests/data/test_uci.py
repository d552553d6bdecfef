"""The UCI pipelines on small files of the originals' formats, against recipes written out here."""

import math

import numpy as np
import pytest

import tfgen.data

NUM_ROWS = 240
DISCRETE = (5, 9, 13, 17, 21, 26)  # of the features of HEPMASS here


def table(num_columns, num_rows=NUM_ROWS, seed=0):
    return np.random.RandomState(seed).standard_normal((num_rows, num_columns))


def standardized(x, reference, ddof):
    return ((x - np.mean(reference, 0)) / np.std(reference, 0, ddof=ddof)).astype("float32")


def check(splits, expected):
    """The three sets in order, and the shape that models read."""
    for part, rows in zip((splits.train, splits.validation, splits.test), expected, strict=True):
        np.testing.assert_allclose(part.x, rows, rtol=1e-6, atol=1e-6)
        assert part.y is None
    assert splits.info.event_shape == expected[0].shape[1:]
    assert splits.info.num_levels is None


def cut(x, *sizes):
    return np.split(x, np.cumsum(sizes)[:-1])


def power_recipe(x, time_noise):
    """x: active, reactive, voltage, intensity, three meters, time."""
    random = np.random.RandomState(42)
    x = x.copy()
    random.shuffle(x)
    voltage = random.rand(len(x), 1)
    active = random.rand(len(x), 1)
    meters = random.rand(len(x), 3)
    time = random.rand(len(x), 1)
    x = x[:, [0, 2, 4, 5, 6, 7]]
    x = x + np.hstack([active / 1000, voltage / 100, meters, time_noise * time])
    return [standardized(part, x[:216], 0) for part in cut(x, 195, 21, 24)]


def test_power_from_the_archive(tmp_path):
    x = table(8)
    (tmp_path / "power").mkdir()
    np.save(tmp_path / "power" / "data.npy", x)
    expected = power_recipe(x, time_noise=0.0)
    check(tfgen.data.load("power", path=str(tmp_path / "power")), expected)
    check(tfgen.data.load("power", path=str(tmp_path / "power" / "data.npy")), expected)


def test_power_from_uci(tmp_path):
    minutes = np.random.RandomState(1).randint(24 * 60, size=NUM_ROWS)
    x = np.column_stack([np.round(np.abs(table(7)), 3), minutes])
    lines = ["Date;Time;" + ";".join("abcdefg")]
    for row in x:
        clock = f"{int(row[7]) // 60:02}:{int(row[7]) % 60:02}:00"
        lines.append(";".join(["16/12/2006", clock, *(f"{value:.3f}" for value in row[:7])]))
        lines.append("28/4/2007;00:21:00;?;?;?;?;?;?;")  # UCI writes missing values so
    (tmp_path / "household_power_consumption.txt").write_text("\n".join(lines) + "\n")
    check(tfgen.data.load("power", path=str(tmp_path)), power_recipe(x, time_noise=1.0))


def sensors():
    """Nine clusters of sensors; two overlap, so that the order of leaving out matters."""
    base, noise = table(8, seed=2), table(16, seed=3)
    x = base[:, [0, 0, 0, 1, 2, 2, 3, 4, 4, 4, 5, 6, 6, 7, 7, 0]] + 0.01 * noise
    return np.hstack([table(3, seed=4), x])


def gas_recipe(x):
    x = x[:, 3:]
    while True:
        for k in range(x.shape[1]):
            others = [j for j in range(x.shape[1]) if j != k]
            if any(np.corrcoef(x[:, k], x[:, j])[0, 1] > 0.98 for j in others):
                x = x[:, others]
                break
        else:
            break
    num_test = len(x) // 10
    num_validation = (len(x) - num_test) // 10
    sizes = (len(x) - num_test - num_validation, num_validation, num_test)
    return [standardized(part, x, 1) for part in cut(x, *sizes)]


def test_gas(tmp_path):
    x = sensors()
    np.save(tmp_path / "ethylene_CO.npy", x)
    splits = tfgen.data.load("gas", path=str(tmp_path))
    check(splits, gas_recipe(x))
    assert splits.info.event_shape == (8,)
    assert "sensors 4, 6, 7, 10, 11, 13, 15, 16 of 16" in splits.info.preprocessing[0]

    text = tmp_path / "ethylene_CO.txt"
    np.savetxt(text, x, header="Time (seconds), CO conc (ppm), ...", comments="", fmt="%.17g")
    quarter = x[np.random.RandomState(0).permutation(NUM_ROWS)[: NUM_ROWS // 4]]
    check(tfgen.data.load("gas", path=str(text)), gas_recipe(quarter))


def write_hepmass(folder):
    """Feature 3 repeats its largest value, which the authors' count of the smallest lets pass."""
    files = {}
    for name, seed in (("train", 5), ("test", 6)):
        label = np.arange(NUM_ROWS) % 3 == 0
        features = table(27, seed=seed)
        features[:, 3] = np.minimum(features[:, 3], 0.5)
        for k in DISCRETE:
            features[:, k] = np.round(np.abs(features[:, k]))
        files[name] = np.column_stack([label, features])
        lines = [",".join(map(repr, row)) for row in files[name].tolist()]
        if name == "test":
            lines = [f"{line},500.0" for line in lines]
        header = "# label," + ",".join(f"f{k}" for k in range(27))
        (folder / f"1000_{name}.csv").write_text("\n".join([header, *lines]) + "\n")
    return files


def test_hepmass(tmp_path):
    files = write_hepmass(tmp_path)
    train, test = (files[name][::3, 1:] for name in ("train", "test"))
    kept = [k for k in range(27) if k not in DISCRETE]
    assert 3 in kept
    expected = [
        standardized(part[:, kept], train[:, kept], 1) for part in (*cut(train, 72, 8), test)
    ]
    check(tfgen.data.load("hepmass", path=str(tmp_path)), expected)


def test_miniboone(tmp_path):
    x = np.round(np.abs(table(50, seed=7)), 6)
    discrete = [0, 8, 15, 22, 30, 41, 49]
    x[:, discrete] = np.round(x[:, discrete])
    events = np.insert(x, [3, 100], -999.0, axis=0)  # signal without measurements
    background = table(50, num_rows=5, seed=8)
    text = tmp_path / "MiniBooNE_PID.txt"
    lines = [" ".join(f"{v:.6f}" for v in row) for row in (*events, *background)]
    text.write_text("\n".join([f" {len(events)}  {len(background)}", *lines]) + "\n")

    x = np.delete(x, discrete, axis=1)
    expected = [standardized(part, x[:216], 0) for part in cut(x, 195, 21, 24)]
    check(tfgen.data.load("miniboone", path=str(text)), expected)
    np.save(tmp_path / "data.npy", x)
    check(tfgen.data.load("miniboone", path=str(tmp_path)), expected)


def test_bsds300(tmp_path):
    h5py = pytest.importorskip("h5py")
    parts = [table(63, size, seed).astype("float32") for seed, size in enumerate((30, 10, 20))]
    with h5py.File(tmp_path / "BSDS300.hdf5", "w") as file:
        for name, part in zip(("train", "validation", "test"), parts, strict=True):
            file[name] = part
    check(tfgen.data.load("bsds300", path=str(tmp_path)), parts)
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["train"] = parts[0]
    with pytest.raises(ValueError, match=r"other\.hdf5' must be an HDF5 file with train, valid"):
        tfgen.data.load("bsds300", path=str(tmp_path / "other.hdf5"))


def test_the_full_gaussian_sees_what_the_preprocessing_did(tmp_path):
    """The check for those who have the files, on data whose Gaussian figure is known."""
    from tfgen.evaluation.yardsticks import full_gaussian

    x = table(43, 10_000) @ np.linalg.qr(table(43, 43, seed=9))[0] * 5.0 + 3.0
    np.save(tmp_path / "data.npy", x)
    splits = tfgen.data.load("miniboone", path=str(tmp_path))
    result = full_gaussian(splits.train.x, splits.test.x)
    expected = -43 * 0.5 * math.log(2 * math.pi * math.e)
    assert abs(result["log_likelihood"] - expected) < 4 * result["standard_error"] + 0.1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("power", None, r"path must be data\.npy or household_power_consumption\.txt, or a folder"),
        ("power", ("data.npy", table(6)), r"data\.npy' must have 8 columns; received: shape \(240"),
        ("power", ("data.npy", "no array"), r"data\.npy' must be a readable NumPy \.npy"),
        (
            "power",
            ("household_power_consumption.txt", "Date;Time;a\n1/1/2007;00:00:00;1.0\n"),
            "must hold the same number of numbers in every line",
        ),
        ("gas", ("ethylene_CO.npy", table(19)), r"have 8 columns after correlated .*\(240, 16\)"),
        ("gas", ("ethylene_CO.txt", "header\n1 2 3\n4 5 6\n"), r"must have 19 columns.*\(2, 3\)"),
        ("gas", ("ethylene_CO.txt", "header\n1 2 3\n4 x 6\n"), "the same number of numbers"),
        ("hepmass", None, r"path must be an existing file; received: .*1000_train\.csv"),
        ("miniboone", ("MiniBooNE_PID.txt", "1.0 2.0\n"), "begin with the numbers of signal"),
        ("miniboone", ("MiniBooNE_PID.txt", "2 1\n1 2\n3 4\n5 6\n"), r"50 columns; .*\(2, 2\)"),
        ("miniboone", ("data.npy", np.full((5, 43), np.nan)), "finite numbers; received: nan"),
        ("bsds300", None, r"path must be BSDS300\.hdf5, or a folder with it; received"),
    ],
)
def test_refusals(tmp_path, name, content, message):
    if content is not None:
        file, values = content
        if isinstance(values, str):
            (tmp_path / file).write_text(values)
        else:
            np.save(tmp_path / file, values)
    with pytest.raises(ValueError, match=message):
        tfgen.data.load(name, path=str(tmp_path))


def test_refusals_of_hepmass(tmp_path):
    write_hepmass(tmp_path)
    lines = (tmp_path / "1000_train.csv").read_text().splitlines()
    (tmp_path / "1000_train.csv").write_text("\n".join(line[:40] for line in lines))
    with pytest.raises(ValueError, match=r"1000_train\.csv' must hold the same number of numbers"):
        tfgen.data.load("hepmass", path=str(tmp_path))
    with pytest.raises(ValueError, match="path must be an existing folder"):
        tfgen.data.load("hepmass", path=str(tmp_path / "1000_test.csv"))


def test_path_is_needed():
    with pytest.raises(ValueError, match="data set 'gas' needs the option 'path'"):
        tfgen.data.load("gas")
    with pytest.raises(ValueError, match="path must be the path of a file; received: 3"):
        tfgen.data.load("gas", path=3)
