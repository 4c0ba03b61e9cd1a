"""Functional correctness: run each candidate with its task's test, count what passes."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from evaluation.benchmarks import Task, benchmark
from evaluation.config import EvaluationConfig
from evaluation.sandbox.process import Execution, Tier, choose_tier, run_program
from evaluation.statistics import bootstrap_mean, pass_at_k, wilson
from snowcoder.base import UserError

_EXCEPTION = re.compile(r"^([A-Za-z_][\w.]*)(?::|$)")


@dataclass(frozen=True)
class Verdict:
    """What one candidate program did. `reason` is "passed", "failed" (an assertion), "exited_early",
    "error:<exception>", "signalled", "cpu_limit", "wall_limit" or "output_limit"."""

    task: str
    sample: int
    passed: bool
    reason: str
    cpu_seconds: float
    stderr: str  # its tail, "" for a pass


@dataclass(frozen=True)
class Results:
    """One benchmark's verdicts and what they come to. The interval is of pass@1, at 95 %."""

    benchmark: str
    passed: int  # samples
    total: int  # samples: tasks x samples per task
    tasks: int
    pass_at: dict[int, float]
    low: float
    high: float
    reasons: dict[str, int]
    tier: Tier
    verdicts: tuple[Verdict, ...]

    def summary(self) -> dict[str, Any]:
        """For a JSON file: {"passed", "total", "pass@1", …}."""
        return {
            "passed": self.passed,
            "total": self.total,
            "tasks": self.tasks,
            **{f"pass@{k}": value for k, value in self.pass_at.items()},
            "pass@1_interval": [self.low, self.high],
            "reasons": self.reasons,
            "sandbox": self.tier,
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
        }


def evaluate_functional(
    tasks: Sequence[Task], completions: Sequence[Sequence[str]], cfg: EvaluationConfig
) -> Results:
    """Judge `completions[i]`, the samples for `tasks[i]`; a candidate is the task's prompt + completion.

    The limits count CPU seconds. What still meets the wall limit is run once more, alone, so that a busy
    machine does not cost a point. UserError for a benchmark whose tests are not the published judge.
    """
    if not tasks or len(tasks) != len(completions):
        raise ValueError(f"{len(tasks)} tasks and {len(completions)} lists of completions")
    name = tasks[0].benchmark
    if not benchmark(name).judged:
        raise UserError(
            f"benchmark {name!r}: its added inputs cannot be judged yet; use {name.rstrip('+')!r}"
        )
    tier = choose_tier(cfg.sandbox)
    jobs = [
        (task, sample, (task.prompt + completion, task.test))
        for task, samples in zip(tasks, completions, strict=True)
        for sample, completion in enumerate(samples)
    ]
    with ThreadPoolExecutor(cfg.workers or os.cpu_count()) as pool:  # threads: each only waits for a process
        runs = list(pool.map(lambda job: run_program(job[2], cfg.limits, tier), jobs))
    runs = [
        run_program(job[2], cfg.limits, tier) if run.status == "wall_limit" else run
        for job, run in zip(jobs, runs, strict=True)
    ]
    verdicts = tuple(_verdict(task, sample, run) for (task, sample, _), run in zip(jobs, runs, strict=True))
    return _results(name, tier, verdicts, cfg)


def failing_references(tasks: Sequence[Task], cfg: EvaluationConfig) -> list[Verdict]:
    """The tasks whose published solution does not pass on this host: no model can be blamed for those."""
    solutions = [[task.canonical_solution] for task in tasks]
    return [verdict for verdict in evaluate_functional(tasks, solutions, cfg).verdicts if not verdict.passed]


def _verdict(task: Task, sample: int, run: Execution) -> Verdict:
    passed = run.status == "completed"
    return Verdict(
        task=task.task_id,
        sample=sample,
        passed=passed,
        reason=_reason(run),
        cpu_seconds=run.cpu_seconds,
        stderr="" if passed else run.stderr,
    )


def _reason(run: Execution) -> str:
    if run.status == "completed":
        return "passed"
    if run.status != "exited":
        return run.status
    last = run.stderr.rstrip().rpartition("\n")[2]
    match = _EXCEPTION.match(last)
    if run.exit_code == 0 or match is None:
        return "exited_early"
    return "failed" if match[1] == "AssertionError" else f"error:{match[1]}"


def _results(name: str, tier: Tier, verdicts: tuple[Verdict, ...], cfg: EvaluationConfig) -> Results:
    n: Counter[str] = Counter(verdict.task for verdict in verdicts)
    c: Counter[str] = Counter(verdict.task for verdict in verdicts if verdict.passed)
    pass_at = {k: sum(pass_at_k(n[task], c[task], k) for task in n) / len(n) for k in cfg.pass_at}
    passed = c.total()
    if all(count == 1 for count in n.values()):
        low, high = wilson(passed, len(n))
    else:  # samples of one task are not independent
        low, high = bootstrap_mean([c[task] / n[task] for task in n], cfg.seed)
    reasons = dict(Counter(verdict.reason for verdict in verdicts).most_common())
    return Results(name, passed, len(verdicts), len(n), pass_at, low, high, reasons, tier, verdicts)
