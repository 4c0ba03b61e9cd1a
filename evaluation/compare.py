"""Two results on the same tasks: who is better, by how much, and whether this many tasks can tell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.scores import NO_SAMPLE
from evaluation.statistics import Paired, paired_passes
from snowcoder.base import UserError


@dataclass(frozen=True)
class Comparison:
    """One benchmark in two results. `cautions`: what besides the model differs between them."""

    benchmark: str
    first: float  # pass@1
    second: float
    paired: Paired
    cautions: tuple[str, ...]


def read_result(path: Path) -> dict[str, Any]:
    """A result file of `snowcoder evaluate`. UserError if it is none."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: not a result of `snowcoder evaluate` ({error}): give OUT/eval/NAME.json"
        ) from None
    if not isinstance(found, dict) or not results_in(found):
        raise UserError(f"{path}: no benchmark's verdicts in it: give OUT/eval/NAME.json")
    return found


def results_in(result: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The single benchmarks' summaries of a result, those with verdicts."""
    return {name: part for name, part in result.items() if isinstance(part, dict) and part.get("verdicts")}


def compare_results(first: dict[str, Any], second: dict[str, Any], seed: int = 0) -> list[Comparison]:
    """Every benchmark that both have. UserError when none is, or when the tasks are not the same."""
    ours, theirs = results_in(first), results_in(second)
    common = [name for name in ours if name in theirs]
    if not common:
        raise UserError(
            f"nothing to compare: the first has {', '.join(ours)}, the second {', '.join(theirs)}: "
            "evaluate both on one benchmark"
        )
    return [_compare(name, ours[name], theirs[name], seed) for name in common]


def _compare(name: str, ours: dict[str, Any], theirs: dict[str, Any], seed: int) -> Comparison:
    key, other = ours.get("key", {}), theirs.get("key", {})
    first, second = _shares(ours), _shares(theirs)
    if first.keys() != second.keys() or key.get("dataset") != other.get("dataset"):
        raise UserError(
            f"{name}: the two results are of other tasks (data set "
            f"{str(key.get('dataset'))[:12]} and {str(other.get('dataset'))[:12]}): repeat one of them"
        )
    single = ours["total"] == theirs["total"] == len(first)
    paired = paired_passes(list(first.values()), [second[task] for task in first], single, seed)
    cautions = [
        f"{what}: {_short(key[what])} against {_short(other[what])}"
        for what in ("prompt", "decoding", "sandbox", "references")
        if what in key and what in other and key[what] != other[what]
    ]
    return Comparison(name, _mean(first), _mean(second), paired, tuple(cautions))


def _shares(summary: dict[str, Any]) -> dict[str, float]:
    """Each task's share of passing samples; a task without a sample has failed."""
    rows: dict[str, list[bool]] = {}
    for verdict in summary["verdicts"]:
        rows.setdefault(verdict["task"], []).append(verdict["passed"] and verdict["reason"] != NO_SAMPLE)
    return {task: sum(row) / len(row) for task, row in rows.items()}


def _mean(shares: dict[str, float]) -> float:
    return sum(shares.values()) / len(shares)


def _short(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
