"""What every rule does and costs: how often it fires, with which others, alone, and in what time.

All rules of a stage are judged for every document that reaches it, and the verdict keeps which of them fired
as a bitmap. How often each bitmap occurs says all of this, so that is what is counted: a few hundred numbers,
whatever the size of the run.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from itertools import combinations
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from snowcoder.funnel import Count
from snowcoder.run_verdicts import STAGES, Columns, RunVerdicts, Violation
from snowcoder.verdicts import ShardVerdicts, Verdicts

ALWAYS_TOGETHER = 0.95
"""Two rules fire together when the Jaccard similarity of the documents they hit is at least this."""

_STAGES_WITH_TEXT = STAGES[:-1]  # the claim judges keys, and has no module among the stages
NONE = Count()
_COLUMNS: Columns = dict.fromkeys(STAGES, ("hits",))


class RuleRow(NamedTuple):
    """One rule. Documents that it hits; that it is the recorded reason of; that no other rule of its stage hits.

    `group` is what it is measured together with, and so shares its cost with; "" where that is the whole stage.
    """

    stage: str
    rule: str
    hits: Count
    first: Count
    alone: Count
    group: str = ""


class Together(NamedTuple):
    """Two rules of a stage that hit nearly the same documents."""

    stage: str
    rules: tuple[str, str]
    both: int  # documents
    either: int

    @property
    def jaccard(self) -> float:
        return self.both / self.either


class StageCost(NamedTuple):
    """What a stage judged, in how many processor seconds, and how they divide among its groups of rules.

    Groups are empty where the stage does not report them. What they do not sum up to is the stage's own:
    reading columns, building verdicts.
    """

    stage: str
    judged: Count
    seconds: float
    groups: dict[str, float]


@dataclass
class RuleCosts:
    """Of the documents of `language`, or of all. Rules are in the order in which they are judged.

    Costs are of all languages, for they are recorded by shard. `off` are the rules without a limit in any
    language. `unnamed` are stages recorded by another version of the program, in whose bitmaps the bits meant other
    rules: of those only the reasons are known.
    """

    language: str | None
    read: Count = NONE
    kept: Count = NONE
    pending: Count = NONE  # passed every stage so far, while a later one has yet to judge their shard
    languages: Counter[str] = field(default_factory=Counter)  # documents read of each, whatever `language`
    reasons: list[tuple[str, str, Count]] = field(
        default_factory=list
    )  # (stage, reason), most documents first
    rules: list[RuleRow] = field(default_factory=list)
    together: list[Together] = field(default_factory=list)
    costs: list[StageCost] = field(default_factory=list)
    off: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)

    def add(self, shard: ShardVerdicts, chosen: np.ndarray) -> None:
        """Count what one shard read and kept; `chosen` bool, one per document."""
        code, names = shard.languages
        for name, documents in zip(names, np.bincount(code, minlength=len(names)).tolist(), strict=True):
            if documents:
                self.languages[name] += documents
        last = shard.stages[-1]
        left = np.zeros(len(chosen), bool)
        left[last.rows[last.passed]] = True
        left &= chosen
        read, passed = (Count(int(mask.sum()), int(shard.sizes[mask].sum())) for mask in (chosen, left))
        self.read = self.read.plus(read)
        if shard.complete:
            self.kept = self.kept.plus(passed)
        else:
            self.pending = self.pending.plus(passed)

    @property
    def fired(self) -> list[RuleRow]:
        return [row for row in self.rules if row.hits.documents]

    def speed(self, stage: str, group: str = "") -> float:
        """Bytes a second of one core in a stage, or in one of its groups of rules; 0.0 where it is not recorded."""
        cost = next((cost for cost in self.costs if cost.stage == stage), None)
        if cost is None:
            return 0.0
        seconds = cost.groups.get(group, 0.0) if group else cost.seconds
        return cost.judged.bytes / seconds if seconds else 0.0

    @property
    def never(self) -> list[tuple[str, str]]:
        """(stage, rule) of the rules that are on and hit nothing."""
        return [
            (row.stage, row.rule) for row in self.rules if not row.hits.documents and row.rule not in self.off
        ]


def rule_costs(run_dir: str | Path, language: str | None = None) -> RuleCosts:
    """Count the rules over a run's ledger; no text is read. Raises UserError when the manifest is damaged."""
    run = RunVerdicts(run_dir)
    names = {stage: _rule_names(run, stage) for stage in run.stages}
    tallies = {stage: _Tally() for stage in run.stages}
    result = RuleCosts(language)
    for shard in run.each(_COLUMNS, result.violations):
        chosen = shard.is_language(language)
        result.add(shard, chosen)
        for verdicts in shard.stages:
            tallies[verdicts.stage].add(verdicts, shard.sizes, chosen)
    for stage, tally in tallies.items():
        known = names[stage]
        if known is None and tally.bitmaps:
            result.unnamed.append(stage)
        if stage == "rules":
            result.off = _switched_off(run.recorded(stage).get("config", {}))
        groups = _rule_groups(stage)
        rows = tally.rows(stage, known or ())
        result.rules += [row._replace(group=groups.get(row.rule, "")) for row in rows]
        result.together += tally.together(stage, known or ())
        counted = [(reason, Count(*numbers)) for reason, numbers in tally.reasons.items()]
        counted.sort(key=lambda item: (-item[1].documents, item[0]))
        result.reasons += [(stage, reason, count) for reason, count in counted]
        result.costs.append(StageCost(stage, tally.judged, tally.seconds, dict(tally.groups)))
    return result


def rule_of(reason: str) -> str:
    """The rule behind a reason: "error:invalid_utf8" is the rule "error", any other reason is its own."""
    return "error" if reason.startswith("error:") else reason


@dataclass
class _Tally:
    """One stage over the shards so far."""

    bitmaps: dict[int, list[int]] = field(default_factory=dict)  # -> documents, bytes
    reasons: dict[str, list[int]] = field(default_factory=dict)
    judged: Count = NONE
    seconds: float = 0.0
    groups: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, verdicts: Verdicts, sizes: np.ndarray, chosen: np.ndarray) -> None:
        size, wanted = sizes[verdicts.rows], chosen[verdicts.rows]
        self.judged = self.judged.plus(Count(len(size), int(size.sum())))
        self.seconds += float(verdicts.meta.get("seconds", 0.0))
        for group, seconds in verdicts.meta.get("rule_seconds", {}).items():
            self.groups[group] += float(seconds)
        code, reasons = verdicts.reason
        rejected = wanted & (code >= 0)
        _add(self.reasons, reasons, code[rejected], size[rejected])
        if (hits := verdicts.column("hits")) is not None:
            hit = wanted & (hits != 0)
            distinct, code = np.unique(hits[hit], return_inverse=True)
            _add(self.bitmaps, distinct.tolist(), code, size[hit])

    def rows(self, stage: str, names: Iterable[str]) -> list[RuleRow]:
        """One row per named rule, then one per reason that is no rule of the bitmap's."""
        first: dict[str, Count] = {}
        for reason, numbers in self.reasons.items():
            first[rule_of(reason)] = first.get(rule_of(reason), NONE).plus(Count(*numbers))
        rows = []
        for place, name in enumerate(names):
            bit = 1 << place
            hits = [numbers for bitmap, numbers in self.bitmaps.items() if bitmap & bit]
            total = Count(sum(documents for documents, _ in hits), sum(volume for _, volume in hits))
            alone = Count(*self.bitmaps.get(bit, NONE))
            rows.append(RuleRow(stage, name, total, first.pop(name, NONE), alone))
        by_size = sorted(first.items(), key=lambda item: (-item[1].documents, item[0]))
        return rows + [RuleRow(stage, name, count, count, count) for name, count in by_size]

    def together(self, stage: str, names: Iterable[str]) -> list[Together]:
        """Pairs over `ALWAYS_TOGETHER`, the most alike first."""
        bitmaps = np.array(list(self.bitmaps), np.uint64)
        documents = np.array([numbers[0] for numbers in self.bitmaps.values()], np.int64)
        rules = list(names)
        hit = (bitmaps[:, None] >> np.arange(len(rules), dtype=np.uint64)) & np.uint64(1) == 1
        shared = (hit * documents[:, None]).T @ hit
        found = []
        for a, b in combinations(range(len(rules)), 2):
            both, either = int(shared[a, b]), int(shared[a, a] + shared[b, b] - shared[a, b])
            if both and both >= ALWAYS_TOGETHER * either:
                found.append(Together(stage, (rules[a], rules[b]), both, either))
        return sorted(found, key=lambda pair: (-pair.jaccard, -pair.both, pair.rules))


def stage_rules(stage: str) -> tuple[str, ...]:
    """The rules behind a stage's `hits`, lowest bit first; () when it keeps no bitmap."""
    return tuple(getattr(_module(stage), "RULES", ()))


def _rule_names(run: RunVerdicts, stage: str) -> tuple[str, ...] | None:
    """`stage_rules`, or None when the verdicts were recorded by a version whose bits meant something else."""
    recorded, ours = (
        run.recorded(stage).get("version"),
        getattr(_module(stage), f"{stage.upper()}_VERSION", None),
    )
    return stage_rules(stage) if recorded in (None, ours) else None


def _rule_groups(stage: str) -> dict[str, str]:
    """Rule -> the group of measurements that its thresholds compare; "facts" for a rule that has none."""
    if stage != "rules":
        return {}
    from pipelines.stages.rules_table import GROUP_OF, RULES, THRESHOLDS

    return dict.fromkeys(RULES, "facts") | {each.rule: GROUP_OF[each.measure] for each in THRESHOLDS}


def _switched_off(config: Mapping[str, Any]) -> list[str]:
    """The rules that a recorded configuration of theirs sets no limit, in any language."""
    from pipelines.stages.rules_table import RULE_TABLE

    tables = [config.get("limits") or {}, *(config.get("languages") or {}).values()]
    if not tables[0]:
        return []
    return [
        rule.name
        for rule in RULE_TABLE
        if rule.thresholds
        and all(table.get(each.limit) is None for each in rule.thresholds for table in tables)
    ]


def _module(stage: str) -> ModuleType | None:
    return import_module(f"pipelines.stages.{stage}") if stage in _STAGES_WITH_TEXT else None


def _add(into: dict[Any, list[int]], keys: list, code: np.ndarray, size: np.ndarray) -> None:
    """Add documents and bytes of the items `code` points at. A key that never occurs is not added."""
    documents = np.bincount(code, minlength=len(keys)).tolist()
    volume = np.bincount(code, weights=size, minlength=len(keys)).tolist()
    for key, count, total in zip(keys, documents, volume, strict=True):
        if count:
            numbers = into.setdefault(key, [0, 0])
            numbers[0] += count
            numbers[1] += int(total)
