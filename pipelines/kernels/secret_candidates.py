"""Where a text may hold a secret or an address: one pass that looks at three bytes at a time.

A table over all trigrams (bytes folded to 64 classes) says which of them can be part of a candidate. Only there is
the neighbourhood examined, never further than a few hundred bytes, so that the worst text costs a bounded multiple
of an ordinary one. What is found here are *candidates*: their shape is right, what they mean is judged later.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numba import njit

from pipelines.kernels.assigned_values import assigned, value_at
from pipelines.kernels.secret_shapes import (
    ANY_CASE,
    AT,
    BEARER,
    CLASSES,
    COLON,
    DIGIT,
    DOMAIN,
    DOT,
    EMAIL,
    FIRST_LITERAL,
    FLAGS,
    GROUPS,
    HEX,
    IPV4,
    IPV6,
    LETTER,
    LITERAL_BYTES,
    LITERALS,
    LOCAL,
    PEM,
    TOKEN,
    TRIGRAMS,
    URL_PASSWORD,
    WORD,
)
from pipelines.kernels.text import TextBuffers, text_buffers


@dataclass(frozen=True, slots=True)
class Candidates:
    """Of one chunk of a column: whose they are, what, and where in the document; by document, then as found."""

    view: TextBuffers
    first: int  # the chunk's first document is the column's number `first`
    document: np.ndarray  # in the chunk
    kind: np.ndarray
    begin: np.ndarray  # bytes of the document
    end: np.ndarray
    overflow: np.ndarray  # bool[n]: more than `limit` candidates; the rest of that document was not looked at


def candidates(text: pa.ChunkedArray, bare: np.ndarray, limit: int) -> Iterator[Candidates]:
    """Candidates of a large_string column, chunk by chunk.

    `bare` (bool[n]): documents in which values stand without quotes (YAML, .env). At most `limit` a document.
    """
    first = 0
    for view in text_buffers(text):
        overflow = np.zeros(len(view), bool)
        found, document = [], 0
        while document < len(view):
            out = np.empty((max(limit + 1, 1 << 12), 4), np.int64)
            document, count = _scan(
                view.offsets,
                view.data,
                bare[first : first + len(view)],
                document,
                limit,
                TRIGRAMS,
                CLASSES,
                FLAGS,
                GROUPS,
                LITERALS,
                LITERAL_BYTES,
                out,
                overflow,
            )
            found.append(out[:count])
        rows = np.concatenate(found) if found else np.zeros((0, 4), np.int64)
        document_of, kind, begin, end = rows.T
        yield Candidates(view, first, document_of, kind, begin, end, overflow)
        first += len(view)


@njit(cache=True, nogil=True)
def _scan(
    offsets, data, bare, document, limit, table, classes, flags, groups, literals, literal_bytes, out, overflow
):  # fmt: skip
    """Fill `out` with (document, kind, begin, end) -> (document to go on with, rows written)."""
    count = 0
    while document < len(offsets) - 1 and count + limit < len(out):
        start, end = offsets[document], offsets[document + 1]
        code, own = 0, count
        for i in range(start, end):
            code = (code << 6 | classes[data[i]]) & 0x3FFFF
            group = table[code]
            if group == 0:
                continue
            kind = b = e = -1
            if group == AT:
                kind, b, e = _at(data, i, start, end, flags)
            elif group == DOT:
                b, e = _ipv4(data, i - 1, start, end, flags)
                kind = IPV4
            elif group == COLON:
                b, e = _ipv6(data, i, start, end, flags)
                kind = IPV6
            else:
                for row in range(groups[group - FIRST_LITERAL], groups[group - FIRST_LITERAL + 1]):
                    kind, b, e = _literal(
                        data, i, start, end, bare[document], flags, literals[row], literal_bytes
                    )
                    if b >= 0:
                        break
            if b >= 0:
                if count - own >= limit:
                    overflow[document] = True
                    break
                row_out = out[count]
                row_out[0], row_out[1], row_out[2], row_out[3] = document, kind, b - start, e - start
                count += 1
        document += 1
    return document, count


@njit(cache=True, nogil=True)
def _at(data, i, start, end, flags):
    """Around the "@" at `i`: an e-mail address, or the password of a URL."""
    e = i + 1
    while e < end and e - i < 256 and flags[data[e]] & DOMAIN:
        e += 1
    while e > i + 1 and not flags[data[e - 1]] & (LETTER | DIGIT):
        e -= 1
    if e == i + 1:
        return -1, -1, -1
    # scheme://user:password@host: neither part has a slash, a blank or a quote.
    colon, j = -1, i - 1
    while j >= start and i - j < 200:
        byte = data[j]
        if byte == 47:
            slashes = j - 2 >= start and data[j - 1] == 47 and data[j - 2] == 58
            if slashes and colon > j + 1 and colon + 1 < i:
                return URL_PASSWORD, colon + 1, i
            break
        if byte == 58:
            colon = j
        elif byte <= 32 or byte == 34 or byte == 39 or byte == 60 or byte == 62 or byte == 96 or byte == 64:
            break
        j -= 1
    last = e
    while last > i + 1 and flags[data[last - 1]] & LETTER:
        last -= 1
    if data[last - 1] != 46 or last - 1 == i + 1 or e - last < 2:
        return -1, -1, -1
    b = i
    while b > start and i - b < 65 and flags[data[b - 1]] & LOCAL:
        b -= 1
    if b > start and data[b - 1] == 92:
        # The escape of a string, "\nme@host.org" or "\u003cme@host.org", is no part of the name.
        b += 5 if data[b] == 117 else 3 if data[b] == 120 else 1
    while b < i and not flags[data[b]] & (LETTER | DIGIT):
        b += 1
    return (EMAIL, b, e) if 0 < i - b <= 64 else (-1, -1, -1)


@njit(cache=True, nogil=True)
def _ipv4(data, dot, start, end, flags):
    """The address whose first dot is at `dot`, if it is on the public internet; no part of a longer number."""
    b = dot
    while b > start and dot - b < 4 and flags[data[b - 1]] & DIGIT:
        b -= 1
    if dot - b > 3 or (b > start and (flags[data[b - 1]] & WORD or data[b - 1] == 46)):
        return -1, -1
    i, octets = b, 0
    value = 0
    while octets < 4:
        first, number = i, 0
        while i < end and i - first < 4 and flags[data[i]] & DIGIT:
            number = number * 10 + data[i] - 48
            i += 1
        if i == first or i - first > 3 or number > 255 or (data[first] == 48 and i - first > 1):
            return -1, -1
        value = value << 8 | number
        octets += 1
        if octets < 4:
            if i >= end or data[i] != 46:
                return -1, -1
            i += 1
    if i < end and (flags[data[i]] & WORD or (data[i] == 46 and i + 1 < end and flags[data[i + 1]] & DIGIT)):
        return -1, -1
    a, two, three = value >> 24, value >> 16, value >> 8
    if a == 0 or a == 10 or a == 127 or a >= 224 or (two == 0xA9FE) or (two >> 4 == 0xAC1) or two == 0xC0A8:
        return -1, -1
    if two >> 6 == 0x6440 >> 6 or two >> 1 == 0xC612 >> 1:  # carrier-grade NAT, benchmarks
        return -1, -1
    if three == 0xC00002 or three == 0xC63364 or three == 0xCB0071 or three == 0xC00000:  # documentation
        return -1, -1
    return b, i


@njit(cache=True, nogil=True)
def _ipv6(data, i, start, end, flags):
    """The global unicast address (2000::/3) whose first group ends before the colon at `i`."""
    b = i - 4
    if b < start or (data[b] != 50 and data[b] != 51):
        return -1, -1
    for j in range(b, i):
        if not flags[data[j]] & HEX:
            return -1, -1
    if b > start and (flags[data[b - 1]] & WORD or data[b - 1] == 58 or data[b - 1] == 46):
        return -1, -1
    e, colons = i, 0
    while e < end and e - b < 46 and (flags[data[e]] & HEX or data[e] == 58):
        colons += data[e] == 58
        e += 1
    if e - b > 40 or colons < 2 or (e < end and flags[data[e]] & WORD):
        return -1, -1
    return b, e


@njit(cache=True, nogil=True)
def _literal(data, i, start, end, bare, flags, row, literal_bytes):
    """The literal of `row` whose trigram ends at `i`, with what must follow it."""
    length, anchor, kind = row[1] - row[0], row[2], row[3]
    b = i - 2 - anchor
    e = b + length
    if b < start or e > end:
        return -1, -1, -1
    any_case = kind & ANY_CASE
    for j in range(length):
        byte, wanted = data[b + j], literal_bytes[row[0] + j]
        if byte != wanted and not (any_case and 65 <= byte <= 90 and byte | 32 == wanted):
            return -1, -1, -1
    if not any_case:
        if kind == PEM:
            return PEM, b, e
        stop = e
        while stop < end and stop - e < row[4] and flags[data[stop]] & TOKEN:
            stop += 1
        return (kind, b, stop) if stop - e == row[4] else (-1, -1, -1)
    kind &= ANY_CASE - 1
    if kind == BEARER:
        return value_at(data, e, end, flags, kind, 0)
    # "keyboard", "tokenizer", "passive" are other words; "passwords" is not, nor is "keyPair".
    if length <= 5 and e < end and data[e] >= 97 and data[e] <= 122:
        return -1, -1, -1
    return assigned(data, e, end, bare, flags, kind)
