"""Copies and near-copies among the texts an annotator learns from and is measured on, by the curation's own index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.dedup.claim import claim_shard
from pipelines.dedup.config import DedupConfig
from pipelines.dedup.index import Index, LocalPartitions
from pipelines.dedup.keys import ShardKeys


class Copies:
    """Texts in the order in which they are asked about: the first of those alike counts as new.

    In this process: some 300 bytes a text, for the hundreds of thousands that an annotator learns from.
    """

    def __init__(self, expected: int = 10_000) -> None:
        self._config = DedupConfig(partitions=1, expected_documents=expected, grow=True)
        self._index = Index(LocalPartitions(self._config))
        self._calls = 0

    def new(self, texts: Sequence[str] | pa.ChunkedArray) -> np.ndarray:
        """Which are no copy or near-copy of an earlier one, bool [n]; those that are not enter the index."""
        if not len(texts):
            return np.zeros(0, bool)
        column = texts if isinstance(texts, pa.ChunkedArray) else pa.array(texts, pa.large_string())
        rows = np.arange(len(column), dtype=np.int32)
        keys = ShardKeys(self._config)
        keys.add(pa.table({"row": rows, "text": column}))
        verdict = claim_shard(self._calls, *keys.finish(), self._index, self._config)
        self._calls += 1
        return np.asarray(pc.is_null(verdict["reason"]))
