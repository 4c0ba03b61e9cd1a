"""Training documents as rows of `seq_len` tokens: end to end, or whole documents by best fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.schema import sequence_schema
from pipelines.sequences.best_fit import best_fit, fill
from pipelines.sequences.join import Ragged

PACKING_VERSION = 1


@dataclass(frozen=True)
class Packed:
    """A shard's rows."""

    rows: np.ndarray  # int32 [n, seq_len]
    text_tokens: np.ndarray  # int32 [n]: text at the front of the row, padding after it
    boundaries: list[np.ndarray]  # per row, where a training document, or a piece of one, starts
    documents: list[np.ndarray]  # per row, the training documents in it: one more where it begins inside one
    cut: int  # training documents that lie in more than one row


def pack(
    documents: list[np.ndarray], seq_len: int, pad: int
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Concatenated rows int32 [n, seq_len], their text tokens int32 [n], and where documents start in each row."""
    packed = concatenated(Ragged.of(documents), seq_len, pad)
    return packed.rows, packed.text_tokens, packed.boundaries


def concatenated(documents: Ragged, seq_len: int, pad: int) -> Packed:
    """Training documents end to end, cut into rows.

    Nothing is dropped: the last row is filled with `pad`, which its text-token count leaves out. A shard is packed
    alone, so that a restart needs no packer state from the shard before.
    """
    starts, ends = documents.offsets[:-1], documents.offsets[1:]
    if not len(starts):
        return Packed(np.empty((0, seq_len), np.int32), np.empty(0, np.int32), [], [], 0)
    tokens = int(ends[-1])
    rows = -(-tokens // seq_len)
    padded = np.empty(rows * seq_len, np.int32)
    padded[:tokens] = documents.tokens
    padded[tokens:] = pad
    text_tokens = np.full(rows, seq_len, np.int32)
    text_tokens[-1] = tokens - (rows - 1) * seq_len
    cuts = np.searchsorted(starts // seq_len, np.arange(1, rows))
    boundaries = [(part % seq_len).astype(np.int32) for part in np.split(starts, cuts)]
    first = np.searchsorted(starts, np.arange(rows) * seq_len, side="right") - 1
    upto = np.append(cuts, len(starts))
    inside = [np.arange(begin, end) for begin, end in zip(first, upto, strict=True)]
    cut = int(np.count_nonzero((ends - 1) // seq_len > starts // seq_len))
    return Packed(padded.reshape(rows, seq_len), text_tokens, boundaries, inside, cut)


def fitted(documents: Ragged, seq_len: int, pad: int, seed: list[int]) -> Packed:
    """Whole training documents by best fit; those longer than a row are cut. Rows are padded to `seq_len`."""
    layout = best_fit(documents.offsets, seq_len, seed)
    rows = np.empty((layout.rows, seq_len), np.int32)
    used = np.zeros(layout.rows, np.int64)
    starts = fill(documents.tokens, layout.row, layout.begin, layout.length, pad, rows, used)
    cuts = np.searchsorted(layout.row, np.arange(1, layout.rows)) if layout.rows else np.empty(0, np.int64)
    split = (lambda values: np.split(values, cuts)) if layout.rows else (lambda values: [])
    cut = int(np.count_nonzero(np.diff(documents.offsets) > seq_len))
    return Packed(rows, used.astype(np.int32), split(starts), split(layout.document), cut)


def to_table(
    rows: np.ndarray,
    text_tokens: np.ndarray,
    boundaries: Sequence[np.ndarray],
    *,
    epoch: int,
    shard: int,
    languages: Sequence[np.ndarray] | None = None,
) -> pa.Table:
    """Packed rows as the stream's table; `step` is filled when they are dealt."""
    n, seq_len = rows.shape
    columns = {
        "tokens": pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), seq_len),
        "loss_tokens": pa.array(text_tokens),
        "boundaries": _lists(boundaries, np.int32),
        "epoch": pa.array(np.full(n, epoch, np.int32)),
        "shard": pa.array(np.full(n, shard, np.int32)),
        "index": pa.array(np.arange(n, dtype=np.int32)),
        "step": pa.array(np.full(n, -1, np.int64)),
        "languages": _lists(languages, np.int16) if languages is not None else pa.nulls(n, LANGUAGE_LISTS),
    }
    return pa.table(columns, schema=sequence_schema(seq_len))


LANGUAGE_LISTS = pa.list_(pa.int16())


def _lists(parts: Sequence[np.ndarray], dtype: type) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int32)
    values = np.concatenate(parts) if len(parts) else np.empty(0)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.astype(dtype, copy=False)))
