"""Where the documents went: read -> each reason -> kept, folded over the verdict ledger one shard at a time.

Only counts are kept between shards, so a corpus of any size is accounted for in the memory of one shard's
verdicts. Language and size are recorded once, by the rules stage; later verdicts are joined to them by row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.ledger import META, Ledger

STAGES = ("rules", "decontaminate", "claim")
"""The stages that judge documents, in the order a document meets them."""

_COLUMNS = ("row", "reason", "lang", "size")


class Count(NamedTuple):
    """Documents and their bytes as stored in the source."""

    documents: int = 0
    bytes: int = 0

    def plus(self, other: Count) -> Count:
        return Count(self.documents + other.documents, self.bytes + other.bytes)


class Rejected(NamedTuple):
    """One rejected document: where it is, which stage rejected it, and what that stage recorded of it."""

    shard: int
    row: int
    stage: str
    reason: str
    evidence: dict[str, Any]


class Violation(NamedTuple):
    """One breach of the accounting: each row read is judged until its first reason, and counted once."""

    shard: int
    stage: str
    problem: str

    def __str__(self) -> str:
        return f"shard {self.shard}, {self.stage}: {self.problem}"


Languages = dict[str, Count]


@dataclass
class Funnel:
    """Counts by language. For every language read = kept + rejected + pending.

    `pending` documents passed every stage that has judged their shard so far, while a later stage has yet to
    judge it (a run that goes on, or was stopped). Shards with a violation are in no count.
    """

    stages: tuple[str, ...] = STAGES
    shards: int = 0
    read: Languages = field(default_factory=dict)
    kept: Languages = field(default_factory=dict)
    pending: Languages = field(default_factory=dict)
    rejected: dict[tuple[str, str], Languages] = field(default_factory=dict)  # by (stage, reason)
    seconds: dict[str, float] = field(default_factory=dict)  # stage -> processor seconds spent judging
    violations: list[Violation] = field(default_factory=list)

    @property
    def languages(self) -> list[str]:
        """All languages read, the one with most bytes first."""
        return sorted(self.read, key=lambda lang: (-self.read[lang].bytes, lang))

    def reasons(self) -> list[tuple[str, str, Count]]:
        """(stage, reason, count over all languages), in stage order, most documents first."""
        rows = [(stage, reason, total(counts)) for (stage, reason), counts in self.rejected.items()]
        return sorted(rows, key=lambda row: (self.stages.index(row[0]), -row[2].documents, row[1]))

    def rejected_by(self, stage: str) -> Languages:
        """What one stage rejected, over all its reasons."""
        merged: Languages = {}
        for (at, _), counts in self.rejected.items():
            if at == stage:
                _add(merged, counts)
        return merged


def total(counts: Languages) -> Count:
    return reduce(Count.plus, counts.values(), Count())


def funnel(run_dir: str | Path) -> Funnel:
    """Fold the current verdicts of a run. A run without verdicts gives an empty funnel.

    A damaged verdict object is a violation, not an error: the other shards are still counted. Raises
    UserError when the manifest is damaged.
    """
    ledger = _Objects(run_dir)
    result = Funnel(stages=tuple(ledger.folders))
    for shard in ledger.shards():
        try:
            _fold(result, ledger.verdicts(shard))
        except _Breach as breach:
            result.violations.append(Violation(shard, *breach.args))
    return result


def check_accounting(run_dir: str | Path) -> list[Violation]:
    """Every breach of: rows read = kept + rejected, and each rejected row has exactly one first reason."""
    return funnel(run_dir).violations


def rejected(run_dir: str | Path, reason: str | None = None) -> Iterator[Rejected]:
    """Rejected documents in order of shard and stage, with all columns their stage recorded.

    `reason` None means all reasons. Language and size come along from the rules stage. One shard is in memory
    at a time; shards that breach the accounting are passed over.
    """
    ledger = _Objects(run_dir)
    for shard in ledger.shards():
        try:
            verdicts = ledger.verdicts(shard, columns=None)
        except _Breach:
            continue
        for verdict in verdicts:
            wanted = pc.is_valid(verdict.reason) if reason is None else pc.equal(verdict.reason, reason)
            table = verdict.table.filter(pc.fill_null(wanted, False))
            if verdict.stage != "rules":
                known = _described(verdicts[0].table, table)
                table = table.append_column("lang", known["lang"]).append_column("size", known["size"])
            for record in table.to_pylist():
                yield Rejected(shard, record.pop("row"), verdict.stage, record.pop("reason"), record)


class _Breach(Exception):
    """(stage, problem): why a shard cannot be counted."""


@dataclass(frozen=True)
class _Verdicts:
    stage: str
    meta: dict[str, Any]
    table: pa.Table

    @property
    def reason(self) -> pa.ChunkedArray:
        return self.table["reason"]


class _Objects:
    """The current verdict objects of a run, in stage order."""

    def __init__(self, run_dir: str | Path):
        root = Path(run_dir) / "ledger"
        current = Ledger(root).current()
        self.folders = {stage: root / f"{stage}-{current[stage]}" for stage in STAGES if stage in current}
        self.identities, self.prefixes = _identities(Path(run_dir) / "manifest.jsonl")

    def shards(self) -> list[int]:
        """Shards that any stage has judged, and that the manifest lists if there is one."""
        found = {int(path.stem) for folder in self.folders.values() for path in folder.glob("[0-9]*.arrow")}
        return sorted(found & self.identities.keys() if self.identities else found)

    def verdicts(self, shard: int, columns: tuple[str, ...] | None = _COLUMNS) -> list[_Verdicts]:
        """One shard's verdicts, rules first, checked against each other. Raises _Breach."""
        result: list[_Verdicts] = []
        survivors = np.empty(0, np.int32)
        absent = ""
        for stage in self.folders:
            found = self._read(stage, shard, columns)
            if found is None:
                absent = absent or stage
                continue
            if absent:
                raise _Breach(stage, f"judged without the verdicts of {absent}, which comes before")
            meta, table = found
            rows = table["row"].to_numpy()
            if stage == "rules" and not np.array_equal(rows, np.arange(len(rows))):
                raise _Breach(stage, f"rows are not 0..{len(rows) - 1} in order, each once")
            if stage != "rules":
                _check_judged(stage, rows, survivors)
            if pc.any(pc.equal(table["reason"], "")).as_py():
                raise _Breach(stage, "a rejected row has no reason")
            survivors = np.sort(rows[pc.is_null(table["reason"]).to_numpy()])
            result.append(_Verdicts(stage, meta, table))
        return result

    def _read(
        self, stage: str, shard: int, columns: tuple[str, ...] | None
    ) -> tuple[dict[str, Any], pa.Table] | None:
        """(metadata, verdicts); None when the object is absent or is of an earlier content of the shard."""
        path = self.folders[stage] / f"{shard:08d}.arrow"
        try:
            with pa.OSFile(str(path), "rb") as source:
                schema = pa.ipc.open_file(source).schema
                meta = json.loads((schema.metadata or {}).get(META, b"{}"))
                # A claim depends on all shards before its own, so it is filed under the hash of the whole prefix.
                known = self.prefixes if stage == "claim" else self.identities
                if known and meta.get("identity") != known[shard]:
                    return None
                fields = [i for i, name in enumerate(schema.names) if columns is None or name in columns]
                options = pa.ipc.IpcReadOptions(included_fields=fields)
                table = pa.ipc.open_file(source, options=options).read_all()
        except FileNotFoundError:
            return None
        except (pa.ArrowInvalid, OSError, ValueError) as error:
            raise _Breach(stage, f"damaged verdicts ({error}); delete {path} and run again") from error
        missing = {"row", "reason", *(_COLUMNS if stage == "rules" else ())} - set(table.column_names)
        if missing:
            raise _Breach(stage, f"no column {', '.join(sorted(missing))}")
        recorded = (meta.get("shard"), f"{meta.get('stage')}-{meta.get('key')}", meta.get("rows"))
        expected = (shard, self.folders[stage].name, table.num_rows)
        if recorded != expected:
            raise _Breach(stage, f"recorded as (shard, stage, rows) {recorded}, found as {expected}")
        return meta, table.unify_dictionaries().combine_chunks()


def _identities(manifest: Path) -> tuple[dict[int, str], dict[int, str]]:
    """Shard number -> identity, and -> hash of the order up to and with it; {} when there is no manifest.

    Some 200 bytes a shard, all that grows here.
    """
    if not manifest.exists():
        return {}, {}
    from pipelines.manifest import Manifest  # here, because it loads every kind of source

    found = Manifest.read(manifest)
    identities = {shard.shard: shard.identity() for shard in found.shards}
    return identities, {number: found.prefix(number + 1) for number in identities}


def _check_judged(stage: str, rows: np.ndarray, survivors: np.ndarray) -> None:
    """Raises _Breach unless these are exactly the rows (`survivors`) that passed the stage before."""
    missing, extra = np.setdiff1d(survivors, rows), np.setdiff1d(rows, survivors)
    if missing.size:
        raise _Breach(stage, f"{missing.size} rows that passed before have no verdict, first {missing[0]}")
    if extra.size:
        raise _Breach(stage, f"{extra.size} rows that did not pass before are judged, first {extra[0]}")
    if len(rows) != len(survivors):
        raise _Breach(stage, f"{len(rows) - len(survivors)} rows are judged twice")


def _fold(result: Funnel, verdicts: list[_Verdicts]) -> None:
    """Add one shard to the counts."""
    if not verdicts:  # all objects are of an earlier content of this shard
        return
    rules, final = verdicts[0].table, verdicts[-1]
    result.shards += 1
    _add(result.read, _count(rules))
    for verdict in verdicts:
        spent = float(verdict.meta.get("seconds", 0.0))
        result.seconds[verdict.stage] = result.seconds.get(verdict.stage, 0.0) + spent
        known = _described(rules, verdict.table)
        for reason in verdict.reason.drop_null().unique().to_pylist():
            counts = _count(known.filter(pc.fill_null(pc.equal(verdict.reason, reason), False)))
            _add(result.rejected.setdefault((verdict.stage, reason), {}), counts)
    left = final.table.filter(pc.is_null(final.reason))
    complete = len(verdicts) == len(result.stages)
    _add(result.kept if complete else result.pending, _count(_described(rules, left)))


def _described(rules: pa.Table, table: pa.Table) -> pa.Table:
    """The rules verdicts of the documents of `table`; row r stands at place r, as was checked."""
    return rules.take(table["row"])


def _count(table: pa.Table) -> Languages:
    """Documents and bytes by language of a table with `lang` and `size`."""
    groups = table.group_by("lang").aggregate([([], "count_all"), ("size", "sum")])
    columns = (groups[name].to_pylist() for name in ("lang", "count_all", "size_sum"))
    return {lang or "": Count(documents, size or 0) for lang, documents, size in zip(*columns, strict=True)}


def _add(into: Languages, counts: Languages) -> None:
    for lang, count in counts.items():
        into[lang] = into.get(lang, Count()).plus(count)
