"""How much of a document repeats itself: duplicate lines, duplicate word 5- to 10-grams, top 2- to 4-grams."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numba import njit

from pipelines.kernels.text import text_buffers
from pipelines.kernels.words import (
    BLANK,
    BREAK,
    LINE_END,
    WIDE,
    WordStats,
    after_character,
    is_hexadecimal,
    is_replacement,
    is_word,
    tables,
    word_at,
)

TOP = (2, 3, 4)
"""Lengths, in words, of the n-grams of which the most frequent one counts."""

DUPLICATE = (5, 6, 7, 8, 9, 10)
"""Lengths, in words, of the n-grams of which every repeated one counts."""

MAX_WORDS = 1 << 18
"""Only so many words and so many lines of a document are compared: about 1.8 MB of code, in 20 MB of tables."""

SHORT_LINE = 2
"""Lines of so few characters beside white space (brackets) are not called duplicates."""

_MAX_PROBES = 64
_EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
_K = np.uint64(0x9E3779B97F4A7C15)
_W = np.uint64(0xC2B2AE3D27D4EB4F)  # sets a word of one letter apart from a mark
_1 = np.uint64(1)  # a NUL counts too
_29 = np.uint64(29)
_32 = np.uint64(32)
_COLUMNS = 4 + 4 + len(TOP) + len(DUPLICATE)


@dataclass(frozen=True, slots=True)
class RepetitionStats:
    """Counts per document, int64[n], or int64[n, k] where a count is per length of n-gram; 0 for null.

    The definitions are RedPajama's (after Gopher, arXiv 2112.11446, Table A1), which OpenCoder applies to code:

    - *top* n-gram: of the n-grams that occur most often, and at least twice, the one that comes first;
      its characters times its occurrences. Occurrences may overlap.
    - *duplicate* n-grams: the characters of all words that lie in some n-gram occurring at least twice, each
      word once.

    A word is as in `WordStats`, compared without ASCII case. Two lines are equal when their words and other
    characters are, whatever the white space (and ASCII case): OpenCoder's duplicate lines.
    """

    words: WordStats  # of the whole document
    lines: np.ndarray  # not blank
    duplicate_lines: np.ndarray  # of those, lines whose like occurs again; all copies count
    compared_lines: np.ndarray  # the first MAX_WORDS of `lines`
    compared: np.ndarray  # code points of the first MAX_WORDS words: what the next two are shares of
    top: np.ndarray  # code points, by length as in TOP
    duplicate: np.ndarray  # code points, by length as in DUPLICATE


def repetition_stats(text: pa.Array | pa.ChunkedArray, wanted: np.ndarray | None = None) -> RepetitionStats:
    """Repetition in a (large_)string column; rows outside `wanted` (bool[n]) are not read and count 0.

    Linear in the text whatever it is: an n-gram can occur twice only where both (n-1)-grams in it do, so each
    length looks only at what the one before left, and a crowded hash table gives up on a word, not on time.
    """
    parts = [np.zeros((0, _COLUMNS), np.int64)]
    start = 0
    for view in text_buffers(text):
        rows = np.ones(len(view), bool) if wanted is None else wanted[start : start + len(view)]
        out = np.zeros((len(view), _COLUMNS), np.int64)
        _repetition(view.offsets, view.data, rows, *tables(), out)
        parts.append(out)
        start += len(view)
    table = np.concatenate(parts)
    columns = np.ascontiguousarray(table[:, :8].T)
    lines, duplicate_lines, compared_lines, compared = columns[4:]
    top, duplicate = table[:, 8 : 8 + len(TOP)], table[:, 8 + len(TOP) :]
    words = WordStats(*columns[:4])
    return RepetitionStats(words, lines, duplicate_lines, compared_lines, compared, top, duplicate)


@njit(cache=True, nogil=True)
def _repetition(offsets, data, wanted, folded, alphanumeric, out):
    # Room for the largest document, at most MAX_WORDS: a word takes two bytes at least, with what separates it.
    longest = 0
    for document in range(len(offsets) - 1):
        if wanted[document]:
            longest = max(longest, offsets[document + 1] - offsets[document])
    room = min(MAX_WORDS, longest // 2 + 1)
    size = 2
    while size < 2 * room:
        size *= 2
    hashes = np.empty(room, np.uint64)
    lengths = np.empty(room, np.int64)
    lines = np.empty(room, np.uint64)
    keys = np.empty(size, np.uint64)
    counts = np.empty(size, np.int32)
    ids = np.empty(room, np.int32)
    places = np.empty(room, np.int32)
    for document in range(len(offsets) - 1):
        if not wanted[document]:
            continue
        row = out[document]
        start, end = offsets[document], offsets[document + 1]
        words, line_hashes, short = _scan(data, start, end, folded, alphanumeric, hashes, lengths, lines, row)
        _assign(lines, line_hashes, keys, counts, ids)
        duplicates = 0
        for i in range(line_hashes):
            duplicates += ids[i] >= 0 and counts[ids[i]] > 1
        row[5], row[6] = duplicates, line_hashes + short
        compared = 0
        for i in range(words):
            compared += lengths[i]
        row[7] = compared
        _assign(hashes, words, keys, counts, ids)
        left = _keep_repeated(ids, counts, places, words, True)
        for n in range(2, 11):
            # The n-grams whose two (n-1)-grams repeat, as pairs of those.
            pairs = _assign_pairs(ids, places, left, keys, counts)
            if pairs == 0:
                break
            most = first = 0
            if n <= 4:
                for j in range(pairs):
                    if ids[j] >= 0 and counts[ids[j]] > max(most, 1):
                        most, first = counts[ids[j]], places[j]
            left = _keep_repeated(ids, counts, places, pairs, False)
            if n <= 4:
                characters = 0
                for i in range(first, first + n if most else first):
                    characters += lengths[i]
                row[6 + n] = characters * most
            else:
                covered = characters = 0
                for j in range(left):
                    for i in range(max(covered, places[j]), places[j] + n):
                        characters += lengths[i]
                    covered = places[j] + n
                row[6 + n] = characters


@njit(cache=True, nogil=True)
def _scan(data, i, end, folded, alphanumeric, hashes, lengths, lines, row):
    """Hashes of words and lines, at most as many as there is room for; counts of words into `row`.

    Returns (words stored, lines stored, lines too short to store).
    """
    words = characters = hexadecimal = replacements = stored = 0
    line_count = line_stored = short = 0
    room = len(hashes)
    line = np.uint64(0)
    line_characters = 0
    while True:
        kind = folded[data[i]] if i < end else LINE_END
        if kind > WIDE or (kind == WIDE and is_word(data, i, end, alphanumeric)):
            start = i
            i, length, h = word_at(data, i, end, folded, alphanumeric)
            words += 1
            characters += length
            if data[start] == 48 and is_hexadecimal(data, start, i):
                hexadecimal += length
            if stored < room:
                hashes[stored], lengths[stored] = h, length
                stored += 1
            line = (line + h * _W) * _K
            line_characters += length
        elif kind == BLANK:
            i += 1
        elif kind == BREAK:
            line = (line + data[i] + _1) * _K
            line_characters += 1
            i += 1
        elif kind == WIDE:
            replacements += is_replacement(data, i, end)
            stop = after_character(data, i, end)
            while i < stop:
                line = (line + data[i] + _1) * _K
                i += 1
            line_characters += 1
        else:
            if line_characters:
                line_count += 1
                if line_stored + short < room:
                    if line_characters <= SHORT_LINE:
                        short += 1
                    else:
                        lines[line_stored] = line
                        line_stored += 1
            line = np.uint64(0)
            line_characters = 0
            if i >= end:
                break
            i += 1
    row[0], row[1], row[2], row[3], row[4] = words, characters, hexadecimal, replacements, line_count
    return stored, line_stored, short


@njit(cache=True, nogil=True)
def _keep_repeated(ids, counts, places, count, in_order):
    """Move the ids that occur more than once to the front, with their places (`in_order`: 0, 1, ...): how many."""
    left = 0
    for j in range(count):
        # Every one is written and only repeated ones advance: a branch would be mispredicted every other time.
        id = ids[j]
        places[left] = j if in_order else places[j]
        ids[left] = id
        left += (id >= 0) & (counts[id] > 1)
    return left


@njit(cache=True, nogil=True)
def _assign(values, count, keys, counts, ids):
    """Give equal `values[:count]` equal `ids`, and count the values of an id into `counts`.

    An id is the place of the value in an open hash table over `keys`. It is -1 for a value that found no place
    within _MAX_PROBES, which passes for one that occurs once.
    """
    mask, shift = _clear(count, keys, counts)
    for i in range(count):
        # Some word's hash may be the mark of a free place.
        value = values[i] if values[i] != _EMPTY else np.uint64(0)
        ids[i] = _place(value, mask, shift, keys, counts)


@njit(cache=True, nogil=True)
def _assign_pairs(ids, places, count, keys, counts):
    """The same for pairs of ids whose `places` follow each other: how many, their ids and places at the front."""
    mask, shift = _clear(count, keys, counts)
    if count == 0:
        return 0
    pairs = 0
    first, place = ids[0], places[0]
    for j in range(1, count):
        second, following = ids[j], places[j]
        if following == place + 1:
            value = (np.uint64(first) << _32) | np.uint64(second)
            places[pairs] = place
            ids[pairs] = _place(value, mask, shift, keys, counts)
            pairs += 1
        first, place = second, following
    return pairs


@njit(inline="always", cache=True, nogil=True)
def _clear(count, keys, counts):
    """Empty the smallest table that `count` values fill to the half at most: (mask, shift) of its places."""
    bits = np.uint64(1)
    while np.int64(1) << bits < 2 * count:
        bits += np.uint64(1)
    size = np.int64(1) << bits
    for slot in range(size):
        keys[slot], counts[slot] = _EMPTY, 0
    return size - 1, np.uint64(64) - bits


@njit(inline="always", cache=True, nogil=True)
def _place(value, mask, shift, keys, counts):
    slot = np.int64(((value ^ (value >> _29)) * _K) >> shift)
    probes = 0
    while keys[slot] != value and keys[slot] != _EMPTY and probes < _MAX_PROBES:
        slot = (slot + 1) & mask
        probes += 1
    if probes == _MAX_PROBES:
        return np.int64(-1)
    keys[slot] = value
    counts[slot] += 1
    return slot
