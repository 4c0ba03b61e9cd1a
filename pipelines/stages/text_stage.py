"""What the pass over a shard's text needs of a stage: how it judges, what it changes, what it can reuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.ledger import Stage

Clock = dict[str, float]
"""Processor seconds by group of rules; a stage adds to it."""


@dataclass(frozen=True)
class TextStage:
    """One stage of the pass.

    `judge` gives one verdict row per document, in order. `amend` changes the documents that passed as their
    verdicts say: a function of the two, so that whoever reads the text again gets the same. `rejudge` gives
    the verdicts of this configuration from those of another one with the same `stage.basis`.
    """

    stage: Stage
    judge: Callable[[pa.Table, Clock], pa.Table]
    amend: Callable[[pa.Table, pa.Table], pa.Table] | None = None
    rejudge: Callable[[pa.Table], pa.Table] | None = None

    def verdicts(self, documents: pa.Table, known: pa.Table | None, clock: Clock) -> pa.Table:
        """The verdicts of these documents: those known, and for the others, judged."""
        if known is None:
            return self.judge(documents, clock)
        at, found = _places(known, documents)
        if found.all():
            return known.take(pa.array(at))
        judged = self.judge(documents.filter(pa.array(~found)), clock)
        both = pa.concat_tables([known.take(pa.array(at[found])), judged]).unify_dictionaries()
        order = np.argsort(np.concatenate([np.flatnonzero(found), np.flatnonzero(~found)]))
        return both.take(pa.array(order)).combine_chunks()

    def amended(self, documents: pa.Table, recorded: pa.Table) -> pa.Table:
        """The documents as this stage leaves them. KeyError when one has no recorded verdict."""
        if self.amend is None or not documents.num_rows:
            return documents
        at, found = _places(recorded, documents)
        if not found.all():
            row = documents["row"].to_numpy()[~found][0]
            raise KeyError(f"{self.stage.folder} has no verdict on row {row}")
        return self.amend(documents, recorded.take(pa.array(at)))


def _places(recorded: pa.Table, documents: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Where each document's verdict stands, and whether it is there at all. Both are in row order."""
    rows, wanted = np.asarray(recorded["row"]), np.asarray(documents["row"])
    at = np.searchsorted(rows, wanted)
    found = at < len(rows)
    found[found] = rows[at[found]] == wanted[found]
    return at, found
