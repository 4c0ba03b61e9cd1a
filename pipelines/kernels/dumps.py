"""How much of an SQL file is rows of data: what a database dump is made of."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numba import njit

from pipelines.kernels.text import text_buffers

_INSERT, _REPLACE, _COPY = (np.frombuffer(word, np.uint8) for word in (b"insert", b"replace", b"copy"))


def dumped_bytes(text: pa.Array | pa.ChunkedArray, wanted: np.ndarray | None = None) -> np.ndarray:
    """Bytes in statements that write rows, int64[n]; 0 for null and for rows outside `wanted` (bool[n]).

    Such a statement starts a line (behind white space) with the word INSERT or REPLACE, in any case, and ends
    behind the next semicolon that is in no '...' string (with '' and \\ as escapes), or with the file; or starts
    with COPY, and ends behind a line `\\.`, as pg_dump writes tables.
    """
    parts = [np.zeros(0, np.int64)]
    start = 0
    for view in text_buffers(text):
        rows = np.ones(len(view), bool) if wanted is None else wanted[start : start + len(view)]
        out = np.zeros(len(view), np.int64)
        _dumped(view.offsets, view.data, rows, _INSERT, _REPLACE, _COPY, out)
        parts.append(out)
        start += len(view)
    return np.concatenate(parts)


@njit(cache=True, nogil=True)
def _dumped(offsets, data, wanted, insert, replace, copy, out):
    for document in range(len(offsets) - 1):
        if not wanted[document]:
            continue
        i, end = offsets[document], offsets[document + 1]
        dumped = 0
        at_line_start = True
        rows_end = (
            i  # the last end of COPY rows that was looked for: `end` when there is none, and never again
        )
        while i < end:
            byte = data[i]
            if at_line_start and (byte | 0x20 == 105 or byte | 0x20 == 114 or byte | 0x20 == 99):
                stop = i
                if _starts(data, i, end, insert) or _starts(data, i, end, replace):
                    stop = _after_statement(data, i, end)
                elif rows_end < end and _starts(data, i, end, copy):
                    rows_end = _after_rows(data, i, end)
                    stop = rows_end if rows_end <= end else i
                if stop > i:
                    dumped += stop - i
                    i = stop
                    at_line_start = False
                    continue
            if byte == 10 or byte == 13:
                at_line_start = True
            elif byte != 32 and byte != 9:
                at_line_start = False
            i += 1
        out[document] = dumped


@njit(cache=True, nogil=True)
def _starts(data, i, end, word):
    """Does the word `word` stand at `i`, whatever its case?"""
    if i + len(word) > end:
        return False
    for j in range(len(word)):
        if data[i + j] | 0x20 != word[j]:
            return False
    return i + len(word) == end or data[i + len(word)] == 32 or 9 <= data[i + len(word)] <= 13


@njit(cache=True, nogil=True)
def _after_statement(data, i, end):
    quoted = False
    while i < end:
        byte = data[i]
        if quoted and byte == 92:
            i += 1
        elif byte == 39:
            quoted = not quoted
        elif byte == 59 and not quoted:
            return i + 1
        i += 1
    return end


@njit(cache=True, nogil=True)
def _after_rows(data, i, end):
    """Behind the next line that starts with `\\.`; `end + 1` when there is none."""
    while i + 2 < end:
        if (data[i] == 10 or data[i] == 13) and data[i + 1] == 92 and data[i + 2] == 46:
            return i + 3
        i += 1
    return end + 1
