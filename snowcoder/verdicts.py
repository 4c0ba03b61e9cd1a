"""What the stages said of one shard: verdicts by stage, joined by row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Verdicts:
    """What one stage said of one shard. `table` has one chunk a column, its rows ascending."""

    stage: str
    meta: dict[str, Any]
    table: pa.Table

    @cached_property
    def rows(self) -> np.ndarray:
        """Rows of the shard that this stage judged, int32."""
        return self.table["row"].to_numpy()

    @cached_property
    def passed(self) -> np.ndarray:
        """bool, one per row judged."""
        return self.reason[0] < 0

    @cached_property
    def reason(self) -> tuple[np.ndarray, list[str]]:
        """(code per row, -1 where it passed; reasons)."""
        return codes(self.table["reason"])

    def column(self, name: str) -> np.ndarray | None:
        """A column as NumPy, a null float as NaN; None when the stage has no such column."""
        if name not in self.table.column_names:
            return None
        return self.table[name].to_numpy()


@dataclass(frozen=True)
class ShardVerdicts:
    """One shard's verdicts in stage order. `complete`: every stage of the run has judged it."""

    shard: int
    stages: list[Verdicts]
    complete: bool

    def stage(self, name: str) -> Verdicts | None:
        return next((each for each in self.stages if each.stage == name), None)

    @property
    def rules(self) -> Verdicts:
        """Those of the rules, which judge every document that the language stage lets through."""
        rules = self.stage("rules")
        assert rules is not None  # `RunVerdicts.each` passes over a shard without
        return rules

    @cached_property
    def documents(self) -> int:
        """Documents read: what the first stage judged."""
        return len(self.stages[0].rows)

    @cached_property
    def sizes(self) -> np.ndarray:
        """Bytes of each document as stored in the source, int64; 0 where no stage recorded it."""
        sizes = np.zeros(self.documents, np.int64)
        for each in self._knowing("size"):
            sizes[each.rows] = each.table["size"].fill_null(0).to_numpy()
        return sizes

    @cached_property
    def languages(self) -> tuple[np.ndarray, list[str]]:
        """(code per document, names); "" stands for an unknown language."""
        found, names = np.zeros(self.documents, np.int64), [""]
        for each in self._knowing("lang"):
            code, own = codes(each.table["lang"])
            found[each.rows] = np.where(code < 0, 0, code + len(names))
            names = [*names, *own]
        return found, names

    def _knowing(self, column: str) -> list[Verdicts]:
        """The stages whose record of a column says it best: the rules, and the first stage where they judged less."""
        first = [] if len(self.rules.rows) == self.documents else self.stages[:1]
        return [each for each in (*first, self.rules) if column in each.table.column_names]

    def is_language(self, language: str | None) -> np.ndarray:
        """bool, one per document: is it of this language? None: any."""
        found, names = self.languages
        if language is None:
            return np.ones(len(found), bool)
        return np.isin(found, [place for place, name in enumerate(names) if name == language])


def codes(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    """A string column as (code per row, -1 for a null; names)."""
    array = column.combine_chunks()
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    indices = array.indices
    found = (indices.fill_null(-1) if indices.null_count else indices).to_numpy()
    return found.astype(np.int64), array.dictionary.to_pylist()
