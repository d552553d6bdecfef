"""The functions that `config.evaluation.metrics` may name.

Each is `metric(model, split, **options) -> dict`, what it finds for a report. One with an argument
`train` is given the training split besides, and labels with both; one with an argument
`jit_compile` is told whether the run compiles.
"""

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tfgen.checks import check_argument, check_one_of
from tfgen.evaluation.active_units import active_units
from tfgen.evaluation.inference_gap import inference_gap
from tfgen.evaluation.mutual_information import mutual_information
from tfgen.evaluation.representation import representation

METRICS: Mapping[str, Callable[..., dict[str, Any]]] = {
    metric.__name__: metric
    for metric in (active_units, inference_gap, mutual_information, representation)
}
_GIVEN = ("train", "jit_compile")  # by the run


def resolve(spec: Any) -> tuple[Callable[..., dict[str, Any]], dict[str, Any]]:
    """A metric and its options, from its name or from a mapping of `type` and options.

    Raises:
        ValueError: an unknown metric or option.
    """
    name, options = spec, {}
    if isinstance(spec, Mapping):
        options = dict(spec)
        name = options.pop("type", None)
    check_one_of("config.evaluation.metrics", name, sorted(METRICS))
    metric = METRICS[name]
    allowed = [*inspect.signature(metric).parameters][2:]
    allowed = [option for option in allowed if option not in _GIVEN]
    for option in options:
        close = difflib.get_close_matches(option, allowed, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        listed = f"one of {', '.join(allowed)}"
        check_argument(option in allowed, f"an option of {name}", listed, f"{option}{hint}")
    return metric, options


def needs_train(specs: Sequence[Any]) -> bool:
    """Whether one of the metrics looks at the training split."""
    return any("train" in inspect.signature(resolve(spec)[0]).parameters for spec in specs)


def evaluate_metrics(
    specs: Sequence[Any], model: Any, test: Any, train: Any = None, jit_compile: bool = True
) -> dict[str, Any]:
    """What all the metrics find.

    Args:
        specs: as `resolve` takes them.
        model: as it stands.
        test: the split to evaluate, labelled if one of the metrics `needs_train`.
        train: the labelled training split, then.
        jit_compile: compile with XLA.
    """
    results: dict[str, Any] = {}
    for spec in specs:
        metric, options = resolve(spec)
        taken = inspect.signature(metric).parameters
        given = {"train": train, "jit_compile": jit_compile}
        given = {name: value for name, value in given.items() if name in taken}
        results |= metric(model, test, **given, **options)
    return results
