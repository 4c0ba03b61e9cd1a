"""Notebooks as scripts: what a person wrote in the cells, without outputs, metadata and JSON around it.

StarCoder2 (arXiv 2402.19173, section 2.3) trains on notebooks that Jupytext turned into scripts; so does this. The
form is Jupytext's *percent* format: code as it is, Markdown and magics as comments, each cell under a marker. The
comment sign is that of the kernel's language. A script is a function of the stored bytes alone.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

NOTEBOOK = "Jupyter Notebook"

BAD_NOTEBOOK = "bad_notebook"
"""The fault of a notebook that is no JSON, has no cells where they belong, or cells that are not text."""

_CELL_TYPES = ("code", "markdown", "raw")
_DEFAULT_LANGUAGE = "python"  # old notebooks do not say: there was nothing else


MAX_CELLS = 10_000
MAX_SOURCE_CHARACTERS = 4 << 20
"""Jupytext turns about 4,000 cells or half a megabyte a second: beyond these a notebook is "too_large"."""


class BadNotebook(ValueError):
    """The bytes are not a notebook that can be turned into a script. `fault` is what the document is told to have."""

    def __init__(self, message: str, fault: str = BAD_NOTEBOOK) -> None:
        super().__init__(message)
        self.fault = fault


def as_scripts(lang: Any, binary: pa.Array, faults: list[str | None]) -> pa.Array:
    """Large binary with the notebooks among its rows turned into scripts; those that fail become null, with a fault.

    `lang` holds one language a row. Rows of other languages, null rows and invalid UTF-8 stay as they are.
    """
    lang = pa.array(lang, pa.string()) if isinstance(lang, list) else lang
    marked = pc.and_(pc.fill_null(pc.equal(lang, NOTEBOOK), False), binary.is_valid())
    rows = np.flatnonzero(marked.to_numpy(zero_copy_only=False))
    if not len(rows):
        return binary
    scripts: list[bytes | None] = []
    for row in rows:
        try:
            scripts.append(to_script(binary[int(row)].as_py()))
        except BadNotebook as bad:
            scripts.append(None)
            faults[row] = faults[row] or bad.fault
    return pc.replace_with_mask(binary, marked, pa.array(scripts, binary.type))


def to_script(content: bytes) -> bytes:
    """The notebook stored as `content` as a script in UTF-8. Not UTF-8: `content` itself. Else raises BadNotebook."""
    from jupytext import writes
    from jupytext.formats import JupytextFormatError
    from nbformat import from_dict

    try:
        stored = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return content
    except (ValueError, RecursionError) as error:
        raise BadNotebook(str(error)) from None
    cells = _cells(stored)
    try:
        script = writes(from_dict(_notebook(cells, _language(stored))), fmt="auto:percent")
    except (JupytextFormatError, KeyError):  # a language that Jupytext does not know
        script = writes(from_dict(_notebook(cells, _DEFAULT_LANGUAGE)), fmt="py:percent")
    try:
        return script.encode()
    except UnicodeEncodeError:  # an escaped half of a surrogate pair
        raise BadNotebook("text that is not Unicode") from None


def _notebook(cells: list[dict[str, Any]], language: str) -> dict[str, Any]:
    metadata = {
        "kernelspec": {"name": language, "display_name": language, "language": language},
        # No header: what it would say is the same in every notebook.
        "jupytext": {"notebook_metadata_filter": "-all", "cell_metadata_filter": "-all"},
    }
    return {"nbformat": 4, "nbformat_minor": 4, "metadata": metadata, "cells": cells}


def _language(stored: dict[str, Any]) -> str:
    """The kernel's language in the notebook's own words."""
    for place, field in (("kernelspec", "language"), ("language_info", "name")):
        metadata = stored.get("metadata")
        described = metadata.get(place) if isinstance(metadata, dict) else None
        name = described.get(field) if isinstance(described, dict) else None
        if isinstance(name, str) and name.strip():
            return name.strip()
    return _DEFAULT_LANGUAGE


def _cells(stored: Any) -> list[dict[str, Any]]:
    """The cells with nothing but type and source, whichever version of the format holds them."""
    if not isinstance(stored, dict):
        raise BadNotebook("no object")
    cells = stored.get("cells")
    if cells is None and isinstance(sheets := stored.get("worksheets"), list):  # before version 4
        cells = [cell for sheet in sheets for cell in _list(sheet, "cells")]
    if not isinstance(cells, list):
        raise BadNotebook("no cells")
    if len(cells) > MAX_CELLS:
        raise BadNotebook(f"{len(cells)} cells", "too_large")
    plain = [_cell(cell) for cell in cells]
    if (characters := sum(len(cell["source"]) for cell in plain)) > MAX_SOURCE_CHARACTERS:
        raise BadNotebook(f"{characters} characters", "too_large")
    return plain


def _list(stored: Any, field: str) -> list[Any]:
    found = stored.get(field) if isinstance(stored, dict) else None
    return found if isinstance(found, list) else []


def _cell(cell: Any) -> dict[str, Any]:
    if not isinstance(cell, dict):
        raise BadNotebook("a cell that is no object")
    kind = cell.get("cell_type")
    source = cell.get("source", cell.get("input", ""))
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(source, str):
        raise BadNotebook("a cell that is not text")
    if kind == "heading":  # before version 4
        level = cell.get("level")
        marks = "#" * (level if isinstance(level, int) and 1 <= level <= 6 else 1)
        kind, source = "markdown", f"{marks} {source}"
    if kind not in _CELL_TYPES:
        raise BadNotebook(f"a cell of type {kind!r}")
    code: dict[str, Any] = {"outputs": [], "execution_count": None} if kind == "code" else {}
    return {"cell_type": kind, "source": source, "metadata": {}, **code}
