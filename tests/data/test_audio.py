"""Folders of WAV files: the mu-law, chunks, the split by file, refusals; and back to a WAV file."""

import wave

import numpy as np
import pytest

import tfgen.data
from tests.test_apps import app
from tfgen.data.audio import mu_law_decode, mu_law_encode, read_wav, split_files
from tfgen.evaluation.sounds import wav
from tfgen.training.run import train

RATE_HZ = 4000


def write(path, samples, rate_hz=RATE_HZ, channels=1, width=2):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate_hz)
        file.writeframes(np.asarray(samples, f"<i{width}").tobytes())
    return path


def level(position):
    """A 16-bit sample whose class tells the file that it is in."""
    return round(32768 * mu_law_decode(140 + position))


@pytest.fixture
def folder(tmp_path):
    """Ten files of two speakers, each constant, 11 to 20 samples long."""
    for position in range(10):
        path = tmp_path / f"speaker_{position % 2}" / "deep" / f"{position}.WAV"
        write(path, np.full(11 + position, level(position)))
    (tmp_path / "notes.txt").write_text("no sound")
    write(tmp_path / ".cache" / "0.wav", [0])
    return tmp_path


def load(folder, **options):
    return tfgen.data.load("audio_folder", path=str(folder), **options)


def test_mu_law_at_values_computed_by_hand():
    # F(0) = 0 is rounded up to 128; F(1/255) = ln 2 / ln 256 = 1/8, F(3/255) = 1/4, exactly.
    x = np.array([-1.0, -3 / 255, -1 / 255, 0.0, 1 / 255, 3 / 255, 15 / 255, 1.0, 2.0])
    expected = np.floor(127.5 * (1 + np.array([-8, -2, -1, 0, 1, 2, 4, 8, 8]) / 8) + 0.5)
    np.testing.assert_array_equal(mu_law_encode(x), expected)
    assert mu_law_encode(x).dtype == np.uint8
    assert mu_law_encode(0.0) == 128
    y = 2 * 200 / 255 - 1
    assert mu_law_decode(200) == pytest.approx((256**y - 1) / 255)
    assert mu_law_decode(55) == -mu_law_decode(200)


@pytest.mark.parametrize("num_levels", [2, 16, 255, 256])
def test_mu_law_decoding_is_the_centre_of_its_class(num_levels):
    classes = np.arange(num_levels)
    x = mu_law_decode(classes, num_levels)
    np.testing.assert_array_equal(mu_law_encode(x, num_levels), classes)
    assert (np.diff(x) > 0).all()
    np.testing.assert_allclose(x[[0, -1]], [-1.0, 1.0], rtol=1e-12)
    # On the companded scale every other point is at most half a step away.
    x = np.linspace(-1, 1, 5001)
    mu = num_levels - 1
    companded, again = (
        np.sign(v) * np.log1p(mu * np.abs(v)) / np.log1p(mu)
        for v in (x, mu_law_decode(mu_law_encode(x, num_levels), num_levels))
    )
    assert np.abs(companded - again).max() <= 1 / mu + 1e-12


def test_chunks_hold_the_companded_samples_in_order(tmp_path):
    samples = [np.random.RandomState(k).randint(-32768, 32768, 23) for k in range(3)]
    for k, values in enumerate(samples):
        write(tmp_path / f"{k}.wav", values)
    splits = load(tmp_path, chunk_length=5, stride=3)
    assert splits.info.event_shape == (5,)
    assert (splits.info.num_levels, splits.info.sample_rate_hz) == (256, RATE_HZ)
    codes = [mu_law_encode(values / 32768) for values in samples]
    trained, held_out = (
        next(c for c in codes if (c[:5] == part.x[0]).all()) for part in (splits.train, splits.test)
    )
    np.testing.assert_array_equal(splits.train.x, [trained[s : s + 5] for s in range(0, 19, 3)])
    # Without overlap; the last three samples are dropped.
    np.testing.assert_array_equal(splits.test.x, held_out[:20].reshape(4, 5))


def test_the_split_is_by_file_and_depends_on_the_seed_alone(folder):
    options = {"chunk_length": 4, "stride": 1, "test_fraction": 0.3, "validation_fraction": 0.2}
    first, second, other = (load(folder, split_seed=seed, **options) for seed in (0, 0, 1))
    parts = [set(np.unique(part.x)) for part in (first.train, first.validation, first.test)]
    assert [len(part) for part in parts] == [5, 2, 3]
    assert set.union(*parts) == set(range(140, 150))
    np.testing.assert_array_equal(first.test.x, second.test.x)
    assert set(np.unique(other.test.x)) != parts[2]
    # What the yardsticks read is the same test set.
    files = split_files(str(folder), 0.2, 0.3, 0)[2]
    assert {140 + int(file.stem) for file in files} == parts[2]


def test_speakers_are_classes(folder):
    splits = load(folder, labels=True, chunk_length=4)
    assert splits.info.num_classes == 2
    for part in (splits.train, splits.validation, splits.test):
        np.testing.assert_array_equal(part.y, part.x[:, 0] % 2)


def test_short_files_are_left_out_and_counted(folder):
    splits = load(folder, chunk_length=13, validation_fraction=0.3, test_fraction=0.3)
    assert min(part.x.min() for part in (splits.train, splits.validation, splits.test)) == 142
    short = [int(step.split("; ")[1].split()[0]) for step in splits.info.preprocessing[-3:]]
    assert sum(short) == 2


def test_other_numbers_of_levels(folder):
    splits = load(folder, chunk_length=4, num_levels=16)
    assert splits.info.num_levels == 16
    assert splits.train.x.max() < 16


def test_refusals(tmp_path, folder):
    for name, options, message in [
        ("nowhere", {}, r"existing folder; received: .*nowhere"),
        ("", {"chunk_length": 21}, r"chunk_length must be at most .*21.* are shorter"),
        ("", {"chunk_length": 0}, "chunk_length must be an integer >= 1; received: 0"),
        ("", {"stride": 0}, "stride must be an integer >= 1; received: 0"),
        ("", {"num_levels": 257}, "num_levels must be <= 256; received: 257"),
        ("", {"sample_rate_hz": 8000}, "sample rate 8000 Hz.*received: 4000 Hz"),
        ("", {"sample_rate": 8000}, "Did you mean 'sample_rate_hz'"),
        ("speaker_0/deep/0.WAV", {}, "existing folder"),
    ]:
        with pytest.raises(ValueError, match=message):
            load(folder / name, **{"chunk_length": 4} | options)
    few = tmp_path / "few"
    for k in range(2):
        write(few / f"{k}.wav", np.zeros(9))
    with pytest.raises(ValueError, match=r"at least 3 WAV files.*received: 2"):
        load(few, chunk_length=4)
    for name, arguments, message in [
        ("rate", {"rate_hz": 8000}, r"odd\.wav' must have the sample rate|rate 8000 Hz"),
        ("stereo", {"channels": 2}, r"odd\.wav' must be mono; received: 2 channels"),
        ("wide", {"width": 4}, r"odd\.wav' must have 16 bits a sample; received: 32"),
    ]:
        for k in range(9):
            write(tmp_path / name / f"{k}.wav", np.zeros(10))
        odd = write(tmp_path / name / "odd.wav", np.zeros(10), **arguments)
        with pytest.raises(ValueError, match=message):
            load(tmp_path / name, chunk_length=4)
    odd.write_bytes(b"RIFF, but not really")
    with pytest.raises(ValueError, match=r"odd\.wav' must be a readable WAV file"):
        load(tmp_path / "wide", chunk_length=4)
    odd.unlink()
    with pytest.raises(ValueError, match=r"one subfolder .*\d\.wav' outside any subfolder"):
        load(tmp_path / "wide", chunk_length=4, labels=True)


def test_a_wav_file_of_samples_reads_back(tmp_path):
    classes = np.arange(256, dtype=np.uint8).reshape(2, 128)
    path = tmp_path / "a.wav"
    path.write_bytes(wav(classes, 256, RATE_HZ))
    samples, rate_hz = read_wav(path)
    assert rate_hz == RATE_HZ
    gap = RATE_HZ // 4
    assert len(samples) == 256 + gap
    assert not samples[128 : 128 + gap].any()
    spoken = np.concatenate([samples[:128], samples[128 + gap :]])
    np.testing.assert_array_equal(mu_law_encode(spoken / 32768), np.arange(256))


def test_a_run_on_audio_writes_wav_files_of_any_length(folder, tmp_path):
    from configs.wavenet_speech import get_config

    config = get_config("smoke").to_dict()
    config["data"] = {
        "name": "audio_folder",
        "path": str(folder),
        "chunk_length": 8,
        "test_fraction": 0.3,
    }
    config["jit_compile"] = False
    run = tmp_path / "run"
    train(config, run)
    samples, rate_hz = read_wav(run / "samples.wav")
    assert rate_hz == RATE_HZ
    assert len(samples) == 4 * 8 + 3 * RATE_HZ // 4
    out = tmp_path / "speech.wav"
    app("sample", f"--workdir={run}", "--num=1", "--seconds=0.01", f"--out={out}")
    assert len(read_wav(out)[0]) == 40
