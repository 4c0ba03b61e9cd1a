"""The languages of `lexical_languages` as flat arrays for the kernel, built once."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from pipelines.kernels import lexical_state as st
from pipelines.kernels import lexical_syntax as syntax
from pipelines.kernels.lexical_languages import LANGUAGES
from pipelines.kernels.lexical_syntax import Delimiter, Syntax
from pipelines.kernels.lexical_words import SLOTS, keyword_slot

_WORD_BYTES = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_" + bytes(range(0x80, 0x100))
_BLANKS = b"\t\v\f "
_ACTIONS = {
    "\n": st.ON_NEWLINE,
    "\r": st.ON_RETURN,
    "(": st.ON_OPEN,
    "[": st.ON_OPEN,
    "{": st.ON_BRACE,
    ")": st.ON_CLOSE,
    "]": st.ON_CLOSE,
    "}": st.ON_UNBRACE,
}


class Tables(NamedTuple):
    """Few arrays of one type: each costs the compiler several arguments a function. Rows as in `lexical_state`."""

    languages: np.ndarray  # int64[L, LANGUAGE], row 0 is the unknown language
    delimiters: np.ndarray  # int64[D, DELIMITER]
    store: np.ndarray  # int64[...], keywords and their letters


@cache
def tables() -> Tables:
    """The tables of all known languages."""
    languages = np.zeros((len(LANGUAGES) + 1, st.LANGUAGE), np.int64)
    delimiters: list[Delimiter] = []
    store: list[int] = []
    for row, lang in zip(languages, (Syntax(), *LANGUAGES.values()), strict=True):
        row[st.FEATURES] = lang.features
        _set_bytes(row, lang)
        for byte, group in _by_first_byte(lang).items():
            row[st.FIRST + byte], row[st.COUNT + byte] = len(delimiters), len(group)
            row[byte] |= st.SPECIAL
            delimiters += group
        _set_keywords(row, lang, store)
    built = Tables(
        languages, np.array([_delimiter(each) for each in delimiters], np.int64), np.array(store, np.int64)
    )
    for array in built:
        array.flags.writeable = False
    return built


def _set_bytes(row: np.ndarray, lang: Syntax) -> None:
    kinds = row[:256]
    kinds[:] = st.CODE
    kinds[list(_BLANKS)] = 0
    kinds[list(_WORD_BYTES + lang.letters.encode())] |= st.WORD
    actions = dict(_ACTIONS)
    if lang.features & syntax.STATEMENTS:
        kinds[list(lang.operators.encode())] |= st.OPERATOR
        actions |= {";": st.ON_SEMICOLON, "=": st.ON_ASSIGN, "-": st.ON_MINUS}
    if lang.features & syntax.INDENTED:
        actions |= {":": st.ON_COLON, "{": st.ON_OPEN, "}": st.ON_CLOSE}
        del actions[";"]
    if lang.features & syntax.ESCAPES:
        actions["\\"] = st.ON_ESCAPE
    for character, action in actions.items():
        row[st.ACTION + ord(character)] = action
        kinds[ord(character)] |= st.SPECIAL


def _by_first_byte(lang: Syntax) -> dict[int, list[Delimiter]]:
    """The longest opening first: it decides."""
    groups: dict[int, list[Delimiter]] = {}
    for delimiter in sorted(lang.delimiters, key=lambda delimiter: -len(delimiter.opening)):
        letter = delimiter.opening[0]
        for byte in {ord(letter), ord(letter.upper())}:
            groups.setdefault(byte, []).append(delimiter)
    return groups


def _delimiter(delimiter: Delimiter) -> np.ndarray:
    row = np.zeros(st.DELIMITER, np.int64)
    opening, closing, inner = (
        text.encode() for text in (delimiter.opening, delimiter.closing, delimiter.inner)
    )
    row[st.KIND], row[st.FLAGS] = delimiter.kind, delimiter.flags
    row[st.ESCAPE] = ord(delimiter.escape or "\0")
    row[st.OPENING_SIZE], row[st.CLOSING_SIZE] = len(opening), len(closing)
    for offset, text in ((st.OPENING, opening), (st.CLOSING, closing), (st.INNER, inner)):
        row[offset : offset + len(text)] = list(text)
    marks = row[st.MARK :]
    marks[list(b"\n\r" + closing[:1] + inner[:1] + delimiter.escape.encode())] |= st.STOP
    marks[list(delimiter.prefix.encode())] |= st.PREFIX
    return row


def _set_keywords(row: np.ndarray, lang: Syntax, store: list[int]) -> None:
    words: dict[bytes, list[tuple[bytes, int]]] = {}
    letters = _WORD_BYTES + lang.letters.encode()
    for role, text in lang.keywords.items():
        for keyword in text.encode().split():
            cut = next((i for i, byte in enumerate(keyword) if byte not in letters), len(keyword))
            words.setdefault(keyword[:cut], []).append((keyword[cut:], role))
    slots = row[st.SLOT : st.SLOT + SLOTS]
    slots[:] = -1
    for word, entries in words.items():
        with np.errstate(over="ignore"):
            slot = keyword_slot.py_func(np.frombuffer(word, np.uint8), 0, len(word), False)
        while slots[slot] >= 0:
            slot = (slot + 1) % SLOTS
        # The longest suffix is tried first: "using(" before "using".
        other = -1
        for suffix, role in sorted(entries, key=lambda entry: len(entry[0])):
            text_at, suffix_at, keyword_at = (
                len(store),
                len(store) + len(word),
                len(store) + len(word + suffix),
            )
            store += [*word, *suffix, role, text_at, len(word), suffix_at, len(suffix), other]
            other = keyword_at
        slots[slot] = other
