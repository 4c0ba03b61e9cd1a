"""Expected outputs and time limits: the reference solution, run once in the sandbox on this node, kept on disk."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.benchmarks import benchmark
from evaluation.benchmarks.files import cache_dir
from evaluation.benchmarks.inputs import InputTask, load_inputs
from evaluation.config import Limits
from evaluation.judging.oracles import ALSO_RIGHT, AS_SETS, NOT_NONE
from evaluation.sandbox.fork_server import ForkServer
from evaluation.sandbox.inside.tagged import encode
from snowcoder.files import write_atomically

# Raised when the format, the encoding or the way of running changes.
VERSION = 4
# EvalPlus's factor, floor and cap, of CPU seconds instead of seconds: max(1, 4 * reference) for each input, and no
# more than 60 for a group.
FACTOR, FLOOR_SECONDS, TASK_SECONDS = 4.0, 1.0, 60.0
_REFERENCE_LIMITS = Limits(cpu_seconds=600, wall_seconds=3600.0, memory_bytes=4 << 30, resident_bytes=4 << 30)


@dataclass(frozen=True)
class Group:
    """Inputs that one process is given, encoded, and what the reference makes of them."""

    name: str
    inputs: bytes  # one line: the list of argument lists
    plain: bool  # the line is JSON without tags
    expected: tuple[bytes, ...] = ()
    cpu: tuple[float, ...] = ()  # seconds of the reference, for each input
    long: Path | None = None  # beginning of the names of the files of the expected outputs that are summaries

    def whole(self, index: int) -> bytes:
        """The expected output itself; the summary where it is too long to be kept."""
        text = self.expected[index]
        if text[:1] != b"#":
            return text
        path = Path(f"{self.long}.{self.name}.{index}")
        return path.read_bytes() if self.long and path.is_file() else text

    @property
    def cpu_seconds(self) -> float:
        """The limits of all inputs together."""
        return sum(max(FLOOR_SECONDS, FACTOR * seconds) for seconds in self.cpu)

    @property
    def slow_seconds(self) -> float:
        """CPU seconds of a candidate that is FACTOR times as slow as the reference."""
        return FACTOR * sum(self.cpu)

    @property
    def input_seconds(self) -> dict[str, float]:
        """The limits above the floor, by the number of the input."""
        return {
            str(i): FACTOR * seconds for i, seconds in enumerate(self.cpu) if FACTOR * seconds > FLOOR_SECONDS
        }


@dataclass(frozen=True)
class Prepared:
    """One task, ready to judge candidates."""

    task_id: str
    family: str
    entry_point: str
    atol: float
    groups: tuple[Group, ...]
    broken: str = ""  # why its reference gives no expected outputs on this node

    @property
    def as_sets(self) -> bool:
        return self.family == "mbpp" and self.entry_point in AS_SETS


@dataclass(frozen=True)
class Store:
    """The prepared tasks of one benchmark, by their file's hash, this node and this Python."""

    benchmark: str
    folder: Path
    data_dir: Path | None

    @classmethod
    def of(cls, name: str, data_dir: Path | None) -> Store:
        facts = [VERSION, benchmark(name).file.sha256, sys.version_info[:2], platform.node(), os.cpu_count()]
        key = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
        return cls(name, cache_dir() / "expected" / f"{name}-{key}", data_dir)

    def get(self, task_id: str, server: ForkServer) -> Prepared:
        """From disk, or by running the reference now. UserError if the benchmark's file is needed and absent."""
        path = self.folder / task_id.replace("/", "-")
        if path.is_file():
            return _parse(path)
        self.folder.mkdir(parents=True, exist_ok=True)
        prepared = prepare(_inputs(self.benchmark, self.data_dir)[task_id], server, path)
        write_atomically(path, _format(prepared).decode())
        return prepared


@functools.lru_cache(1)
def _inputs(name: str, data_dir: Path | None) -> dict[str, InputTask]:
    return load_inputs(name, data_dir)


def prepare(task: InputTask, server: ForkServer, path: Path | None = None) -> Prepared:
    """Run the reference on all inputs. Long outputs are kept in files beside `path`, if given."""
    from evaluation.judging.batch import run_reference

    prepared = Prepared(task.task_id, task.family, task.entry_point, task.atol, ())
    groups, broken = [], ""
    for name, inputs in task.groups.items():
        text = encode([list(arguments) for arguments in inputs])
        group = Group(name, text.encode(), plain="{" not in text)
        lines: list[bytes] = []
        end = run_reference(server, task.reference, prepared, group, _REFERENCE_LIMITS, lines.append)
        if len(lines) != 2 * len(inputs) + 1:
            broken = broken or f"{name}: {end.status} after {len(lines) // 2} inputs: {end.stderr[-80:]}"
            lines = [b"=", *[b"0 ", b"!None"] * len(inputs)]
        kept, cpu = [], []
        for index, (head, outcome) in enumerate(zip(lines[1::2], lines[2::2], strict=True)):
            seconds, _, summary = head.partition(b" ")
            expected = _expected(task, outcome, summary)
            if expected is None:
                broken = broken or f"{name} input {index}: {outcome[:80].decode()}"
            elif expected == summary and outcome[:1] == b"=":
                if path is None:
                    expected = outcome[1:]
                else:
                    write_atomically(Path(f"{path}.{name}.{index}"), outcome[1:].decode())
            kept.append(expected or b"")
            cpu.append(float(seconds))
        groups.append(Group(name, group.inputs, group.plain, tuple(kept), tuple(cpu), path))
    return Prepared(task.task_id, task.family, task.entry_point, task.atol, tuple(groups), broken)


def _expected(task: InputTask, outcome: bytes, summary: bytes) -> bytes | None:
    """The encoded expected output, or its summary if there is one; None if the reference has none to give."""
    if summary:
        return summary
    if task.family == "mbpp" and task.entry_point in NOT_NONE and outcome[:1] in (b"=", b"?"):
        return b"false" if outcome == b"=null" else b"true"
    if task.family == "mbpp" and task.entry_point in ALSO_RIGHT and outcome[:1] == b"?":
        return b"null"
    return outcome[1:] if outcome[:1] == b"=" else None


def _format(task: Prepared) -> bytes:
    """A line of facts, then for each group a line of inputs and the lines of expected outputs."""
    head: dict[str, Any] = {
        "task_id": task.task_id,
        "family": task.family,
        "entry_point": task.entry_point,
        "atol": task.atol,
        "broken": task.broken,
        "groups": [{"name": group.name, "plain": group.plain, "cpu": group.cpu} for group in task.groups],
    }
    lines = [json.dumps(head).encode()]
    for group in task.groups:
        lines += [group.inputs, *group.expected]
    return b"\n".join(lines)


def _parse(path: Path) -> Prepared:
    first, *lines = path.read_bytes().split(b"\n")
    head = json.loads(first)
    groups = []
    for group in head.pop("groups"):
        count = len(group["cpu"])
        inputs, expected, lines = lines[0], lines[1 : count + 1], lines[count + 1 :]
        groups.append(
            Group(group["name"], inputs, group["plain"], tuple(expected), tuple(group["cpu"]), path)
        )
    return Prepared(**head, groups=tuple(groups))


def failing(prepared: Sequence[Prepared]) -> dict[str, str]:
    """Tasks without expected outputs, and why."""
    return {task.task_id: task.broken for task in prepared if task.broken}
