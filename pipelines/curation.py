"""Judging a shard: rules, decontamination and duplicate keys in one pass over its text, verdicts into the ledger.

Nothing of the text leaves this pass: what goes on to the claim are keys, and whoever needs the text of kept
documents later opens the shard again (docs/architecture.md says why that is cheaper than carrying it).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.dedup.claim import claim_shard
from pipelines.dedup.config import DedupConfig
from pipelines.dedup.index import Index
from pipelines.dedup.keys import KEYS_VERSION, DocumentKeys, document_keys
from pipelines.ledger import Ledger, Stage
from pipelines.schema import DOCUMENT, Shard
from pipelines.sources import SourceConfig, read_shard
from pipelines.stages.decontaminate import DECONTAMINATE_VERSION, DecontaminateConfig, judge_contamination
from pipelines.stages.rules import RULES_VERSION, RulesConfig, judge_rules
from pipelines.stages.stored_index import StoredIndex


@dataclass(frozen=True)
class Curation:
    """All that decides which documents are kept; sent to every task that judges or reads a shard."""

    source: SourceConfig
    rules: RulesConfig
    decontaminate: DecontaminateConfig
    dedup: DedupConfig
    benchmarks: StoredIndex
    ledger_root: str

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(self.ledger_root)

    @cached_property
    def rules_stage(self) -> Stage:
        return Stage("rules", RULES_VERSION, self.rules.model_dump(mode="json"))

    @cached_property
    def decontaminate_stage(self) -> Stage:
        config = {**self.decontaminate.model_dump(mode="json"), "index": self.benchmarks.fingerprint}
        return Stage("decontaminate", DECONTAMINATE_VERSION, config, self.rules_stage)

    @cached_property
    def claim_stage(self) -> Stage:
        # How many partitions hold the index, and how large they were declared, does not change what they answer.
        config = self.dedup.model_dump(mode="json", exclude={"partitions", "expected_documents"})
        return Stage("claim", KEYS_VERSION, config, self.decontaminate_stage)

    def stages(self) -> list[Stage]:
        return self.claim_stage.chain()


def judge(shard: Shard, curation: Curation) -> tuple[np.ndarray, DocumentKeys] | None:
    """Judge one shard up to its duplicate keys, replaying what the ledger has.

    Returns (rows int32 [k], keys) of the documents that the claim must decide on; None when it has already.
    """
    ledger, identity = curation.ledger, shard.identity()
    rules = ledger.read(curation.rules_stage, shard.shard, identity)
    clean = ledger.read(curation.decontaminate_stage, shard.shard, identity)
    if rules is not None and clean is not None and is_claimed(shard, curation):
        return None
    seconds = {"read": 0.0, "rules": 0.0, "decontaminate": 0.0, "keys": 0.0}
    rule_tables, clean_tables, rows, keys = [], [], [], []
    read_bytes = 0
    clock = _Clock(seconds)
    for documents in _read(shard, curation):
        clock.lap("read")
        read_bytes += pc.sum(documents["size"]).as_py() or 0
        verdict = _replayed(rules, documents) if rules is not None else judge_rules(documents, curation.rules)
        rule_tables.append(verdict)
        documents = documents.filter(pc.is_null(verdict["reason"]))
        clock.lap("rules")
        verdict = (
            _replayed(clean, documents)
            if clean is not None
            else judge_contamination(documents, curation.benchmarks.open(), curation.decontaminate)
        )
        clean_tables.append(verdict)
        documents = documents.filter(pc.is_null(verdict["reason"]))
        clock.lap("decontaminate")
        rows.append(np.asarray(documents["row"], np.int32))
        keys.append(document_keys(documents["text"], curation.dedup))
        clock.lap("keys")
    if rules is None:
        table = pa.concat_tables(rule_tables)
        ledger.commit(
            curation.rules_stage, shard.shard, table, identity, bytes=read_bytes, seconds=seconds["rules"]
        )
    if clean is None:
        table = pa.concat_tables(clean_tables)
        ledger.commit(
            curation.decontaminate_stage, shard.shard, table, identity, seconds=seconds["decontaminate"]
        )
    return np.concatenate(rows), DocumentKeys.concat(keys)


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
    verdict = curation.ledger.read(curation.claim_stage, shard.shard, shard.prefix)
    if verdict is None:
        raise RuntimeError(f"shard {shard.shard} has no verdicts under {curation.claim_stage.folder}")
    return verdict


def kept_documents(shard: Shard, curation: Curation) -> Iterator[pa.Table]:
    """The shard's kept documents, read again from the source, in row order. At least one table, perhaps empty."""
    return _documents_at(shard, kept_rows(shard, curation), curation)


def _documents_at(shard: Shard, rows: np.ndarray, curation: Curation) -> Iterator[pa.Table]:
    for documents in _read(shard, curation):
        wanted = np.isin(np.asarray(documents["row"]), rows, assume_unique=True)
        yield documents.filter(pa.array(wanted))


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
    rows, keys = [], []
    owning = claimed_rows(shard, curation) if curation.dedup.link == "chain" else kept_rows(shard, curation)
    for documents in _documents_at(shard, owning, curation):
        rows.append(np.asarray(documents["row"], np.int32))
        keys.append(document_keys(documents["text"], curation.dedup))
    return np.concatenate(rows), DocumentKeys.concat(keys)


def _replayed(recorded: pa.Table, documents: pa.Table) -> pa.Table:
    """The recorded verdicts of just these documents, in their order."""
    at = np.searchsorted(np.asarray(recorded["row"]), np.asarray(documents["row"]))
    return recorded.take(pa.array(at))


class _Clock:
    def __init__(self, seconds: dict[str, float]):
        self.seconds, self.last = seconds, time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] += now - self.last
        self.last = now
