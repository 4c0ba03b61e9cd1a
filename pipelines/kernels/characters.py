"""What a byte and a code point are: the lookup tables of the text kernels."""

from __future__ import annotations

from functools import cache

import numpy as np

LETTER, ALPHANUMERIC, BASE64, HEX, WORD, BLANK = (np.uint8(1 << i) for i in range(6))

_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGITS = b"0123456789"
_CODE_POINTS = 0x200000  # what four bytes of UTF-8 can spell, valid or not: lookups need no bounds check


def _byte_classes() -> np.ndarray:
    table = np.zeros(256, np.uint8)
    for members, flag in (
        (_LETTERS, LETTER),
        (_LETTERS + _DIGITS, ALPHANUMERIC),
        (_LETTERS + _DIGITS + b"+/\n=", BASE64),
        (_DIGITS + b"abcdefABCDEF", HEX),
        (_LETTERS + _DIGITS + b"_", WORD),
        (b" \t\n\r\v\f", BLANK),
    ):
        table[list(members)] |= flag
    table.flags.writeable = False
    return table


BYTE_CLASSES = _byte_classes()
"""uint8[256] of flags for ASCII bytes; bytes of non-ASCII characters have none."""


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
