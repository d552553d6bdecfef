"""The page of a report: results, curves, pictures, configs."""

import base64
import importlib.resources
import json
import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from tfgen.training.config import flatten
from tfgen.training.report.charts import Series, bars, chart, colour_of, intervals
from tfgen.training.report.runs import Run, comparable_groups, read_runs


class Quantity(NamedTuple):
    """How a quantity of `metrics.jsonl` is shown."""

    title: str
    unit: str = ""
    is_log: bool = False


QUANTITIES = {
    "bits_per_dim": Quantity("negative log-likelihood", "bits/dim"),
    "nats": Quantity("negative log-likelihood", "nats"),
    "loss": Quantity("loss", "nats"),
    "elbo": Quantity("evidence lower bound", "nats"),
    "log_prob": Quantity("log-likelihood", "nats"),
    "reconstruction": Quantity("reconstruction, -log p(x | z)", "nats"),
    "kl": Quantity("KL divergence", "nats"),
    "kl_layer": Quantity("KL divergence of each layer", "nats"),
    "gradient_norm": Quantity("gradient norm", "", True),
    "examples_per_second": Quantity("examples a second"),
}
METRICS = {"bits_per_dim": "bits/dim", "nats": "nats"}
SHOWN = {  # in the table of results, under these heads; all others stand below it
    "num_parameters": "parameters",
    "training_seconds": "training",
    "best_step": "best step",
    "weights": "weights",
    "commit": "commit",
    "hardware": "hardware",
}
PICTURES = {"samples.png": "Samples", "reconstructions.png": "Reconstructions"}
ABOUT_PICTURES = {
    "Samples": "From the best weights, with the run's seed.",
    "Reconstructions": "Held-out images, each with its reconstruction at its right.",
}


def report(workdirs: Sequence[Any]) -> str:
    """An HTML page about these runs that needs no other file and no network.

    Likelihoods stand on one axis only where they have the same unit and are of the same data; a
    loss only where the objectives are the same too. The same runs give the same page.

    Raises:
        ValueError: no folder, the same one twice, one without a run, or a damaged file.
    """
    runs = read_runs(workdirs)
    numbers = {run.name: number for number, run in enumerate(runs)}
    groups = comparable_groups(runs)
    title = ", ".join(run.name for run in runs)
    sections = [_group(group, numbers) for group in groups]
    files = importlib.resources.files("tfgen.training.report")
    style, script = ((files / name).read_text() for name in ("page.css", "page.js"))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body>"
        f"{_header(runs, groups, numbers)}<main>{''.join(sections)}"
        f"{_differences(runs, numbers)}{_records(runs)}</main><script>{script}</script>"
        "</body></html>\n"
    )


def _header(runs: Sequence[Run], groups: Sequence[Any], numbers: Mapping[str, int]) -> str:
    keys = "".join(
        f'<label><input type="checkbox" checked data-run="{numbers[run.name]}">'
        f"{_swatch(numbers[run.name])}{escape(run.name)}</label>"
        for run in runs
    )
    note = ""
    if len(groups) > 1:
        differ = sorted({key for run in runs for key in run.data if _differs(runs, key)})
        reason = ", ".join(f"<code>{escape(key)}</code>" for key in differ)
        note = (
            f'<p class="note separate">These runs are of {len(groups)} different sets of data'
            f"{f' (they differ in {reason})' if differ else ' (prepared differently)'}: their "
            "likelihoods cannot be compared across sets, and each set has axes of its own.</p>"
        )
    data = sorted({str(run.data["name"]) for run in runs})
    count = f"{len(runs)} runs" if len(runs) > 1 else runs[0].name
    headline = escape(f"{count} on {', '.join(data)}")
    return (
        f"<header><h1>{headline}</h1>{note}</header>"
        f'<nav class="runs" aria-label="Runs shown">{keys}'
        '<span class="kinds"><i class="thin"></i>training<i class="thick"></i>validation</span>'
        "</nav>"
    )


def _differs(runs: Sequence[Run], key: str) -> bool:
    return len({json.dumps(run.data.get(key), sort_keys=True) for run in runs}) > 1


def _group(group: Sequence[Run], numbers: Mapping[str, int]) -> str:
    """Everything about runs whose likelihoods are comparable."""
    first = group[0]
    shape = "x".join(map(str, first.data["event_shape"]))
    levels = first.data["num_levels"]
    about = [f"examples of shape {shape}", "real numbers" if levels is None else f"{levels} levels"]
    if first.data.get("labels"):
        about.append(f"with labels, {first.data['type']}")
    unit = METRICS[first.metric]
    about.append(f"likelihoods in {unit}, lower is better")
    return (
        f'<section class="data"><h2>{escape(str(first.data["name"]))}</h2>'
        f'<p class="about">{escape(", ".join(about))}</p>'
        f"{_results(group, numbers)}<h3>Curves</h3>{_curves(group, numbers)}"
        f"{_groups_of_latents(group, numbers)}{_pictures(group, numbers)}</section>"
    )


# ---------------------------------------------------------------------------- results


def _results(group: Sequence[Run], numbers: Mapping[str, int]) -> str:
    metric = group[0].metric
    ended = [run for run in group if metric in run.results]
    heads = ["run", "model", f"test {METRICS[metric]}", "kind", *SHOWN.values()]
    if metric != "nats":
        heads.insert(4, "nats")
    rows = "".join(
        f'<tr class="of-run-{numbers[run.name]}">{_cells(run, numbers[run.name], ended)}</tr>'
        for run in group
    )
    table = _table([*heads], rows, "results")
    plot = ""
    values = [
        (run.name, numbers[run.name], run.results[metric], run.results["standard_error"])
        for run in ended
        if math.isfinite(run.results[metric]) and math.isfinite(run.results["standard_error"])
    ]
    if len(values) > 1:
        plot = intervals(values)
    notes = ["± one standard error of the mean over the test examples."] if ended else []
    if any(run.results.get("kind") == "bound" for run in ended):
        notes.append(
            f"≤ marks an upper bound: the true {METRICS[metric]} of that model may be lower."
        )
    notes += [f"{run.name}: {note}." for run in group for note in run.notes]
    notes += [
        f"{run.name}: no results yet; the run has not ended." for run in group if run not in ended
    ]
    noted = "".join(f'<p class="note">{escape(note)}</p>' for note in notes)
    return f"<h3>Results</h3>{plot}{table}{noted}{_further_results(ended, numbers)}"


def _cells(run: Run, number: int, ended: Sequence[Run]) -> str:
    results, metric = run.results, run.metric
    name = f'<th scope="row">{_swatch(number)}{_name(run)}</th>'
    model = escape(f"{run.config['model'].get('type')}, {run.config['objective'].get('type')}")
    cells = [model]
    if run not in ended:
        cells += ["—"] * (len(SHOWN) + (2 if metric == "nats" else 3))
        return name + "".join(f"<td>{cell}</td>" for cell in cells)
    value, error, kind = results[metric], results["standard_error"], results["kind"]
    digits = _digits(error)
    shown = f"{'≤ ' if kind == 'bound' else ''}{_data(value, f'{value:.{digits}f}')}"
    shown += f" ± {_data(error, f'{error:.{digits}f}')}"
    best = len(ended) > 1 and value == min(other.results[metric] for other in ended)
    cells.append(f"<strong>{shown}</strong>" if best else shown)
    options = run.config.get("evaluation", {}).get("report", {})
    cells.append(escape(", ".join([str(kind), *(f"{k} {v}" for k, v in options.items())])))
    if metric != "nats":
        cells.append(_data(results["nats"], f"{results['nats']:,.1f}"))
    for key in SHOWN:
        cells.append(_shown(key, results))
    return name + "".join(f"<td>{cell}</td>" for cell in cells)


def _shown(key: str, results: Mapping[str, Any]) -> str:
    value = results.get(key)
    if value is None:
        return "—"
    if key == "training_seconds":
        return _data(value, _duration(value))
    if key == "best_step":
        return f"{_data(value, f'{value:,}')} of {results.get('num_steps', 0):,}"
    if key == "commit":
        commit, _, changes = str(value).partition("+")
        return escape(commit[:7] + (f" + {changes}" if changes else ""))
    return _data(value, f"{value:,}") if isinstance(value, int) else escape(str(value))


def _further_results(ended: Sequence[Run], numbers: Mapping[str, int]) -> str:
    """The numbers of `results.json` that the first table has not, a column a run."""
    known = {"nats", "bits_per_dim", "standard_error", *SHOWN}
    flat = {run.name: flatten(dict(run.results)) for run in ended}
    keys = sorted(
        {
            key
            for results in flat.values()
            for key, value in results.items()
            if type(value) in (int, float) and key not in known
        }
    )
    if not keys:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(key)}</th>'
        + "".join(
            f'<td class="of-run-{numbers[run.name]}">{_value(flat[run.name].get(key))}</td>'
            for run in ended
        )
        + "</tr>"
        for key in keys
    )
    return (
        "<details><summary>All numbers of <code>results.json</code></summary>"
        f"{_table(['', *(run.name for run in ended)], rows, 'numbers')}</details>"
    )


def _value(value: Any) -> str:
    if type(value) is int:
        return _data(value, f"{value:,}")
    if type(value) is float:
        return _data(value, f"{value:.5g}")
    return "—" if value is None else escape(json.dumps(value))


# ---------------------------------------------------------------------------- curves


def _curves(group: Sequence[Run], numbers: Mapping[str, int]) -> str:
    """A chart for each quantity; training and validation share it.

    A loss has a chart for each objective. What has a number for each layer has a chart for each run
    with a curve for each layer.
    """
    charts: dict[tuple[str, str], list[Series]] = {}
    for run in group:
        number = numbers[run.name]
        has_metric = run.metric in run.curves
        for name, curve in run.curves.items():
            kind = "validation" if name.startswith("validation/") else "training"
            base = name.removeprefix("validation/")
            if base == "log_prob" and has_metric:
                continue  # the same in another unit
            of_layer = re.fullmatch(r"(.+)/(\d+)", base)
            if of_layer:
                layer = int(of_layer[2])
                key = (of_layer[1], run.name)  # as `kl_layer/1`
                one = Series(
                    f"layer {layer}", number, kind, curve.steps, curve.values, _shade(layer)
                )
            else:
                is_loss = base.split("/")[-1] == "loss"
                key = (base, _objective(run) if is_loss else "")
                one = Series(run.name, number, kind, curve.steps, curve.values)
            charts.setdefault(key, []).append(one)
    losses = {about for base, about in charts if base.split("/")[-1] == "loss"}
    first = [group[0].metric, *QUANTITIES]
    last = ["gradient_norm", "examples_per_second"]

    def order(key: tuple[str, str]) -> tuple[Any, ...]:
        base = key[0].split("/")[-1]
        place = first.index(base) if base in first else len(first)
        return (base in last, place, key)

    drawn = []
    for base, about in sorted(charts, key=order):
        quantity = QUANTITIES.get(base.split("/")[-1], Quantity(base.replace("_", " ")))
        *player, _ = base.split("/")
        parts = [*player, quantity.title]
        if about and (base.split("/")[-1] != "loss" or len(losses) > 1):
            parts.append(about)
        series = charts[base, about]
        figure = chart(" · ".join(parts), quantity.unit, series, quantity.is_log)
        owners = {one.run for one in series}
        classes = ["likelihood"] if base == group[0].metric else []
        classes += [f"of-run-{number}" for number in owners if len(owners) == 1]
        drawn.append(f'<div class="{" ".join(classes)}">{figure}</div>')
    note = ""
    if len(losses) > 1:
        note = (
            '<p class="note">The losses of different objectives are different quantities: each '
            "objective has axes of its own.</p>"
        )
    about = '<p class="about">Over the steps; point at a chart for its numbers.</p>'
    return f'{about}<div class="charts">{"".join(drawn)}</div>{note}'


def _objective(run: Run) -> str:
    options = {key: value for key, value in run.config["objective"].items() if key != "type"}
    listed = ", ".join(f"{key}={json.dumps(value)}" for key, value in options.items())
    return str(run.config["objective"].get("type")) + (f"({listed})" if listed else "")


def _shade(layer: int) -> str:
    return f"hsl({(200 + 47 * (layer - 1)) % 360} 62% 52%)"


def _groups_of_latents(group: Sequence[Run], numbers: Mapping[str, int]) -> str:
    figures = []
    for run in group:
        values = run.results.get("kl_per_group")
        if isinstance(values, list) and all(map(_is_finite, values)) and values:
            number = numbers[run.name]
            figures.append(
                f'<figure class="chart bars of-run-{number}"><figcaption>{_swatch(number)}'
                f'{escape(run.name)} <span class="unit">nats</span></figcaption>'
                f"{bars(values, number)}</figure>"
            )
    if not figures:
        return ""
    return (
        '<h3>KL divergence of each latent</h3><p class="about">Means over the test set, from the '
        "largest to the smallest; of several layers, of each group that free bits act on.</p>"
        f'<div class="charts">{"".join(figures)}</div>'
    )


# ---------------------------------------------------------------------------- pictures


def _pictures(group: Sequence[Run], numbers: Mapping[str, int]) -> str:
    sections = []
    for file, title in PICTURES.items():
        figures = []
        for run in group:
            path = run.workdir / file
            number = numbers[run.name]
            if path.exists():
                source = _uri(path, "image/png")
                image = f'<img alt="{title.lower()} of {escape(run.name)}" src="{source}">'
            elif file == "samples.png" and (run.workdir / "samples.wav").exists():
                source = _uri(run.workdir / "samples.wav", "audio/wav")
                image = f'<audio controls src="{source}"></audio>'
            else:
                continue
            figures.append(
                f'<figure class="of-run-{number}">{image}<figcaption>{_swatch(number)}'
                f"{escape(run.name)}</figcaption></figure>"
            )
        if figures:
            sections.append(
                f'<h3>{title}</h3><p class="about">{ABOUT_PICTURES[title]}</p>'
                f'<div class="pictures">{"".join(figures)}</div>'
            )
    return "".join(sections)


def _uri(path: Any, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


# ---------------------------------------------------------------------------- configs


def _differences(runs: Sequence[Run], numbers: Mapping[str, int]) -> str:
    """What the configs do not have in common."""
    if len(runs) < 2:
        return ""
    flat = {run.name: flatten(dict(run.config)) for run in runs}
    absent = object()
    keys = sorted({key for config in flat.values() for key in config})
    rows = ""
    for key in keys:
        values = [flat[run.name].get(key, absent) for run in runs]
        if all(value is not absent and value == values[0] for value in values):
            continue
        cells = "".join(
            f'<td class="of-run-{numbers[run.name]}">'
            f"{'—' if value is absent else f'<code>{escape(json.dumps(value))}</code>'}</td>"
            for run, value in zip(runs, values, strict=True)
        )
        rows += f'<tr><th scope="row"><code>{escape(key)}</code></th>{cells}</tr>'
    body = '<p class="about">None: the configs are the same.</p>'
    if rows:
        body = _table(["", *(run.name for run in runs)], rows, "differences")
    return f"<section><h2>Config differences</h2>{body}</section>"


def _records(runs: Sequence[Run]) -> str:
    """How each number can be made again."""
    records = "".join(
        f"<details><summary>{escape(run.name)}</summary>{_record(run)}</details>" for run in runs
    )
    return f"<section><h2>Records</h2>{records}</section>"


def _record(run: Run) -> str:
    rows = {
        "workdir": str(run.workdir),
        "command": run.results.get("command"),
        "commit": run.results.get("commit"),
        "hardware": run.results.get("hardware"),
        "versions": run.results.get("versions"),
        "data": run.results.get("data"),
    }
    listed = "".join(
        f"<dt>{key}</dt><dd>{escape(value if isinstance(value, str) else json.dumps(value))}</dd>"
        for key, value in rows.items()
        if value is not None
    )
    return f"<dl>{listed}</dl><pre>{escape(json.dumps(run.config, indent=2))}</pre>"


# ---------------------------------------------------------------------------- parts


def _table(heads: Sequence[str], rows: str, name: str) -> str:
    columns = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    return (
        f'<div class="scroll" tabindex="0"><table class="{name}"><thead><tr>{columns}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _name(run: Run) -> str:
    """That of the run; in a narrow column it is broken where its words end."""
    return re.sub("([_/-])", r"\1<wbr>", escape(run.name))


def _swatch(number: int) -> str:
    return f'<i class="swatch" style="background:{colour_of(number)}"></i>'


def _data(value: float, shown: str) -> str:
    """A number as it is shown, with the whole of it for machines and for the pointer."""
    return f'<data value="{value!r}" title="{value!r}">{shown}</data>'


def _digits(error: float) -> int:
    """Decimals that give a standard error two significant digits, at most four."""
    if not (math.isfinite(error) and error > 0):
        return 3
    return min(max(1 - math.floor(math.log10(error)), 0), 4)


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
