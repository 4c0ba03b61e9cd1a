"""Judging a shard: all text stages and the duplicate keys in one pass over its text, verdicts into the ledger.

Nothing of the text leaves this pass: what goes on to the claim are keys, and whoever needs the text of kept
documents later opens the shard again (docs/architecture.md says why that is cheaper than carrying it).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.dedup.claim import claim_shard
from pipelines.dedup.config import DedupConfig
from pipelines.dedup.index import Index
from pipelines.dedup.keys import KEYS_VERSION, DocumentKeys, ShardKeys
from pipelines.dedup.snapshot import index_fingerprint
from pipelines.ledger import Ledger, Stage
from pipelines.schema import DOCUMENT, Shard
from pipelines.sources import SourceConfig, read_shard
from pipelines.sources.repository_facts import RepositoryFacts
from pipelines.stages.chain import StagesConfig, text_stages
from pipelines.stages.stored_index import StoredIndex
from pipelines.stages.text_stage import Clock, TextStage


@dataclass(frozen=True)
class Curation:
    """All that decides which documents are kept; sent to every task that judges or reads a shard."""

    source: SourceConfig
    stages: StagesConfig
    dedup: DedupConfig
    benchmarks: StoredIndex
    ledger_root: str
    facts: RepositoryFacts | None = None  # for `dedup.prefer`

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(self.ledger_root)

    @cached_property
    def text_stages(self) -> list[TextStage]:
        return text_stages(self.stages, self.benchmarks)

    @cached_property
    def claim_stage(self) -> Stage:
        config = self.dedup.verdict_fields()
        if self.dedup.against:
            config["against"] = [index_fingerprint(folder) for folder in self.dedup.against]
        if self.facts and set(self.dedup.prefer) & set(self.facts.names):
            config["facts"] = self.facts.fingerprint
        return Stage("claim", KEYS_VERSION, config, self.text_stages[-1].stage)

    def chain(self) -> list[Stage]:
        """All stages, first judged first."""
        return self.claim_stage.chain()

    def stage(self, name: str) -> Stage:
        """KeyError when the stage is off."""
        return {stage.name: stage for stage in self.chain()}[name]


def judge(shard: Shard, curation: Curation) -> tuple[np.ndarray, DocumentKeys] | None:
    """Judge one shard up to its duplicate keys, replaying what the ledger has.

    Returns (rows int32 [k], keys) of the documents that the claim must decide on; None when it has already.
    """
    passes = [_Pass(stage, shard, curation.ledger) for stage in curation.text_stages]
    if all(each.complete for each in passes) and is_claimed(shard, curation):
        return None
    keys = ShardKeys(curation.dedup)
    for documents in _read(shard, curation):
        for each in passes:
            documents = each(documents)
        keys.add(_with_facts(documents, curation))
    for each in passes:
        each.commit()
    return keys.finish()


class _Pass:
    """One stage's pass over one shard: tables of documents in, those that passed out, verdicts kept to commit."""

    def __init__(self, stage: TextStage, shard: Shard, ledger: Ledger):
        self.stage, self.shard, self.ledger = stage, shard, ledger
        self.first = stage.stage.after is None
        self.known = ledger.read(stage.stage, shard.shard, shard.identity())
        self.complete = self.known is not None
        if self.known is None:
            found = ledger.reusable(stage.stage, shard.shard, shard.identity())
            self.known = stage.rejudge(found) if found is not None and stage.rejudge else found
        self.tables: list[pa.Table] = []
        self.clock: Clock = defaultdict(float)
        self.seconds, self.bytes = 0.0, 0

    def __call__(self, documents: pa.Table) -> pa.Table:
        start = time.process_time()
        verdicts = self.stage.verdicts(documents, self.known, self.clock)
        if self.first and "size" not in verdicts.column_names:
            verdicts = verdicts.append_column("size", documents["size"])  # for those who count bytes
        self.tables.append(verdicts)
        self.bytes += pc.sum(documents["size"]).as_py() or 0
        if (
            verdicts["reason"].null_count < verdicts.num_rows
        ):  # else all passed: text is not copied for nothing
            passed = pc.is_null(verdicts["reason"])
            documents, verdicts = documents.filter(passed), verdicts.filter(passed)
        if self.stage.amend is not None and documents.num_rows:
            documents = self.stage.amend(documents, verdicts)
        self.seconds += time.process_time() - start
        return documents

    def commit(self) -> None:
        if self.complete:
            return
        meta: dict[str, Any] = {"bytes": self.bytes, "seconds": self.seconds}
        if self.clock:
            meta["rule_seconds"] = dict(self.clock)
        table = pa.concat_tables(self.tables).unify_dictionaries()
        self.ledger.commit(self.stage.stage, self.shard.shard, table, self.shard.identity(), **meta)


def is_claimed(shard: Shard, curation: Curation) -> bool:
    """A claim stands for the whole order up to its shard: with another shard before it, it is void."""
    return curation.ledger.meta(curation.claim_stage, shard.shard, shard.prefix) is not None


def claim(shard: Shard, rows: np.ndarray, keys: DocumentKeys, index: Index, curation: Curation) -> None:
    """Decide the duplicates of one shard and commit. Shards must come in order: earlier documents own their keys."""
    start = time.perf_counter()
    verdict = claim_shard(shard.shard, rows, keys, index, curation.dedup)
    seconds = time.perf_counter() - start
    curation.ledger.commit(curation.claim_stage, shard.shard, verdict, shard.prefix, seconds=seconds)


def kept_rows(shard: Shard, curation: Curation) -> np.ndarray:
    """Rows (int32, ascending) of the shard's documents that every stage kept. The shard must have been claimed."""
    verdict = _claims(shard, curation)
    return np.asarray(verdict.filter(pc.is_null(verdict["reason"]))["row"], np.int32)


def claimed_rows(shard: Shard, curation: Curation) -> np.ndarray:
    """Rows (int32, ascending) of the documents that came as far as the claim, kept or not."""
    return np.asarray(_claims(shard, curation)["row"], np.int32)


def _claims(shard: Shard, curation: Curation) -> pa.Table:
    return _recorded(curation.claim_stage, shard, shard.prefix, curation)


def _recorded(stage: Stage, shard: Shard, identity: str, curation: Curation) -> pa.Table:
    verdict = curation.ledger.read(stage, shard.shard, identity)
    if verdict is None:
        raise RuntimeError(f"shard {shard.shard} has no verdicts under {stage.folder}")
    return verdict


def kept_documents(shard: Shard, curation: Curation) -> Iterator[pa.Table]:
    """The shard's kept documents as the stages leave them, read again from the source, in row order.

    At least one table, perhaps empty.
    """
    return _documents_at(shard, kept_rows(shard, curation), curation)


def _documents_at(shard: Shard, rows: np.ndarray, curation: Curation) -> Iterator[pa.Table]:
    amending = [stage for stage in curation.text_stages if stage.amend is not None]
    recorded = [_recorded(stage.stage, shard, shard.identity(), curation) for stage in amending]
    for documents in _read(shard, curation):
        wanted = np.isin(np.asarray(documents["row"]), rows, assume_unique=True)
        documents = documents.filter(pa.array(wanted))
        for stage, verdicts in zip(amending, recorded, strict=True):
            documents = stage.amended(documents, verdicts)
        yield documents


def _read(shard: Shard, curation: Curation) -> Iterator[pa.Table]:
    """The shard's documents; one empty table where it has none, so that it gets its verdicts like any other."""
    found = False
    for documents in read_shard(shard, curation.source):
        found = True
        yield documents
    if not found:
        yield DOCUMENT.empty_table()


def rehash(shard: Shard, curation: Curation) -> tuple[np.ndarray, DocumentKeys]:
    """Rows and keys of the documents that own keys, computed again: how a lost index comes back.

    With `link: chain` dropped documents own keys too, so all that were claimed are hashed.
    """
    keys = ShardKeys(curation.dedup)
    owning = claimed_rows(shard, curation) if curation.dedup.link == "chain" else kept_rows(shard, curation)
    for documents in _documents_at(shard, owning, curation):
        keys.add(_with_facts(documents, curation))
    return keys.finish()


def _with_facts(documents: pa.Table, curation: Curation) -> pa.Table:
    """The documents with what is known of their repositories, as `dedup.prefer` asks for it."""
    if curation.facts is None:
        return documents
    facts = curation.facts.of(documents["repo"])
    for name in set(curation.dedup.prefer) & set(facts.column_names):
        documents = documents.append_column(name, facts[name])
    return documents
