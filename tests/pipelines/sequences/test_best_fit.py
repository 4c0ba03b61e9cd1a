"""Best fit against the obvious search, and what packing must keep."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sequences.best_fit import best_fit
from pipelines.sequences.join import Ragged
from pipelines.sequences.pack import concatenated, fitted


def rows_by_hand(lengths: list[int], seq_len: int) -> list[int]:
    """Room left in each row, each piece in turn into the row where it leaves least."""
    pieces = [
        piece for n in lengths for piece in [seq_len] * (n // seq_len) + [n % seq_len] * (n % seq_len > 0)
    ]
    rooms: list[int] = []
    for piece in sorted(pieces, reverse=True):
        fits = [room for room in rooms if room >= piece]
        if fits:
            rooms[rooms.index(min(fits))] -= piece
        else:
            rooms.append(seq_len - piece)
    return sorted(rooms)


def documents(lengths: list[int]) -> Ragged:
    return Ragged.of(
        [np.full(n, i, np.int32) * 100 + np.arange(n, dtype=np.int32) for i, n in enumerate(lengths)]
    )


@settings(deadline=None)  # the first call compiles
@given(lengths=st.lists(st.integers(1, 40), max_size=40), seq_len=st.integers(1, 33))
def test_rooms_are_those_of_the_obvious_search(lengths: list[int], seq_len: int) -> None:
    packed = fitted(documents(lengths), seq_len, -1, [0])
    assert sorted((seq_len - packed.text_tokens).tolist()) == rows_by_hand(lengths, seq_len)


@settings(deadline=None)  # the first call compiles
@given(lengths=st.lists(st.integers(1, 40), max_size=40), seq_len=st.integers(1, 33))
def test_every_piece_is_whole_and_named(lengths: list[int], seq_len: int) -> None:
    packed = fitted(documents(lengths), seq_len, -1, [0])
    found: dict[int, list[np.ndarray]] = {}
    for row, used, starts, inside in zip(
        packed.rows, packed.text_tokens, packed.boundaries, packed.documents, strict=True
    ):
        assert len(starts) == len(inside)
        assert (row[used:] == -1).all()
        for piece, number in zip(np.split(row[:used], starts[1:]), inside.tolist(), strict=True):
            found.setdefault(number, []).append(piece)
    whole = documents(lengths)
    for number, pieces in found.items():
        text = whole.tokens[whole.offsets[number] : whole.offsets[number + 1]]
        assert sorted(np.concatenate(pieces).tolist()) == text.tolist()
        assert len(pieces) == -(-len(text) // seq_len)  # only what is longer than a row is cut
    assert len(found) == len(lengths)
    assert packed.cut == sum(n > seq_len for n in lengths)


def test_as_many_rows_in_whatever_order_the_documents_come() -> None:
    lengths = np.random.default_rng(0).integers(1, 300, 500)
    counts = set()
    for seed in range(4):
        shuffled = np.random.default_rng(seed).permutation(lengths)
        layout = best_fit(np.concatenate([[0], np.cumsum(shuffled)]), 256, [seed])
        counts.add(layout.rows)
    assert len(counts) == 1
    assert counts.pop() * 256 < 1.02 * lengths.sum()


@settings(deadline=None)  # the first call compiles
@given(lengths=st.lists(st.integers(1, 40), max_size=20), seq_len=st.integers(1, 33))
def test_concatenation_names_the_documents_of_each_row(lengths: list[int], seq_len: int) -> None:
    packed = concatenated(documents(lengths), seq_len, -1)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    for number, (inside, starts) in enumerate(zip(packed.documents, packed.boundaries, strict=True)):
        row = owner[number * seq_len : (number + 1) * seq_len]
        assert inside.tolist() == list(dict.fromkeys(row.tolist()))
        assert len(inside) - len(starts) == (0 if len(starts) and starts[0] == 0 else 1)
    rows = [set(np.flatnonzero(owner == i) // seq_len) for i in range(len(lengths))]
    assert packed.cut == sum(len(held) > 1 for held in rows)
