"""Evaluates a run's model on the whole test split and writes `results.json`.

python -m apps.evaluate --workdir=runs/digits
"""

from absl import flags

from apps.common import run, table

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")


def main() -> None:
    if _WORKDIR.value is None:
        raise ValueError("--workdir must be given; received: nothing.")
    from tfgen.training.run import evaluate

    print(table(evaluate(_WORKDIR.value)))
    print(f"\n  {_WORKDIR.value}/results.json")


if __name__ == "__main__":
    run(main, "python -m apps.evaluate --workdir=DIR")
