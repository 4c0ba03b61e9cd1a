"""Dealing: the interleaved order cut into global batches, in blocks that Ray's equal split hands to the right rank."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.sequences.order import Seek


@dataclass(frozen=True, kw_only=True)
class Dealing:
    """Args: sequences in a global batch, workers, how many global batches go out together, and how many a worker
    holds back because it fetches them ahead."""

    global_batch: int
    world_size: int
    batches: int
    seq_len: int
    held_back: int = 0

    @property
    def block_rows(self) -> int:
        """Rows of one block: one rank's share of one group of global batches."""
        return self.batches * self.global_batch // self.world_size

    def group_order(self) -> np.ndarray:
        """int64[batches * global_batch]: row k of a dealt group is row `order[k]` of its batches end to end."""
        rows = np.arange(self.batches * self.global_batch)
        by_rank = rows.reshape(self.batches, self.world_size, -1).transpose(1, 0, 2)
        return np.ascontiguousarray(by_rank).reshape(-1)


class Dealer:
    """Takes the packed entries in order and gives out dealt groups.

    A group is `batches` global batches. It goes out as `world_size` runs of `block_rows` rows, rank by rank, and
    inside a run the steps follow each other. The last group is filled up with rows of step -1. At `stop`, whole
    groups of them follow: a worker that fetches ahead hands out its last step only when as much has come after it,
    and would otherwise wait until the rest of the order, which nobody wants, has been packed.

    Args:
        seek: where the order is entered; see `pipelines.sequences.order.seek`.
        stop: the step after the last one wanted.
    """

    def __init__(self, dealing: Dealing, seek: Seek, stop: int):
        self.dealing = dealing
        self.interleaver = (
            seek.interleaver.copy()
        )  # what came through Ray's object store cannot be written to
        self.step, self.stop = seek.position, stop
        self.used = dict(seek.used)  # sequences of each open entry that have been given out
        self.expected = deque(seek.entries)
        self.open = set(seek.used)  # open entries that have not come yet: nothing can be drawn before
        self.entries: dict[int, pa.Table] = {}
        self.waiting: list[tuple[int, int]] = []  # (entry, row) drawn, not yet dealt
        self.finished = self.step >= stop
        self.ended = False  # at the end of the order, not only of this stretch of it

    @property
    def group_rows(self) -> int:
        return self.dealing.batches * self.dealing.global_batch

    def push(self, entry: int, sequences: pa.Table) -> list[pa.Table]:
        """Hand in entry number `entry` (they come in order) and get the groups that became complete.

        Raises RuntimeError when an entry is missing: this state is lost when its process dies, and the stream
        must then start again at the committed position instead of going on with a hole in it.
        """
        if self.finished:
            return []
        wanted = self.expected.popleft() if self.expected else None
        if entry != wanted:
            raise RuntimeError(
                f"the order is broken: entry {entry} came where {wanted} was expected; restarting"
            )
        # Copied out of Ray's object store, whose memory up to `window` waiting entries would pin.
        self.entries[entry] = sequences.take(pa.array(np.arange(sequences.num_rows)))
        self.open.discard(entry)
        if entry >= self.interleaver.known:
            self.interleaver.tell([sequences.num_rows])
        if self.open:
            return []
        return self._draw(last=not self.expected)

    def _draw(self, last: bool) -> list[pa.Table]:
        groups = []
        while not self.finished:
            drawn = self.interleaver.draw(self.group_rows - len(self.waiting))
            for entry in drawn.tolist():
                row = self.used.get(entry, 0)
                self.used[entry] = row + 1
                self.waiting.append((entry, row))
            if len(self.waiting) < self.group_rows:
                if last:
                    groups += self._rest()
                break
            groups.append(self._group(self.waiting, self.dealing.batches))
            if self.finished:
                groups += [self._filler(groups[-1])] * -(-self.dealing.held_back // self.dealing.batches)
            self.waiting = []
            self._forget()
        return groups

    def _rest(self) -> list[pa.Table]:
        """End of the order: whole global batches go out, the tail that fills none stays in `waiting`."""
        self.finished = self.ended = True
        batches, tail = divmod(len(self.waiting), self.dealing.global_batch)
        if not batches:
            return []
        rows = self.waiting[: batches * self.dealing.global_batch]
        self.waiting = self.waiting[len(self.waiting) - tail :]
        return [self._group(rows, batches)]

    def _group(self, drawn: list[tuple[int, int]], batches: int) -> pa.Table:
        dealing = self.dealing
        wanted = min(batches, self.stop - self.step)
        order = dealing.group_order()
        steps = np.repeat(np.arange(self.step, self.step + dealing.batches), dealing.global_batch)
        steps[wanted * dealing.global_batch :] = -1
        filled = drawn + [drawn[-1]] * (len(order) - len(drawn))
        table = self._take([filled[i] for i in order.tolist()])
        self.step += wanted
        self.finished = self.finished or self.step >= self.stop
        return _with_steps(table, steps[order])

    @staticmethod
    def _filler(group: pa.Table) -> pa.Table:
        return _with_steps(group, np.full(group.num_rows, -1))

    def _take(self, rows: list[tuple[int, int]]) -> pa.Table:
        """Rows by (entry, row). Of each open entry only the rows asked for are copied: they hold far more."""
        entry, row = np.asarray(rows, np.int64).T
        by_entry = np.argsort(entry, kind="stable")
        runs = np.split(by_entry, np.flatnonzero(np.diff(entry[by_entry])) + 1)
        taken = [self.entries[int(entry[run[0]])].take(pa.array(row[run])) for run in runs]
        return pa.concat_tables(taken).combine_chunks().take(pa.array(np.argsort(by_entry)))

    def _forget(self) -> None:
        """Drop what has been given out: memory holds the open entries and those that wait for a turn."""
        open_entries = set(self.interleaver.slots[self.interleaver.left > 0].tolist())
        for entry in list(self.entries):
            if entry < self.interleaver.opened and entry not in open_entries:
                del self.entries[entry]
                self.used.pop(entry, None)

    def tail(self) -> list[tuple[int, int, int]]:
        """(epoch, shard, index) of the sequences at the end of the order that fill no global batch, in order."""
        if not self.ended or not self.waiting:
            return []
        names = self._take(self.waiting)
        return list(zip(*(names[part].to_pylist() for part in ("epoch", "shard", "index")), strict=True))


def _with_steps(rows: pa.Table, steps: np.ndarray) -> pa.Table:
    column = rows.schema.get_field_index("step")
    return rows.set_column(column, "step", pa.array(steps, pa.int64()))
