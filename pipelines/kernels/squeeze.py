"""Text as the search for benchmark leaks compares it: only what survives re-formatting.

Kept: every byte but white space, control characters, quotes, commas, backslash escapes of white space
(`\\n`, `\\r`, `\\t`), other backslashes, and `#`, `/`, `*`. ASCII letters are lower-cased. So a function is
found again when it is re-indented, re-wrapped, run through a formatter (quote style, trailing commas), put
into a comment (`//`, `#`, ` * `), or stored in a JSON string (a notebook, a line of a benchmark's own file).
"""

from __future__ import annotations

import numpy as np
from numba import njit

SQUEEZE_VERSION = 1

SEPARATOR = 0xFF  # never a byte of UTF-8: no match can run across it


def _kept_bytes() -> np.ndarray:
    table = np.arange(256, dtype=np.uint8)
    table[ord("A") : ord("Z") + 1] += 32
    table[:33] = 0
    table[list(b"\x7f\"'`,\\#/*")] = 0
    table[SEPARATOR] = 0
    table.flags.writeable = False
    return table


KEPT = _kept_bytes()
"""uint8[256]: what a byte becomes, 0 for a byte that is dropped."""


def squeeze(text: str) -> bytes:
    """One string squeezed, for needles and tests."""
    data = np.frombuffer(text.encode(), np.uint8)
    offsets = np.array([0, len(data)], np.int64)
    offsets.flags.writeable = False  # as in a TextBuffers, so that one compiled version serves both
    out = np.empty(len(data) + 2, np.uint8)  # a block is full one byte before its end, for the separator
    starts = np.empty(1, np.int64)
    _, _, at = fill_block(offsets, data, 0, 0, out, 0, starts, KEPT)
    return out[: at - 1].tobytes()


@njit(cache=True, nogil=True)
def fill_block(offsets, data, document, position, out, at, starts, kept):
    """Squeeze documents one after the other into `out[at:]`, each followed by SEPARATOR, until it is full.

    `position` is how far into `document` an earlier block came. `starts[document]` becomes where the document
    starts in `out`; one that goes on from an earlier block keeps what the caller wrote. Returns (document,
    position, at) to go on with; done when document is n.
    """
    limit = len(out) - 1
    while document < len(offsets) - 1:
        if position == 0:
            starts[document] = at
        i, end = offsets[document] + position, offsets[document + 1]
        while i < end and at < limit:
            stop = min(end, i + limit - at)
            # Every byte is written and only kept ones advance: no branch to mispredict on blanks and words.
            while i < stop:
                byte = data[i]
                value = kept[byte]
                out[at] = value
                at += value != 0
                i += 1
                if byte == 92:
                    i = _after_escape(data, i, end)
        if at >= limit:
            return document, i - offsets[document], at
        out[at] = 0xFF
        at += 1
        document += 1
        position = 0
    return document, 0, at


@njit(cache=True, nogil=True)
def _after_escape(data, i, end):
    """Behind the escape whose first backslash is before `i`: more backslashes, and n, r or t."""
    while i < end and data[i] == 92:
        i += 1
    if i < end and (data[i] == 110 or data[i] == 114 or data[i] == 116):
        i += 1
    return i


@njit(cache=True, nogil=True)
def original_span(data, start, end, first, last, kept):
    """Where in `data[start:end]` the kept bytes number `first` to `last` (inclusive) lie: (begin, end)."""
    count = 0
    begin = i = start
    while i < end:
        byte = data[i]
        if kept[byte] != 0:
            if count == first:
                begin = i
            if count == last:
                return begin, i + 1
            count += 1
        i += 1
        if byte == 92:
            i = _after_escape(data, i, end)
    return begin, end
