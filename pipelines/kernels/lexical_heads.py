"""Function heads by their shape, for languages that have no word for them: C, C++, Java, C#, JavaScript, Dart, Shell.

A *head* is what stands between the start of a statement and its first parenthesis: words, blanks and the
punctuation of types, the last word being the name. `{` behind the parentheses defines, `;` declares.
"""

from __future__ import annotations

import numpy as np

from pipelines.kernels import lexical_keywords as words
from pipelines.kernels import lexical_state as st
from pipelines.kernels import lexical_syntax as syntax
from pipelines.kernels.lexical_lines import code_end
from pipelines.kernels.lexical_state import part
from pipelines.kernels.lexical_words import is_blank, role_of_word, spells

_LONGEST_HEAD = 400
_PUNCTUATION = np.zeros(256, bool)
_PUNCTUATION[list(b'*&<>,:[]~.?@-"')] = True
_STRUCT, _UNION, _ENUM, _TEMPLATE, _INLINE, _EXTERN, _NAMESPACE, _MAIN = (
    np.frombuffer(text, np.uint8)
    for text in (b"struct", b"union", b"enum", b"template", b"inline ", b"extern ", b"namespace", b"main")
)


@part
def open_parenthesis(data, i, start, lang, s):
    if s[st.PARENS] == 0 and s[st.HEAD_PAREN] < 0 and s[st.HEAD] >= 0 and lang[st.FEATURES] & syntax.HEADS:
        j = i
        while j > start and (lang[data[j - 1]] & st.WORD or data[j - 1] == 46):
            j -= 1
        if j == start or data[j - 1] != 64:  # the parentheses of an annotation are not the parameters
            s[st.HEAD_PAREN] = i
    s[st.PARENS] += 1


@part
def close_parenthesis(i, s):
    s[st.PARENS] = max(0, s[st.PARENS] - 1)
    if (
        s[st.PARENS] == 0 and s[st.HEAD_PAREN] < 0
    ):  # an annotation or attribute ends: what follows is the head
        s[st.HEAD] = i + 1


@part
def open_brace(data, i, lang, store, s):
    """-> the flags that the brace at `i` adds to its line."""
    features = lang[st.FEATURES]
    flags = 0
    if features & syntax.HEADS and s[st.PARENS] == 0 and s[st.HEAD] >= 0:
        outermost = features & syntax.DECLARATIONS and s[st.BRACES] == s[st.BASE]
        if s[st.HEAD_PAREN] >= 0:
            # Behind one word, a brace may open the body of a macro that loops, but not at the outermost level.
            least = 1 if features & syntax.ONE_WORD_HEADS or outermost else 2
            name = _name(data, least, False, lang, store, s)
            if name >= 0:
                flags = st.DEFINES
                s[st.MAIN_DEFINITIONS] += (
                    outermost and spells(data, name, i, _MAIN) and name + 4 == s[st.WORD_END]
                )
        elif outermost and _is_transparent(data, s[st.HEAD], i):
            s[st.BASE] += 1
    if s[st.BRACES] < st.NESTING:
        s[st.NESTED + s[st.BRACES]] = s[st.PARENS]
    s[st.BRACES] += 1
    s[st.PARENS] = 0
    _begin_statement(i, s)
    return flags


@part
def close_brace(data, i, lang, s):
    if lang[st.FEATURES] & syntax.DECLARATIONS and i == s[st.LINE] and s[st.BRACES] > s[st.BASE]:
        # Both arms of an #if may open what one brace closes. In the first column, it closes everything.
        s[st.BRACES] = s[st.BASE] + 1
        s[st.DEPTH] = s[st.BRACES]
    if s[st.BRACES] > 0:
        s[st.BRACES] -= 1
        s[st.PARENS] = s[st.NESTED + s[st.BRACES]] if s[st.BRACES] < st.NESTING else 0
        s[st.BASE] = min(s[st.BASE], s[st.BRACES])
    _begin_statement(i, s)


@part
def semicolon(data, i, lang, store, s):
    """-> the flags that the semicolon at `i` adds to its line."""
    if s[st.PARENS] or s[st.IN_DIRECTIVE] or not lang[st.FEATURES] & syntax.HEADS:
        return 0
    outermost = lang[st.FEATURES] & syntax.DECLARATIONS and s[st.BRACES] == s[st.BASE]
    declares = outermost and s[st.HEAD_PAREN] >= 0 and _name(data, 2, True, lang, store, s) >= 0
    _begin_statement(i, s)
    return st.DECLARES if declares else 0


@part
def end_head_line(data, i, lang, s):
    """At the end `i` of a line: does the statement go on, and has it begun at all?"""
    stop = code_end(data, i, s)
    if stop <= s[st.HEAD]:
        s[st.HEAD] = -1
    elif s[st.PARENS] == 0 and stop > 1:
        last = data[stop - 1]
        if s[st.HEAD_PAREN] < 0 and (last == 58 or data[s[st.INDENT]] == 64):  # a label, an annotation
            s[st.HEAD] = -1
        elif lang[st.FEATURES] & syntax.NEWLINES and not (last == 41 and data[stop - 2] == 40):
            s[st.HEAD] = s[st.HEAD_PAREN] = -1


@part
def _begin_statement(i, s):
    s[st.HEAD] = i + 1
    s[st.HEAD_PAREN] = -1


@part
def _name(data, least, apart, lang, store, s):
    """Where the name at the end of a head begins, -1 when it is none.

    A head has at least so many words; `apart` says that they must not be parts of one path (a.b, A::b).
    """
    i, stop = s[st.HEAD], s[st.HEAD_PAREN]
    if stop - i > _LONGEST_HEAD:
        return -1
    while i < stop and is_blank(data[i]):
        i += 1
    role = role_of_word(data, i, stop, lang, store, s)
    if (
        role != words.NONE
        and role != words.MODIFIER
        and not (role == words.CLASS and _is_type_word(data, i, s[st.WORD_END]))
    ):
        return -1
    name, count = -1, 0
    for j in range(i, stop):
        byte = data[j]
        if lang[byte] & st.WORD:
            if j == i or not lang[data[j - 1]] & st.WORD:
                name = j
                before = data[j - 1]
                count += not (apart and j > i and (before == 58 or before == 46 or before == 126))
        elif not _in_type(byte):
            return -1
    while stop > i and is_blank(data[stop - 1]):
        stop -= 1
    if count < least or not (lang[data[stop - 1]] & st.WORD or data[stop - 1] == 62):  # f<T>(
        return -1
    return -1 if role_of_word(data, name, stop, lang, store, s) == words.CONTROL else name


@part
def _in_type(byte):
    return is_blank(byte) or _PUNCTUATION[byte]


@part
def _is_type_word(data, i, stop):
    """Does `data[i:stop]` end with a word of CLASS that the type of a function may begin with?"""
    return (
        spells(data, max(i, stop - len(_STRUCT)), stop, _STRUCT)
        or spells(data, max(i, stop - len(_UNION)), stop, _UNION)
        or spells(data, max(i, stop - len(_ENUM)), stop, _ENUM)
        or spells(data, max(i, stop - len(_TEMPLATE)), stop, _TEMPLATE)
    )


@part
def _is_transparent(data, i, stop):
    """`namespace x {`, `extern "C" {`: what is inside is still at the outermost level."""
    while i < stop and is_blank(data[i]):
        i += 1
    if spells(data, i, stop, _INLINE):
        i += len(_INLINE)
    return spells(data, i, stop, _EXTERN) or spells(data, i, stop, _NAMESPACE)
