"""Writes a run's model as a SavedModel for TensorFlow Serving: OUT/1, then OUT/2, ...

python -m apps.export --workdir=runs/digits --out=saved_models/digits
"""

from absl import flags

from apps.common import run

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_OUT = flags.DEFINE_string("out", None, "Folder of the model's versions.")


def main() -> None:
    for name, flag in (("--workdir", _WORKDIR), ("--out", _OUT)):
        if flag.value is None:
            raise ValueError(f"{name} must be given; received: nothing.")
    import tfgen
    from tfgen.export import signature_table

    version = tfgen.export(tfgen.load(_WORKDIR.value), _OUT.value)
    rows = [("signature", "", "name", "dtype", "shape")]
    for signature, sides in signature_table(version).items():
        for side, tensors in sides.items():
            for name, (dtype, shape) in tensors.items():
                sizes = ", ".join("B" if size is None else str(size) for size in shape)
                rows.append((signature, side.removesuffix("s"), name, dtype, f"[{sizes}]"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  " + "  ".join(cells).rstrip())
    print(f"\n  {version}")


if __name__ == "__main__":
    run(main, "python -m apps.export --workdir=DIR --out=saved_models/NAME")
