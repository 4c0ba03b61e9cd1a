"""What a byte and a code point are: the lookup tables of `line_stats`."""

from __future__ import annotations

from functools import cache

import numpy as np

WORD, HEX, BASE64, BLANK, SPECIAL = (1 << i for i in range(5))

COUNT_BITS = 21
"""Width of one counter of COUNTED; 2**20 bytes can be added up before any overflows."""

_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGITS = b"0123456789"
_BLANKS = b" \t\n\r\v\f"
_CODE_POINTS = 0x200000  # what four bytes of UTF-8 can spell, valid or not: lookups need no bounds check


def _table(*members: tuple[bytes, int]) -> np.ndarray:
    table = np.zeros(256, np.int64)
    for characters, flag in members:
        table[list(characters)] |= flag
    table.flags.writeable = False
    return table


FLAGS = _table(
    (_LETTERS + _DIGITS + b"_", WORD),
    (_DIGITS + b"abcdefABCDEF", HEX),
    (_LETTERS + _DIGITS + b"+/\n=", BASE64),
    (_BLANKS, BLANK),
    (b"\n\r\\x" + bytes(range(0x80, 0x100)), SPECIAL),  # needs more than counting
)
"""int64[256] of flags."""

COUNTED = _table(
    (_LETTERS, 1),
    (_LETTERS + _DIGITS, 1 << COUNT_BITS),
    (_BLANKS, 1 << 2 * COUNT_BITS),
)
"""int64[256]: is a byte an ASCII letter, alphanumeric, blank? Three counters in one number: one addition."""


@cache
def unicode_letters() -> tuple[np.ndarray, np.ndarray]:
    """Two bitmaps over all code points, 256 KiB each: `str.isalpha` and `str.isalnum`, least bit first."""
    tables = []
    for predicate in (str.isalpha, str.isalnum):
        member = np.zeros(_CODE_POINTS, bool)
        member[:0x110000] = [predicate(chr(code)) for code in range(0x110000)]
        bits = np.packbits(member, bitorder="little")
        bits.flags.writeable = False
        tables.append(bits)
    return tables[0], tables[1]
