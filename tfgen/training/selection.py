"""Choosing weights without test labels, and what several seeds of the choice are worth."""

import json
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfgen.checks import check_argument, check_integer
from tfgen.data.domains import Domains, load_domains
from tfgen.data.splits import Split
from tfgen.training.config import build_model, check_config, compile_model, resolve_model
from tfgen.training.files import read_json, write_json
from tfgen.training.run import provenance

NUM_EVALUATIONS = 4  # whose mean is a run's accuracy
GRID = tuple(factor * 10.0**-exponent for exponent in range(1, 7) for factor in (3, 1))


class SealedDomains:
    """Domains whose test labels cannot be had before a choice is written.

    Args:
        domains: all of them.
        path: of the file with the choice.
    """

    def __init__(self, domains: Domains, path: pathlib.Path):
        self._domains, self._path = domains, path
        self.train, self.validation, self.info = domains.train, domains.validation, domains.info

    def training_split(self, adapt_to: str | None) -> Split:
        """The training domain, with the images of one test domain, without their labels."""
        if adapt_to is None:
            return self.train
        return self._domains.splits(adapt_to, adapt=True).train

    def tests(self) -> Mapping[str, Split]:
        """The test domains.

        Raises:
            ValueError: the choice has not been written.
        """
        check_argument(
            self._path.exists(),
            "test labels",
            f"left alone until the choice is written to {self._path}",
            "a request for them",
        )
        return self._domains.tests


def select(
    config: Mapping[str, Any],
    workdir: Any,
    parameters: Sequence[str] = (),
    values: Sequence[float] = GRID,
    num_seeds: int = 5,
    tolerance: float = 0.005,
) -> dict[str, Any]:
    """Chooses weights of the objective by the rule of [1, appendix F.3], then trains several seeds.

    The rule, for one weight after the other: the *largest* of `values` with which the accuracy on
    the validation set of the training domain is at most `tolerance` below that with the weight 0;
    0 if there is none. It needs no labels of a test domain, and they cannot be read before the
    choice is in `choice.json`. A validation accuracy is that of the training-domain predictor
    (`predict_training`), a test accuracy that of `predict`; each is the mean over the last four
    evaluations, `config.validate_every_steps` apart.

    Then `num_seeds` seeds are trained with the choice, and each is evaluated on all test domains.
    With `config.data.adapt` the images of `config.data.test` are trained on, without labels; other
    test domains are then ones that the model was not adapted to.

    Writes into `workdir`: `choice.json`, `runs.json` (every training so far: the same call goes on
    from there), `results.json` and `model.keras`, the first seed's.

    Args:
        config: as for `tfgen.training.train`, with data of `tfgen.data.domains`.
        workdir: the folder to write to.
        parameters: arguments of the objective to choose, in this order, e.g. "generative_weight",
            then "adaptation_weight".
        values: candidates.
        num_seeds: of the trainings with the chosen weights.
        tolerance: of accuracy.

    Returns:
        The contents of `results.json`: for each test domain the accuracies of the seeds, their
        `median`, `minimum` and `maximum`.

    Raises:
        ValueError: an impossible value, data without domains, or a `workdir` of another config.

    [1] Liu, Sun, Wang, Tang, Li, Qin, Chen, Liu. Learning causal semantic representation for
        out-of-distribution prediction. NeurIPS 2021. arXiv:2011.01681
    """
    config = json.loads(json.dumps(config))
    check_config(config)
    check_integer("num_seeds", num_seeds, minimum=1)
    check_argument(0 <= tolerance < 1, "tolerance", "in [0, 1)", tolerance)
    values = sorted(map(float, values), reverse=True)
    check_argument(values and values[-1] > 0, "values", "positive numbers", values)
    enough = config["num_steps"] >= NUM_EVALUATIONS
    check_argument(enough, "config.num_steps", f"at least {NUM_EVALUATIONS}", config["num_steps"])
    workdir = pathlib.Path(workdir)
    options = {k: v for k, v in config["data"].items() if k not in ("labels", "test", "adapt")}
    domains = SealedDomains(load_domains(options.pop("name"), **options), workdir / "choice.json")
    adapt_to = config["data"]["test"] if config["data"].get("adapt") else None
    _check_same(config, workdir)
    write_json(workdir / "config.json", config)

    trainer = Trainer(domains, adapt_to, workdir)
    choice = _choose(config, trainer, parameters, values, tolerance)
    chosen = _with_weights(config, choice["weights"])
    runs = [
        trainer.run({**chosen, "seed": config["seed"] + i}, is_final=True) for i in range(num_seeds)
    ]
    results = {
        "weights": choice["weights"],
        "adapted_to": adapt_to,
        "accuracy": {
            name: _summary([run["tests"][name] for run in runs]) for name in runs[0]["tests"]
        },
        "validation_accuracy": _summary([run["validation"] for run in runs]),
        "num_seeds": num_seeds,
        **provenance(),
    }
    write_json(workdir / "results.json", results)
    return results


def compare(results: Mapping[str, Any], baseline: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Whether it helped: for each test domain, differences of accuracy seed by seed to a baseline.

    The `verdict` is "helped" or "hurt" where every seed differs in the one direction, else "not
    told apart". (With five seeds of equal methods, either verdict has a chance of 1 in 32.)

    Raises:
        ValueError: other test domains, or another number of seeds.
    """
    table = {}
    same = list(results["accuracy"]) == list(baseline["accuracy"])
    check_argument(same, "baseline", "of the same test domains", list(baseline["accuracy"]))
    for name, mine in results["accuracy"].items():
        pairs = zip(mine["seeds"], baseline["accuracy"][name]["seeds"], strict=False)
        differences = [a - b for a, b in pairs]
        fits = len(differences) == len(mine["seeds"]) == len(baseline["accuracy"][name]["seeds"])
        check_argument(fits, "baseline", "of as many seeds", baseline["num_seeds"])
        verdict = "not told apart"
        if min(differences) > 0:
            verdict = "helped"
        elif max(differences) < 0:
            verdict = "hurt"
        table[name] = {**_summary(differences), "verdict": verdict}
    return table


def accuracy(predict: Any, split: Split, batch_size: int) -> float:
    """Share of examples whose label has the highest of `predict`'s probabilities.

    Args:
        predict: of a batch, and of its domains where the split has them, `[B, C]`; compiled by the
            caller.
        split: with labels.
        batch_size: examples at a time; the last batch is filled up and the filling dropped.
    """
    assert split.y is not None
    hits = 0
    for start in range(0, len(split), batch_size):
        rows = np.arange(start, start + batch_size) % len(split)
        kept = min(batch_size, len(split) - start)
        inputs = [split.x[rows], *([] if split.domain is None else [split.domain[rows]])]
        predicted = np.argmax(predict(*map(tf.convert_to_tensor, inputs)), axis=-1)
        hits += int((predicted == split.y[rows])[:kept].sum())
    return hits / len(split)


class Trainer:
    """Trains and evaluates; trainings that differ in the seed alone are compiled once.

    Args:
        domains: what is trained and evaluated on.
        adapt_to: the test domain whose images are trained on, or None.
        workdir: the folder of `runs.json` and `model.keras`.
    """

    def __init__(self, domains: SealedDomains, adapt_to: str | None, workdir: pathlib.Path):
        self.domains, self.adapt_to, self.workdir = domains, adapt_to, workdir
        self.compiled: dict[str, Any] = {}  # the config, the model and its functions

    def run(self, config: Mapping[str, Any], is_final: bool = False) -> dict[str, Any]:
        """Trains unless `runs.json` has it: accuracies, of test domains only if `is_final`."""
        path = self.workdir / "runs.json"
        known = read_json(path) if path.exists() else {}
        key = json.dumps([config["objective"], config["seed"], is_final], sort_keys=True)
        if key in known:
            return known[key]
        train = self.domains.training_split(self.adapt_to)
        model = self.prepare(config)
        size = config["evaluation"]["batch_size"]
        predict, predict_training = self.compiled["functions"]
        found: dict[str, list[float]] = {}
        start = 0
        for remaining in range(NUM_EVALUATIONS - 1, -1, -1):
            end = max(config["num_steps"] - remaining * config["validate_every_steps"], start + 1)
            batches = train.training_batches(
                config["batch_size"], config["seed"], start, end - start
            )
            batches = batches.prefetch(config["prefetch_batches"])
            model.fit(batches, epochs=1, shuffle=False, verbose=0)
            start = end
            with model.averaged_weights():
                values = {"validation": accuracy(predict_training, self.domains.validation, size)}
                if is_final:
                    for name, split in self.domains.tests().items():
                        values[f"test/{name}"] = accuracy(predict, split, size)
            for name, value in values.items():
                found.setdefault(name, []).append(value)
        means = {name: statistics.fmean(values) for name, values in found.items()}
        tests = {n.removeprefix("test/"): v for n, v in means.items() if n.startswith("test/")}
        run = {"validation": means["validation"], **({"tests": tests} if is_final else {})}
        if is_final and not (self.workdir / "model.keras").exists():
            model.save(self.workdir / "model.keras")
        write_json(path, {**known, key: run})
        return run

    def prepare(self, config: Mapping[str, Any]) -> Any:
        """The compiled model, with the initial values that `config.seed` gives."""
        fresh = build_model(config, resolve_model(config, self.domains))
        same = {**config, "seed": None}
        if self.compiled.get("config") != same:
            compile_model(fresh, config, self.domains.info)
            self.compiled = {
                "config": same,
                "model": fresh,
                "optimizer": [v.numpy() for v in fresh.optimizer.variables],
                "functions": [
                    tf.function(function, jit_compile=config["jit_compile"], autograph=False)
                    for function in (fresh.predict, fresh.predict_training)
                ],
            }
            return fresh
        model = self.compiled["model"]
        for variable, start in zip(model.variables, fresh.variables, strict=True):
            variable.assign(start)
        for variable, start in zip(
            model.optimizer.variables, self.compiled["optimizer"], strict=True
        ):
            variable.assign(start)
        return model


def _choose(
    config: Mapping[str, Any],
    trainer: Trainer,
    parameters: Sequence[str],
    values: Sequence[float],
    tolerance: float,
) -> dict[str, Any]:
    """Applies the rule and writes `choice.json`; a choice that is there is final."""
    path = trainer.workdir / "choice.json"
    asked = {"parameters": list(parameters), "values": list(values), "tolerance": tolerance}
    if path.exists():
        choice = read_json(path)
        same = choice["asked"] == asked
        check_argument(same, "workdir", f"one with the choice among {asked}", choice["asked"])
        return choice
    weights: dict[str, float] = dict.fromkeys(parameters, 0.0)
    tried = []
    for name in parameters:
        reference = None
        for value in (0.0, *values):
            weights[name] = value
            run = trainer.run(_with_weights(config, weights))
            tried.append({**weights, "validation_accuracy": run["validation"]})
            if reference is None:
                reference = run["validation"]
            elif run["validation"] >= reference - tolerance:
                break
        else:
            weights[name] = 0.0
    choice = {"weights": weights, "asked": asked, "tried": tried}
    write_json(path, choice)
    return choice


def _with_weights(config: Mapping[str, Any], weights: Mapping[str, float]) -> dict[str, Any]:
    return {**config, "objective": {**config["objective"], **weights}}


def _check_same(config: Mapping[str, Any], workdir: pathlib.Path) -> None:
    path = workdir / "config.json"
    same = not path.exists() or read_json(path) == config
    check_argument(same, "workdir", "new, or of a selection with the same config", str(workdir))


def _summary(values: Sequence[float]) -> dict[str, Any]:
    return {
        "median": statistics.median(values),
        "minimum": min(values),
        "maximum": max(values),
        "seeds": list(values),
    }
