"""What a density model must beat, on the same test set.

python -m apps.yardsticks --data=digits
python -m apps.yardsticks --data=fashion_mnist
python -m apps.yardsticks --data=flights
python -m apps.yardsticks --config=configs/wavenet_speech.py
python -m apps.yardsticks --config=configs/maf_power.py --config.data.path=data/power

Images: a histogram for each pixel, PNG and WebP. Audio: a histogram of the samples, FLAC of the
same 8-bit codes (this needs the package soundfile), and FLAC of the original files. Tables of real
numbers: a Gaussian with full covariance, and scikit-learn's mixture of Gaussians.
"""

from absl import flags
from ml_collections import config_flags

from apps.common import run, table

_DATA = flags.DEFINE_string("data", None, "Name of a data set.")
_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, for its data section.")


def main() -> None:
    if (_DATA.value is None) == (_CONFIG.value is None):
        raise ValueError("either --data or --config must be given; received: both or neither.")
    options: dict = {"name": _DATA.value}
    if _CONFIG.value is not None:
        options = _CONFIG.value.data.to_dict()
    from tfgen import data

    name = options.pop("name")
    splits = data.load(name, **options)
    levels = splits.info.num_levels
    if levels is not None and splits.info.sample_rate_hz is not None:
        _audio(splits, levels, options)
    elif levels is not None and len(splits.info.event_shape) == 3:
        _images(splits, levels)
    elif levels is None and len(splits.info.event_shape) == 1:
        _tables(splits)
    else:
        raise ValueError(
            f"--data must name a set of images, audio or real tables; received: {name!r}."
        )


def _images(splits, levels: int) -> None:
    from tfgen.evaluation.yardsticks import independent_pixels, lossless_compression

    pixels = independent_pixels(splits.train.x, splits.test.x, levels)
    print(f"independent pixels, bits/dim\n{table(pixels)}")
    for file_format in ("png", "webp"):
        files = lossless_compression(splits.test.x, file_format)
        print(f"{file_format}, lossless, bits/dim\n{table(files)}")


def _tables(splits) -> None:
    from tfgen.evaluation.yardsticks import full_gaussian, gaussian_mixture

    train, validation, test = splits.train.x, splits.validation.x, splits.test.x
    if splits.info.entropy is not None:
        print(f"entropy of the true density, nats\n  {splits.info.entropy:.4f}")
    print(f"full Gaussian, nats\n{table(full_gaussian(train, test))}", flush=True)
    mixture = gaussian_mixture(train, validation, test)
    print(f"mixture of Gaussians, nats\n{table(mixture)}")


def _audio(splits, levels: int, options) -> None:
    import math

    from tfgen.data.audio import split_files
    from tfgen.evaluation.yardsticks import flac_compression, flac_of_files, independent_samples

    print(f"uniform, bits/sample\n  {math.log2(levels):.4f}")
    samples = independent_samples(splits.train.x, splits.test.x, levels)
    print(f"independent samples, bits/sample\n{table(samples)}")
    print(f"flac of the same 8-bit codes, bits/sample\n{table(flac_compression(splits.test.x))}")
    chosen = ("path", "validation_fraction", "test_fraction", "split_seed")
    files = split_files(**{key: options[key] for key in chosen if key in options})[-1]
    print(f"flac of the 16-bit test files (not comparable)\n{table(flac_of_files(files))}")


if __name__ == "__main__":
    run(main, "python -m apps.yardsticks --data=digits")
