"""Draws samples from a run's model: a picture (.png), or an array in data units (.npz, key x).

python -m apps.sample --workdir=runs/digits --num=64 --seed=0 --out=grid.png
"""

from absl import flags

from apps.common import run

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_NUM = flags.DEFINE_integer("num", 64, "Number of samples.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed; the same seed draws the same samples.")
_LABEL = flags.DEFINE_integer("label", None, "Class of the samples; all classes in turn without.")
_OUT = flags.DEFINE_string("out", "samples.png", "File to write, .png or .npz.")


def main() -> None:
    import pathlib

    if _WORKDIR.value is None:
        raise ValueError("--workdir must be given; received: nothing.")
    if _NUM.value < 1:
        raise ValueError(f"--num must be at least 1; received: {_NUM.value}.")
    out = pathlib.Path(_OUT.value)
    if out.suffix not in (".png", ".npz"):
        raise ValueError(f"--out must end in .png or .npz; received: {_OUT.value!r}.")

    import tensorflow as tf

    from tfgen.evaluation.pictures import picture
    from tfgen.training.files import write_atomically
    from tfgen.training.run import load, png, save_array

    model = load(_WORKDIR.value)
    labels = None
    if model.num_classes is not None:
        labels = tf.range(_NUM.value) % model.num_classes if _LABEL.value is None else _LABEL.value
    elif _LABEL.value is not None:
        raise ValueError(
            f"--label must be absent: the model has no classes; received: {_LABEL.value}."
        )
    samples = model.sample(_NUM.value, labels, seed=_SEED.value)
    if out.suffix == ".npz":
        save_array(samples, out)
    else:
        image = picture(samples, model.num_levels)
        if image is None:
            raise ValueError("--out must end in .npz: samples of this shape have no picture.")
        write_atomically(out, png(image))
    print(out)


if __name__ == "__main__":
    run(main, "python -m apps.sample --workdir=DIR --num=64 --seed=0 --out=grid.png")
