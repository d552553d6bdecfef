"""tfgen's docstrings as mkdocstrings reads them."""

import re
from typing import Any

import griffe


class Docstrings(griffe.Extension):
    """Each of the numbered sources in a paragraph of its own and with a link, and each of several
    arguments that are described together (`a, b: as of C`) in a line of its own."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = _prepared(obj.docstring.value)


def _prepared(text: str) -> str:
    text = re.sub(r"\n(?=\[\d+\] )", r"\n\n", text)
    text = re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)
    return re.sub(r"^( +)((?:\w+, )+\w+): (.+)$", _separated, text, flags=re.MULTILINE)


def _separated(match: re.Match) -> str:
    indent, names, description = match.groups()
    return "\n".join(f"{indent}{name}: {description}" for name in names.split(", "))
