"""The benchmarks by name: `load("humaneval")` gives its tasks, checked against the published file's hash."""

from __future__ import annotations

import json
from pathlib import Path

from evaluation.benchmarks.catalogue import BENCHMARKS, GROUPS, Benchmark
from evaluation.benchmarks.files import locate, read
from evaluation.benchmarks.task import BenchmarkText, Solution, Task
from snowcoder.base import UserError

__all__ = [
    "BENCHMARKS",
    "GROUPS",
    "Benchmark",
    "BenchmarkText",
    "Solution",
    "Task",
    "available",
    "benchmark",
    "load",
    "parts",
]


def benchmark(name: str) -> Benchmark:
    """The benchmark's description. UserError for an unknown name."""
    if name not in BENCHMARKS:
        raise UserError(f"benchmark {name!r} is unknown: use one of {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]


def load(name: str, data_dir: Path | None = None) -> list[Task]:
    """All tasks of a benchmark, or of each benchmark of a group, in the published order.

    A task's `benchmark` is the single one it is of. UserError when a file is absent or another one.
    """
    return [task for part in parts(name) for task in _load(part, data_dir)]


def available(name: str, data_dir: Path | None = None) -> bool:
    """Whether `load` would find local files, without touching the network; the content is not checked."""
    return all(locate(benchmark(part).file, data_dir) is not None for part in parts(name))


def parts(name: str) -> tuple[str, ...]:
    """The single benchmarks that a name stands for. UserError for an unknown name."""
    if name not in BENCHMARKS and name not in GROUPS:
        known = ", ".join([*BENCHMARKS, *GROUPS])
        raise UserError(f"benchmark {name!r} is unknown: use one of {known}")
    return GROUPS.get(name, (name,))


def _load(name: str, data_dir: Path | None) -> list[Task]:
    known = BENCHMARKS[name]
    rows = [json.loads(line) for line in read(known.file, data_dir).splitlines()]
    return known.parse(name, rows)
