"""Functional correctness: run each candidate in the sandbox, judge it outside, count what passes."""

from __future__ import annotations

import atexit
import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from evaluation.benchmarks import Task, benchmark
from evaluation.benchmarks.inputs import has_inputs
from evaluation.config import EvaluationConfig
from evaluation.judging.asserts import judge_asserts
from evaluation.judging.batch import judge_batch
from evaluation.judging.each import judge_each
from evaluation.judging.outcome import PASSED, Outcome, Verdict
from evaluation.judging.prepared import Prepared, Store
from evaluation.sandbox.fork_server import ServerLost, Servers
from evaluation.sandbox.tiers import Tier, choose_tier
from evaluation.statistics import bootstrap_mean, pass_at_k, wilson
from snowcoder.base import UserError

# Imported once for all candidates: what programs for these benchmarks use.
_MODULES = (
    "math", "cmath", "re", "string", "random", "itertools", "functools", "collections", "heapq", "bisect", "operator",
    "copy", "typing", "datetime", "json", "fractions", "decimal", "statistics", "hashlib", "queue", "time", "calendar",
    "textwrap", "enum", "dataclasses", "numpy",
)  # fmt: skip


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
    retried: int = 0  # candidates that met the wall limit at first

    def summary(self) -> dict[str, Any]:
        """For a JSON file: {"passed", "total", "pass@1", …}."""
        return {
            "passed": self.passed,
            "total": self.total,
            "tasks": self.tasks,
            **{f"pass@{k}": value for k, value in self.pass_at.items()},
            "pass@1_interval": [self.low, self.high],
            "reasons": self.reasons,
            "retried": self.retried,
            "sandbox": self.tier,
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
        }


def evaluate_functional(
    tasks: Sequence[Task], completions: Sequence[Sequence[str]], cfg: EvaluationConfig
) -> Results:
    """Judge `completions[i]`, the samples for `tasks[i]`; a candidate is `task.program(sample)`.

    The limits count CPU seconds. What still meets the wall limit is run once more, alone, so that a busy machine does
    not cost a point. UserError for a benchmark whose tests are not judged here.
    """
    if not tasks or len(tasks) != len(completions):
        raise ValueError(f"{len(tasks)} tasks and {len(completions)} lists of completions")
    name = tasks[0].benchmark
    if benchmark(name).judge != "outside":
        raise UserError(f"benchmark {name!r} is not judged by outputs: evaluation.verdicts knows its judge")
    tier = choose_tier(cfg.sandbox)
    run = _judge_of(name, tier, cfg)

    def one(task: Task, sample: int, text: str) -> Verdict:
        return _verdict(task, sample, _retrying(functools.partial(run, task, task.program(text))))

    verdicts = tuple(judge_each(tasks, completions, one, cfg.workers))
    return _results(name, tier, verdicts, cfg)


def failing_references(tasks: Sequence[Task], cfg: EvaluationConfig) -> list[Verdict]:
    """The tasks whose published solution does not pass on this host: no model can be blamed for those."""
    solutions = [[task.canonical_solution] for task in tasks]
    return [verdict for verdict in evaluate_functional(tasks, solutions, cfg).verdicts if not verdict.passed]


def _judge_of(name: str, tier: Tier, cfg: EvaluationConfig) -> Callable[[Task, str], Outcome]:
    """(task, program) -> outcome, by the benchmark's kind of test. ServerLost if the sandbox dies."""
    servers = _servers(tier)
    if not has_inputs(name):

        def by_asserts(task: Task, program: str) -> Outcome:
            with servers.one() as server, servers.one() as tester:
                return judge_asserts(server, tester, program, task, cfg.limits)

        return by_asserts
    store = Store.of(name, cfg.data_dir)

    def by_inputs(task: Task, program: str) -> Outcome:
        with servers.one() as server:
            prepared = _prepared(store, task.task_id, servers)
            if prepared.broken:
                return Outcome("no_reference", prepared.broken)
            return judge_batch(server, program, prepared, cfg.limits)

    return by_inputs


@functools.lru_cache(64)  # a task's samples come one after the other
def _prepared(store: Store, task_id: str, servers: Servers) -> Prepared:
    with servers.one() as server:
        return store.get(task_id, server)


def _retrying(run: Callable[[], Outcome]) -> Outcome:
    """Once more in a new sandbox, if the first one died under the candidate; then that is the verdict."""
    try:
        return run()
    except ServerLost:
        pass
    try:
        return run()
    except ServerLost as lost:
        return Outcome("signalled", f"it has ended its sandbox: {lost}")


@functools.cache
def _servers(tier: Tier) -> Servers:
    """Fork servers with numpy and the usual modules imported, and no other package to be seen."""
    spec = find_spec("numpy")
    assert spec is not None
    assert spec.origin is not None
    numpy = Path(spec.origin).parent
    readable = [folder for folder in (numpy, numpy.with_name("numpy.libs")) if folder.is_dir()]
    servers = Servers(tier, readable, _MODULES, [numpy.parent])
    atexit.register(servers.close)
    return servers


def _verdict(task: Task, sample: int, outcome: Outcome) -> Verdict:
    return Verdict(
        task=task.task_id,
        sample=sample,
        passed=outcome.reason == PASSED,
        reason=outcome.reason,
        cpu_seconds=round(outcome.cpu_seconds, 4),
        stderr=outcome.stderr,
        detail=outcome.detail,
    )


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
    retried = sum(verdict.retried for verdict in verdicts)
    return Results(name, passed, len(verdicts), len(n), pass_at, low, high, reasons, tier, verdicts, retried)
