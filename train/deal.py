"""How a global batch is dealt to ranks: the contract between the stream and the training loop.

The stream is a sequence of *groups* of G global batches, the first beginning at the position the stream was
started from. A group is W blocks in rank order; block r holds rank r's rows of the G batches, step by step.
Ray Data hands block k of an ordered, equally split stream to rank k mod W, so each rank reads its own rows in
step order. A block per rank and group, not per step, keeps the split coordinator's state small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipelines.sequences.deal import Dealing

if TYPE_CHECKING:
    from train.config import TrainConfig


def dealing(cfg: TrainConfig, workers: int) -> Dealing:
    """What the stream must know of training to deal its rows to this many workers."""
    return Dealing(
        global_batch=cfg.global_batch,
        world_size=workers,
        batches=cfg.group,
        seq_len=cfg.seq_len,
        held_back=cfg.prefetch_steps,
    )


def rank_rows(rank: int, world_size: int, global_batch: int) -> slice:
    """Rank r's rows of a global batch: [r*B/W, (r+1)*B/W)."""
    if global_batch % world_size:
        raise ValueError(f"global batch {global_batch} is not a multiple of world size {world_size}")
    rows = global_batch // world_size
    return slice(rank * rows, (rank + 1) * rows)


def deal(world_size: int, global_batch: int, group: int) -> np.ndarray:
    """Order of one group, int64[G*B]: row k of the dealt group is row `deal[k]` of the G batches in a row."""
    if global_batch % world_size:
        raise ValueError(f"global batch {global_batch} is not a multiple of world size {world_size}")
    rows = np.arange(group * global_batch, dtype=np.int64)
    return rows.reshape(group, world_size, global_batch // world_size).transpose(1, 0, 2).reshape(-1)
