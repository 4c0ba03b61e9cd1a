"""The first lines of every document, for rules that look at the head of a file only."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numba import njit

from pipelines.kernels.text import text_buffers


def head(text: pa.Array | pa.ChunkedArray, *, lines: int, characters: int) -> pa.ChunkedArray:
    """At most so many lines and so many characters from the start of each document, as large_string.

    A null document gives an empty head. The copy is bounded by `characters`, so that a file of one endless
    line costs nothing.
    """
    chunks = []
    for view in text_buffers(text):
        offsets = np.zeros(len(view) + 1, np.int64)
        _head_ends(view.offsets, view.data, lines, characters, offsets)
        data = np.empty(offsets[-1], np.uint8)
        _gather(view.offsets, view.data, offsets, data)
        chunks.append(
            pa.LargeStringArray.from_buffers(len(view), pa.py_buffer(offsets), pa.py_buffer(data), None, 0)
        )
    return pa.chunked_array(chunks, pa.large_string())


@njit(cache=True, nogil=True)
def _head_ends(offsets, data, lines, characters, out):
    """Offsets of the heads when they are laid end to end."""
    for document in range(len(offsets) - 1):
        start, end = offsets[document], offsets[document + 1]
        seen_lines = seen_characters = 0
        i = start
        while i < end:
            byte = data[i]
            if (byte & 0xC0) != 0x80:
                if seen_characters == characters:
                    break
                seen_characters += 1
            i += 1
            if byte == 10 or (byte == 13 and (i == end or data[i] != 10)):
                seen_lines += 1
                if seen_lines == lines:
                    break
        out[document + 1] = out[document] + i - start


@njit(cache=True, nogil=True)
def _gather(offsets, data, head_offsets, out):
    for document in range(len(offsets) - 1):
        at = head_offsets[document]
        for i in range(head_offsets[document + 1] - at):
            out[at + i] = data[offsets[document] + i]
