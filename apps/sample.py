"""Draws samples from a run's model: a picture (.png), audio (.wav), or an array (.npz, key x).

python -m apps.sample --workdir=runs/digits --num=64 --seed=0 --out=grid.png
python -m apps.sample --workdir=runs/digits --num=8 --keep_rows=4 --out=completions.png
python -m apps.sample --workdir=runs/digits --num=8 --interpolate --out=interpolations.png
python -m apps.sample --workdir=runs/digits --num=8 --temperatures=0.5,0.7,1.0 --out=sweep.png
python -m apps.sample --workdir=runs/vae --num=32 --reconstruct --out=reconstructions.png
python -m apps.sample --workdir=runs/vae --num=10 --traverse --out=latents.png
python -m apps.sample --workdir=runs/vae --latent_map --out=map.png
python -m apps.sample --workdir=runs/csg --num=6 --recombine --out=recombined.png
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
_TEMPERATURE = flags.DEFINE_float(
    "temperature", None, "Scale of a flow's noise, or of an autoregressive model's conditionals."
)
_TEMPERATURES = flags.DEFINE_list(
    "temperatures", None, "A row of --num samples for each of these, all rows with the same noise."
)
_INTERPOLATE = flags.DEFINE_boolean(
    "interpolate", False, "Straight paths between the codes of --num pairs of test images."
)
_KEEP_ROWS = flags.DEFINE_integer(
    "keep_rows", None, "Keep so many rows of --num test images and draw the rest, four times."
)
_RECONSTRUCT = flags.DEFINE_boolean(
    "reconstruct", False, "--num test images, each beside the mean of p(x | z) at its code."
)
_TRAVERSE = flags.DEFINE_boolean(
    "traverse",
    False,
    "One test image's code with one latent after the other set to -3 .. 3, the most active first.",
)
_LATENT_MAP = flags.DEFINE_boolean(
    "latent_map", False, "The test set's codes in their principal plane, coloured by label."
)
_RECOMBINE = flags.DEFINE_boolean(
    "recombine",
    False,
    "--num test images, all classes in turn: what causes the label from those at the left, the "
    "rest from those at the top.",
)
_OUT = flags.DEFINE_string("out", "samples.png", "File to write, .png, .wav or .npz.")


NUM_COMPLETIONS = 4
NUM_POINTS = 9  # of a path, its two ends included
TRAVERSED = 3.0  # standard deviations of N(0, 1)


def main() -> None:
    if _WORKDIR.value is None:
        raise ValueError("--workdir must be given; received: nothing.")
    if _NUM.value < 1:
        raise ValueError(f"--num must be at least 1; received: {_NUM.value}.")
    out = pathlib.Path(_OUT.value)
    if out.suffix not in (".png", ".wav", ".npz"):
        raise ValueError(f"--out must end in .png, .wav or .npz; received: {_OUT.value!r}.")
    pictures = {
        "--keep_rows": (_KEEP_ROWS.value is not None, completions),
        "--interpolate": (_INTERPOLATE.value, interpolations),
        "--temperatures": (_TEMPERATURES.value is not None, temperature_sweep),
        "--reconstruct": (_RECONSTRUCT.value, reconstructions),
        "--traverse": (_TRAVERSE.value, latent_traversals),
        "--latent_map": (_LATENT_MAP.value, latent_map),
        "--recombine": (_RECOMBINE.value, recombinations),
    }
    asked = [flag for flag, (is_asked, _) in pictures.items() if is_asked]
    if len(asked) > 1:
        raise ValueError(f"{' and '.join(asked)} must be given one at a time.")
    if asked and out.suffix != ".png":
        raise ValueError(f"{asked[0]} must be absent unless --out is a .png file.")
    for value in _TEMPERATURES.value or ():
        _temperature(value)

    import tensorflow as tf

    from tfgen.evaluation.pictures import picture
    from tfgen.models import AutoregressiveModel, Flow
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
    if _TEMPERATURE.value is not None or _TEMPERATURES.value is not None:
        if not isinstance(model, AutoregressiveModel | Flow):
            raise ValueError(
                "--temperature and --temperatures must be absent: the model's samples have none."
            )
        options["temperature"] = 1.0 if _TEMPERATURE.value is None else _TEMPERATURE.value
    for flag in asked:
        if flag != "--latent_map" and len(model.event_shape) != 3:
            raise ValueError(f"{flag} must be absent: the run's data are no images.")
        write_atomically(out, png(pictures[flag][1](model, labels, options)))
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


def _temperature(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if value < 0:
        raise ValueError(f"--temperatures must be numbers, none negative; received: {text!r}.")
    return value


def completions(model: Any, labels: Any, options: dict[str, Any]) -> Any:
    """A picture of test images, what is kept of them, and completions."""
    import numpy as np

    from tfgen.evaluation.pictures import completion_strip
    from tfgen.models import AutoregressiveModel

    if not isinstance(model, AutoregressiveModel):
        raise ValueError("--keep_rows must be absent: the model is not autoregressive.")
    height, width, _ = model.event_shape
    keep_rows, num_levels = _KEEP_ROWS.value or 0, model.num_levels or 0
    if not 0 < keep_rows < height:
        raise ValueError(f"--keep_rows must be 1 to {height - 1}; received: {keep_rows}.")
    test = load_test_split()[: _NUM.value]
    mask = np.zeros((height, width), bool)
    mask[:keep_rows] = True
    given = np.repeat(test.x, NUM_COMPLETIONS, axis=0)
    y = None if model.num_classes is None else np.repeat(test.y, NUM_COMPLETIONS, axis=0)
    drawn = model.sample(len(given), y, given=given, mask=mask, **options).numpy()
    drawn = drawn.reshape(len(test), NUM_COMPLETIONS, *model.event_shape)
    return completion_strip(test.x, mask, drawn, num_levels)


def interpolations(model: Any, labels: Any, options: dict[str, Any]) -> Any:
    """A picture with a row for each pair of test images: what lies between their codes.

    Pairs are neighbours in the test set; for a conditional model, among the images of a class.
    """
    import functools
    import itertools

    import numpy as np

    from tfgen.evaluation.pictures import image_rows, straight_paths
    from tfgen.models import Flow, LatentVariableModel

    if not isinstance(model, Flow | LatentVariableModel):
        raise ValueError("--interpolate must be absent: the model has no codes.")
    test = load_test_split()
    groups = [np.arange(len(test))]
    if model.num_classes is not None:
        classes = range(model.num_classes) if _LABEL.value is None else [_LABEL.value]
        groups = [np.flatnonzero(test.y == label) for label in classes]
    pairs = [group[: len(group) // 2 * 2].reshape(-1, 2) for group in groups]
    in_turn = [pair for row in itertools.zip_longest(*pairs) for pair in row if pair is not None]
    first, second = np.stack(in_turn[: _NUM.value], axis=1)
    y = None if model.num_classes is None else test.y[first]
    encode: Any = model.encode
    decode: Any = model.decode
    if isinstance(model, Flow):  # integers are dequantised
        encode = functools.partial(encode, seed=options["seed"])
    else:
        decode = functools.partial(model.decode_or_draw, seed=options["seed"])
    start, end = (np.asarray(encode(test.x[rows], y)) for rows in (first, second))
    path = straight_paths(start, end, NUM_POINTS)
    y = None if y is None else np.repeat(y, NUM_POINTS)
    decoded = np.asarray(decode(path.reshape(-1, *path.shape[2:]), y))
    return image_rows(decoded.reshape(*path.shape[:2], *model.event_shape), model.num_levels)


def temperature_sweep(model: Any, labels: Any, options: dict[str, Any]) -> Any:
    """A picture with a row of samples for each temperature; a column has the same noise."""
    import numpy as np

    from tfgen.evaluation.pictures import image_rows

    rows = [
        np.asarray(model.sample(_NUM.value, labels, **{**options, "temperature": value}))
        for value in map(_temperature, _TEMPERATURES.value or ())
    ]
    return image_rows(np.stack(rows), model.num_levels)


def reconstructions(model: Any, labels: Any, options: dict[str, Any]) -> Any:
    """A picture of test images, each beside the mean of p(x | z) at the posterior's mean."""
    import numpy as np

    from tfgen.evaluation.pictures import image_pairs

    _check_has_latents(model, "--reconstruct")
    test = load_test_split()[: _NUM.value]
    y = test.y if model.is_conditional else None
    decoded = np.asarray(model.reconstruct(test.x, y, options["seed"]))
    return image_pairs(test.x, decoded, model.num_levels)


def latent_traversals(model: Any, labels: Any, options: dict[str, Any]) -> Any:
    """A picture with a row for each of the --num most active latents, the most active first.

    Along a row that latent goes from -3 to 3, and the others keep the code of the test set's first
    image (of the class --label).
    """
    import numpy as np

    from tfgen.evaluation.active_units import activities
    from tfgen.evaluation.codes import posterior_means
    from tfgen.evaluation.pictures import image_rows, traversals

    _check_has_latents(model, "--traverse")
    test = load_test_split()
    codes = posterior_means(model, test)
    index = 0 if _LABEL.value is None else int(np.argmax(test.y == _LABEL.value))
    dimensions = np.argsort(-activities(codes), kind="stable")[: _NUM.value]
    values = np.linspace(-TRAVERSED, TRAVERSED, NUM_POINTS)
    path = traversals(codes[index].reshape(model.latent_shape), dimensions, values)
    y = None
    if model.is_conditional:
        y = np.repeat(test.y[[index]], len(dimensions) * NUM_POINTS, axis=0)
    path_of_codes = path.reshape(-1, *model.latent_shape)
    decoded = np.asarray(model.decode_or_draw(path_of_codes, y, options["seed"]))
    return image_rows(decoded.reshape(*path.shape[:2], *model.event_shape), model.num_levels)


def latent_map(model: Any, labels: Any, options: dict[str, Any]) -> Any:
    """A picture of the test set's posterior means, in the colours of the labels if it has such."""
    from tfgen.evaluation.codes import posterior_means
    from tfgen.evaluation.pictures import principal_plane, scatter
    from tfgen.training.config import load_labelled_data
    from tfgen.training.run import read_config

    _check_has_latents(model, "--latent_map")
    try:  # an unconditional model trained on data without their labels
        test = load_labelled_data(read_config(_WORKDIR.value)).test
    except ValueError:
        test = load_test_split()
    codes = posterior_means(model, test)
    points, share = principal_plane(codes)
    if codes.shape[1] > 2:
        print(f"two principal components of {codes.shape[1]}: {share:.1%} of the codes' variance")
    return scatter(points, test.y)


def recombinations(model: Any, labels: Any, options: dict[str, Any]) -> Any:
    """A picture of test images at the left and at the top, and between them the means of
    p(x | s, v) with the s of the image at the left and the v of the one above."""
    import numpy as np

    from tfgen.evaluation.pictures import image_rows

    if not hasattr(model, "recombine"):
        raise ValueError("--recombine must be absent: the model's latents are not those of causes.")
    test = load_test_split()
    before = [np.count_nonzero(test.y[:i] == label) for i, label in enumerate(test.y)]
    x = test.x[np.lexsort((test.y, before))[: _NUM.value]]
    num = len(x)
    mixed = model.recombine(np.repeat(x, num, axis=0), np.concatenate([x] * num))
    mixed = np.reshape(mixed, [num, num, *model.event_shape])
    top = np.concatenate([np.zeros_like(x[:1]), x])[None]
    return image_rows(
        np.concatenate([top, np.concatenate([x[:, None], mixed], 1)]), model.num_levels
    )


def _check_has_latents(model: Any, flag: str) -> None:
    from tfgen.models import LatentVariableModel

    if not isinstance(model, LatentVariableModel):
        raise ValueError(f"{flag} must be absent: the model has no latents.")


def load_test_split() -> Any:
    """The test set of the run's data."""
    from tfgen.training.config import load_data
    from tfgen.training.run import read_config

    return load_data(read_config(_WORKDIR.value)).test


if __name__ == "__main__":
    run(main, "python -m apps.sample --workdir=DIR --num=64 --seed=0 --out=grid.png")
