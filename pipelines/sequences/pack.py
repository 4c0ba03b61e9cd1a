"""Packing by concatenation: training documents end to end, cut into rows of `seq_len` tokens."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipelines.schema import sequence_schema

PACKING_VERSION = 1


def pack(
    documents: list[np.ndarray], seq_len: int, pad: int
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Rows int32 [n, seq_len], their text tokens int32 [n], and where documents start in each row.

    Nothing is dropped: the last row is filled with `pad`, which its text-token count leaves out. A shard is packed
    alone, so that a restart needs no packer state from the shard before.
    """
    if not documents:
        return np.empty((0, seq_len), np.int32), np.empty(0, np.int32), []
    ends = np.cumsum([len(d) for d in documents])
    tokens = int(ends[-1])
    rows = -(-tokens // seq_len)
    padded = np.empty(rows * seq_len, np.int32)
    np.concatenate(documents, out=padded[:tokens])
    padded[tokens:] = pad
    text_tokens = np.full(rows, seq_len, np.int32)
    text_tokens[-1] = tokens - (rows - 1) * seq_len
    starts = np.concatenate([[0], ends[:-1]])
    row_of_start = starts // seq_len
    cuts = np.searchsorted(row_of_start, np.arange(1, rows))
    boundaries = [(part % seq_len).astype(np.int32) for part in np.split(starts, cuts)]
    return padded.reshape(rows, seq_len), text_tokens, boundaries


def to_table(
    rows: np.ndarray, text_tokens: np.ndarray, boundaries: list[np.ndarray], *, epoch: int, shard: int
) -> pa.Table:
    """Packed rows as the stream's table; `step` is filled when they are dealt."""
    n, seq_len = rows.shape
    offsets = np.concatenate([[0], np.cumsum([len(b) for b in boundaries])]).astype(np.int32)
    values = np.concatenate(boundaries) if boundaries else np.empty(0, np.int32)
    columns = {
        "tokens": pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), seq_len),
        "loss_tokens": pa.array(text_tokens),
        "boundaries": pa.ListArray.from_arrays(pa.array(offsets), pa.array(values)),
        "epoch": pa.array(np.full(n, epoch, np.int32)),
        "shard": pa.array(np.full(n, shard, np.int32)),
        "index": pa.array(np.arange(n, dtype=np.int32)),
        "step": pa.array(np.full(n, -1, np.int64)),
    }
    return pa.table(columns, schema=sequence_schema(seq_len))
