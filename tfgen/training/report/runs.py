"""What a workdir holds of a run, read for a report, and which runs may share an axis."""

import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfgen.checks import check_argument

NUMBERS = (  # of `results.json`
    "nats",
    "standard_error",
    "num_parameters",
    "training_seconds",
    "best_step",
    "num_steps",
)


@dataclasses.dataclass(frozen=True)
class Curve:
    """A quantity over the steps, finite values only."""

    steps: list[int]
    values: list[float]


@dataclasses.dataclass(frozen=True)
class Run:
    """A run as its workdir tells it.

    Attributes:
        name: what the report calls it; no two runs have the same.
        workdir: its folder.
        config: the resolved config.
        results: the contents of `results.json`; empty while the run goes on.
        curves: the quantities of `metrics.jsonl`.
        notes: what was left out of them, and why.
    """

    name: str
    workdir: pathlib.Path
    config: Mapping[str, Any]
    results: Mapping[str, Any]
    curves: Mapping[str, Curve]
    notes: Sequence[str]

    @property
    def metric(self) -> str:
        """`bits_per_dim` of integers; of real data `nats`, whose density has no other unit."""
        return _metric(self.config)

    @property
    def data(self) -> dict[str, Any]:
        """What decides whether two likelihoods are of the same quantity: the data with all their
        options, their shape and their levels.

        Of data with labels also the model: some give the likelihood of x given y, some that of
        both, some that of y given x.
        """
        model, data = self.config["model"], self.config["data"]
        keys = ["event_shape", "num_levels", *(["type"] if data.get("labels") else [])]
        return {**data, **{key: model.get(key) for key in keys}}

    def is_comparable(self, other: "Run") -> bool:
        """Whether the likelihoods have the same unit and are of the same data; of runs that have
        ended, also prepared alike."""
        prepared = [run.results.get("data") for run in (self, other)]
        alike = None in prepared or prepared[0] == prepared[1]
        return self.data == other.data and alike


def read_runs(workdirs: Sequence[Any]) -> list[Run]:
    """The runs of these folders.

    Raises:
        ValueError: no folder, the same one twice, one without a run, or a damaged file.
    """
    check_argument(len(workdirs) > 0, "workdirs", "at least one folder of a run", list(workdirs))
    paths = [pathlib.Path(workdir) for workdir in workdirs]
    real = [path.resolve() for path in paths]
    for path, resolved in zip(paths, real, strict=True):
        check_argument(real.count(resolved) == 1, "workdirs", "all different", str(path))
    names = [path.name for path in real]
    if len(set(names)) < len(names):
        above = os.path.commonpath([path.parent for path in real])
        names = [str(path.relative_to(above)) for path in real]
    return [_read_run(path, name) for path, name in zip(paths, names, strict=True)]


def comparable_groups(runs: Iterable[Run]) -> list[list[Run]]:
    """The runs in groups in which each is comparable with every other."""
    groups: list[list[Run]] = []
    for run in runs:
        fitting = (group for group in groups if all(run.is_comparable(other) for other in group))
        group = next(fitting, None)
        if group is None:
            groups.append([run])
        else:
            group.append(run)
    return groups


def _read_run(workdir: pathlib.Path, name: str) -> Run:
    path = workdir / "config.json"
    check_argument(path.exists(), "workdir", "a folder with a run (config.json)", str(workdir))
    config = _read_object(path)
    for section in ("data", "model", "objective"):
        is_section = isinstance(config.get(section), dict)
        check_argument(is_section, str(path), f"a config with the section {section!r}", config)
    is_resolved = isinstance(config["model"].get("event_shape"), list) and "name" in config["data"]
    allowed = "a config with data.name and model.event_shape, as a run resolves it"
    check_argument(is_resolved, str(path), allowed, {**config["data"], **config["model"]})
    path = workdir / "results.json"
    results = _read_object(path) if path.exists() else {}
    for key in (*NUMBERS, _metric(config)) if results else ():
        is_number = type(results.get(key, 0)) in (int, float)
        check_argument(is_number, str(path), f"results with a number as {key!r}", results.get(key))
    needed = {_metric(config), "kind", "nats", "standard_error"}
    is_whole = not results or needed <= results.keys()
    check_argument(is_whole, str(path), f"results with {sorted(needed)}", sorted(results))
    curves, notes = _read_metrics(workdir / "metrics.jsonl")
    return Run(name, workdir, config, results, curves, notes)


def _metric(config: Mapping[str, Any]) -> str:
    return "nats" if config["model"].get("num_levels") is None else "bits_per_dim"


def _read_object(path: pathlib.Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except ValueError as error:  # also of bytes that are no text
        raise ValueError(f"{path} must be JSON as the run wrote it; received: {error}.") from error
    check_argument(isinstance(value, dict), str(path), "a JSON object", type(value).__name__)
    return value


def _read_metrics(path: pathlib.Path) -> tuple[dict[str, Curve], list[str]]:
    """The curves of `metrics.jsonl`, and notes on what is not in them.

    A last line without its end is one that the run is writing, or that a crash cut short.
    """
    allowed = "a file of metrics as the run writes it"
    check_argument(path.exists(), str(path), allowed, "no file")
    try:
        text = path.read_text()
    except ValueError as error:
        raise ValueError(f"{path} must be {allowed}; received: {error}.") from error
    *lines, rest = text.split("\n")
    notes = ["the last line of metrics.jsonl is incomplete and left out"] if rest else []
    check_argument(len(lines) > 0, str(path), "a file with a line of metrics", "none")
    curves: dict[str, Curve] = {}
    infinite: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        for name, step, value in _read_line(line, f"{path}, line {number},"):
            if not math.isfinite(value):
                infinite[name] = infinite.get(name, 0) + 1
                continue
            curve = curves.setdefault(name, Curve([], []))
            if curve.steps and step <= curve.steps[-1]:
                raise ValueError(
                    f"{path}, line {number}, must have a step above that of the lines before; "
                    f"received: {step} after {curve.steps[-1]}."
                )
            curve.steps.append(step)
            curve.values.append(value)
    notes += [
        f"{count} values of {name} are not finite and left out" for name, count in infinite.items()
    ]
    return curves, notes


def _read_line(line: str, where: str) -> Iterable[tuple[str, int, float]]:
    try:
        values = json.loads(line)
    except ValueError:
        values = None
    numbers = isinstance(values, dict) and all(type(v) in (int, float) for v in values.values())
    is_line = numbers and type(values.get("step")) is int
    check_argument(is_line, where, 'a JSON object of numbers with a "step"', line[:80])
    step = values.pop("step")
    return [(name, step, float(value)) for name, value in values.items()]
