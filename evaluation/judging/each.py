"""Every sample of every task through one judge, many at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from evaluation.benchmarks import Task
from evaluation.judging.outcome import Verdict


def judge_each(
    tasks: Sequence[Task],
    samples: Sequence[Sequence[str]],
    judge: Callable[[Task, int, str], Verdict],
    workers: int | None,
) -> list[Verdict]:
    """Verdicts in the order of tasks and samples; `workers` None: as many at a time as there are CPUs.

    What meets the wall limit is judged once more, alone, so that a busy machine does not cost a point.
    """
    jobs = [
        (task, number, text)
        for task, texts in zip(tasks, samples, strict=True)
        for number, text in enumerate(texts)
    ]
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:  # threads: each only waits for a process
        verdicts = list(pool.map(lambda job: judge(*job), jobs))
    return [
        replace(judge(*job), retried=True) if verdict.reason == "wall_limit" else verdict
        for job, verdict in zip(jobs, verdicts, strict=True)
    ]
