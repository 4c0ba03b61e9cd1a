"""Best-fit decreasing: whole documents into rows, each where it leaves the least room (arXiv 2404.10830).

The longest first, each into the fullest row that takes it. Rows are found by the room they have left, in a tree of
`seq_len` leaves, so that a document costs log2(seq_len) steps however many rows are open.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba as nb
import numpy as np

from pipelines import kernels  # noqa: F401 - sets where numba keeps compiled kernels


@dataclass(frozen=True)
class Layout:
    """Pieces of documents in rows, in the order of (row, place in the row)."""

    row: np.ndarray  # int64 [pieces]
    begin: np.ndarray  # int64 [pieces], in the shard's tokens
    length: np.ndarray  # int64 [pieces]
    document: np.ndarray  # int64 [pieces]
    rows: int


def best_fit(offsets: np.ndarray, seq_len: int, seed: list[int]) -> Layout:
    """Rows for documents given by their offsets, int64 [n + 1]; rows in seeded random order.

    A document longer than a row is cut into full rows and a rest. How many rows come out depends on the lengths
    alone, not on the order of the documents: so it is the same in every epoch.
    """
    lengths = np.diff(offsets)
    pieces = np.maximum(-(-lengths // seq_len), 1)
    document = np.repeat(np.arange(len(lengths)), pieces)
    nth = np.arange(len(document)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    begin = offsets[:-1][document] + nth * seq_len
    length = np.minimum(offsets[1:][document] - begin, seq_len)
    longest_first = np.argsort(-length, kind="stable")
    row = np.empty(len(length), np.int64)
    rows = _place(length[longest_first], seq_len, row)
    place = np.random.default_rng(seed).permutation(rows)  # not the longest documents first
    row = place[row]
    by_row = np.argsort(row, kind="stable")
    order = longest_first[by_row]
    return Layout(row[by_row], begin[order], length[order], document[order], rows)


@nb.njit(cache=True, nogil=True)
def _place(lengths, capacity, out):
    """Row of each piece, lengths descending; returns the number of rows."""
    leaves = 1
    while leaves < capacity + 1:
        leaves *= 2
    open_ = np.zeros(
        2 * leaves, np.bool_
    )  # open_[leaves + room]: a row has just that room; inner nodes: below
    last = np.full(
        capacity + 1, -1, np.int64
    )  # the newest row with that room; older ones behind it in `before`
    before = np.full(len(lengths), -1, np.int64)
    rows = 0
    for piece in range(len(lengths)):
        wanted = lengths[piece]
        room = _least_room(open_, leaves, wanted)
        if room < 0:
            row, room = rows, capacity
            rows += 1
        else:
            row = last[room]
            last[room] = before[row]
            if last[room] < 0:
                node = leaves + room
                open_[node] = False
                while node > 1 and not (open_[node] or open_[node ^ 1]):
                    node //= 2
                    open_[node] = False
        out[piece] = row
        room -= wanted
        before[row] = last[room]
        last[room] = row
        node = leaves + room
        while node > 0 and not open_[node]:
            open_[node] = True
            node //= 2
    return rows


@nb.njit(cache=True, nogil=True)
def _least_room(open_, leaves, wanted):
    """The smallest room >= wanted that a row has; -1 for none."""
    node = leaves + wanted
    if open_[node]:
        return wanted
    while node > 1:  # up to where a right neighbour has something, then down to its leftmost leaf
        if node % 2 == 0 and open_[node + 1]:
            node += 1
            while node < leaves:
                node = 2 * node if open_[2 * node] else 2 * node + 1
            return node - leaves
        node //= 2
    return -1


@nb.njit(cache=True, nogil=True)
def fill(tokens, row, begin, length, pad, rows, used):
    """Copy pieces into `rows` (int32 [n, seq_len]) one after the other and pad the rest; `used` counts by row.

    Returns where each piece starts in its row.
    """
    starts = np.empty(len(row), np.int32)
    for piece in range(len(row)):
        r, at, n = row[piece], used[row[piece]], length[piece]
        rows[r, at : at + n] = tokens[begin[piece] : begin[piece] + n]
        starts[piece] = at
        used[r] = at + n
    for r in range(len(rows)):
        rows[r, used[r] :] = pad
    return starts
