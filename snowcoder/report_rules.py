"""The report's parts on curation: what every rule does and costs, and rejected documents with their evidence."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from snowcoder.rule_costs import RuleCosts, rule_costs

SAMPLES_PER_REASON = 2
REASONS = 80  # shown with samples; the rest is told by their number alone
EXCERPT = 1600  # characters
_LONG = 120  # evidence longer than this is wrapped, or most of it would be out of sight


def rules_context(run_dir: Path) -> dict[str, Any] | None:
    """Rows for the template; None when nothing is judged."""
    found = rule_costs(run_dir)
    if not found.read.documents:
        return None
    seconds = sum(cost.seconds for cost in found.costs)
    most = max((row.hits.documents for row in found.fired), default=1)
    stages = list(dict.fromkeys(row.stage for row in found.fired))
    return {
        "read": found.read,
        "stages": [
            {"name": stage, "rows": [_rule(found, row, most) for row in found.fired if row.stage == stage]}
            for stage in stages
        ],
        "never": [rule for _, rule in found.never],
        "off": found.off,
        "together": found.together,
        "unnamed": found.unnamed,
        "costs": list(_costs(found, seconds)),
        "seconds": seconds,
    }


def _rule(found: RuleCosts, row: Any, most: int) -> dict[str, Any]:
    return {
        "rule": row.rule,
        "hits": row.hits,
        "first": row.first,
        "alone": row.alone,
        "group": row.group,
        "speed": found.speed(row.stage, row.group),
        "width": row.hits.documents / most,
        "alone_width": row.alone.documents / most,
    }


def _costs(found: RuleCosts, seconds: float) -> Iterable[dict[str, Any]]:
    """A row a stage, each followed by its groups, the dearest first."""
    for cost in found.costs:
        if not cost.judged.documents:
            continue
        parts = [("", cost.seconds), *sorted(cost.groups.items(), key=lambda item: -item[1])]
        for group, spent in parts:
            yield {
                "stage": cost.stage,
                "group": group,
                "judged": cost.judged,
                "seconds": spent,
                "share": spent / seconds if seconds else 0.0,
                "speed": found.speed(cost.stage, group),
            }


def samples_context(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lines of samples/rejected.jsonl by reason, in the order in which the reasons come, a few of each.

    The first reason of each stage is shown open.
    """
    reasons: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        samples = reasons.setdefault(text_of(record.get("reason", "")), [])
        if len(samples) < SAMPLES_PER_REASON:
            samples.append(sample_context(record))
    groups: list[dict[str, Any]] = []
    stages: set[str] = set()
    for reason, samples in list(reasons.items())[:REASONS]:
        stage = samples[0].get("stage", "")
        groups.append({"reason": reason, "stage": stage, "samples": samples, "open": stage not in stages})
        stages.add(stage)
    return groups


def sample_context(record: dict[str, Any]) -> dict[str, Any]:
    """Fields as short text; `evidence` as (name, value) pairs; `parts` as (text, is it evidence?); `pair` or None.

    The file may be of another version, or damaged: what has not the expected shape is shown as its JSON.
    """
    evidence = record.get("evidence")
    pairs = evidence.items() if isinstance(evidence, dict) else [("evidence", evidence)] if evidence else []
    sample: dict[str, Any] = {
        name: text_of(value) for name, value in record.items() if name not in ("excerpt", "pair")
    }
    sample["evidence"] = [(str(name), text_of(value)) for name, value in pairs if value is not None]
    excerpt = record.get("excerpt")
    excerpt = excerpt if isinstance(excerpt, dict) else {"parts": [(record.get("text", ""), False)]}
    sample |= {name: _number(excerpt.get(name)) for name in ("line", "before", "after")}
    sample["parts"] = list(_parts(excerpt.get("parts")))
    sample["wrap"] = any(marked and len(piece) > _LONG for piece, marked in sample["parts"])
    sample["pair"] = _pair(record["pair"]) if isinstance(record.get("pair"), dict) else None
    return sample


def _pair(pair: dict[str, Any]) -> dict[str, Any] | None:
    """`left` and `right` as one line each, `rows` as (number, text, number, text, are they equal?)."""
    given = pair.get("rows")
    rows = [
        (_number(row[0]), text_of(row[1]), _number(row[2]), text_of(row[3]), bool(row[4]))
        for row in (given if isinstance(given, list) else ())
        if isinstance(row, list) and len(row) == 5
    ]
    sides = {
        name: " ".join(text_of(side[key]) for key in ("repo", "path") if key in side)
        for name in ("left", "right")
        if isinstance(side := pair.get(name), dict)
    }
    return {**sides, "rows": rows, "more_rows": _number(pair.get("more_rows"))} if len(sides) == 2 else None


def text_of(value: object) -> str:
    """A value of a JSON record as text of bounded length."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= EXCERPT else f"{text[:EXCERPT]}\n… {len(text) - EXCERPT:,} more characters"


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _parts(parts: Any) -> Iterable[tuple[str, bool]]:
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, list | tuple) and len(part) == 2 and part[0]:
            yield text_of(part[0]), bool(part[1])
