"""What a density model of images must beat, on the same test images: independent pixels and files.

python -m apps.yardsticks --data=digits
python -m apps.yardsticks --data=fashion_mnist
"""

from absl import flags

from apps.common import run, table

_DATA = flags.DEFINE_string("data", None, "Name of an image data set.")


def main() -> None:
    if _DATA.value is None:
        raise ValueError("--data must be given; received: nothing.")
    from tfgen import data
    from tfgen.evaluation.yardsticks import independent_pixels, lossless_compression

    splits = data.load(_DATA.value)
    levels = splits.info.num_levels
    if levels is None or len(splits.info.event_shape) != 3:
        raise ValueError(f"--data must name a set of images; received: {_DATA.value!r}.")
    pixels = independent_pixels(splits.train.x, splits.test.x, levels)
    print(f"independent pixels, bits/dim\n{table(pixels)}")
    for file_format in ("png", "webp"):
        files = lossless_compression(splits.test.x, file_format)
        print(f"{file_format}, lossless, bits/dim\n{table(files)}")


if __name__ == "__main__":
    run(main, "python -m apps.yardsticks --data=digits")
