"""From raw bytes to tables of documents: UTF-8 checked, rows numbered, memory bounded.

Text is valid UTF-8, otherwise as stored, with one exception: a byte-order mark at its start is an encoding's
signature, not text, and is dropped (`size` still counts it). NUL bytes are allowed. Empty text is a document.
The text of a notebook is its script, unless it is asked for as stored (`pipelines.sources.notebooks`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.schema import DOCUMENT
from pipelines.sources.notebooks import as_scripts

TABLE_BYTES = 32 << 20
"""Text in one table, before the row that crosses it."""
TABLE_ROWS = 1 << 16

Notebooks = Literal["script", "json"]
"""What the text of a notebook is: the script that its cells make, or the JSON as stored."""

_BOM = b"\xef\xbb\xbf"


def to_text(binary: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Large binary -> (large string with null in place of invalid UTF-8, sorted rows that were invalid)."""
    invalid = np.array(sorted(_invalid_rows(binary, 0)), np.int64)
    if len(invalid):
        mask = np.zeros(len(binary), bool)
        mask[invalid] = True
        binary = pc.if_else(pa.array(mask), pa.scalar(None, binary.type), binary)
    marked = pc.fill_null(pc.starts_with(binary, _BOM), False)
    if pc.any(marked).as_py():
        # Few have one, and Arrow 26 fails to slice large binaries when little is left of them.
        stripped = [blob[len(_BOM) :] for blob in binary.filter(marked).to_pylist()]
        binary = pc.replace_with_mask(binary, marked, pa.array(stripped, binary.type))
    return binary.cast(pa.large_string()), invalid


def _invalid_rows(binary: pa.Array, offset: int) -> Iterator[int]:
    """Bisection over Arrow's own check: bad rows are few, so no Python per row."""
    try:
        binary.cast(pa.large_string())
    except pa.ArrowInvalid:
        if len(binary) == 1:
            yield offset
            return
        half = len(binary) // 2
        yield from _invalid_rows(binary[:half], offset)
        yield from _invalid_rows(binary[half:], offset + half)


def document_table(
    first_row: int,
    columns: dict[str, object],
    binary: pa.Array,
    faults: list[str | None],
    notebooks: Notebooks = "script",
) -> pa.Table:
    """A table of schema DOCUMENT. `columns`: repo, path, lang, license and size, one value a row.

    `faults` is None where the row of `binary` is to be read as text; what is wrong with notebooks, and invalid
    UTF-8, are added to it here.
    """
    if notebooks == "script":
        binary = as_scripts(columns["lang"], binary, faults)
    text, invalid = to_text(binary)
    for row in invalid:
        faults[row] = faults[row] or "invalid_utf8"
    rows = np.arange(first_row, first_row + len(binary), dtype=np.int32)
    return pa.table(
        {"row": rows, **columns, "text": text, "fault": pa.array(faults, pa.string())}, schema=DOCUMENT
    )


def printable(name: str | bytes) -> str:
    """A file name as valid Unicode: what the file system could not decode becomes U+FFFD."""
    raw = name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")
    return raw.decode("utf-8", "replace")


class Documents:
    """Collects documents one by one and hands them out as tables: `yield from` `add()`, then `finish()`."""

    def __init__(self, notebooks: Notebooks = "script") -> None:
        self._notebooks = notebooks
        self._next_row = 0
        self._clear()

    def _clear(self) -> None:
        self._fields: list[tuple[str, str, str, str, int]] = []
        self._blobs: list[bytes | None] = []
        self._faults: list[str | None] = []
        self._bytes = 0

    def add(
        self,
        content: bytes | None,
        *,
        path: str,
        repo: str = "",
        lang: str = "",
        license: str = "",
        size: int = 0,
        fault: str | None = None,
    ) -> Iterator[pa.Table]:
        """Take one document. `content` is None exactly when `fault` is set; `size` is as stored, in bytes."""
        self._fields.append((repo, path, lang, license, size))
        self._blobs.append(content)
        self._faults.append(fault)
        self._bytes += len(content) if content else 0
        if self._bytes >= TABLE_BYTES or len(self._blobs) >= TABLE_ROWS:
            yield from self.finish()

    def finish(self) -> Iterator[pa.Table]:
        """The documents not handed out yet, as one table; nothing when there are none."""
        if not self._blobs:
            return
        repo, path, lang, license, size = map(list, zip(*self._fields, strict=True))
        columns: dict[str, object] = {
            "repo": repo,
            "path": path,
            "lang": lang,
            "license": license,
            "size": size,
        }
        binary = pa.array(self._blobs, pa.large_binary())
        self._blobs = []  # the bytes are in Arrow now: let go of the first copy before the text is checked
        table = document_table(self._next_row, columns, binary, self._faults, self._notebooks)
        self._next_row += table.num_rows
        self._clear()
        yield table
