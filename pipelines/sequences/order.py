"""The training order: shards in seeded order per epoch, and the way to any position in it by counting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipelines.sequences.interleave import Interleaver


@dataclass(frozen=True)
class Order:
    """Entries of a phase: every shard once per epoch. Entry number = epoch * shards + place in that epoch.

    Epoch 0 keeps the given order, in which the shards are also judged, unless they are all judged before (`shuffled`);
    later epochs are seeded permutations.
    """

    shards: tuple[int, ...]
    epochs: int
    seed: int
    shuffled: bool = False

    def __len__(self) -> int:
        return len(self.shards) * self.epochs

    def epoch_order(self, epoch: int) -> np.ndarray:
        shards = np.asarray(self.shards, np.int64)
        if epoch == 0 and not self.shuffled:
            return shards
        return np.random.default_rng([self.seed, epoch]).permutation(shards)

    def entries(self) -> list[tuple[int, int]]:
        """(epoch, shard) of every entry."""
        return [(e, int(s)) for e in range(self.epochs) for s in self.epoch_order(e)]


@dataclass(frozen=True)
class Seek:
    """The order entered at a position.

    `entries` are the entry numbers to stream from here, open ones first; `used` says how many sequences of each
    open entry were consumed before; everything else before is skipped without being opened.
    """

    position: int
    interleaver: Interleaver
    used: dict[int, int]
    entries: list[int]


def seek(
    order: Order, window: int, position: int, global_batch: int, count: Callable[[int], int | None]
) -> Seek:
    """Find `position` (in global batches) in the order.

    `count(shard)` is the recorded number of sequences of a shard, None when it was never packed. Raises ValueError
    when a count before the position is missing: then the ledger is not the one that the position was made with.
    """
    interleaver = Interleaver(window, len(order))
    entries = order.entries()
    wanted = position * global_batch
    while wanted > 0:
        moved = interleaver.skip(wanted)
        wanted -= moved
        if wanted == 0:
            break
        if interleaver.known == len(order):
            raise ValueError(f"the order ends {wanted} sequences before position {position}")
        epoch, shard = entries[interleaver.known]
        known = count(shard)
        if known is None:
            raise ValueError(
                f"shard {shard} (epoch {epoch}) is before position {position} but was never packed"
            )
        interleaver.tell([known])
    # Counts told ahead are forgotten again: only entries whose rows have come may be drawn from now on.
    interleaver.known = interleaver.opened
    open_entries = sorted(interleaver.slots[interleaver.left > 0].tolist())
    left = dict(zip(interleaver.slots.tolist(), interleaver.left.tolist(), strict=True))
    used = {e: int(interleaver.counts[e]) - left[e] for e in open_entries}
    return Seek(position, interleaver, used, [*open_entries, *range(interleaver.opened, len(order))])
