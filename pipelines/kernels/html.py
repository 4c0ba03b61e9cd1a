"""How much of an HTML file a reader would see."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numba import njit

from pipelines.kernels.text import text_buffers

_SCRIPT = np.frombuffer(b"script", np.uint8)
_STYLE = np.frombuffer(b"style", np.uint8)


def visible_characters(text: pa.Array | pa.ChunkedArray, wanted: np.ndarray | None = None) -> np.ndarray:
    """Characters outside tags, comments, scripts and styles, int64[n]; 0 for null and outside `wanted` (bool[n]).

    A run of white space counts as one character, as a browser shows it, and none at the start: indentation
    must not make a page of bare tags look like prose. Entities count as they are written.
    """
    counts = [np.zeros(0, np.int64)]
    start = 0
    for view in text_buffers(text):
        rows = np.ones(len(view), bool) if wanted is None else wanted[start : start + len(view)]
        out = np.zeros(len(view), np.int64)
        _visible(view.offsets, view.data, rows, _SCRIPT, _STYLE, out)
        counts.append(out)
        start += len(view)
    return np.concatenate(counts)


@njit(cache=True, nogil=True)
def _visible(offsets, data, wanted, script, style, out):
    for document in range(len(offsets) - 1):
        if not wanted[document]:
            continue
        i, end = offsets[document], offsets[document + 1]
        visible = 0
        after_blank = True
        while i < end:
            byte = data[i]
            if byte == 60 and i + 1 < end and _opens_markup(data[i + 1]):  # <
                if _matches(data, i + 1, end, script):
                    i = _after_element(data, i + 7, end, script)
                elif _matches(data, i + 1, end, style):
                    i = _after_element(data, i + 6, end, style)
                elif i + 3 < end and data[i + 1] == 33 and data[i + 2] == 45 and data[i + 3] == 45:  # <!--
                    i = _after_comment(data, i + 4, end)
                else:
                    i = _after_tag(data, i + 1, end)
                continue
            if byte == 32 or 9 <= byte <= 13:
                if not after_blank:
                    visible += 1
                after_blank = True
            elif (byte & 0xC0) != 0x80:
                visible += 1
                after_blank = False
            i += 1
        out[document] = visible


@njit(cache=True, nogil=True)
def _opens_markup(byte):
    """`<` opens markup before a letter, `/`, `!` or `?`; in `a < b` it is text."""
    return 97 <= (byte | 0x20) <= 122 or byte == 47 or byte == 33 or byte == 63


@njit(cache=True, nogil=True)
def _matches(data, i, end, name):
    """Does the tag name `name` stand at `i`, whatever its case, and end there?"""
    if i + len(name) >= end:
        return False
    for j in range(len(name)):
        if data[i + j] | 0x20 != name[j]:
            return False
    after = data[i + len(name)]
    return after == 62 or after == 47 or after == 32 or 9 <= after <= 13


@njit(cache=True, nogil=True)
def _after_element(data, i, end, name):
    """Behind `</name ...>`, or the end of the document."""
    i = _after_tag(data, i, end)
    while i + 1 < end:
        if data[i] == 60 and data[i + 1] == 47 and _matches(data, i + 2, end, name):
            return _after_tag(data, i, end)
        i += 1
    return end


@njit(cache=True, nogil=True)
def _after_comment(data, i, end):
    while i + 2 < end:
        if data[i] == 45 and data[i + 1] == 45 and data[i + 2] == 62:
            return i + 3
        i += 1
    return end


@njit(cache=True, nogil=True)
def _after_tag(data, i, end):
    while i < end:
        if data[i] == 62:
            return i + 1
        i += 1
    return end
