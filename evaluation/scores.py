"""From verdicts to the figures of one benchmark: passed/total, pass@k with intervals, reasons, references."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from evaluation.benchmarks import Task
from evaluation.config import EvaluationConfig
from evaluation.judging.outcome import Verdict
from evaluation.statistics import bootstrap_mean, pass_at_k, wilson
from evaluation.verdicts import Judged

NO_SAMPLE = "no_sample"


def summarise(
    tasks: Sequence[Task], judged: Judged, cfg: EvaluationConfig, failing: Sequence[Verdict] | None = None
) -> dict[str, Any]:
    """{"passed", "total", "tasks", "pass@1", "pass@1_interval", "reasons", "sandbox", "verdicts", …}.

    A task without a sample counts as one that failed. "pass@k" stands for each k of `cfg.pass_at` that every
    task has samples for. With the failing references there is also "references" ("163/164") and, if some
    fail, "pass@1_valid": over the tasks whose reference passes on this host.
    """
    rows = [found or [_absent(task)] for task, found in zip(tasks, judged.verdicts, strict=True)]
    counts = [(len(row), sum(verdict.passed for verdict in row)) for row in rows]
    fewest = min((len(row) for row in judged.verdicts if row), default=1)
    summary: dict[str, Any] = {
        "passed": sum(c for _, c in counts),
        "total": sum(n for n, _ in counts),
        "tasks": len(tasks),
        "missing_tasks": sum(not row for row in judged.verdicts),
    }
    for k in sorted({1, *cfg.pass_at}):
        if k > fewest:
            continue
        # A missing task has one failed sample, which is a failure at every k.
        shares = [pass_at_k(n, c, k) if n >= k else 0.0 for n, c in counts]
        summary[f"pass@{k}"] = sum(shares) / len(shares)
        # Samples of one task are not independent: only single ones make a binomial.
        single = all(n == 1 for n, _ in counts)
        interval = wilson(summary["passed"], len(tasks)) if single else bootstrap_mean(shares, cfg.seed)
        summary[f"pass@{k}_interval"] = list(interval)
    summary["reasons"] = dict(Counter(verdict.reason for row in rows for verdict in row).most_common())
    summary["sandbox"] = "+".join(judged.tiers)
    if failing is not None:
        bad = {verdict.task for verdict in failing}
        summary["references"] = f"{len(tasks) - len(bad)}/{len(tasks)}"
        summary["failing_references"] = [asdict(verdict) for verdict in failing]
        valid = [c / n for task, (n, c) in zip(tasks, counts, strict=True) if task.task_id not in bad]
        if bad and valid:
            summary["pass@1_valid"] = sum(valid) / len(valid)
    summary["verdicts"] = [asdict(verdict) for row in rows for verdict in row]
    return summary


def combine(summaries: Sequence[dict[str, Any]], seed: int = 0) -> dict[str, Any]:
    """One figure of a benchmark in several parts, each task counting the same: EvoEval's 500, for example."""
    shares: dict[tuple[int, str], list[bool]] = {}
    for part, summary in enumerate(summaries):
        for verdict in summary["verdicts"]:
            shares.setdefault((part, verdict["task"]), []).append(verdict["passed"])
    values = [sum(row) / len(row) for row in shares.values()]
    passed, total = (sum(summary[name] for summary in summaries) for name in ("passed", "total"))
    single = total == len(values)
    return {
        "passed": passed,
        "total": total,
        "tasks": len(values),
        "pass@1": sum(values) / len(values),
        "pass@1_interval": list(wilson(passed, total) if single else bootstrap_mean(values, seed)),
    }


def _absent(task: Task) -> Verdict:
    return Verdict(task=task.task_id, sample=0, passed=False, reason=NO_SAMPLE, cpu_seconds=0.0, stderr="")
