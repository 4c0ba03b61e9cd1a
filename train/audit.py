"""Proof of the order: which rows each step consumed, as the workers saw them.

Every rank appends to `audit-rank<r>.jsonl`: `{"attempt": a, "world": W, "resume": p}` when it starts at
position p, then one line `{"step": s, "by": a, "rows": [[epoch, shard, index], ...]}` a step. A step logged before a
crash and again after it counts as the later attempt saw it: committed is what a checkpoint contains.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from snowcoder.base import UserError
from train.checkpoints import read_pointer

Row = tuple[int, int, int]  # epoch, shard, index


class AuditLog:
    """One rank's append-only log."""

    def __init__(self, phase_dir: Path, rank: int, *, attempt: int, world_size: int, resume: int) -> None:
        path = log_path(phase_dir, rank)
        _drop_torn_line(path)
        self._file = path.open("a", buffering=1)  # by line: a killed worker leaves what it saw
        self._attempt = attempt
        self._write({"attempt": attempt, "world": world_size, "resume": resume})
        self.commit()

    def record(self, step: int, rows: list[Row]) -> None:
        """Note that the optimizer consumed these rows as its part of global batch `step`."""
        self._write({"step": step, "by": self._attempt, "rows": rows})

    def skip(self, step: int) -> None:
        """Note that global batch `step` was passed over (`train.leaving.bad_steps`)."""
        self._write({"step": step, "by": self._attempt, "rows": [], "skipped": True})

    def commit(self) -> None:
        """Force everything to disk; call before the checkpoint that contains it is committed."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self.commit()
        self._file.close()

    def _write(self, line: dict) -> None:
        self._file.write(json.dumps(line, separators=(",", ":")) + "\n")


def log_path(phase_dir: Path, rank: int) -> Path:
    """Where a rank logs."""
    return phase_dir / f"audit-rank{rank}.jsonl"


def committed_order(run_dir: Path, phase: str) -> list[tuple[int, list[Row]]]:
    """(step, its rows in the order of the global batch) for each committed step found, ranks merged.

    Raises UserError when the phase has no log, or a rank's log lacks a step that rank 0's has.
    """
    phase_dir = run_dir / "train" / phase
    pointer = read_pointer(phase_dir)
    ranks = 0
    while log_path(phase_dir, ranks).exists():
        ranks += 1
    if not ranks or pointer is None:
        raise UserError(
            f"{phase_dir}: no audit log with a committed checkpoint; has this phase been trained?"
        )
    logs = [_last_attempts(log_path(phase_dir, rank)) for rank in range(ranks)]
    order = []
    for step, (attempt, world, _) in sorted(logs[0].items()):
        if step >= pointer.position:
            break
        # After a change of the number of workers, logs of ranks that are gone still hold what they last saw.
        parts = [log[step][2] for log in logs if step in log and log[step][0] == attempt]
        if len(parts) != world:
            raise UserError(f"{phase_dir}: step {step} is in the logs of {len(parts)} ranks of {world}")
        order.append((step, [row for part in parts for row in part]))
    return order


def check(
    order: Iterable[tuple[int, list[Row]]],
    rows_per_step: int,
    total_steps: int,
    skipped: frozenset[int] | set[int] = frozenset(),
) -> list[str]:
    """What is wrong with an order, if anything. Steps are to be 0, 1, ..., each whole, and no row twice.

    `skipped` steps (`train.leaving.bad_steps`) are to be there without rows.
    """
    faults: list[str] = []
    seen: dict[Row, int] = {}
    expected = 0
    for step, rows in order:
        if step != expected:
            faults.append(f"step {expected} expected, found {step}")
        expected = step + 1
        if len(rows) != (0 if step in skipped else rows_per_step):
            faults.append(f"step {step} has {len(rows)} rows, not {rows_per_step}")
        for row in rows:
            if row in seen:
                faults.append(f"row {row} is in step {seen[row]} and in step {step}")
            seen[row] = step
    if expected != total_steps:
        faults.append(f"{total_steps} steps expected, the last one found is {expected - 1}")
    return faults


def attempts(phase_dir: Path) -> int:
    """How many times rank 0 has started training in this phase; restarts are one fewer."""
    path = log_path(phase_dir, 0)
    return sum("attempt" in line for line in _lines(path)) if path.exists() else 0


def _last_attempts(path: Path) -> dict[int, tuple[int, int, list[Row]]]:
    """step -> (attempt, world size, rows), as the last attempt that reached the step logged it."""
    steps: dict[int, tuple[int, int, list[Row]]] = {}
    attempt = world = 0
    for line in _lines(path):
        if "attempt" in line:
            attempt, world = line["attempt"], line["world"]
            # Later steps of an earlier attempt were lost with it, even where this one does not get so far.
            steps = {step: seen for step, seen in steps.items() if step < line["resume"]}
        elif line.get("by", attempt) == attempt:  # else of a worker that outlived its attempt
            steps[line["step"]] = (attempt, world, [tuple(row) for row in line["rows"]])
    return steps


def _lines(path: Path) -> Iterator[dict]:
    with path.open() as file:
        for line in file:
            if line.endswith("\n"):  # else a process was killed while writing it
                yield json.loads(line)


def _drop_torn_line(path: Path) -> None:
    """A killed process may leave half a line at the end; what comes next must start on its own line."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            file.seek(end - 1)
            if file.read(1) == b"\n":
                break
            end -= 1
        file.truncate(end)
