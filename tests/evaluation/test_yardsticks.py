"""The yardsticks against counts done by hand and closed forms."""

import io
import math
import wave

import numpy as np
import pytest
from PIL import Image

from tfgen.evaluation import yardsticks


def test_independent_pixels_equal_smoothed_frequencies_counted_by_hand():
    train = np.array([[0, 2], [0, 1], [1, 2]], np.uint8)
    test = np.array([[0, 2], [2, 0]], np.uint8)
    result = yardsticks.independent_pixels(train, test, num_levels=3)
    # (count + 1) / (3 + 3): first column 3/6, 2/6, 1/6 for 0, 1, 2; second 1/6, 2/6, 3/6.
    bits = np.array([-2 * math.log2(3 / 6), -2 * math.log2(1 / 6)])
    assert result["bits_per_dim"] == pytest.approx(bits.mean() / 2)
    assert result["standard_error"] == pytest.approx(np.std(bits / 2, ddof=1) / math.sqrt(2))
    assert result["nats"] == pytest.approx(bits.mean() * math.log(2))
    assert result["num_examples"] == 2


def test_independent_pixels_of_uniform_data_need_the_log_of_the_levels():
    random = np.random.RandomState(0)
    train, test = (random.randint(5, size=(4000, 2, 3, 1)).astype(np.uint8) for _ in range(2))
    result = yardsticks.independent_pixels(train, test, num_levels=5)
    # The estimate of L probabilities from N counts costs about (L - 1) / (2 N ln 2) bits.
    assert result["bits_per_dim"] == pytest.approx(math.log2(5), abs=0.003)


def test_independent_pixels_keep_a_histogram_for_every_channel():
    train = np.tile(np.array([0, 3], np.uint8), (200, 2, 2, 1))
    result = yardsticks.independent_pixels(train, train[:3], num_levels=4)
    assert result["bits_per_dim"] == pytest.approx(-math.log2(201 / 204))


@pytest.mark.parametrize("file_format", ["png", "webp"])
def test_file_sizes_in_bits(file_format):
    random = np.random.RandomState(1)
    x = random.randint(256, size=(6, 40, 20, 3)).astype(np.uint8)
    result = yardsticks.lossless_compression(x, file_format)
    # No codec can store noise in less than its 8 bits, and both have a fallback near 8.
    assert 8.0 < result["bits_per_dim_tiled"] < 8.2
    assert result["bits_per_dim_tiled"] < result["bits_per_dim"] < 9.0
    constant = yardsticks.lossless_compression(np.full_like(x, 7), file_format)
    assert constant["bits_per_dim_tiled"] < 0.2


def test_bits_per_dim_is_the_mean_file_size():
    x = np.arange(2 * 8 * 8, dtype=np.uint8).reshape(2, 8, 8, 1)
    sizes = []
    for image in x:
        buffer = io.BytesIO()
        Image.fromarray(image[..., 0]).save(buffer, "PNG", optimize=True)
        sizes.append(8 * len(buffer.getvalue()) / 64)
    result = yardsticks.lossless_compression(x, "png")
    assert result["bits_per_dim"] == pytest.approx(np.mean(sizes))
    assert result["standard_error"] == pytest.approx(np.std(sizes, ddof=1) / math.sqrt(2))


@pytest.mark.parametrize("file_format", ["png", "webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_files_are_lossless(file_format, channels):
    x = np.random.RandomState(2).randint(17, size=(9, 7, channels)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(x[..., 0] if channels == 1 else x).save(
        buffer, **yardsticks._CODECS[file_format]
    )
    read = np.asarray(Image.open(buffer).convert("L" if channels == 1 else "RGB"))
    np.testing.assert_array_equal(read.reshape(x.shape), x)


def test_sheets_hold_every_image_once_within_the_largest_side(monkeypatch):
    monkeypatch.setattr(yardsticks, "_MAX_SIDE", 8)  # 4 columns of width 2, 2 rows of height 3
    x = np.arange(1, 11 * 6 + 1, dtype=np.uint8).reshape(11, 3, 2, 1)
    sheets = list(yardsticks._sheets(x))
    assert [sheet.shape for sheet in sheets] == [(6, 8, 1), (3, 8, 1)]
    tiles = [
        sheet[top : top + 3, left : left + 2]
        for sheet in sheets
        for top in range(0, len(sheet), 3)
        for left in (0, 2, 4, 6)
    ]
    np.testing.assert_array_equal(np.stack(tiles[:11]), x)
    assert not np.stack(tiles[11:]).any()


def test_refusals_name_the_argument():
    x = np.zeros((2, 2, 2, 1), np.uint8)
    with pytest.raises(ValueError, match=r"test_x must be integers 0\.\.3.*values 4\.\.4"):
        yardsticks.independent_pixels(x, x + 4, num_levels=4)
    with pytest.raises(ValueError, match=r"train_x must be integers .*float32"):
        yardsticks.independent_pixels(x.astype("float32"), x, num_levels=4)
    with pytest.raises(ValueError, match=r"test_x must be of event shape \(2, 2, 1\)"):
        yardsticks.independent_pixels(x, x[:, :1], num_levels=4)
    with pytest.raises(ValueError, match="file_format must be one of 'png', 'webp'; received: 'g"):
        yardsticks.lossless_compression(x, "gif")
    with pytest.raises(ValueError, match=r"x must be non-empty uint8 \[N, H, W, C\]"):
        yardsticks.lossless_compression(x / 255.0, "png")


def test_independent_samples_share_one_histogram():
    train = np.array([[0, 2, 0], [0, 1, 1]], np.uint8)
    test = np.array([[0, 2], [2, 2]], np.uint8)
    result = yardsticks.independent_samples(train, test, num_levels=3)
    # (count + 1) / (6 + 3): 4/9, 3/9, 2/9 for 0, 1, 2.
    bits = np.array([-math.log2(4 / 9) - math.log2(2 / 9), -2 * math.log2(2 / 9)])
    assert result["bits_per_dim"] == pytest.approx(bits.mean() / 2)
    assert result["standard_error"] == pytest.approx(np.std(bits / 2, ddof=1) / math.sqrt(2))
    assert result["nats"] == pytest.approx(bits.mean() * math.log(2))


def test_flac_is_of_the_codes_themselves_and_lossless():
    soundfile = pytest.importorskip("soundfile")
    x = np.random.RandomState(3).randint(256, size=(3, 5000)).astype(np.uint8)
    content = yardsticks._flac((x[0].astype(np.int16) - 128) * 256, "PCM_S8")
    assert soundfile.info(io.BytesIO(content)).subtype == "PCM_S8"
    read, _ = soundfile.read(io.BytesIO(content), dtype="int16")
    np.testing.assert_array_equal(read // 256 + 128, x[0])
    result = yardsticks.flac_compression(x)
    # No codec can store noise in less than its 8 bits.
    assert 8.0 < result["bits_per_dim_joined"] < result["bits_per_dim"] < 8.0 + 8 * 9000 / 5000
    assert yardsticks.flac_compression(np.full_like(x, 7))["bits_per_dim_joined"] < 6.0
    with pytest.raises(ValueError, match=r"x must be non-empty uint8 \[N, T\]"):
        yardsticks.flac_compression(x[0])


def test_flac_of_files_counts_their_16_bit_samples(tmp_path):
    pytest.importorskip("soundfile")
    files = []
    for k, length in enumerate((9000, 12000)):
        samples = np.random.RandomState(k).randint(-32768, 32768, length).astype("<i2")
        files.append(tmp_path / f"{k}.wav")
        with wave.open(str(files[-1]), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(samples.tobytes())
    result = yardsticks.flac_of_files(files)
    assert result["num_files"] == 2
    # Noise: 16 bits, and two headers.
    assert 16.0 < result["bits_per_sample"] < 16.0 + 2 * 8 * 9000 / 21000


def two_clusters(num_rows, seed):
    """Two Gaussians 12 standard deviations apart: the choice of one costs log 2 nats."""
    random = np.random.RandomState(seed)
    x = random.standard_normal((num_rows, 2)) + 12.0 * random.randint(2, size=(num_rows, 1))
    return (x * [1e3, 1e-2]).astype(np.float32)  # units as different as those of tables


def test_full_gaussian_is_the_density_of_the_training_moments():
    random = np.random.RandomState(4)
    mixing = np.array([[2.0, 0.0, 0.0], [1.0, 0.5, 0.0], [0.3, 0.2, 1e-2]])
    train, test = (
        (random.standard_normal((n, 3)) @ mixing.T + [5.0, 0.0, -3.0]).astype(np.float32)
        for n in (400, 50)
    )
    result = yardsticks.full_gaussian(train, test)
    loc = train.astype(float).mean(0)
    covariance = sum(np.outer(row, row) for row in train - loc) / 400
    z = test - loc
    log_prob = -0.5 * np.einsum("ni,ij,nj->n", z, np.linalg.inv(covariance), z)
    log_prob -= 0.5 * np.log(np.linalg.det(2 * math.pi * covariance))
    assert result["log_likelihood"] == pytest.approx(log_prob.mean(), rel=1e-5)
    assert result["nats"] == -result["log_likelihood"]
    assert result["standard_error"] == pytest.approx(log_prob.std(ddof=1) / math.sqrt(50), rel=1e-4)
    assert result["num_examples"] == 50


def test_gaussian_mixture_reaches_the_entropy_in_the_units_of_the_data():
    train, validation, test = (two_clusters(n, seed) for seed, n in enumerate((1000, 200, 2000)))
    result = yardsticks.gaussian_mixture(train, validation, test, num_components=(1, 2))
    assert result["num_components"] == 2
    entropy = math.log(2) + math.log(2 * math.pi * math.e) + math.log(1e3 * 1e-2)
    assert abs(result["nats"] - entropy) < 4 * result["standard_error"] + 0.02
    one = yardsticks.gaussian_mixture(train, validation, test, num_components=(1,))
    assert one["nats"] == pytest.approx(yardsticks.full_gaussian(train, test)["nats"], abs=1e-3)


def test_refusals_of_tables():
    x = two_clusters(30, seed=0)
    with pytest.raises(ValueError, match="linearly independent columns"):
        yardsticks.full_gaussian(np.concatenate([x, x[:, :1]], 1), np.zeros((2, 3), "float32"))
    with pytest.raises(ValueError, match=r"test_x must be of 2 columns; received: \(2, 3\)"):
        yardsticks.full_gaussian(x, np.zeros((2, 3), "float32"))
    with pytest.raises(ValueError, match=r"train_x must be non-empty real numbers .*uint8"):
        yardsticks.full_gaussian(x.astype("uint8"), x)
    with pytest.raises(ValueError, match=r"validation_x must be non-empty .*shape \(0, 2\)"):
        yardsticks.gaussian_mixture(x, x[:0], x)
    with pytest.raises(ValueError, match="train_x must be 50 rows at least; received: '30 rows'"):
        yardsticks.gaussian_mixture(x, x, x, num_components=(5, 10))
