"""Which language does a text look like? Words and signs of its first lines, weighed in one pass.

`pipelines.kernels.language_words` says what counts. Comments are passed over where a line starts with one, so that a
licence is no evidence, but the signs that open them are some.
"""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pyarrow as pa
from numba import njit

from pipelines.kernels.language_words import entries
from pipelines.kernels.text import text_buffers

LANGUAGES = tuple(dict.fromkeys(entry.lang for entry in entries()))
"""The columns of the scores."""

HEAD_BYTES = 4096
"""How much of a text's code is looked at: comments and blanks do not count, but beyond four times this nothing is."""

# Seeds of the hash, far apart: XOR with a byte must not turn one kind into another.
_KINDS = {
    kind: np.uint64(place << 32)
    for place, kind in enumerate(("first", "pair", "word", "sign", "end", "shape"), 1)
}
_FIRST_SEED, _PAIR_SEED, _WORD_SEED, _SIGN_SEED, _END_SEED, _ = _KINDS.values()
_SHAPES = ("key", "item", "string", "field")
_SIGN = "[!-/:-@\\[-^`{-~]"
_WORD = "[A-Za-z0-9_\\x80-\\uffff]+"
_FIRST = f"(?:{_SIGN}{{0,4}}{_WORD}|{_WORD}{_SIGN}|{_SIGN}{{1,4}})"
_FORMS = {
    "first": _FIRST,
    "pair": f"{_FIRST} (?:{_WORD}|{_SIGN})",
    "word": f"{_WORD}(?:{_SIGN}|::)?|{_SIGN}{_WORD}",
    "sign": f"{_SIGN}{{2,3}}",
    "end": f"{_FIRST} [!-~]",
    "shape": "|".join(_SHAPES),
}
_WEIGHT_UNIT = 4  # weights are kept in quarters, so that halving twice stays exact

_OPENERS = ("/*", '"""', "'''", "<!--", "{-", "(*", "=begin", "--[[")
_CLOSERS = ("*/", '"""', "'''", "-->", "-}", "*)", "=end", "]]")

_BLANK, _LETTER, _PUNCTUATION, _NEWLINE = 0, 1, 2, 3


def check_form(kind: str, entry: str) -> bool:
    """Can the scanner ever find this entry? One that it cannot is a mistake in the table."""
    return re.fullmatch(_FORMS[kind], entry) is not None


def language_evidence(text: pa.Array | pa.ChunkedArray, head_bytes: int = HEAD_BYTES) -> np.ndarray:
    """What speaks for each of `LANGUAGES`, float32[n, languages]; all 0 for a null or empty document."""
    table = _table()
    parts = [np.zeros((0, len(LANGUAGES)), np.int32)]
    for view in text_buffers(text):
        out = np.zeros((len(view), len(LANGUAGES)), np.int32)
        _weigh(view.offsets, view.data, head_bytes, *table, out)
        parts.append(out)
    return np.concatenate(parts).astype(np.float32) / _WEIGHT_UNIT


def _hash(kind: str, entry: str) -> int:
    state = int(_KINDS[kind])
    for byte in entry.encode():
        state = ((state ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return state or 1


@cache
def _table() -> tuple[np.ndarray, ...]:
    """Hash table key -> entry; for each entry, a range of (language, weight); classes of bytes; comment signs."""
    found: dict[int, list[tuple[int, int]]] = {}
    for entry in entries():
        weighed = (LANGUAGES.index(entry.lang), entry.weight * _WEIGHT_UNIT)
        found.setdefault(_hash(entry.kind, entry.text), []).append(weighed)
    slots = 1 << (4 * len(found) - 1).bit_length()
    keys, places = np.zeros(slots, np.uint64), np.zeros(slots, np.int32)
    starts = np.zeros(len(found) + 1, np.int32)
    pairs: list[tuple[int, int]] = []
    for index, (key, weights) in enumerate(found.items()):
        at = _slot(key, slots)
        while keys[at]:
            at = (at + 1) & (slots - 1)
        keys[at], places[at] = key, index
        pairs += weights
        starts[index + 1] = len(pairs)
    columns, values = np.array(pairs, np.int32).T.copy()
    shapes = np.array([_hash("shape", shape) for shape in _SHAPES], np.uint64)
    return keys, places, starts, columns, values, shapes, _classes(), *_markers()


def _slot(key: int, slots: int) -> int:
    return (key ^ key >> 29) & (slots - 1)


def _classes() -> np.ndarray:
    table = np.full(256, _PUNCTUATION, np.uint8)
    table[:33] = _BLANK
    table[127:] = _LETTER
    table[[10, 13]] = _NEWLINE
    for character in range(128):
        if chr(character).isalnum() or chr(character) == "_":
            table[character] = _LETTER
    return table


def _markers() -> tuple[np.ndarray, np.ndarray]:
    """Openers and closers of comments, padded with zeros to 8 bytes."""
    return tuple(  # type: ignore[return-value]
        np.array([list(sign.encode().ljust(8, b"\0")) for sign in signs], np.uint8)
        for signs in (_OPENERS, _CLOSERS)
    )


@njit(cache=True, nogil=True, inline="always")
def _add(state, byte):
    return (state ^ np.uint64(byte)) * np.uint64(0x100000001B3)


@njit(cache=True, nogil=True)
def _count(state, keys, places, starts, columns, values, seen, touched, number, row):
    """Add what the entry with this hash weighs; returns how many entries were touched so far."""
    mask = np.uint64(len(keys) - 1)
    at = (state ^ (state >> np.uint64(29))) & mask
    while keys[at]:
        if keys[at] == state:
            entry = places[at]
            times = seen[entry]
            if times == 0:
                touched[number] = entry
                number += 1
            if times < 3:
                for i in range(starts[entry], starts[entry + 1]):
                    row[columns[i]] += values[i] >> times
                seen[entry] = times + 1
            return number
        at = (at + np.uint64(1)) & mask
    return number


@njit(cache=True, nogil=True, inline="always")
def _is_at(data, i, end, sign):
    for k in range(8):
        if sign[k] == 0:
            return k
        if i + k >= end or data[i + k] != sign[k]:
            return 0
    return 8


@njit(cache=True, nogil=True)
def _shape(data, classes, start, word, after, stop):
    """How the line [start, stop) is built, -1 for neither way; its first word is [word, after)."""
    final = data[stop - 1]
    if data[start] == 34:  # a string
        return 2 if final == 44 or final == 123 or final == 91 else -1
    if final == 59 or final == 123 or final == 44 or final == 40:
        return -1
    if data[start] == 45 and start + 1 < stop and classes[data[start + 1]] == 0:
        return 1
    if word != start or after == word:
        return -1
    while after < stop and (classes[data[after]] == 1 or data[after] == 45 or data[after] == 46):
        after += 1
    if after < stop and data[after] == 58 and (after + 1 == stop or classes[data[after + 1]] == 0):
        return 0
    if (
        after + 2 < stop
        and classes[data[after]] == 0
        and data[after + 1] == 61
        and classes[data[after + 2]] == 0
    ):
        return 3
    return -1


@njit(cache=True, nogil=True)
def _weigh(
    offsets, data, head_bytes, keys, places, starts, columns, values, shapes, classes, openers, closers, out
):
    seen = np.zeros(len(starts), np.uint8)
    touched = np.empty(len(starts), np.int32)
    for document in range(len(offsets) - 1):
        i, end = offsets[document], offsets[document + 1]
        last = min(end, i + 4 * head_bytes)
        row = out[document]
        number = 0
        code = 0  # bytes of code seen
        closer = -1  # which sign ends the comment that the line starts in
        while i < last and code < head_bytes:
            while i < last and (classes[data[i]] == 0 or classes[data[i]] == 3):
                i += 1
            stop = i
            while stop < last and classes[data[stop]] != 3:
                stop += 1
            if i == stop:
                break
            start = i
            if closer >= 0:
                while i < stop and _is_at(data, i, stop, closers[closer]) == 0:
                    i += 1
                if i < stop:
                    closer = -1
                i = stop
                continue
            for k in range(len(openers)):
                size = _is_at(data, i, stop, openers[k])
                if size:
                    closer = k
                    j = i + size
                    while j < stop and _is_at(data, j, stop, closers[k]) == 0:
                        j += 1
                    if j < stop:
                        closer = -1
                    break
            # The first word: up to four signs, then a word that touches them.
            signs = _FIRST_SEED
            pair = _PAIR_SEED
            finish = _END_SEED
            while i < stop and i < start + 4 and classes[data[i]] == 2:
                signs = _add(signs, data[i])
                pair = _add(pair, data[i])
                finish = _add(finish, data[i])
                i += 1
            signs_end = i
            if i > start:
                number = _count(signs, keys, places, starts, columns, values, seen, touched, number, row)
            if closer >= 0:
                i = stop
                continue
            word = signs
            while i < stop and classes[data[i]] == 1:
                word = _add(word, data[i])
                pair = _add(pair, data[i])
                finish = _add(finish, data[i])
                i += 1
            if i > signs_end:
                number = _count(word, keys, places, starts, columns, values, seen, touched, number, row)
                if signs_end == start and i < stop and classes[data[i]] == 2:
                    number = _count(
                        _add(word, data[i]), keys, places, starts, columns, values, seen, touched, number, row
                    )
            # The pair: the next word, whichever it is, or the next sign.
            j = i
            while j < stop and classes[data[j]] == 0:
                j += 1
            if j < stop:
                pair = _add(pair, 32)
                if classes[data[j]] == 2:
                    pair = _add(pair, data[j])
                else:
                    number = _count(
                        _add(pair, 120), keys, places, starts, columns, values, seen, touched, number, row
                    )
                    while j < stop and classes[data[j]] == 1:
                        pair = _add(pair, data[j])
                        j += 1
                number = _count(pair, keys, places, starts, columns, values, seen, touched, number, row)
            code += stop - start
            # A comment to the end of the line is no evidence beyond its sign.
            a = data[start]
            b = data[start + 1] if start + 1 < stop else 32
            if (
                (a == 47 and b == 47)
                or (a == 45 and b == 45)
                or a == 59
                or a == 37
                or (a == 35 and classes[b] == 0)
            ):
                i = stop
                continue
            tail = stop
            while tail > start and classes[data[tail - 1]] == 0:
                tail -= 1
            final = data[tail - 1]
            finish = _add(_add(finish, 32), final)
            number = _count(finish, keys, places, starts, columns, values, seen, touched, number, row)
            shape = _shape(data, classes, start, signs_end, i, tail)
            if shape >= 0:
                number = _count(
                    shapes[shape], keys, places, starts, columns, values, seen, touched, number, row
                )
            while i < stop:
                kind = classes[data[i]]
                if kind == 0:
                    i += 1
                elif kind == 1:
                    word = _WORD_SEED
                    before = np.uint64(0)
                    if i > start and classes[data[i - 1]] == 2:
                        before = _add(_WORD_SEED, data[i - 1])
                    while i < stop and classes[data[i]] == 1:
                        word = _add(word, data[i])
                        if before:
                            before = _add(before, data[i])
                        i += 1
                    number = _count(word, keys, places, starts, columns, values, seen, touched, number, row)
                    if before:
                        number = _count(
                            before, keys, places, starts, columns, values, seen, touched, number, row
                        )
                    if i < stop and classes[data[i]] == 2:
                        word = _add(word, data[i])
                        if data[i] == 58 and i + 1 < stop and data[i + 1] == 58:
                            word = _add(word, 58)
                        number = _count(
                            word, keys, places, starts, columns, values, seen, touched, number, row
                        )
                else:
                    if i + 1 < stop and classes[data[i + 1]] == 2:
                        state = _add(_add(_SIGN_SEED, data[i]), data[i + 1])
                        number = _count(
                            state, keys, places, starts, columns, values, seen, touched, number, row
                        )
                        if i + 2 < stop and classes[data[i + 2]] == 2:
                            state = _add(state, data[i + 2])
                            number = _count(
                                state, keys, places, starts, columns, values, seen, touched, number, row
                            )
                    i += 1
            i = stop
        for k in range(number):
            seen[touched[k]] = 0
