"""docs/curation_settings.md from the code: every setting of curation, its default and what its docstring says.

`python -m snowcoder.settings_page` writes it; a test compares. Why the rules are as they are is in docs/rules.md.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from snowcoder.config import CurationConfig

PATH = Path(__file__).parents[1] / "docs" / "curation_settings.md"
LONGEST = 60  # characters of a default that are shown


def text() -> str:
    """The page."""
    lines = [
        "# Curation settings",
        "",
        "Made from the code by `python -m snowcoder.settings_page`. Each is a key of a recipe under `curation`, or",
        "`--set curation.KEY=VALUE`; what a change judges again is in docs/architecture.md.",
    ]
    for path, model in _groups("curation", CurationConfig):
        said = _said(model)
        about = " ".join((inspect.getdoc(model) or "").split())
        lines += ["", f"## {path}", "", about, "", "| key | default | meaning |", "|---|---|---|"]
        for name, field in model.model_fields.items():
            default = "" if field.default is PydanticUndefined else _shown(field.default)
            lines.append(f"| `{name}` | {default} | {_cell(said.get(name, ''))} |")
    return "\n".join(lines) + "\n"


def _groups(path: str, model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """This group of settings and those in it, in order."""
    yield path, model
    for name, field in model.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _groups(f"{path}.{name}", kind)


def _said(model: type[BaseModel]) -> dict[str, str]:
    """The string below each field of a class and of those that it extends."""
    said: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        if not (issubclass(kind, BaseModel) and kind.__module__.split(".")[0] in ("pipelines", "snowcoder")):
            continue
        body: list[Any] = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0].body  # type: ignore[attr-defined]
        for field, below in pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                found = below.value if isinstance(below, ast.Expr) else None
                if isinstance(found, ast.Constant) and isinstance(found.value, str):
                    said[field.target.id] = found.value
    return said


def _shown(value: Any) -> str:
    if isinstance(value, BaseModel):
        return "below"
    written = repr(value)
    return f"`{_cell(written)}`" if len(written) <= LONGEST else f"{len(value)} values"


def _cell(written: str) -> str:
    return " ".join(written.split()).replace("|", "\\|")


if __name__ == "__main__":
    PATH.write_text(text())
