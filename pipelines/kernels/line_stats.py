"""Characters, lines and encoded data of every document in one pass over the Arrow buffer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numba import njit

from pipelines.kernels.characters import (
    BASE64,
    BLANK,
    COUNT_BITS,
    COUNTED,
    FLAGS,
    HEX,
    SPECIAL,
    WORD,
    unicode_letters,
)
from pipelines.kernels.text import text_buffers

_BASE64_RUN = 64
_HEX_ITEMS = 8
_UNICODE_ITEMS = 8
_COLUMNS = 9
_COUNT_MASK = (1 << COUNT_BITS) - 1
_BLOCK = 1 << (COUNT_BITS - 1)


@dataclass(frozen=True, slots=True)
class LineStats:
    """Counts per document, int64[n] each; all 0 for a null or empty document.

    A *character* is a Unicode code point. A *line* ends at "\\n", "\\r\\n" or "\\r", which are not part of
    it; what follows the last end is a line only if it is not empty. *Letters* and *alphanumerics* are what
    Python's `str.isalpha` and `str.isalnum` say, for every script: a file with Chinese comments is text.
    *Encoded* are the matches of the three expressions of StarCoder2 (section 2.1), with ASCII classes:

        [a-zA-Z0-9+/\\n=]{64,}
        (?:\\b(?:0x|\\\\x)?[0-9a-fA-F]{2}(?:,|\\b\\s*)){8,}
        (?:\\\\u[0-9a-fA-F]{4}){8,}
    """

    bytes: np.ndarray
    characters: np.ndarray
    lines: np.ndarray
    longest_line: np.ndarray  # characters
    line_characters: np.ndarray  # characters in lines, that is without the line ends
    letters: np.ndarray
    alphanumerics: np.ndarray
    blanks: np.ndarray  # ASCII white space
    encoded: np.ndarray  # characters in matches, summed over the three expressions
    longest_encoded: np.ndarray  # characters of the longest match

    @property
    def mean_line(self) -> np.ndarray:
        """Characters per line, float64[n]; 0 where there is no line."""
        return self.line_characters / np.maximum(self.lines, 1)

    def share(self, part: np.ndarray) -> np.ndarray:
        """`part` over all characters, float64[n]; 0 where there are none."""
        return part / np.maximum(self.characters, 1)


def line_stats(text: pa.Array | pa.ChunkedArray) -> LineStats:
    """Statistics of a (large_)string column in one pass, without a copy of the text."""
    letters, alphanumerics = unicode_letters()
    counts, sizes = [np.zeros((0, _COLUMNS), np.int64)], [np.zeros(0, np.int64)]
    for view in text_buffers(text):
        out = np.empty((len(view), _COLUMNS), np.int64)
        _line_stats(view.offsets, view.data, FLAGS, COUNTED, letters, alphanumerics, out)
        counts.append(out)
        sizes.append(np.diff(view.offsets))
    columns = np.ascontiguousarray(np.concatenate(counts).T)
    return LineStats(np.concatenate(sizes), *columns)


@njit(cache=True, nogil=True)
def _line_stats(offsets, data, flag_table, count_table, unicode_alpha, unicode_alnum, out):
    """Few operations and no unpredictable branch for a common byte; the rest is behind SPECIAL."""
    for document in range(len(offsets) - 1):
        start, end = offsets[document], offsets[document + 1]
        letters = alphanumerics = blanks = continuations = 0
        lines = longest = content = encoded = longest_encoded = 0
        line_start, line_continuations = start, continuations
        not_base64 = start - 1  # the last byte that is not
        recent = 0  # WORD and HEX of the bytes so far, two bits each, the newest lowest
        hex_end = unicode_end = start  # where the last run of encoded data ended
        block = start
        while block < end:
            block_end = min(end, block + _BLOCK)
            counted = 0
            for i in range(block, block_end):
                byte = data[i]
                flags = flag_table[byte]
                counted += count_table[byte]
                recent = (recent << 2) | (flags & (WORD | HEX))
                hex_start = -1
                if flags & SPECIAL:
                    if byte >= 0x80:
                        if byte < 0xC0:
                            continuations += 1
                        else:
                            code = _code_point(data, i, end)
                            letters += (unicode_alpha[code >> 3] >> (code & 7)) & 1
                            alphanumerics += (unicode_alnum[code >> 3] >> (code & 7)) & 1
                    elif byte == 10 or byte == 13:
                        if byte == 13 or i == start or data[i - 1] != 13:
                            line = i - line_start - (continuations - line_continuations)
                            lines += 1
                            content += line
                            longest = max(longest, line)
                        line_start, line_continuations = i + 1, continuations
                    elif byte == 120:
                        # 0x at the start of a word, or \x behind one: where the expression has its boundary.
                        behind_word = (recent >> 4) & WORD
                        if i > start and (
                            (data[i - 1] == 48 and not behind_word) or (data[i - 1] == 92 and behind_word)
                        ):
                            hex_start = i - 1
                    elif i >= unicode_end:
                        unicode_end = _unicode_run(data, i, end, flag_table)
                        if unicode_end - i >= 6 * _UNICODE_ITEMS:
                            encoded += unicode_end - i
                            longest_encoded = max(longest_encoded, unicode_end - i)
                not_base64 = not_base64 if flags & BASE64 else i
                if i - not_base64 >= _BASE64_RUN:
                    encoded += _BASE64_RUN if i - not_base64 == _BASE64_RUN else 1
                    longest_encoded = max(longest_encoded, i - not_base64)
                if (recent & 0b01_11_11_01) == 0b00_11_11_00:  # a word of two hexadecimal digits just ended
                    hex_start = i - 2
                if hex_start >= hex_end:
                    items, hex_end = _hexadecimal_run(data, hex_start, end, flag_table)
                    if items >= _HEX_ITEMS:
                        encoded += hex_end - hex_start
                        longest_encoded = max(longest_encoded, hex_end - hex_start)
            letters += counted & _COUNT_MASK
            alphanumerics += (counted >> COUNT_BITS) & _COUNT_MASK
            blanks += counted >> (2 * COUNT_BITS)
            block = block_end
        if end > start and data[end - 1] != 10 and data[end - 1] != 13:
            line = end - line_start - (continuations - line_continuations)
            lines += 1
            content += line
            longest = max(longest, line)
        row = out[document]
        row[0], row[1], row[2], row[3] = end - start - continuations, lines, longest, content
        row[4], row[5], row[6] = letters, alphanumerics, blanks
        row[7], row[8] = encoded, longest_encoded


@njit(cache=True, nogil=True)
def _code_point(data, i, end):
    """The code point whose first byte is at `i`. Invalid UTF-8 gives some number within the tables."""
    byte = np.int64(data[i])
    length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
    code = byte & (0xFF >> (length + 1))
    for j in range(i + 1, i + length):
        code = (code << 6) | (np.int64(data[j]) & 0x3F if j < end else 0)
    return code


@njit(cache=True, nogil=True)
def _hexadecimal_run(data, first, end, flags):
    """Items `(0x|\\x)?HH` from `first`, which is known to be at a word boundary -> (items, end of the last).

    Follows the regular expression: a comma ends an item and a word must follow at once; otherwise white space
    may follow, and then a word, or directly `\\x`.
    """
    items = 0
    resume = position = first
    while True:
        if (
            position + 1 < end
            and data[position + 1] == 120
            and (data[position] == 48 or data[position] == 92)
        ):
            position += 2
        if position + 1 >= end or not (flags[data[position]] & HEX and flags[data[position + 1]] & HEX):
            break
        position += 2
        if position < end and flags[data[position]] & WORD:
            break
        items += 1
        escape_may_follow = True
        if position < end and data[position] == 44:
            position += 1
            escape_may_follow = False
        else:
            while position < end and flags[data[position]] & BLANK:
                position += 1
                escape_may_follow = False
        resume = position
        if position >= end:
            break
        if not (flags[data[position]] & WORD or (escape_may_follow and data[position] == 92)):
            break
    return items, resume


@njit(cache=True, nogil=True)
def _unicode_run(data, first, end, flags):
    """End of the run of `\\uXXXX` items that starts at `first`; `first` itself if there is none."""
    position = first
    while position + 5 < end and data[position] == 92 and data[position + 1] == 117:
        for j in range(position + 2, position + 6):
            if not flags[data[j]] & HEX:
                return position
        position += 6
    return position
