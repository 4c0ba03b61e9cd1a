"""A candidate's function on all inputs of a group, in one process; its outputs are compared out here."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass

from evaluation.config import Limits
from evaluation.judging.candidate import Candidate, End, TooMuch
from evaluation.judging.compare import Comparison
from evaluation.judging.outcome import FORGED, OUTPUT, PASSED, UNSERIALISABLE, WRONG, Outcome, ended, raised
from evaluation.judging.prepared import FLOOR_SECONDS, TASK_SECONDS, Group, Prepared
from evaluation.sandbox.fork_server import ForkServer
from evaluation.sandbox.inside.tagged import Malformed

WALL_PER_CPU = 8.0  # how much longer than its CPU time a right candidate may take on a busy machine
_REFERENCE_BYTES = 4 << 30
SHOWN = 200  # characters of an output in a verdict


@dataclass(frozen=True)
class _Finding:
    reason: str
    detail: str


def judge_batch(server: ForkServer, program: str, task: Prepared, limits: Limits) -> Outcome:
    """The groups one after the other, each in a fresh process, up to the first input that fails. ServerLost."""
    seconds = 0.0
    for group in task.groups:
        outcome = _judge_group(server, program, task, group, limits)
        seconds += outcome.cpu_seconds
        if outcome.reason != PASSED:
            return Outcome(outcome.reason, outcome.detail, seconds, outcome.stderr)
    return Outcome(PASSED, "", seconds)


def _judge_group(server: ForkServer, program: str, task: Prepared, group: Group, limits: Limits) -> Outcome:
    candidate = Candidate(
        server,
        "batch",
        [json.dumps([program]).encode(), group.inputs],
        limits,
        sum(map(len, group.expected)),
        entry_point=task.entry_point,
        plain=group.plain,
        timed=False,
        iterate=task.as_sets,
        input_seconds=group.input_seconds,
        bounds={
            "cpu": math.ceil(min(TASK_SECONDS, group.cpu_seconds) + 1),
            "input": FLOOR_SECONDS,
            "wall": limits.wall_seconds + WALL_PER_CPU * min(TASK_SECONDS, group.slow_seconds),
        },
    )
    comparison = Comparison(task, group)
    try:
        finding = _look(candidate, comparison, group)
    except TooMuch:
        finding = _Finding(OUTPUT, f"{group.name}: more than may be sent")
    if finding is not None and finding.reason != PASSED:
        end = candidate.end(stop=not finding.reason.startswith(("error:", "memory")))
        return Outcome(finding.reason, finding.detail, end.cpu_seconds, end.stderr)
    end = candidate.end()
    if finding is None:
        return Outcome(ended(end), _at(group, comparison.checked), end.cpu_seconds, end.stderr)
    if end.unread:
        return Outcome(FORGED, f"{group.name}: more outputs than inputs", end.cpu_seconds, end.stderr)
    return Outcome(PASSED, "", end.cpu_seconds)


def _look(candidate: Candidate, comparison: Comparison, group: Group) -> _Finding | None:
    """The first line is of the program itself, then comes one for each input. None: it ended in between."""
    line = candidate.line()
    if line is None:
        return None
    if line != b"=":
        return _Finding(raised(line[1:]) if line[:1] == b"!" else FORGED, "on import")
    for index in range(len(group.expected)):
        line = candidate.line()
        if line is None:
            return None
        if line[:1] == b"#":
            if comparison.accepts_summary(index, line):
                candidate.send(b"")
                comparison.checked = index + 1
                continue
            candidate.send(b"whole")
            line = candidate.line()
            if line is None:
                return None
        reason = _reason(line, index, comparison)
        if reason != PASSED:
            shown = line[1 : SHOWN + 1].decode("ascii", "replace") if reason == WRONG else ""
            return _Finding(reason, f"{_at(group, index)}{': ' if shown else ''}{shown}")
        comparison.checked = index + 1
    return _Finding(PASSED, "")


def _reason(line: bytes, index: int, comparison: Comparison) -> str:
    kind = line[:1]
    if kind == b"=":
        try:
            return PASSED if comparison.accepts(index, line[1:]) else WRONG
        except Malformed:
            return FORGED
    if kind == b"?":
        return PASSED if comparison.accepts_opaque(index) else UNSERIALISABLE
    return raised(line[1:]) if kind == b"!" else FORGED


def _at(group: Group, index: int) -> str:
    return f"{group.name} input {index}"


def run_reference(
    server: ForkServer,
    program: str,
    task: Prepared,
    group: Group,
    limits: Limits,
    take: Callable[[bytes], None],
) -> End:
    """The reference solution on a group; lines go to `take`: "<CPU seconds> <summary, if long>", then the outcome."""
    candidate = Candidate(
        server,
        "batch",
        [json.dumps([program]).encode(), group.inputs],
        limits,
        _REFERENCE_BYTES,
        entry_point=task.entry_point,
        plain=group.plain,
        timed=True,
        iterate=task.as_sets,
    )
    while (line := candidate.line()) is not None:
        take(line)
    return candidate.end()
