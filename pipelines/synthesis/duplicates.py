"""Near-duplicates among generated files, and of the curated corpus: the claim of `pipelines.dedup` once more.

A chunk of answers is a shard of its own order. The corpus' index lies below it and is only read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.dedup.claim import claim_shard, rebuild
from pipelines.dedup.config import DedupConfig
from pipelines.dedup.index import Index, LocalPartitions, Partitions
from pipelines.dedup.keys import DocumentKeys, ShardKeys
from pipelines.schema import SHARD_BITS

OUTPUT, CORPUS = "duplicate_output", "duplicate_corpus"


def synthesis_dedup(corpus: DedupConfig) -> DedupConfig:
    """The corpus' settings where a generated file has them: it has no repository, and nothing to prefer it by."""
    apart = {"scope": "corpus", "level": "file", "prefer": (), "link": "direct", "normalise": "whitespace"}
    return corpus.model_copy(update=apart)


def file_keys(documents: Iterable[pa.Table], dedup: DedupConfig) -> tuple[np.ndarray, DocumentKeys]:
    """(rows int32[n], keys) of documents, as the claim takes them."""
    keys = ShardKeys(dedup)
    for table in documents:
        keys.add(table)
    return keys.finish()


def corpus_index(
    shards: Iterable[tuple[int, np.ndarray, DocumentKeys]], dedup: DedupConfig, partitions: Partitions
) -> Index:
    """The index of a corpus from the keys of what is kept of it, to put below the outputs'."""
    index = Index(partitions, number=0)
    rebuild(index, shards, dedup)
    return index


class Twin(NamedTuple):
    reason: str  # OUTPUT or CORPUS
    evidence: str


class Duplicates:
    """What was accepted so far. Claims come in the order of the chunks; a chunk may be claimed again."""

    def __init__(self, dedup: DedupConfig, below: Sequence[Index], expected: int) -> None:
        self._dedup = dedup.model_copy(
            update={"partitions": 1, "expected_documents": max(1, expected), "against": ()}
        )
        self._index = Index(LocalPartitions(self._dedup), below)

    def claim(self, chunk: int, documents: pa.Table) -> list[Twin | None]:
        """For each document (schema DOCUMENT, rows ascending): None when it is new, and is kept from now on."""
        if not documents.num_rows:
            return []
        rows, keys = file_keys([documents], self._dedup)
        claims = claim_shard(chunk, rows, keys, self._index, self._dedup)
        return [_twin(claim) for claim in claims.to_pylist()]


def _twin(claim: dict) -> Twin | None:
    if claim["reason"] is None:
        return None
    shard, row = claim["dup_of"] >> SHARD_BITS, claim["dup_of"] & ((1 << SHARD_BITS) - 1)
    how = f"{claim['reason'].replace('_', ' ')}, Jaccard about {claim['jaccard']:.2f}"
    if claim["corpus"] == 0:
        return Twin(OUTPUT, f"{how}: chunk {shard}, row {row}")
    return Twin(CORPUS, f"{how}: corpus {claim['corpus']}, shard {shard}, row {row}")


def dedup_fields(dedup: DedupConfig) -> dict:
    """What a verdict depends on, as JSON."""
    return json.loads(json.dumps(dedup.verdict_fields()))
