"""What pages take from elsewhere in the repository, so that it is written once.

A line of a page `{{ NAME }}` or `{{ NAME: ARGUMENT }}` stands for

- `readme`, or `readme: Heading`: the README, or its section of that heading without the heading;
- `results: PREFIX ...`: of the README's tables of results, the rows of configs whose names start
  with one of the prefixes, and the yardsticks of the same data;
- `models: FAMILY`: the reference of the models that `tfgen.models` imports from that folder;
- `serving`: `saved_models/README.md` without its title;
- `modules: PACKAGE`: the docstring of each module of `apps` or `configs` that a command names.
"""

import ast
import pathlib
import re
from collections.abc import Callable
from typing import Any

ROOT = pathlib.Path(__file__).parent.parent


def on_page_markdown(markdown: str, **_: Any) -> str:
    return re.sub(
        r"^\{\{ (\w+)(?:: (.+))? \}\}$",
        lambda match: INCLUDES[match[1]](match[2]),
        markdown,
        flags=re.MULTILINE,
    )


def readme(heading: str | None) -> str:
    text = _with_links_of_the_site((ROOT / "README.md").read_text())
    if heading is None:
        return text
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    if heading not in sections:
        raise ValueError(f"README.md has no section {heading!r}")
    return sections[heading].strip()


def results(prefixes: str) -> str:
    kept = []
    for block in readme("Results").split("\n\n"):
        header, *rows = block.splitlines()
        if header.startswith("**"):
            title = block
        if not header.startswith("| config |"):
            continue
        wanted = tuple(f"| [`{prefix}" for prefix in prefixes.split())
        if any(row.startswith(wanted) for row in rows):
            rows = [row for row in rows if row.startswith((*wanted, "| *", "|---"))]
            kept += [title, "\n".join([header, *rows])]
    return "\n\n".join(kept) or "None is published yet."


def models(family: str) -> str:
    index = ast.parse((ROOT / "tfgen" / "models" / "__init__.py").read_text())
    imports = [node for node in index.body if isinstance(node, ast.ImportFrom)]
    of_family = [
        node for node in imports if f"{node.module}.".startswith(f"tfgen.models.{family}.")
    ]
    names = [alias.name for node in of_family for alias in node.names]
    return "\n".join(f"::: tfgen.models.{name}" for name in names)


def serving(_: None) -> str:
    _, text = (ROOT / "saved_models" / "README.md").read_text().split("\n", 1)
    return text


def modules(package: str) -> str:
    sections = []
    for path in sorted((ROOT / package).glob("*.py")):
        if path.stem not in ("__init__", "common", "serving_clients"):
            docstring = ast.get_docstring(ast.parse(path.read_text()))
            sections.append(f"## {path.stem}\n\n```text\n{docstring}\n```")
    return "\n\n".join(sections)


def _with_links_of_the_site(text: str) -> str:
    text = re.sub(r"\]\(configs/(\w+)\.py\)", r"](configs.md#\1)", text)
    return text.replace("](saved_models/README.md)", "](serving.md)")


INCLUDES: dict[str, Callable[..., str]] = {
    "models": models,
    "modules": modules,
    "readme": readme,
    "results": results,
    "serving": serving,
}
