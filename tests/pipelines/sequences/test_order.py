"""The order is a pure function of the counts: any position is found again, at any number of workers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sequences.deal import Dealer, Dealing
from pipelines.sequences.order import Order, seek
from pipelines.sequences.pack import pack, to_table

SEQ = 4


def oracle(counts: list[int], window: int) -> list[tuple[int, int]]:
    """(entry, index) in order, the obvious way: M seats, one sequence a turn, an empty seat takes the next entry."""
    queue = list(range(len(counts)))
    seats: list[list[int] | None] = [None] * window
    out = []
    while True:
        gave = False
        for i in range(window):
            while (seats[i] is None or seats[i][1] >= counts[seats[i][0]]) and queue:
                seats[i] = [queue.pop(0), 0]
            seat = seats[i]
            if seat is not None and seat[1] < counts[seat[0]]:
                out.append((seat[0], seat[1]))
                seat[1] += 1
                gave = True
        if not gave:
            return out


def table(entry: int, n: int) -> pa.Table:
    rows = np.full((n, SEQ), entry, np.int32)
    return to_table(rows, np.full(n, SEQ, np.int32), [np.zeros(1, np.int32)] * n, epoch=0, shard=entry)


def stream(counts, window, position, stop, dealing):
    """Rows per step, put together again from the blocks that each rank would get."""
    order = Order(tuple(range(len(counts))), 1, 0)
    found = seek(order, window, position, dealing.global_batch, lambda shard: counts[shard])
    dealer = Dealer(dealing, found, stop)
    groups = []
    for entry in found.entries:
        groups += dealer.push(entry, table(entry, counts[entry]))
    share = dealing.global_batch // dealing.world_size
    steps: dict[int, list] = {}
    for group in groups:
        assert group.num_rows == dealing.block_rows * dealing.world_size
        for rank in range(dealing.world_size):
            block = group.slice(rank * dealing.block_rows, dealing.block_rows).to_pylist()
            for j, row in enumerate(block):
                if row["step"] >= 0:
                    batch = steps.setdefault(row["step"], [None] * dealing.global_batch)
                    assert batch[rank * share + j % share] is None
                    batch[rank * share + j % share] = (row["shard"], row["index"])
    return steps, dealer


@settings(max_examples=150, deadline=None)
@given(
    counts=st.lists(st.integers(0, 9), min_size=1, max_size=12),
    window=st.integers(1, 5),
    world=st.sampled_from([1, 2, 3]),
    batches=st.integers(1, 3),
    data=st.data(),
)
def test_every_position_gives_the_rest_of_one_order(counts, window, world, batches, data):
    expected = oracle(counts, window)
    global_batch = 6
    total = len(expected) // global_batch
    position = data.draw(st.integers(0, total))
    stop = data.draw(st.integers(position, total + 2))
    dealing = Dealing(global_batch=global_batch, world_size=world, batches=batches, seq_len=SEQ)
    steps, dealer = stream(counts, window, position, stop, dealing)
    last = min(stop, total)
    assert sorted(steps) == list(range(position, last))
    for step, rows in steps.items():
        assert rows == expected[step * global_batch : (step + 1) * global_batch]
    tail = [(shard, index) for _, shard, index in dealer.tail()]
    rest = expected[total * global_batch :]
    assert tail == rest if stop > total and position < stop else tail in ([], rest)  # known, not lost


@pytest.mark.parametrize(("batches", "held_back", "fillers"), [(1, 2, 2), (2, 2, 1), (2, 3, 2), (3, 0, 0)])
def test_at_the_stop_comes_what_a_worker_holds_back(batches, held_back, fillers):
    dealing = Dealing(global_batch=2, world_size=1, batches=batches, seq_len=SEQ, held_back=held_back)
    dealer = Dealer(dealing, seek(Order((0, 1, 2), 1, 0), 1, 0, 2, lambda s: None), stop=3)
    groups = dealer.push(0, table(0, 20))
    steps = [step for group in groups for step in group["step"].to_pylist()]
    assert steps[:6] == [0, 0, 1, 1, 2, 2]
    assert steps[6:] == [-1] * (len(steps) - 6)
    assert len(groups) == -(-3 // batches) + fillers
    assert {group.num_rows for group in groups} == {2 * batches}
    assert dealer.push(1, table(1, 20)) == []


def test_a_missing_entry_stops_the_stream_instead_of_leaving_a_hole():
    order = Order((0, 1, 2), 1, 0)
    dealing = Dealing(global_batch=2, world_size=1, batches=1, seq_len=SEQ)
    dealer = Dealer(dealing, seek(order, 2, 0, 2, lambda s: None), 10)
    dealer.push(0, table(0, 3))
    with pytest.raises(RuntimeError, match="entry 2 came where 1 was expected"):
        dealer.push(2, table(2, 3))


def test_epochs_are_permutations_and_the_first_keeps_the_judging_order():
    order = Order(tuple(range(50)), 3, 7)
    entries = order.entries()
    assert entries[:50] == [(0, s) for s in range(50)]
    for epoch in (1, 2):
        shards = [s for e, s in entries if e == epoch]
        assert sorted(shards) == list(range(50))
        assert shards != list(range(50))
    assert order.entries() == Order(tuple(range(50)), 3, 7).entries()


@given(lengths=st.lists(st.integers(1, 30), max_size=20), seq_len=st.integers(1, 16))
def test_packing_loses_nothing(lengths, seq_len):
    documents = [np.full(n, i + 1, np.int32) for i, n in enumerate(lengths)]
    rows, text_tokens, boundaries = pack(documents, seq_len, pad=0)
    flat = np.concatenate([r[:n] for r, n in zip(rows, text_tokens, strict=True)]) if lengths else np.empty(0)
    assert flat.tolist() == [t for d in documents for t in d.tolist()]
    starts = [r * seq_len + int(b) for r, part in enumerate(boundaries) for b in part]
    assert (
        starts == np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(int).tolist()
        if lengths
        else not starts
    )
    assert (rows.reshape(-1)[len(flat) :] == 0).all()
