"""The model card of an exported version: what it is, where it comes from, how it is called."""

import json
import pathlib
from collections.abc import Mapping
from importlib.metadata import version as installed
from typing import Any

from tfgen.checks import check_argument
from tfgen.models.generative_model import GenerativeModel
from tfgen.serving.graph import signature_table
from tfgen.training.files import read_json, write_json

FOLDER = "assets.extra"


def check_card(card: Any) -> None:
    """Raises `ValueError` unless `card` is None or a mapping of strings to JSON values."""
    if card is None:
        return
    is_mapping = isinstance(card, Mapping) and all(isinstance(key, str) for key in card)
    check_argument(is_mapping, "card", "a mapping with string keys", card)
    try:
        json.dumps(dict(card), allow_nan=False)
    except (TypeError, ValueError) as error:
        check_argument(False, "card", "made of JSON values", str(error))


def card_of_run(workdir: Any) -> dict[str, Any]:
    """What the card says of a run's model: its data, results, provenance and config.

    `value` is the test split's mean of `metric`, with its standard error, `num_examples` the
    split's size, and `weights` "ema" or "raw".

    Raises:
        ValueError: `workdir` holds no run.
    """
    workdir = pathlib.Path(workdir)
    path = workdir / "config.json"
    check_argument(path.exists(), "workdir", "a folder with a run (config.json)", str(workdir))
    config = read_json(path)
    path = workdir / "results.json"
    results = read_json(path) if path.exists() else {}  # a run that has not ended has none
    card: dict[str, Any] = {"data": config["data"]}
    if "metric" in results:
        card |= {"metric": results["metric"], "value": results[results["metric"]]}
    names = "kind standard_error num_examples weights num_steps commit command hardware versions"
    card |= {name: results[name] for name in names.split() if name in results}
    return {**card, "config": config}


def write_card(
    folder: pathlib.Path, model: GenerativeModel, name: str, version: int, card: Mapping[str, Any]
) -> None:
    """Writes `assets.extra/model_card.json` and `assets.extra/MODEL_CARD.md` of a version."""
    table = signature_table(folder)
    signatures = {
        signature: {
            side: {
                tensor: {"dtype": dtype, "shape": list(shape)}
                for tensor, (dtype, shape) in tensors.items()
            }
            for side, tensors in sides.items()
        }
        for signature, sides in table.items()
    }
    content = {
        "name": name,
        "version": version,
        "model": type(model).__name__,
        "likelihood_kind": model.likelihood_kind,
        "event_shape": list(model.event_shape),
        "num_levels": model.num_levels,
        "num_classes": model.num_classes,
        "num_features": model.num_features,
        "num_parameters": int(model.count_params()),
        "weights": model.weights_kind,
        "exported_with": {name: installed(name) for name in ("tfgen", "tensorflow", "keras")},
        **card,
        "signatures": signatures,
    }
    write_json(folder / FOLDER / "model_card.json", content)
    (folder / FOLDER / "MODEL_CARD.md").write_text(_markdown(content, table))


def signature_rows(table: Mapping[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """(signature, input or output, name, dtype, shape) of each tensor, B the batch dimension."""
    rows = []
    for signature, sides in table.items():
        for side, tensors in sides.items():
            for name, (dtype, shape) in tensors.items():
                sizes = ", ".join("B" if size is None else str(size) for size in shape)
                rows.append((signature, side.removesuffix("s"), name, dtype, f"[{sizes}]"))
    return rows


def _markdown(card: Mapping[str, Any], table: Mapping[str, Any]) -> str:
    facts = [
        f"| {key} | {_short(value)} |"
        for key, value in card.items()
        if key not in ("config", "signatures", "name", "notes") and value is not None
    ]
    rows = [f"| {' | '.join(row)} |" for row in signature_rows(table)]
    lines = [f"# {card['name']}", "", "| | |", "|---|---|", *facts]
    if card.get("notes"):
        lines += ["", "## Notes", "", str(card["notes"])]
    lines += ["", "## Signatures", "", "| signature | | name | dtype | shape |"]
    lines += ["|---|---|---|---|---|", *rows]
    if "config" in card:
        config = json.dumps(card["config"], indent=2)
        lines += ["", "## Config", "", "```json", config, "```"]
    return "\n".join(lines) + "\n"


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        value = ", ".join(f"{key}: {inner}" for key, inner in value.items() if inner is not None)
    return str(value).replace("|", "\\|").replace("\n", " ")
