"""Which copy of a document is the best one: an order, so that keep-first keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from snowcoder.base import UserError

Preference = Literal["stars", "date", "license", "path"]

# The first class asks for no more than a notice, the second also that changes stay open; then whatever is named.
_PERMISSIVE = (
    "MIT",
    "Apache",
    "BSD",
    "ISC",
    "Unlicense",
    "CC0",
    "0BSD",
    "Zlib",
    "BSL",
    "PSF",
    "Python",
    "W3C",
)
_WEAK_COPYLEFT = ("MPL", "LGPL", "EPL", "CDDL")


def preference_order(rows: pa.Table, prefer: Sequence[Preference]) -> np.ndarray:
    """int64[n]: the rows from the most to the least preferred, ties in the order given.

    `rows` are documents, repositories or shards with a column of each name in `prefer`: `stars` (number, more first),
    `date` (number, timestamp or ISO string, later first), `license` (SPDX expression, permissive first, unknown last),
    `path` (fewest parts first: `src/x.py` before `vendor/lib/src/x.py`, then by the alphabet). A null comes last.
    Raises UserError where a column is missing.
    """
    rows = preference_columns(rows, prefer)
    keys = pa.table({"place": np.arange(rows.num_rows)})
    order: list[tuple[str, str]] = []
    for name in prefer:
        if name == "license":
            keys = keys.append_column(name, pa.array(licence_class(rows[name])))
            order.append((name, "ascending"))
        elif name == "path":
            keys = keys.append_column("depth", pc.count_substring(rows[name], "/"))
            keys = keys.append_column(name, rows[name])
            order += [("depth", "ascending"), (name, "ascending")]
        else:
            keys = keys.append_column(name, rows[name])
            order.append((name, "descending"))
    return pc.sort_indices(keys, sort_keys=[*order, ("place", "ascending")]).to_numpy().astype(np.int64)


def preference_columns(rows: pa.Table, prefer: Sequence[Preference]) -> pa.Table:
    """The columns that `prefer` compares; UserError where one is missing."""
    for name in prefer:
        if name not in rows.column_names:
            where = "; name a table in source.facts" if name in ("stars", "date") else ""
            raise UserError(f"dedup.prefer: nothing is known of `{name}`{where}, or leave it out")
    return rows.select(list(prefer))


def licence_class(licences: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """int8[n]: 0 permissive, 1 weak copyleft, 2 another licence, 3 unknown. A choice (`A OR B`) counts as its best."""
    encoded = licences.cast(pa.string()).fill_null("").dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    classes = np.array([_class_of(name) for name in encoded.dictionary.to_pylist()], np.int8)
    return classes[encoded.indices.to_numpy()] if len(licences) else np.zeros(0, np.int8)


def _class_of(expression: str) -> int:
    if not expression or expression in ("NOASSERTION", "NONE", "UNKNOWN"):
        return 3
    return min(
        max(_class_of_one(part) for part in choice.split(" AND ")) for choice in expression.split(" OR ")
    )


def _class_of_one(name: str) -> int:
    name = name.strip("() ")
    if name.startswith(_PERMISSIVE):
        return 0
    return 1 if name.startswith(_WEAK_COPYLEFT) else 2
