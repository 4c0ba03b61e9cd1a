"""Spans of a text column replaced by other texts, as recorded: redaction, and headers taken off.

An *edit* is (begin, end, kind): the bytes `[begin, end)` of one document give way to `replacements[kind]`. A
document's edits are sorted, do not overlap, and lie on character boundaries, so that the result is UTF-8.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numba import njit

from pipelines.kernels.text import TextBuffers, text_buffers

EDIT = pa.struct([("begin", pa.int32()), ("end", pa.int32()), ("kind", pa.int8())])
EDITS = pa.list_(EDIT)
"""One document's edits; null and [] both mean none. Bytes, from the start of the document."""


def apply_edits(
    text: pa.Array | pa.ChunkedArray, edits: pa.Array | pa.ChunkedArray, replacements: Sequence[str]
) -> pa.ChunkedArray:
    """`text` (large_string) with the edits of each document applied; without any, `text` itself.

    Runs of untouched documents are copied in one piece, and a null stays null. ValueError where an edit cannot be
    of its document: out of order, outside of the text, inside a character, an unknown kind, or of a null.
    """
    column = text if isinstance(text, pa.ChunkedArray) else pa.chunked_array([text])
    edits = edits.combine_chunks() if isinstance(edits, pa.ChunkedArray) else edits
    if edits.type != EDITS or len(edits) != len(column):
        raise ValueError(f"{len(column)} documents need as many {EDITS}, not {len(edits)} {edits.type}")
    edits = edits.fill_null([])
    if not len(edits.flatten()):
        return column
    words = [replacement.encode() for replacement in replacements]
    word_ends = np.cumsum([0, *map(len, words)])
    word_bytes = np.frombuffer(b"".join(words), np.uint8)
    chunks, first = [], 0
    for view in text_buffers(column):
        chunks.append(_edited(view, edits[first : first + len(view)], word_ends, word_bytes, first))
        first += len(view)
    return pa.chunked_array(chunks, pa.large_string())


def _edited(
    view: TextBuffers, edits: pa.Array, word_ends: np.ndarray, word_bytes: np.ndarray, first: int
) -> pa.Array:
    """One chunk, whose first document is the column's number `first`."""
    spans = edits.flatten()
    begin, end, kind = (_view(spans.field(i)) for i in range(3))
    counts = np.zeros(len(view) + 1, np.int64)
    counts[1:] = np.cumsum(_view(edits.value_lengths()))
    offsets = np.zeros(len(view) + 1, np.int64)
    faulty = _edited_offsets(
        view.offsets, view.data, view.valid, counts, begin, end, kind, word_ends, offsets
    )
    if faulty >= 0:
        raise ValueError(f"the edits of document {first + faulty} are not of this text")
    data = np.empty(offsets[-1], np.uint8)
    _edit(view.offsets, view.data, counts, begin, end, kind, word_ends, word_bytes, offsets, data)
    nulls = None if view.valid.all() else pa.py_buffer(np.packbits(view.valid, bitorder="little"))
    return pa.LargeStringArray.from_buffers(len(view), pa.py_buffer(offsets), pa.py_buffer(data), nulls, -1)


def _view(values: pa.Array) -> np.ndarray:
    array = values.to_numpy(zero_copy_only=False)
    return array if array.flags.writeable is False else np.frombuffer(array.tobytes(), array.dtype)


@njit(cache=True, nogil=True)
def _edited_offsets(offsets, data, valid, counts, begin, end, kind, word_ends, out):
    """Where the edited documents start when laid end to end; the first document with a bad edit, or -1."""
    for document in range(len(offsets) - 1):
        start = offsets[document]
        size = length = offsets[document + 1] - start
        reached = 0
        for i in range(counts[document], counts[document + 1]):
            b, e, k = begin[i], end[i], kind[i]
            if not valid[document] or b < reached or e < b or e > length or k < 0 or k >= len(word_ends) - 1:
                return document
            if (b < length and data[start + b] & 0xC0 == 0x80) or (
                e < length and data[start + e] & 0xC0 == 0x80
            ):
                return document
            reached = e
            size += word_ends[k + 1] - word_ends[k] - (e - b)
        out[document + 1] = out[document] + size
    return -1


@njit(cache=True, nogil=True)
def _edit(offsets, data, counts, begin, end, kind, word_ends, word_bytes, out_offsets, out):
    at = 0
    copied = offsets[0]  # how far `data` is in `out`
    for document in range(len(offsets) - 1):
        for i in range(counts[document], counts[document + 1]):
            stop = offsets[document] + begin[i]
            out[at : at + stop - copied] = data[copied:stop]
            at += stop - copied
            first, last = word_ends[kind[i]], word_ends[kind[i] + 1]
            out[at : at + last - first] = word_bytes[first:last]
            at += last - first
            copied = offsets[document] + end[i]
    out[at:] = data[copied : offsets[-1]]
