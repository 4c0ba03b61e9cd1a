"""The audit log, the committed pointer, and the check of the stream, without Ray."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snowcoder.base import UserError
from train import audit
from train.audit import AuditLog
from train.checkpoints import Pointer, write_pointer
from train.deal import deal, rank_rows
from train.loop import steps

POINTER = Pointer(
    position=6,
    checkpoint="checkpoints/step-00000006-001",
    fingerprint={"order": "f"},
    world_size=2,
    global_batch=4,
    seq_len=8,
    zero_stage=1,
    precision="fp32",
)


def log(phase_dir: Path, attempt: int, world: int, resume: int, until: int) -> None:
    """One attempt of `world` ranks, two rows each, that dies after step `until` - 1."""
    for rank in range(world):
        writer = AuditLog(phase_dir, rank, attempt=attempt, world_size=world, resume=resume)
        rows = 4 // world
        for step in range(resume, until):
            writer.record(step, [(0, step, rank * rows + i) for i in range(rows)])
        writer.close()


@pytest.fixture
def phase_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "train" / "general"
    directory.mkdir(parents=True)
    write_pointer(directory, POINTER)
    return directory


def test_later_attempt_and_other_world_size_win(phase_dir: Path, tmp_path: Path) -> None:
    log(phase_dir, attempt=0, world=4, resume=0, until=6)
    log(phase_dir, attempt=1, world=2, resume=3, until=5)
    with (phase_dir / "audit-rank1.jsonl").open("a") as file:
        file.write('{"step":5,"ro')  # killed here
    log(phase_dir, attempt=2, world=2, resume=4, until=8)
    order = audit.committed_order(tmp_path, "general")
    assert [step for step, _ in order] == [0, 1, 2, 3, 4, 5]  # 6 and 7 are logged, not committed
    assert all(rows == [(0, step, i) for i in range(4)] for step, rows in order)
    assert audit.check(order, 4, 6) == []
    assert audit.attempts(phase_dir) == 3


def test_a_worker_that_outlives_its_attempt_is_not_heard(phase_dir: Path, tmp_path: Path) -> None:
    """Its driver is dead, the next attempt has begun, and it writes on for a while."""
    outlived = audit.AuditLog(phase_dir, 0, attempt=0, world_size=1, resume=0)
    for step in range(4):
        outlived.record(step, [(0, step, 0)])
    current = audit.AuditLog(phase_dir, 0, attempt=1, world_size=1, resume=2)
    for step in range(2, 6):
        current.record(step, [(0, step, 1)])
        outlived.record(step + 2, [(9, 9, 9)])
    order = audit.committed_order(tmp_path, "general")
    assert order == [(s, [(0, s, 0)]) for s in range(2)] + [(s, [(0, s, 1)]) for s in range(2, 6)]


def test_a_missing_rank_is_an_error(phase_dir: Path, tmp_path: Path) -> None:
    log(phase_dir, attempt=0, world=2, resume=0, until=6)
    path = phase_dir / "audit-rank1.jsonl"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if '"step":2' not in line))
    with pytest.raises(UserError, match="step 2 is in the logs of 1 ranks of 2"):
        audit.committed_order(tmp_path, "general")


@pytest.mark.parametrize(
    ("order", "fault"),
    [
        ([(0, [(0, 0, 0)]), (2, [(0, 0, 1)])], "step 1 expected, found 2"),
        ([(0, [(0, 0, 0)]), (1, [(0, 0, 0)])], r"row \(0, 0, 0\) is in step 0 and in step 1"),
        ([(0, [(0, 0, 0)])], "2 steps expected"),
        ([(0, []), (1, [(0, 0, 0)])], "step 0 has 0 rows"),
    ],
)
def test_check_names_each_fault(order: list, fault: str) -> None:
    assert any(re.search(fault, found) for found in audit.check(order, 1, 2))


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 5))
def test_ranks_get_their_rows_of_each_batch_in_step_order(world: int, rows: int, group: int) -> None:
    batch = world * rows
    blocks = deal(world, batch, group).reshape(world, group, rows)
    batches = np.arange(group * batch).reshape(group, batch)
    for rank in range(world):
        for step in range(group):
            assert (blocks[rank, step] == batches[step, rank_rows(rank, world, batch)]).all()


def block(step: int | list[int], rows: int = 2) -> pa.Table:
    count = rows if isinstance(step, int) else len(step)
    return pa.table(
        {
            "tokens": pa.FixedSizeListArray.from_arrays(pa.array(np.arange(count * 4, dtype=np.int32)), 4),
            "loss_tokens": pa.array([4] * count, pa.int32()),
            "boundaries": pa.array([[0]] * count, pa.list_(pa.int32())),
            "epoch": pa.array([0] * count, pa.int32()),
            "shard": pa.array([7] * count, pa.int32()),
            "index": pa.array(range(count), pa.int32()),
            "step": pa.array([step] * count if isinstance(step, int) else step, pa.int64()),
        }
    )


def test_steps_of_a_good_stream() -> None:
    found = list(steps([block(3), block(4), block(-1), block(5)], 0, 3, 6, 2))
    assert [step for step, _ in found] == [3, 4, 5]
    rows, names = found[0][1]
    assert rows.tokens.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert json.loads(json.dumps(names)) == [[0, 7, 0], [0, 7, 1]]


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([block(4)], "rank 1: expected 2 rows of step 3, got 2 rows of step 4"),
        ([block(3), block(3)], "expected 2 rows of step 4, got 2 rows of step 3"),
        ([block(3), block([4, 5])], "got 2 rows of step 4, 5"),
        ([block(3), block(4, rows=1)], "got 1 rows of step 4"),
        ([block(3)], "rank 1: the stream ended before step 4 of 6"),
    ],
)
def test_a_stream_that_is_elsewhere_stops_training(blocks: list, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        list(steps(blocks, 1, 3, 6, 2))
