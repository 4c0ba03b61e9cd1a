"""What a comment or a string adds to the counts, over all the lines it covers."""

from __future__ import annotations

import numpy as np

from pipelines.kernels import lexical_state as st
from pipelines.kernels.lexical_lines import end_line
from pipelines.kernels.lexical_state import part
from pipelines.kernels.lexical_words import is_blank, is_word

LONG_STRING = 20
"""Words and runs of punctuation; a piece of a string with more makes its line long (OpenCoder)."""

_TODO = 0x746F646F
_FIXME = 0x6669786D65
_OUR_CODE = 0x6F757220636F6465
_WRITE, _HERE = np.frombuffer(b"write your code", np.uint8), np.frombuffer(b"your code here", np.uint8)


@part
def account(data, start, stop, span_class, flags, lang, store, s, classes):
    """Count `data[start:stop]`, which begins on a line with `flags` -> the flags of the line it ends on."""
    if len(classes):
        classes[start:stop] = span_class
    continuations = breaks = 0
    for i in range(start, stop):
        continuations += (data[i] & 0xC0) == 0x80
        breaks += data[i] == 10 or data[i] == 13
    characters = stop - start - continuations
    if span_class == st.CLASS_STRING:
        s[st.STRING_CHARACTERS] += characters
        s[st.STRING_END] = stop
    elif span_class != st.CLASS_CODE:
        s[st.COMMENT_CHARACTERS] += characters
        if span_class == st.CLASS_DOCSTRING:
            s[st.DOCSTRING_CHARACTERS] += characters
            s[st.STRING_END] = stop
        else:
            _note_comment(data, start, stop, s)
    if not breaks:
        return flags | _piece(data, start, stop, span_class)
    i = start
    for j in range(start, stop):
        if data[j] == 10 or (data[j] == 13 and not (j + 1 < stop and data[j + 1] == 10)):
            flags |= _piece(data, i, j, span_class)
            end_line(data, j, flags, lang, store, s, True)
            flags = 0
            i = j + 1
    s[st.LINE] = s[st.INDENT] = i
    return flags | _piece(data, i, stop, span_class)


@part
def _note_comment(data, start, stop, s):
    """Comments that follow each other count as one, so that one step leads to the code before them."""
    j = start
    while j > s[st.COMMENT_END] and j > start - 256 and is_blank(data[j - 1]):
        j -= 1
    if j != s[st.COMMENT_END]:
        s[st.COMMENT_START] = start
    s[st.COMMENT_END] = stop
    if s[st.HEAD] == start:
        s[st.HEAD] = stop


@part
def _piece(data, i, stop, span_class):
    """Flags of what one line has of a comment or string."""
    while i < stop and is_blank(data[i]):
        i += 1
    if i == stop:
        return 0
    if span_class == st.CLASS_CODE:
        return st.CODE
    if span_class == st.CLASS_STRING:
        long = stop - i > LONG_STRING and _count_words(data, i, stop) > LONG_STRING
        return st.CODE | st.LONG_STRING if long else st.CODE
    return st.COMMENT | st.PROMPT if _is_prompt(data, i, stop) else st.COMMENT


@part
def _count_words(data, i, stop):
    """Runs of word characters and of punctuation, without quotes at either end and the prefix before them.

    Every character that is not ASCII belongs to a word.
    """
    j = i
    while j < i + 3 and j < stop and is_word(data[j]):
        j += 1
    if j < stop and _is_quote(data[j]):
        i = j
    while i < stop and _is_quote(data[i]):
        i += 1
    while stop > i and (_is_quote(data[stop - 1]) or is_blank(data[stop - 1])):
        stop -= 1
    count = 0
    last = 0
    while i < stop:
        byte = data[i]
        kind = 0 if is_blank(byte) else 1 + is_word(byte)
        count += kind != 0 and kind != last
        last = kind
        i += 1
    return count


@part
def _is_quote(byte):
    return byte == 34 or byte == 39 or byte == 96


@part
def _is_prompt(data, start, stop):
    """Is there a TODO, FIXME, "your code here" or "write your code", in any case?"""
    window = np.uint64(0)
    for i in range(start, stop):
        window = (window << np.uint64(8)) | np.uint64(data[i] | 0x20)
        if (window & np.uint64(0xFFFFFFFF)) == np.uint64(_TODO):
            return True
        if (window & np.uint64(0xFFFFFFFFFF)) == np.uint64(_FIXME):
            return True
        if window == np.uint64(_OUR_CODE) and (
            _says(data, i - 8, start, stop, _HERE) or _says(data, i - 14, start, stop, _WRITE)
        ):
            return True
    return False


@part
def _says(data, i, start, stop, text):
    if i < start or i + len(text) > stop:
        return False
    for k in range(len(text)):
        byte = data[i + k]
        if byte != text[k] and not (65 <= byte <= 90 and byte | 0x20 == text[k]):
            return False
    return True
