"""Samples made elsewhere, in the files of EvalPlus and BigCodeBench.

A file is JSON lines, gzipped or not, one sample a line: `task_id` and either `solution` (a whole program) or
`completion` (what follows the prompt). A folder is EvalPlus's older form: `HumanEval_0/0.py`, `1.py`, … hold
whole programs. BigCodeBench adds fields (`raw_solution`, …), which are kept out.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.benchmarks.task import Solution, Task
from snowcoder.base import UserError


@dataclass(frozen=True)
class Samples:
    """`texts[i]` are the samples for task i, in the file's order; tasks without any are `missing`."""

    texts: list[list[str]]
    missing: tuple[str, ...]
    sha256: str  # of what was read


def read_samples(path: Path, tasks: Sequence[Task]) -> Samples:
    """All samples of these tasks. UserError: no such file, a broken row, an unknown task, no sample at all.

    A task without samples counts as failed by whoever judges: leaving hard tasks out must not raise a score.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file: give JSON lines with task_id and solution or completion")
    texts: dict[str, list[str]] = {task.task_id: [] for task in tasks}
    folders = {task.task_id.replace("/", "_"): task.task_id for task in tasks}
    digest = hashlib.sha256()
    for where, task_id, text in _folder(path, folders) if path.is_dir() else _lines(path):
        if task_id not in texts:
            known = f"{tasks[0].task_id} … {tasks[-1].task_id}"
            raise UserError(
                f"{where}: task_id {task_id!r} is not in {tasks[0].benchmark} ({known}): "
                "give the benchmark that these samples are for"
            )
        texts[task_id].append(text)
        digest.update(f"{task_id}\0{type(text).__name__}\0{text}\0".encode("utf-8", "surrogatepass"))
    if not any(texts.values()):
        raise UserError(f"{path}: no sample in it: each line needs task_id and solution or completion")
    return Samples(
        texts=list(texts.values()),
        missing=tuple(task_id for task_id, found in texts.items() if not found),
        sha256=digest.hexdigest(),
    )


def _lines(path: Path) -> Iterator[tuple[str, str, str]]:
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        lines = content.decode().split("\n")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}): give JSON lines, plain or gzipped") from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield f"{path}, line {number}", *_row(f"{path}, line {number}", line)


def _row(where: str, line: str) -> tuple[str, str]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: not JSON ({error.msg}): write one object a line") from None
    if not isinstance(row, dict) or not isinstance(row.get("task_id"), str):
        raise UserError(f"{where}: task_id is missing: write {{'task_id': …, 'solution': …}}")
    # EvalPlus prefers the whole program too, where both are given.
    if isinstance(row.get("solution"), str):
        return row["task_id"], Solution(row["solution"])
    if isinstance(row.get("completion"), str):
        return row["task_id"], row["completion"]
    raise UserError(f"{where}: {row['task_id']} has neither solution nor completion, as text")


def _folder(path: Path, folders: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    for folder in sorted(entry for entry in path.iterdir() if entry.is_dir()):
        task_id = folders.get(folder.name, folder.name)
        for file in sorted(folder.glob("*.py"), key=lambda file: (len(file.stem), file.stem)):
            yield str(file), task_id, Solution(file.read_text(errors="surrogateescape"))
