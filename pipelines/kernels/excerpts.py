"""The first lines and the last line of every document, for rules that look at the ends of a file only."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numba import njit

from pipelines.kernels.text import TextBuffers, text_buffers


def head(
    text: pa.Array | pa.ChunkedArray, *, lines: int, characters: int, wanted: np.ndarray | None = None
) -> pa.ChunkedArray:
    """At most so many lines and so many characters from the start of each document, as large_string.

    A null document, and one outside `wanted` (bool[n]), gives an empty head. The copy is bounded by `characters`,
    so that a file of one endless line costs nothing.
    """
    chunks = []
    for view, rows in _views(text, wanted):
        offsets = np.zeros(len(view) + 1, np.int64)
        _head_ends(view.offsets, view.data, rows, lines, characters, offsets)
        chunks.append(_gathered(view.offsets, view.data, offsets))
    return pa.chunked_array(chunks, pa.large_string())


def last_line(
    text: pa.Array | pa.ChunkedArray, *, characters: int, wanted: np.ndarray | None = None
) -> pa.ChunkedArray:
    """At most so many characters from the start of each document's last line that is not empty, as large_string."""
    chunks = []
    for view, rows in _views(text, wanted):
        starts, offsets = np.zeros(len(view) + 1, np.int64), np.zeros(len(view) + 1, np.int64)
        _last_lines(view.offsets, view.data, rows, characters, starts, offsets)
        starts.flags.writeable = False  # as in a TextBuffers, so that one compiled version serves both
        chunks.append(_gathered(starts, view.data, offsets))
    return pa.chunked_array(chunks, pa.large_string())


def _views(
    text: pa.Array | pa.ChunkedArray, wanted: np.ndarray | None
) -> Iterator[tuple[TextBuffers, np.ndarray]]:
    start = 0
    for view in text_buffers(text):
        yield view, np.ones(len(view), bool) if wanted is None else wanted[start : start + len(view)]
        start += len(view)


def _gathered(starts: np.ndarray, data: np.ndarray, offsets: np.ndarray) -> pa.Array:
    out = np.empty(offsets[-1], np.uint8)
    _gather(starts, data, offsets, out)
    return pa.LargeStringArray.from_buffers(
        len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(out), None, 0
    )


@njit(cache=True, nogil=True)
def _head_ends(offsets, data, wanted, lines, characters, out):
    """Offsets of the heads when they are laid end to end."""
    for document in range(len(offsets) - 1):
        start = offsets[document]
        end = offsets[document + 1] if wanted[document] else start
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
def _last_lines(offsets, data, wanted, characters, starts, out):
    """Where each last line starts, and offsets of those lines when they are laid end to end."""
    for document in range(len(offsets) - 1):
        start = offsets[document]
        end = offsets[document + 1] if wanted[document] else start
        while end > start and (data[end - 1] == 10 or data[end - 1] == 13):
            end -= 1
        i = end
        while i > start and data[i - 1] != 10 and data[i - 1] != 13:
            i -= 1
        starts[document] = i
        seen = 0
        while i < end:
            if (data[i] & 0xC0) != 0x80:
                if seen == characters:
                    break
                seen += 1
            i += 1
        out[document + 1] = out[document] + i - starts[document]


@njit(cache=True, nogil=True)
def _gather(starts, data, offsets, out):
    for document in range(len(offsets) - 1):
        at = offsets[document]
        for i in range(offsets[document + 1] - at):
            out[at + i] = data[starts[document] + i]
