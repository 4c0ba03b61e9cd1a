"""Where the documents went: read -> each reason -> kept, folded over the verdict ledger one shard at a time.

Only counts are kept between shards, so a corpus of any size is accounted for in the memory of one shard's
verdicts. Language and size are recorded once, by the rules stage; later verdicts are joined to them by row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from snowcoder.run_verdicts import STAGES, RunVerdicts, Violation
from snowcoder.verdicts import ShardVerdicts, Verdicts


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
                for lang, count in counts.items():
                    merged[lang] = merged.get(lang, Count()).plus(count)
        return merged


def total(counts: Languages) -> Count:
    return reduce(Count.plus, counts.values(), Count())


def funnel(run_dir: str | Path) -> Funnel:
    """Fold the current verdicts of a run. A run without verdicts gives an empty funnel.

    A damaged verdict object is a violation, not an error: the other shards are still counted. Raises
    UserError when the manifest is damaged.
    """
    run = RunVerdicts(run_dir)
    result = Funnel(stages=run.stages)
    for shard in run.each(columns={}, violations=result.violations):
        add_shard(result, shard)
    return result


def check_accounting(run_dir: str | Path) -> list[Violation]:
    """Every breach of: rows read = kept + rejected, and each rejected row has exactly one first reason."""
    return funnel(run_dir).violations


def rejected(run_dir: str | Path, reason: str | None = None) -> Iterator[Rejected]:
    """Rejected documents in order of shard and stage, with all columns their stage recorded.

    `reason` None means all reasons. Language and size come along from the rules stage. One shard is in memory
    at a time; shards that breach the accounting are passed over.
    """
    run = RunVerdicts(run_dir)
    for shard in run.each(columns={}):
        wanted = {each.stage: _wanted(each, reason) for each in shard.stages}
        if not any(mask.any() for mask in wanted.values()):
            continue
        language, names = shard.languages
        for each in run.of(shard.shard).stages:
            for record in each.table.filter(pa.array(wanted[each.stage])).to_pylist():
                row = record.pop("row")
                record = {"lang": names[language[row]], "size": int(shard.sizes[row])} | record
                yield Rejected(shard.shard, row, each.stage, record.pop("reason"), record)


def _wanted(verdicts: Verdicts, reason: str | None) -> np.ndarray:
    """bool, one per row judged: was it rejected, for this reason if one is given?"""
    code, reasons = verdicts.reason
    if reason is None:
        return code >= 0
    return code == reasons.index(reason) if reason in reasons else np.zeros(len(code), bool)


def add_shard(result: Funnel, shard: ShardVerdicts) -> None:
    """Add one shard to the counts."""
    result.shards += 1
    language, names = shard.languages
    _add(result.read, names, language, shard.sizes)
    for verdicts in shard.stages:
        spent = float(verdicts.meta.get("seconds", 0.0))
        result.seconds[verdicts.stage] = result.seconds.get(verdicts.stage, 0.0) + spent
        code, reasons = verdicts.reason
        for place in np.unique(code[code >= 0]):
            rows = verdicts.rows[code == place]
            counts = result.rejected.setdefault((verdicts.stage, reasons[place]), {})
            _add(counts, names, language[rows], shard.sizes[rows])
    last = shard.stages[-1]
    left = last.rows[last.passed]
    _add(result.kept if shard.complete else result.pending, names, language[left], shard.sizes[left])


def _add(into: Languages, names: list[str], language: np.ndarray, size: np.ndarray) -> None:
    """Count documents of these language codes and sizes."""
    documents = np.bincount(language, minlength=len(names)).tolist()
    volume = np.bincount(language, weights=size, minlength=len(names)).tolist()
    for name, count, total in zip(names, documents, volume, strict=True):
        if count:
            into[name] = into.get(name, Count()).plus(Count(count, int(total)))
