"""The evaluation of all phases side by side, and what may be said of continued against its control."""

from __future__ import annotations

import math
from typing import Any

from evaluation.statistics import sign_test, wilson

TITLES = {
    "humaneval": "HumanEval",
    "humaneval+": "HumanEval+",
    "mbpp": "MBPP",
    "mbpp+": "MBPP+",
    "mbpp_sanitized": "MBPP sanitized",
    "evoeval": "EvoEval",
    "bigcodebench": "BigCodeBench",
    "bigcodebench_hard": "BigCodeBench hard",
    "bigcodebench_instruct": "BigCodeBench instruct",
    "multipl-e": "MultiPL-E",
}


def title_of(name: str) -> str:
    """A benchmark's name as its authors write it."""
    return TITLES.get(name, name)


def build(evaluations: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """What the report shows from RUN/eval/<phase>.json by phase; None when nothing was evaluated.

    {"benchmarks": names, "bits": names, "rows": [{"phase", "passed": {...}, "bits": {...}}], "findings":
    sentences}; the value of a column that is better than all others is marked as best.
    """
    if not evaluations:
        return None
    benchmarks = sorted(
        {name for found in evaluations.values() for name, part in found.items() if _is_result(part)}
    )
    bits = sorted({name for found in evaluations.values() for name in found.get("bits_per_byte", {})})
    rows: list[dict[str, Any]] = []
    for phase, found in evaluations.items():
        passed = {name: _passed(found[name]) for name in benchmarks if name in found}
        values = {name: {"value": float(value)} for name, value in found.get("bits_per_byte", {}).items()}
        rows.append({"phase": phase, "passed": passed, "bits": values})
    for name in benchmarks:
        _mark([row["passed"][name] for row in rows if name in row["passed"]], highest=True)
    for name in bits:
        _mark([row["bits"][name] for row in rows if name in row["bits"]], highest=False)
    findings = []
    if "continued" in evaluations and "control" in evaluations:
        findings = _findings(evaluations["continued"], evaluations["control"], benchmarks)
    return {"benchmarks": benchmarks, "bits": bits, "rows": rows, "findings": findings}


def _is_result(part: object) -> bool:
    return isinstance(part, dict) and "passed" in part and "total" in part


def _passed(part: dict[str, Any]) -> dict[str, Any]:
    low, high = part.get("pass@1_interval") or wilson(part["passed"], part["total"])
    value = part.get("pass@1", part["passed"] / part["total"])
    return {"passed": part["passed"], "total": part["total"], "value": value, "low": low, "high": high}


def _mark(cells: list[dict[str, Any]], highest: bool) -> None:
    best = (max if highest else min)((cell["value"] for cell in cells), default=math.nan)
    winners = [cell for cell in cells if cell["value"] == best]
    for cell in cells:
        cell["best"] = len(cells) > 1 and winners == [cell]


def _findings(continued: dict[str, Any], control: dict[str, Any], benchmarks: list[str]) -> list[str]:
    """One sentence a measurement: who wins, by how much, and whether that is more than chance."""
    from evaluation.run import compare

    findings = []
    for name in benchmarks:
        if name in continued and name in control:
            findings.append(_functional_finding(name, continued[name], control[name]))
    paired = compare(continued, control)
    for name, value in continued.get("bits_per_byte", {}).items():
        if name not in control.get("bits_per_byte", {}):
            continue
        gap = value - control["bits_per_byte"][name]
        winner = "no one" if gap == 0 else "continued" if gap < 0 else "control"
        score = f"{value:.4f} against {control['bits_per_byte'][name]:.4f}"
        sentence = f"{title_of(name)}, bits per byte: {winner} wins, {score}"
        if name in paired:
            low, high = paired[name]["low"], paired[name]["high"]
            sure = "more than chance" if low > 0 or high < 0 else "not more than chance"
            sentence += (
                f"; difference {gap:+.4f}, 95 % interval {low:+.4f} to {high:+.4f} over paired tasks: {sure}"
            )
        findings.append(sentence + ".")
    return findings


def _functional_finding(name: str, ours: dict[str, Any], control: dict[str, Any]) -> str:
    gap = ours["passed"] - control["passed"]
    winner = "no one" if gap == 0 else "continued" if gap > 0 else "control"
    score = f"{ours['passed']} against {control['passed']} of {ours['total']}"
    sentence = f"{title_of(name)}, tests passed: {winner} wins, {score}"
    solved, other = _solved(ours), _solved(control)
    if solved is None or other is None:
        return sentence + "."
    only, other_only = len(solved - other), len(other - solved)
    p = sign_test(only, other_only)
    sure = "more than chance" if p < 0.05 else "not more than chance"
    split = f"{only} tasks only by continued, {other_only} only by control"
    return f"{sentence}; {split}, exact McNemar p = {p:.2g}: {sure}."


def _solved(part: dict[str, Any]) -> set[str] | None:
    """Tasks that passed; None where a verdict a task is not recorded (or several, with sampling)."""
    verdicts = part.get("verdicts", [])
    tasks = {verdict["task"] for verdict in verdicts}
    if not verdicts or len(tasks) != len(verdicts):
        return None
    return {verdict["task"] for verdict in verdicts if verdict["passed"]}
