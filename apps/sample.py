"""Draws samples from a run's model: a picture (.png), audio (.wav), or an array (.npz, key x).

python -m apps.sample --workdir=runs/digits --num=64 --seed=0 --out=grid.png
python -m apps.sample --workdir=runs/digits --num=8 --keep_rows=4 --out=completions.png
python -m apps.sample --workdir=runs/speech --num=4 --seconds=3 --out=speech.wav
"""

import pathlib
from typing import Any

from absl import flags

from apps.common import run

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_NUM = flags.DEFINE_integer("num", 64, "Number of samples.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed; the same seed draws the same samples.")
_LABEL = flags.DEFINE_integer("label", None, "Class of the samples; all classes in turn without.")
_SECONDS = flags.DEFINE_float("seconds", None, "Length of audio; that of the data without.")
_TEMPERATURE = flags.DEFINE_float("temperature", None, "Of an autoregressive model's conditionals.")
_KEEP_ROWS = flags.DEFINE_integer(
    "keep_rows", None, "Keep so many rows of --num test images and draw the rest, four times."
)
_OUT = flags.DEFINE_string("out", "samples.png", "File to write, .png, .wav or .npz.")


NUM_COMPLETIONS = 4


def main() -> None:
    if _WORKDIR.value is None:
        raise ValueError("--workdir must be given; received: nothing.")
    if _NUM.value < 1:
        raise ValueError(f"--num must be at least 1; received: {_NUM.value}.")
    out = pathlib.Path(_OUT.value)
    if out.suffix not in (".png", ".wav", ".npz"):
        raise ValueError(f"--out must end in .png, .wav or .npz; received: {_OUT.value!r}.")

    import tensorflow as tf

    from tfgen.evaluation.pictures import picture
    from tfgen.models import AutoregressiveModel
    from tfgen.training.files import write_atomically
    from tfgen.training.run import load, png, read_config, save_array, save_samples

    model = load(_WORKDIR.value)
    sample_rate_hz: Any = read_config(_WORKDIR.value).get("sample_rate_hz")
    if sample_rate_hz is None and (out.suffix == ".wav" or _SECONDS.value is not None):
        raise ValueError("--out=*.wav and --seconds must be absent: the run's data are no audio.")
    if _SECONDS.value is not None:
        if _SECONDS.value <= 0:
            raise ValueError(f"--seconds must be positive; received: {_SECONDS.value}.")
        if not hasattr(model, "at_length"):
            raise ValueError("--seconds must be absent: the model's samples have one length only.")
        model = model.at_length(max(1, round(_SECONDS.value * sample_rate_hz)))
    labels = None
    if model.num_classes is not None:
        labels = tf.range(_NUM.value) % model.num_classes if _LABEL.value is None else _LABEL.value
    elif _LABEL.value is not None:
        raise ValueError(
            f"--label must be absent: the model has no classes; received: {_LABEL.value}."
        )
    options: dict[str, Any] = {"seed": _SEED.value}
    if _TEMPERATURE.value is not None or _KEEP_ROWS.value is not None:
        if not isinstance(model, AutoregressiveModel):
            raise ValueError(
                "--temperature and --keep_rows must be absent: the model is not autoregressive."
            )
        options["temperature"] = 1.0 if _TEMPERATURE.value is None else _TEMPERATURE.value
    if _KEEP_ROWS.value is not None:
        write_atomically(out, png(completions(model, _KEEP_ROWS.value, options)))
        print(out)
        return
    samples = model.sample(_NUM.value, labels, **options)
    if out.suffix == ".npz":
        save_array(samples, out)
    elif out.suffix == ".wav":
        save_samples(samples, model.num_levels, out, sample_rate_hz)
    else:
        image = picture(samples, model.num_levels)
        if image is None:
            raise ValueError(
                "--out must end in .npz, of audio .wav: samples of this shape have no picture."
            )
        write_atomically(out, png(image))
    print(out)


def completions(model: Any, keep_rows: int, options: dict[str, Any]) -> Any:
    """A picture of test images, what is kept of them, and completions."""
    import numpy as np

    from tfgen.evaluation.pictures import completion_strip
    from tfgen.training.config import load_data
    from tfgen.training.run import read_config

    if pathlib.Path(_OUT.value).suffix != ".png" or len(model.event_shape) != 3:
        raise ValueError("--keep_rows must be absent unless --out is a .png file of images.")
    height, width, _ = model.event_shape
    if not 0 < keep_rows < height:
        raise ValueError(f"--keep_rows must be 1 to {height - 1}; received: {keep_rows}.")
    test = load_data(read_config(_WORKDIR.value)).test[: _NUM.value]
    mask = np.zeros((height, width), bool)
    mask[:keep_rows] = True
    given = np.repeat(test.x, NUM_COMPLETIONS, axis=0)
    y = None if model.num_classes is None else np.repeat(test.y, NUM_COMPLETIONS, axis=0)
    drawn = model.sample(len(given), y, given=given, mask=mask, **options).numpy()
    drawn = drawn.reshape(len(test), NUM_COMPLETIONS, *model.event_shape)
    return completion_strip(test.x, mask, drawn, model.num_levels)


if __name__ == "__main__":
    run(main, "python -m apps.sample --workdir=DIR --num=64 --seed=0 --out=grid.png")
