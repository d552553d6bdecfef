"""Chooses the weights of an objective without test labels and reports several seeds of the choice.

    python -m apps.select --config=configs/csg_shifted_digits.py --workdir=runs/csg \
        --parameters=generative_weight
    python -m apps.select --config=configs/classifier_shifted_digits.py --workdir=runs/ce
    python -m apps.select --config=configs/csg_da_shifted_digits.py --workdir=runs/csg_da \
        --parameters=generative_weight,adaptation_weight --baseline=runs/ce

The rule is the paper's: the largest weight that leaves the accuracy on the training domain's
validation set as it is. Labels of test domains are read only when the choice is in choice.json.
With --baseline, the folder of another selection on the same data, it says whether it helped.
"""

from absl import flags
from ml_collections import config_flags

from apps.common import run

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file.", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder to write to.")
_PARAMETERS = flags.DEFINE_list("parameters", [], "Weights of the objective to choose, in order.")
_VALUES = flags.DEFINE_list("values", None, "Candidates; {3, 1} x 10^-1 ... 10^-6 without.")
_NUM_SEEDS = flags.DEFINE_integer("num_seeds", 5, "Trainings with the chosen weights.")
_TOLERANCE = flags.DEFINE_float("tolerance", 0.005, "Loss of accuracy that counts as none.")
_BASELINE = flags.DEFINE_string("baseline", None, "Folder of another selection, to compare with.")


def main() -> None:
    for name, flag in (("--config", _CONFIG), ("--workdir", _WORKDIR)):
        if flag.value is None:
            raise ValueError(f"{name} must be given; received: nothing.")
    import pathlib

    from tfgen.training.files import read_json
    from tfgen.training.selection import GRID, compare, select

    baseline = None
    if _BASELINE.value is not None:
        path = pathlib.Path(_BASELINE.value) / "results.json"
        if not path.exists():
            raise ValueError(f"--baseline must be a folder with results.json; received: {path}.")
        baseline = read_json(path)
    try:
        values = GRID if _VALUES.value is None else [float(value) for value in _VALUES.value]
    except ValueError as error:
        raise ValueError(f"--values must be numbers; received: {_VALUES.value}.") from error
    results = select(
        _CONFIG.value.to_dict(),
        _WORKDIR.value,
        _PARAMETERS.value,
        values,
        _NUM_SEEDS.value,
        _TOLERANCE.value,
    )
    print(f"\n{_CONFIG.value.objective.type} of {_CONFIG.value.model.type}")
    print(f"chosen: {results['weights'] or 'nothing to choose'}")
    print(f"accuracy in %, median (minimum to maximum) of {results['num_seeds']} seeds")
    against = {} if baseline is None else compare(results, baseline)
    rows = {"validation": results["validation_accuracy"], **results["accuracy"]}
    for name, row in rows.items():
        median, low, high = (100 * row[key] for key in ("median", "minimum", "maximum"))
        line = f"  {name:<14}{median:6.1f}  ({low:.1f} to {high:.1f})"
        if name == results["adapted_to"]:
            line += "  adapted to"
        if name in against:
            line += f"  {100 * against[name]['median']:+.1f}: {against[name]['verdict']}"
        print(line)
    print(f"\n  {_WORKDIR.value}/results.json")


if __name__ == "__main__":
    run(main, "python -m apps.select --config=configs/NAME.py --workdir=DIR")
