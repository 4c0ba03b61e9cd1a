"""Words of every document: how many, how long, hexadecimal numbers among them, characters that were lost."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
from numba import njit

from pipelines.kernels.characters import unicode_letters
from pipelines.kernels.text import text_buffers

BREAK, BLANK, LINE_END, WIDE = np.uint8(0), np.uint8(1), np.uint8(2), np.uint8(3)
"""What a byte of `FOLDED` below 4 means: punctuation, white space, the end of a line, part of a wide character."""

_K = np.uint64(0x9E3779B97F4A7C15)


def _folded_bytes() -> np.ndarray:
    table = np.full(256, BREAK, np.uint8)
    for byte in b"0123456789abcdefghijklmnopqrstuvwxyz":
        table[byte] = table[ord(chr(byte).upper())] = byte
    table[list(b" \t\v\f")] = BLANK
    table[list(b"\n\r")] = LINE_END
    table[0x80:] = WIDE
    table.flags.writeable = False
    return table


FOLDED = _folded_bytes()
"""uint8[256]: an ASCII letter's lower case, a digit itself, else what kind of byte it is."""


@dataclass(frozen=True, slots=True)
class WordStats:
    """Counts per document, int64[n] each; 0 for null.

    A *word* is a longest run of what `str.isalnum` accepts, so `snake_case` is two words and `camelCase` one:
    RedPajama's words (lower-cased, punctuation removed), on which OpenCoder's thresholds are set. A
    *hexadecimal* word is `0x` and at least one hexadecimal digit, and nothing else.
    """

    words: np.ndarray
    characters: np.ndarray  # code points in words
    hexadecimal: np.ndarray  # code points in hexadecimal words
    replacements: np.ndarray  # U+FFFD: what a decoder leaves where it lost a character

    @property
    def mean_word(self) -> np.ndarray:
        """Code points per word, float64[n]; 0 where there is no word."""
        return self.characters / np.maximum(self.words, 1)


def word_stats(text: pa.Array | pa.ChunkedArray, wanted: np.ndarray | None = None) -> WordStats:
    """Words of a (large_)string column in one pass; rows outside `wanted` (bool[n]) are not read and count 0."""
    parts = [np.zeros((0, 4), np.int64)]
    start = 0
    for view in text_buffers(text):
        rows = np.ones(len(view), bool) if wanted is None else wanted[start : start + len(view)]
        out = np.zeros((len(view), 4), np.int64)
        _word_stats(view.offsets, view.data, rows, *tables(), out)
        parts.append(out)
        start += len(view)
    return WordStats(*np.ascontiguousarray(np.concatenate(parts).T))


@cache
def tables() -> tuple[np.ndarray, np.ndarray]:
    """(FOLDED, bitmap of the alphanumeric code points), as the kernels take them."""
    return FOLDED, unicode_letters()[1]


@njit(cache=True, nogil=True)
def _word_stats(offsets, data, wanted, folded, alphanumeric, out):
    for document in range(len(offsets) - 1):
        if not wanted[document]:
            continue
        i, end = offsets[document], offsets[document + 1]
        words = characters = hexadecimal = replacements = 0
        while i < end:
            kind = folded[data[i]]
            if kind > WIDE or (kind == WIDE and is_word(data, i, end, alphanumeric)):
                start = i
                i, length, _ = word_at(data, i, end, folded, alphanumeric)
                words += 1
                characters += length
                if data[start] == 48 and is_hexadecimal(data, start, i):
                    hexadecimal += length
            else:
                if kind == WIDE:
                    replacements += is_replacement(data, i, end)
                    i = after_character(data, i, end)
                else:
                    i += 1
        out[document, 0], out[document, 1] = words, characters
        out[document, 2], out[document, 3] = hexadecimal, replacements


@njit(inline="always", cache=True, nogil=True)
def word_at(data, i, end, folded, alphanumeric):
    """The word whose first byte is at `i`: (behind it, its code points, its 64-bit hash without ASCII case)."""
    h = np.uint64(0)
    length = 0
    while i < end:
        byte = folded[data[i]]
        if byte > WIDE:
            h = h * _K + byte
            length += 1
            i += 1
        elif byte == WIDE and is_word(data, i, end, alphanumeric):
            stop = after_character(data, i, end)
            while i < stop:
                h = h * _K + data[i]
                i += 1
            length += 1
        else:
            break
    return i, length, h


@njit(cache=True, nogil=True)
def is_word(data, i, end, alphanumeric):
    """Is the wide character that starts at `i` one of a word? False where no character starts."""
    byte = np.int64(data[i])
    if byte < 0xC0:
        return False
    length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
    code = byte & (0xFF >> (length + 1))
    for j in range(i + 1, i + length):
        code = (code << 6) | (np.int64(data[j]) & 0x3F if j < end else 0)
    return (alphanumeric[code >> 3] >> (code & 7)) & 1 == 1


@njit(cache=True, nogil=True)
def after_character(data, i, end):
    """Behind the character that starts at `i`, and any bytes that cannot start one."""
    i += 1
    while i < end and (data[i] & 0xC0) == 0x80:
        i += 1
    return i


@njit(cache=True, nogil=True)
def is_replacement(data, i, end):
    """Is U+FFFD at `i`?"""
    return i + 2 < end and data[i] == 0xEF and data[i + 1] == 0xBF and data[i + 2] == 0xBD


@njit(cache=True, nogil=True)
def is_hexadecimal(data, start, end):
    """Is `data[start:end]`, whose first byte is a zero, 0x and hexadecimal digits?"""
    if end - start < 3 or data[start + 1] | 0x20 != 120:
        return False
    for i in range(start + 2, end):
        byte = data[i] | 0x20
        if not (48 <= data[i] <= 57 or 97 <= byte <= 102):
            return False
    return True
