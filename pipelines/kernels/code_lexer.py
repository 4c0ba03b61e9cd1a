"""Bytes of code as words, numbers, strings, operators and brackets, without white space and comments.

This is no compiler's lexer: it does not have to be right, only the same for a text and its edited copy, in one
pass and in linear time whatever it is given. `code_tokens` goes on from here.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from pipelines.kernels.code_words import (
    HASH_PRIME,
    HASH_SEED,
    IS_BRACE,
    IS_CALLED,
    IS_DEF,
    IS_PYTHON,
    IS_RECEIVER,
    WORD_BITS,
    WORD_HASHES,
    WORD_SLOT_SHIFT,
)
from pipelines.kernels.murmur import fmix64

# What is a comment, as bits of a mode.
HASH_COMMENTS = 1  # `#` to the end of the line
SLASH_COMMENTS = 2  # `//` to the end of the line, `/* */`
GUESSED_COMMENTS = 4  # both, where the surroundings say that it is not an operator or a directive
PYTHON_WORDS = 8  # Python's keywords instead of those of the languages with braces

# Kinds of tokens; a bracket, a comma, `:` and `=` are of the kind that is their byte.
OTHER, NAME, KEYWORD, DEF, RECEIVER, NUMBER, STRING, ARROW = range(8)
KIND = 0xFF
FIRST = 0x100  # added to the kind of the first token of a line
AT_MARGIN = 0x200  # and to that of a word in the first column

# Classes of bytes.
_SKIPPED, _LINE_END, _LETTER, _DIGIT, _QUOTE, _BRACKET, _HASH, _OPERATOR = range(8)


def _classes() -> np.ndarray:
    table = np.full(256, _OPERATOR, np.uint8)
    table[:33] = _SKIPPED
    table[list(b"\\;$\x7f")] = _SKIPPED
    table[list(b"\n\r")] = _LINE_END
    table[list(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")] = _LETTER
    table[128:] = _LETTER
    table[list(b"0123456789")] = _DIGIT
    table[list(b"\"'`")] = _QUOTE
    table[list(b"()[]{},")] = _BRACKET
    table[ord("#")] = _HASH
    table.flags.writeable = False
    return table


def _lower() -> np.ndarray:
    table = np.arange(256, dtype=np.uint64)
    table[ord("A") : ord("Z") + 1] += np.uint64(32)
    table.flags.writeable = False
    return table


CLASSES = _classes()
LOWER = _lower()
LETTERS = np.where((CLASSES == _LETTER) | (CLASSES == _DIGIT), LOWER, np.uint64(0))  # 0: no part of a word
LETTERS.flags.writeable = False
SIGN_SEED = np.uint64(0xA0761D6478BD642F)  # so that the operator of byte 65 is not the word `a`
STRING_SEED = np.uint64(0x9E3779B97F4A7C15)
_ZERO = np.uint64(0)
_8 = np.uint64(8)

# The state between calls.
POSITION, _LINE_START, _MEMBER, _LAST, _UNCLOSED = range(5)
LEXER_STATE = 5


@nb.njit(cache=True, nogil=True)
def reset_lexer(state, start):
    """Begin a document at byte `start`. `state` is int64[LEXER_STATE]."""
    state[:] = 0
    state[POSITION] = start
    state[_LINE_START] = FIRST
    state[_LAST] = 10


@nb.njit(cache=True, nogil=True)
def scan(data, end, state, mode, exact, shape, kinds, begins):
    """Write the next tokens up to byte `end` and return how many, 0 at the end.

    exact uint64: hash of the token in lower case, of a string without its quotes. shape uint64: the same for
    what renaming cannot change (keywords, numbers, operators, members, called built-ins), 0 for a name; a string
    with `{` in it may hold names and has the shape of any. kinds int64; begins int64, positions in `data`.
    """
    i, line_start, member = state[POSITION], state[_LINE_START], state[_MEMBER]
    last, unclosed = state[_LAST], state[_UNCLOSED]
    keywords = IS_PYTHON if mode & PYTHON_WORDS else IS_BRACE
    n = 0
    while i < end and n < len(exact):
        byte = data[i]
        group = CLASSES[byte]
        if group == _SKIPPED:
            if byte == 59:
                last = 59
            i += 1
            while i < end and data[i] == 32:
                i += 1
            continue
        if group == _LINE_END:
            i += 1
            line_start = FIRST
            if i < end and CLASSES[data[i]] == _LETTER:
                line_start = FIRST | AT_MARGIN
            last = 10
            continue
        start = i
        kind = OTHER
        if group == _LETTER:
            value = HASH_SEED
            letter = LETTERS[byte]
            while letter != _ZERO:
                value = (value ^ letter) * HASH_PRIME
                i += 1
                letter = LETTERS[data[i]] if i < end else _ZERO
            follows = data[i] if i < end else 0
            if i - start <= 2 and (follows == 34 or follows == 39):
                continue  # the prefix of a string: r"", f'', b""
            value = fmix64(value)
            kind, kept = NAME, value
            if not member:
                bits = _meaning(value)
                if bits & keywords:
                    kind = DEF if bits & IS_DEF else KEYWORD
                else:
                    if bits & IS_RECEIVER:
                        kind = RECEIVER
                    if not (bits & IS_CALLED and (follows == 40 or follows == 46)):
                        kept = _ZERO
        elif group == _DIGIT:
            kind = NUMBER
            i = _number_end(data, i, end)
            value = HASH_SEED
            for position in range(start, i):
                value = (value ^ LOWER[data[position]]) * HASH_PRIME
            value = kept = fmix64(value)
        elif group == _QUOTE:
            i, unclosed = _string_end(data, i, end, unclosed)
            if i == start + 1:
                continue
            kind = STRING
            if line_start and i - start >= 6 and data[start + 1] == byte and data[start + 2] == byte:
                value = kept = STRING_SEED  # most likely a docstring, which is long, and left out later
            else:
                value, kept = _string_hashes(data, start, i)
        elif group == _BRACKET:
            i += 1
            kind = int(byte)
            value = kept = fmix64(np.uint64(byte) ^ SIGN_SEED)
        else:
            comment_end = _comment_end(data, i, end, mode, last, unclosed)
            if comment_end < 0:
                unclosed |= 1
            elif comment_end > i:
                i = comment_end
                continue
            i = start + _operator_length(data, start, end)
            code = _ZERO
            for position in range(start, i):
                code = (code << _8) | np.uint64(data[position])
            value = kept = fmix64(code ^ SIGN_SEED)
            if i == start + 1:
                kind = int(byte) if byte == 58 or byte == 61 else OTHER
            elif byte == 45 and data[start + 1] == 62:
                kind = ARROW
        last = data[i - 1]
        # What follows `.`, `->` or `::` is somebody else's name.
        member = (
            (byte == 46 and i == start + 1) or kind == ARROW or (byte == 58 and i == start + 2 and last == 58)
        )
        exact[n], shape[n] = value, kept
        kinds[n], begins[n] = kind | line_start, start
        line_start = 0
        n += 1
    state[POSITION], state[_LINE_START], state[_MEMBER] = i, line_start, member
    state[_LAST], state[_UNCLOSED] = last, unclosed
    return n


@nb.njit(cache=True, nogil=True, inline="always")
def _meaning(value):
    """What is known of the word with this hash, as bits."""
    slot = np.int64(value >> WORD_SLOT_SHIFT)
    while WORD_HASHES[slot] != _ZERO:
        if WORD_HASHES[slot] == value:
            return np.int64(WORD_BITS[slot])
        slot = (slot + 1) & (len(WORD_HASHES) - 1)
    return np.int64(0)


@nb.njit(cache=True, nogil=True)
def _number_end(data, i, end):
    """Digits and letters, and a point before a digit."""
    while i < end:
        if LETTERS[data[i]] == _ZERO and not (
            data[i] == 46 and i + 1 < end and CLASSES[data[i + 1]] == _DIGIT
        ):
            break
        i += 1
    return i


@nb.njit(cache=True, nogil=True)
def _operator_length(data, i, end):
    """Of `**`, `//`, `==`, `<=`, `->`, `=>`, `**=` and the like; `--` and `!!` are two."""
    if i + 1 >= end:
        return 1
    byte, follows = data[i], data[i + 1]
    doubled = follows == byte and byte != 45 and byte != 33 and byte != 35
    arrow = follows == 62 and (byte == 45 or byte == 61)
    if not (follows == 61 or doubled or arrow) or byte == 35:
        return 1
    return 3 if i + 2 < end and data[i + 2] == 61 else 2


@nb.njit(cache=True, nogil=True)
def _comment_end(data, i, end, mode, last, unclosed):
    """Where the comment that starts at `i` ends; `i` if none does, -1 if it is a block that is never closed."""
    byte, follows = data[i], data[i + 1] if i + 1 < end else 10
    if byte == 35:
        # Not `#include`, `#[derive]`, `#fff`.
        guessed = mode & GUESSED_COMMENTS and (follows <= 32 or follows == 35 or follows == 33)
        if mode & HASH_COMMENTS or guessed:
            return _line_end(data, i, end)
    elif byte == 47 and mode & (SLASH_COMMENTS | GUESSED_COMMENTS):
        # Behind a line end or one of `;{},(` it is no division.
        begins = last == 10 or last == 59 or last == 123 or last == 125 or last == 44 or last == 40
        if follows == 47 and (mode & SLASH_COMMENTS or begins):
            return _line_end(data, i, end)
        if follows == 42 and not unclosed & 1:
            for position in range(i + 2, end - 1):
                if data[position] == 42 and data[position + 1] == 47:
                    return position + 2
            return -1
    return i


@nb.njit(cache=True, nogil=True)
def _line_end(data, i, end):
    while i < end and data[i] != 10 and data[i] != 13:
        i += 1
    return i


@nb.njit(cache=True, nogil=True)
def _string_end(data, i, end, unclosed):
    """(position behind the string that starts at `i`, unclosed).

    One in `'` or `"` ends at the end of its line at the latest. One in three quotes or in backticks that is never
    closed is just a sign, (i + 1, ...), and no later one of its kind is looked for: time stays linear.
    """
    quote = data[i]
    if quote != 96 and not (i + 2 < end and data[i + 1] == quote and data[i + 2] == quote):
        position = i + 1
        while position < end:
            byte = data[position]
            if byte == quote:
                return position + 1, unclosed
            if byte == 10 or byte == 13:
                return position, unclosed
            position += 2 if byte == 92 and position + 1 < end and data[position + 1] >= 32 else 1
        return end, unclosed
    bit = 2 if quote == 96 else (4 if quote == 34 else 8)
    if unclosed & bit:
        return i + 1, unclosed
    position = i + (1 if quote == 96 else 3)
    while position < end:
        byte = data[position]
        if byte == 92:
            position += 1
        elif byte == quote:
            if quote == 96:
                return position + 1, unclosed
            if position + 2 < end and data[position + 1] == quote and data[position + 2] == quote:
                return position + 3, unclosed
        position += 1
    return i + 1, unclosed | bit


@nb.njit(cache=True, nogil=True)
def _string_hashes(data, start, stop):
    """(exact, shape) of the string in [start, stop): of its characters but quotes and their backslashes."""
    value = HASH_SEED ^ STRING_SEED
    names = False
    for position in range(start, stop):
        byte = data[position]
        escape = byte == 92 and position + 1 < stop and CLASSES[data[position + 1]] == _QUOTE
        if CLASSES[byte] != _QUOTE and not escape:
            value = (value ^ LOWER[byte]) * HASH_PRIME
            names |= byte == 123
    value = fmix64(value)
    return value, fmix64(STRING_SEED) if names else value
