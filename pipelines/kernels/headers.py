"""The start of a file, where its licence is: does it speak of one, in which words, and which comment says so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numba import njit

from pipelines.kernels.text import TextBuffers, text_buffers

# How a language writes comments; a language may have several of these.
SLASH, HASH, DASH, SEMICOLON, PERCENT, MARKUP, PAREN, HASKELL, DASH_BLOCK = (1 << i for i in range(9))

_BLOCKS = 6  # comments looked at before the header must have begun
_LONGEST_HEADER = 16 << 10  # bytes: a comment that does not end by then is not taken off


def _words(*words: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(bytes of all words, where each ends, the first word that starts with a byte or -1; sorted)."""
    ordered = sorted(words)
    firsts = np.full(256, -1, np.int64)
    for i in range(len(ordered) - 1, -1, -1):
        firsts[ordered[i][0]] = i
    ends = np.cumsum([0, *map(len, ordered)])
    return np.frombuffer(b"".join(ordered), np.uint8), ends, firsts


# Without one of these no licence is named, so that nothing more has to be looked at.
_LEGAL = _words(
    b"licen",
    b"permi",
    b"redistrib",
    b"public domain",
    b"gpl",
    b"disclaims",
    b"as perl",
    b"cc0",
    b"copyright notice in",
)
# What a comment says that is there for lawyers only. "License" alone is also what licence managers talk about.
_HEADER = _words(
    b"copyright",
    b"(c) 1",
    b"(c) 2",
    b"spdx-license",
    b"licensed",
    b"mit license",
    b"bsd license",
    b"public license",
    b"permission is hereby",
    b"permission to use",
    b"redistribution and use",
    b"public domain",
    b"all rights reserved",
)
# Comments that an interpreter reads, and only at the top: Python and Ruby, Docker.
_MAGIC = _words(b"coding:", b"coding=", b"frozen_string_literal:", b"syntax=", b"escape=")


@dataclass(frozen=True, slots=True)
class Headers:
    """Per document: whether its head may name a licence, and its leading licence or copyright comment.

    `begin` and `end` are bytes of the document, int32; `end` covers the blank lines behind. 0, 0 where there is
    none.
    """

    legal: np.ndarray
    begin: np.ndarray
    end: np.ndarray


def headers(text: pa.ChunkedArray, styles: np.ndarray, head_bytes: int) -> Headers:
    """Scan the first `head_bytes` of each document of a large_string column.

    `styles` (int64[n]) are the comment styles of each document's language, 0 when unknown. Before the comment
    there may be a shebang, an encoding, `<?php`, an XML declaration, or comments that are no header.
    """
    n = len(text)
    legal, begin, end = np.zeros(n, bool), np.zeros(n, np.int32), np.zeros(n, np.int32)
    first = 0
    for view in text_buffers(text):
        part = slice(first, first + len(view))
        _scan(
            view.offsets,
            view.data,
            styles[part],
            head_bytes,
            *_LEGAL,
            *_HEADER,
            *_MAGIC,
            legal[part],
            begin[part],
            end[part],
        )
        first += len(view)
    return Headers(legal, begin, end)


def head_words(view: TextBuffers, documents: np.ndarray, head_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    """(words, starts): the heads of some documents as lower-case words with one space before and after each.

    A word is ASCII letters and digits, with a "+" that follows a digit ("GPLv2+"); everything else, comment
    leaders too, is a gap. Head i is `words[starts[i]:starts[i + 1]]`, and starts with a byte that no word has.
    """
    sizes = np.minimum(np.diff(view.offsets)[documents], head_bytes)
    words = np.empty(int(sizes.sum()) + 3 * len(documents), np.uint8)
    starts = np.zeros(len(documents) + 1, np.int64)
    _head_words(view.offsets, view.data, documents, head_bytes, words, starts)
    return words[: starts[-1]], starts


@njit(cache=True, nogil=True)
def _lower(byte):
    return byte | 32 if 65 <= byte <= 90 else byte


@njit(cache=True, nogil=True)
def _has_word(data, start, end, words, word_ends, firsts):
    """Whether `data[start:end]` has one of the words, whatever the case."""
    for i in range(start, end):
        word = firsts[_lower(data[i])]
        if word < 0:
            continue
        first = words[word_ends[word]]
        while word < len(word_ends) - 1 and words[word_ends[word]] == first:
            a, b = word_ends[word], word_ends[word + 1]
            if i + b - a <= end:
                j = a + 1
                while j < b and _lower(data[i + j - a]) == words[j]:
                    j += 1
                if j == b:
                    return True
            word += 1
    return False


@njit(cache=True, nogil=True)
def _scan(
    offsets, data, styles, head_bytes, legal_words, legal_ends, legal_firsts,
    header_words, header_ends, header_firsts, magic_words, magic_ends, magic_firsts, legal, begin, end,
):  # fmt: skip
    for document in range(len(offsets) - 1):
        start, stop = offsets[document], offsets[document + 1]
        head = min(stop, start + head_bytes)
        legal[document] = _has_word(data, start, head, legal_words, legal_ends, legal_firsts)
        if styles[document] == 0:
            continue
        # The headers' words are searched in comments only, and no further than the first that is no header.
        style, limit = styles[document], min(stop, start + _LONGEST_HEADER)
        at = _after_prologue(data, start, limit, magic_words, magic_ends, magic_firsts)
        for _ in range(_BLOCKS):
            at = _after_blanks(data, at, limit)
            block = _after_comment(data, at, limit, stop, style)
            if block <= at:
                break
            if _has_word(data, at, block, header_words, header_ends, header_firsts):
                if end[document] == 0:
                    begin[document] = _line_start(data, at, start) - start
                end[document] = _after_blank_lines(data, block, stop) - start
            elif end[document]:
                break
            at = block


@njit(cache=True, nogil=True)
def _starts(data, at, end, a, b):
    return at + 1 < end and data[at] == a and data[at + 1] == b


@njit(cache=True, nogil=True)
def _after_line(data, at, end):
    while at < end and data[at] != 10:
        at += 1
    return min(at + 1, end)


@njit(cache=True, nogil=True)
def _after_blanks(data, at, end):
    while at < end and (data[at] == 32 or 9 <= data[at] <= 13):
        at += 1
    return at


@njit(cache=True, nogil=True)
def _line_start(data, at, start):
    """Back over the blanks in front of a comment, so that it leaves no indentation behind."""
    i = at
    while i > start and (data[i - 1] == 32 or data[i - 1] == 9):
        i -= 1
    return i if i == start or data[i - 1] == 10 else at


@njit(cache=True, nogil=True)
def _after_blank_lines(data, at, end):
    """Behind the rest of the line and the empty lines, if there is nothing else on the line."""
    i = _after_blanks(data, at, end)
    if i == end:
        return end
    line = i
    while line > at and data[line - 1] != 10:
        line -= 1
    return line


@njit(cache=True, nogil=True)
def _after_prologue(data, at, end, words, word_ends, firsts):
    """Behind what must stay first: #!, an encoding or another magic comment, <?php, <?xml, <!DOCTYPE."""
    if _starts(data, at, end, 35, 33):
        at = _after_line(data, at, end)
    for _ in range(2):
        stop = _after_line(data, at, end)
        if at == end or data[at] != 35 or not _has_word(data, at, stop, words, word_ends, firsts):
            break
        at = stop
    for _ in range(2):
        i = _after_blanks(data, at, end)
        if _starts(data, i, end, 60, 63) or (
            _starts(data, i, end, 60, 33) and i + 2 < end and data[i + 2] != 45
        ):
            if i + 4 < end and data[i + 2] == 112:  # <?php
                at = i + 5
            else:
                while i < end and data[i] != 62:
                    i += 1
                at = min(i + 1, end)
    return at


@njit(cache=True, nogil=True)
def _after_comment(data, at, limit, stop, style):
    """Behind the block comment at `at`, or behind the run of line comments there; `at` when there is none.

    A comment that goes on beyond `limit` is none either, unless the document ends there.
    """
    if style & SLASH and _starts(data, at, limit, 47, 42):
        return _after_pair(data, at + 2, limit, 42, 47, at)
    if style & MARKUP and _starts(data, at, limit, 60, 33):
        i = at + 4
        while i + 2 < limit:
            if data[i] == 45 and data[i + 1] == 45 and data[i + 2] == 62:
                return i + 3
            i += 1
        return at
    if style & PAREN and _starts(data, at, limit, 40, 42):
        return _after_pair(data, at + 2, limit, 42, 41, at)
    if style & HASKELL and _starts(data, at, limit, 123, 45) and data[min(at + 2, limit - 1)] != 35:
        return _after_pair(data, at + 2, limit, 45, 125, at)
    if style & DASH_BLOCK and _starts(data, at, limit, 45, 45) and _starts(data, at + 2, limit, 91, 91):
        return _after_pair(data, at + 4, limit, 93, 93, at)
    leader = _leader(data, at, limit, style)
    if leader == 0:
        return at
    i = end = at
    while i < limit and _leader(data, i, limit, style) == leader:
        end = i = _after_line(data, i, limit)
        while i < limit and (data[i] == 32 or data[i] == 9):
            i += 1
    return at if end == limit and limit < stop else end


@njit(cache=True, nogil=True)
def _after_pair(data, at, limit, a, b, otherwise):
    while at + 1 < limit:
        if data[at] == a and data[at + 1] == b:
            return at + 2
        at += 1
    return otherwise


@njit(cache=True, nogil=True)
def _leader(data, at, end, style):
    """Which line comment starts at `at`, 0 for none: a directive (//go:build, // +build, #!, #pragma) is none.

    Documentation comments (///, //!) are another leader than //, for they say what the code does.
    """
    if at >= end:
        return 0
    byte = data[at]
    follow = data[at + 1] if at + 1 < end else 10
    third = data[at + 2] if at + 2 < end else 10
    if style & SLASH and byte == 47 and follow == 47:
        if third == 33 or (third == 47 and at + 3 < end and data[at + 3] != 47):
            return 47 + third
        if third == 103 and _starts(data, at + 3, end, 111, 58):
            return 0
        return 0 if third == 32 and at + 3 < end and data[at + 3] == 43 else 47
    if style & HASH and byte == 35:
        return 0 if follow == 33 or follow == 91 else 35  # #! and PHP's #[attribute]
    if style & DASH and byte == 45 and follow == 45:
        return 45
    if style & SEMICOLON and byte == 59:
        return 59
    if style & PERCENT and byte == 37:
        return 37
    return 0


@njit(cache=True, nogil=True)
def _head_words(offsets, data, documents, head_bytes, out, starts):
    at = 0
    for i in range(len(documents)):
        starts[i] = at
        start = offsets[documents[i]]
        end = min(offsets[documents[i] + 1], start + head_bytes)
        out[at] = 0xFF
        out[at + 1] = 32
        at += 2
        last = np.uint8(32)
        for j in range(start, end):
            byte = data[j]
            if 97 <= byte <= 122 or 48 <= byte <= 57 or (byte == 43 and 48 <= last <= 57):
                last = byte
            elif 65 <= byte <= 90:
                last = byte | np.uint8(32)
            elif last != 32:
                last = np.uint8(32)
            else:
                continue
            out[at] = last
            at += 1
        if last != 32:
            out[at] = 32
            at += 1
    starts[len(documents)] = at
