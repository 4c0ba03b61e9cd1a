"""Words and what they say: a look-up in the keywords of a language, without a copy of the word."""

from __future__ import annotations

import numpy as np

from pipelines.kernels import lexical_keywords as words
from pipelines.kernels import lexical_state as st
from pipelines.kernels import lexical_syntax as syntax
from pipelines.kernels.lexical_state import part

SLOTS = 256
"""Slots of a language's table of keywords."""

_ASSERT = np.frombuffer(b"assert", np.uint8)
_MODIFIERS = 8
"""Words looked at before the one that says something."""


@part
def is_blank(byte):
    return byte == 32 or 9 <= byte <= 13


@part
def is_line_end(byte):
    return byte == 10 or byte == 13


@part
def is_word(byte):
    """Letters, digits, _, and all that is not ASCII."""
    return 97 <= byte | 0x20 <= 122 or 48 <= byte <= 57 or byte == 95 or byte >= 0x80


@part
def spells(data, i, end, text):
    """Does `text` stand at `i`?"""
    k = 0
    while k < len(text) and i + k < end and data[i + k] == text[k]:
        k += 1
    return k == len(text)


@part
def role_of_word(data, i, end, lang, store, s):
    """The role of the word at `i`, or of the first behind it that is no modifier; WORD_END is where it ends."""
    ignore_case = (lang[st.FEATURES] & syntax.IGNORE_CASE) != 0
    role = words.NONE
    for _ in range(_MODIFIERS):
        j = i
        while j < end and lang[data[j]] & st.WORD:
            j += 1
        s[st.WORD_END] = j
        found = _keyword(data, i, j, end, lang, store, ignore_case)
        if found != words.MODIFIER:
            return found if found != words.NONE or role == words.NONE else role
        role = words.MODIFIER
        i = j
        if i < end and data[i] == 40:  # pub(crate) fn
            while i < end and i < j + 24 and data[i] != 41:
                i += 1
            i += 1
        while i < end and (data[i] == 32 or data[i] == 9):
            i += 1
        if i >= end or not lang[data[i]] & st.WORD:
            return role
    return role


@part
def _keyword(data, i, j, end, lang, store, ignore_case):
    """The role of the word `data[i:j]`, NONE for a word that has none."""
    size = j - i
    slot = keyword_slot(data, i, size, ignore_case)
    while lang[st.SLOT + slot] >= 0:
        k = lang[st.SLOT + slot]
        if store[k + st.SIZE] == size and _equal(data, i, store, store[k + st.TEXT], size, ignore_case):
            while k >= 0:
                at = j
                suffix = store[k + st.SUFFIX_SIZE]
                if suffix:
                    while at < end and (data[at] == 32 or data[at] == 9):
                        at += 1
                if at + suffix <= end and _equal(data, at, store, store[k + st.SUFFIX], suffix, ignore_case):
                    return store[k + st.ROLE_SAID]
                k = store[k + st.OTHER]
            return words.NONE
        slot = (slot + 1) % SLOTS
    # assertEquals, Assert.That, ASSERT_EQ: every test library has words of its own that begin so.
    if size >= 6 and (data[i] | 0x20) == 97 and _equal(data, i, _ASSERT, 0, 6, True):
        return words.ASSERT
    return words.NONE


@part
def _equal(data, i, letters, at, size, ignore_case):
    for k in range(size):
        byte = data[i + k]
        if byte != letters[at + k] and not (
            ignore_case and 65 <= byte <= 90 and byte | 0x20 == letters[at + k]
        ):
            return False
    return True


@part
def keyword_slot(data, i, size, ignore_case):
    """Where the search for the word `data[i:i + size]` begins in the slots of its language."""
    word = np.uint64(size)
    for k in range(min(size, 12)):
        byte = np.uint64(data[i + k])
        if ignore_case and 65 <= byte <= 90:
            byte |= np.uint64(0x20)
        word = (word ^ byte) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64(word >> np.uint64(56))
