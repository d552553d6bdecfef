"""What a density model must beat, on the same test set: independent values and lossless files.

python -m apps.yardsticks --data=digits
python -m apps.yardsticks --data=fashion_mnist
python -m apps.yardsticks --config=configs/wavenet_speech.py

Images: a histogram for each pixel, PNG and WebP. Audio: a histogram of the samples, FLAC of the
same 8-bit codes (this needs the package soundfile), and FLAC of the original files.
"""

from absl import flags
from ml_collections import config_flags

from apps.common import run, table

_DATA = flags.DEFINE_string("data", None, "Name of a data set of images.")
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
    else:
        raise ValueError(f"--data must name a set of images or audio; received: {name!r}.")


def _images(splits, levels: int) -> None:
    from tfgen.evaluation.yardsticks import independent_pixels, lossless_compression

    pixels = independent_pixels(splits.train.x, splits.test.x, levels)
    print(f"independent pixels, bits/dim\n{table(pixels)}")
    for file_format in ("png", "webp"):
        files = lossless_compression(splits.test.x, file_format)
        print(f"{file_format}, lossless, bits/dim\n{table(files)}")


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
