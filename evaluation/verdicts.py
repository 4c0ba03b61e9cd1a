"""Judge many samples once each: in threads here or in Ray tasks on all nodes, going on where a run was killed.

Every verdict is a line of the ledger file, filed under the hash of what produced it (task, program, limits,
sandbox). So a killed evaluation continues, equal samples of a task are judged once, and a changed limit or
task judges again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from evaluation.benchmarks import Task, benchmark
from evaluation.config import EvaluationConfig
from evaluation.judge import evaluate_functional
from evaluation.judging.outcome import Verdict
from snowcoder.base import UserError

# Raised when the meaning of a verdict changes.
VERDICTS_VERSION = 1
_DECIDE = {"limits", "unittest_limits", "program_limits", "sandbox", "bigcodebench_python"}
CHUNK = 48  # programs: what a kill can lose, and what one Ray task does

Watch = Callable[[Iterable[Any], int, str], Iterator[Any]]
"""(items, total, what) -> the same items; shows progress on the way (`snowcoder.progress.track`)."""


def unwatched(items: Iterable[Any], total: int, what: str) -> Iterator[Any]:
    """No progress shown."""
    yield from items


@dataclass(frozen=True)
class Judged:
    """`verdicts[i]` are those of the samples for task i, in their order; `tiers` are the sandboxes used."""

    verdicts: list[list[Verdict]]
    tiers: tuple[str, ...]


@dataclass(frozen=True)
class _Job:
    """The samples of one task that have no verdict yet, each text once."""

    task: Task
    samples: tuple[str, ...]
    keys: tuple[str, ...]


def judge(
    tasks: Sequence[Task],
    samples: Sequence[Sequence[str]],
    cfg: EvaluationConfig,
    ledger: Path,
    watch: Watch = unwatched,
    what: str = "judged",
) -> Judged:
    """Verdicts on `samples[i]`, the samples for `tasks[i]`, all of one benchmark; new ones go into `ledger`.

    A Ray session that is already there gets the work in tasks of one CPU each; else threads of this process.
    UserError: the benchmark has no judge, or a toolchain or the sandbox is missing.
    """
    if len(tasks) != len(samples):
        raise ValueError(f"{len(tasks)} tasks and {len(samples)} lists of samples")
    basis = _basis(cfg)
    keys = [[_key(basis, task, text) for text in texts] for task, texts in zip(tasks, samples, strict=True)]
    known = _read(ledger)
    jobs = []
    for task, texts, row in zip(tasks, samples, keys, strict=True):
        new = {key: text for key, text in zip(row, texts, strict=True) if key not in known}
        if new:
            jobs.append(_Job(task, tuple(new.values()), tuple(new)))
    if jobs:
        ledger.parent.mkdir(parents=True, exist_ok=True)
        lines = (line for found in _run(list(_chunks(jobs)), cfg) for line in found)
        with ledger.open("a") as file:
            for line in watch(lines, sum(len(job.samples) for job in jobs), what):
                known[line["key"]] = line
                file.write(json.dumps(line) + "\n")
                file.flush()
    used = {key for row in keys for key in row}
    return Judged(
        verdicts=[
            [replace(_verdict(known[key]), sample=number) for number, key in enumerate(row)] for row in keys
        ],
        tiers=tuple(sorted({known[key]["tier"] for key in used})),
    )


def evaluate_tasks(
    tasks: Sequence[Task], samples: Sequence[Sequence[str]], cfg: EvaluationConfig
) -> tuple[Sequence[Verdict], str]:
    """One benchmark's verdicts, in the order of tasks and samples, by the judge that its tests need; the tier."""
    known = benchmark(tasks[0].benchmark)
    if known.judge == "unittest":
        from evaluation.beside.bigcodebench import evaluate_unittests

        return evaluate_unittests(tasks, samples, cfg)
    if known.judge == "program":
        from evaluation.beside.programs import evaluate_programs

        return evaluate_programs(tasks, samples, cfg)
    results = evaluate_functional(tasks, samples, cfg)
    return results.verdicts, results.tier


def _run(chunks: Sequence[Sequence[_Job]], cfg: EvaluationConfig) -> Iterator[list[dict[str, Any]]]:
    import ray

    if not ray.is_initialized():
        yield from (_judge_chunk(chunk, cfg) for chunk in chunks)
        return
    one = cfg.model_copy(update={"workers": 1})
    task = ray.remote(num_cpus=1, max_retries=3)(_judge_chunk)
    slots = max(2, 2 * int(ray.cluster_resources().get("CPU", 1)))  # enough that no node waits for the driver
    waiting = list(reversed(chunks))
    running: list[Any] = []
    while waiting or running:
        while waiting and len(running) < slots:
            running.append(task.remote(waiting.pop(), one))
        done, running = ray.wait(running)
        for ref in done:
            yield ray.get(ref)


def _judge_chunk(chunk: Sequence[_Job], cfg: EvaluationConfig) -> list[dict[str, Any]]:
    cfg = cfg.model_copy(
        update={"pass_at": (1,)}
    )  # a chunk may hold fewer samples than any k: scores come later
    found, tier = evaluate_tasks([job.task for job in chunk], [job.samples for job in chunk], cfg)
    verdicts = iter(found)
    return [
        {"key": key, "tier": tier, "verdict": asdict(next(verdicts))} for job in chunk for key in job.keys
    ]


def _chunks(jobs: Sequence[_Job]) -> Iterator[list[_Job]]:
    """Whole tasks, so that a task's reference and expected outputs are prepared once."""
    chunk: list[_Job] = []
    for job in jobs:
        chunk.append(job)
        if sum(len(one.samples) for one in chunk) >= CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _basis(cfg: EvaluationConfig) -> str:
    asked = cfg.model_dump(mode="json", include=_DECIDE)
    return json.dumps([VERDICTS_VERSION, [field.name for field in fields(Verdict)], asked], sort_keys=True)


def _key(basis: str, task: Task, text: str) -> str:
    content = "\0".join((basis, repr(task), type(text).__name__, text))
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


def _verdict(line: dict[str, Any]) -> Verdict:
    return Verdict(**line["verdict"])


def _read(ledger: Path) -> dict[str, dict[str, Any]]:
    """All whole lines; a line cut by a kill is cut off, so that the next one does not run into it."""
    if not ledger.is_file():
        return {}
    content = ledger.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(ledger, whole)
    try:
        lines = [json.loads(line) for line in content[:whole].splitlines()]
        return {line["key"]: line for line in lines}
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise UserError(f"{ledger}: not a ledger of verdicts ({error}): remove it and judge again") from None
