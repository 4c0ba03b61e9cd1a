"""The global order: the sequences of M open entries take turns, one each, and a finished entry gives its turn away.

An *entry* is one shard in one epoch. The order is a pure function of the entries' sequence counts, so that any
position in it can be found again by counting, without a byte of text (architecture: the position is one integer).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numba as nb
import numpy as np


@nb.njit(cache=True, nogil=True)
def _draw(slots, left, cursor, opened, counts, known, total, out):
    """Fill `out` with entry numbers; stops early at an entry whose count is not known yet, or at the end.

    Returns (drawn, cursor, opened). slots[i] is the entry in turn i (-1: free), left[i] its sequences to come.
    """
    m = len(slots)
    n = 0
    idle = 0  # turns in a row that had nothing to give: m of them is the end
    while n < len(out) and idle < m:
        while left[cursor] == 0 and opened < total:
            if opened >= known:
                return n, cursor, opened
            slots[cursor] = opened
            left[cursor] = counts[opened]
            opened += 1
        if left[cursor] > 0:
            out[n] = slots[cursor]
            left[cursor] -= 1
            n += 1
            idle = 0
        else:
            slots[cursor] = -1
            idle += 1
        cursor = (cursor + 1) % m
    return n, cursor, opened


@dataclass
class Interleaver:
    """The state of the order at one position.

    Args:
        window: M, the open entries.
        total: entries in the whole order.
    """

    window: int
    total: int
    slots: np.ndarray = field(init=False)  # int64 [window]: entry in each turn, -1 when free
    left: np.ndarray = field(init=False)  # int64 [window]: sequences that entry has still to give
    counts: np.ndarray = field(init=False)  # int64 [total], right for the first `known`
    cursor: int = 0
    opened: int = 0  # entries that have had a turn
    known: int = 0  # entries whose sequence count has been told

    def __post_init__(self) -> None:
        self.slots = np.full(self.window, -1, np.int64)
        self.left = np.zeros(self.window, np.int64)
        self.counts = np.zeros(self.total, np.int64)

    def copy(self) -> Interleaver:
        arrays = {name: getattr(self, name).copy() for name in ("slots", "left", "counts")}
        made = Interleaver(self.window, self.total, cursor=self.cursor, opened=self.opened, known=self.known)
        vars(made).update(arrays)
        return made

    def tell(self, counts: Sequence[int] | np.ndarray) -> None:
        """The sequence counts of the next entries, in order."""
        self.counts[self.known : self.known + len(counts)] = counts
        self.known += len(counts)

    def draw(self, limit: int) -> np.ndarray:
        """Entry numbers (int64) of the next sequences, at most `limit`; fewer when more entries must be told first."""
        out = np.empty(limit, np.int64)
        n, self.cursor, self.opened = _draw(
            self.slots, self.left, self.cursor, self.opened, self.counts, self.known, self.total, out
        )
        return out[:n]

    def skip(self, sequences: int, chunk: int = 1 << 20) -> int:
        """Advance by `sequences` draws; returns how many were possible with the counts told so far."""
        done = 0
        while done < sequences:
            drawn = len(self.draw(min(chunk, sequences - done)))
            if drawn == 0:
                break
            done += drawn
        return done
