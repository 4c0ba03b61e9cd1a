"""Python functions that do nothing: their body is `pass`, `...`, a docstring or the return of a constant."""

from __future__ import annotations

import numpy as np

from pipelines.kernels import lexical_keywords as words
from pipelines.kernels import lexical_state as st
from pipelines.kernels.lexical_state import part
from pipelines.kernels.lexical_words import is_blank, role_of_word, spells

_NONE = np.frombuffer(b"None", np.uint8)
_TRUE = np.frombuffer(b"True", np.uint8)
_FALSE = np.frombuffer(b"False", np.uint8)


@part
def begin_statement(indent, s):
    """A logical line of Python begins so far from the margin."""
    s[st.STATEMENT_INDENT] = indent
    s[st.STATEMENT_ROLE] = words.NONE
    s[st.STATEMENT_FLAGS] = s[st.STATEMENT_STRINGS] = 0
    s[st.COLON] = -1


@part
def end_statement(data, stop, lang, store, s):
    """The code of a logical line ends at `stop`: is it all that a function does?"""
    role = s[st.STATEMENT_ROLE]
    if s[st.FUNCTION] >= 0:
        if s[st.STATEMENT_INDENT] <= s[st.FUNCTION]:
            s[st.TRIVIAL_FUNCTIONS] += 1
            s[st.FUNCTION] = -1
        elif not _does_nothing(data, role, s[st.STATEMENT_WORD], stop, lang, store, s):
            s[st.FUNCTION] = -1
    if role == words.DEF:
        s[st.FUNCTIONS] += 1
        body = s[st.COLON]
        while 0 <= body < stop and is_blank(data[body]):
            body += 1
        if body >= stop:
            s[st.FUNCTION] = s[st.STATEMENT_INDENT]
        elif body >= 0:
            role = role_of_word(data, body, stop, lang, store, s)
            if data[body] == 46:
                role = words.ELLIPSIS
            s[st.TRIVIAL_FUNCTIONS] += _does_nothing(data, role, s[st.WORD_END], stop, lang, store, s)


@part
def _does_nothing(data, role, i, stop, lang, store, s):
    """`pass`, `...`, or the return of a constant; `i` is behind its first word."""
    if role == words.PASS or role == words.ELLIPSIS:
        return True
    if role != words.RETURN:
        return False
    while i < stop and (is_blank(data[i]) or data[i] == 45 or data[i] == 43):
        i += 1
    if i == stop:
        return True
    byte, last = data[i], data[stop - 1]
    j = i
    while j < stop and (lang[data[j]] & st.WORD or (48 <= byte <= 57 and data[j] == 46)):
        j += 1
    if j == stop:
        return 48 <= byte <= 57 or _is_constant_name(data, i, stop)
    if last == 34 or last == 39:  # one string, and not an f-string, whatever its prefix
        quote = data[j]
        plain = (byte | 0x20) != 102 and (j - i < 2 or (data[i + 1] | 0x20) != 102)
        return s[st.STATEMENT_STRINGS] == 1 and j - i <= 2 and quote == last and plain
    return i + 2 == stop and (byte == 40 or byte == 91 or byte == 123)  # () [] {}


@part
def _is_constant_name(data, i, stop):
    if stop - i == 4:
        return spells(data, i, stop, _NONE) or spells(data, i, stop, _TRUE)
    return stop - i == 5 and spells(data, i, stop, _FALSE)
