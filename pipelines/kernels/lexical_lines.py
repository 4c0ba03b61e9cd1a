"""What a line of code is about: its role, from its first word, and what is counted when it ends."""

from __future__ import annotations

import numpy as np

from pipelines.kernels import lexical_keywords as words
from pipelines.kernels import lexical_state as st
from pipelines.kernels import lexical_syntax as syntax
from pipelines.kernels.lexical_functions import begin_statement, end_statement
from pipelines.kernels.lexical_state import part
from pipelines.kernels.lexical_words import is_blank, role_of_word, spells

_ELLIPSIS = np.frombuffer(b"...", np.uint8)


@part
def begin_line(data, i, end, lang, store, s):
    """Note the role of the line that starts at `i`, from its first word -> where its code starts."""
    s[st.LINE] = i
    while i < end and (data[i] == 32 or data[i] == 9 or data[i] == 12 or data[i] == 11):
        i += 1
    s[st.INDENT] = i
    s[st.ROLE] = words.NONE
    if i == end:
        return i
    features = lang[st.FEATURES]
    if not features & syntax.STATEMENTS:
        return i
    byte = data[i]
    if byte == 35 and features & syntax.DIRECTIVES:
        s[st.IN_DIRECTIVE] = 1
        j = i + 1
        while j < end and (data[j] == 32 or data[j] == 9):
            j += 1
        s[st.ROLE] = (
            words.IMPORT if role_of_word(data, j, end, lang, store, s) == words.IMPORT else words.DIRECTIVE
        )
        return i
    if s[st.HEAD] < 0:
        s[st.HEAD] = i
    fresh = not (s[st.PARENS] or s[st.JOINED])
    if fresh and features & syntax.INDENTED:
        begin_statement(i - s[st.LINE], s)
    if not fresh:
        s[st.ROLE] = words.CONTINUED
    return first_word(data, i, end, lang, store, s, fresh)


@part
def first_word(data, i, end, lang, store, s, fresh):
    """Set the role of the line whose first code may start at `i` -> `i`, or behind the prefix of a string."""
    features = lang[st.FEATURES]
    byte = data[i]
    if not lang[byte] & st.WORD:
        attribute = (byte == 35 or byte == 91) and features & syntax.ATTRIBUTES and fresh
        if attribute or (byte == 64 and features & syntax.DECORATORS):
            s[st.ROLE] = words.DECORATOR
        elif features & syntax.INDENTED and spells(data, i, end, _ELLIPSIS):
            s[st.ROLE] = words.ELLIPSIS
    else:
        role = role_of_word(data, i, end, lang, store, s)
        if features & syntax.INDENTED and _is_string_prefix(data, i, s[st.WORD_END], end):
            return s[st.WORD_END]
        if features & syntax.INDENTED and not fresh:
            # A bracket that is never closed must not silence the rest of the file: these words start statements.
            starts = role == words.DEF or role == words.PASS or role == words.CLASS or role == words.RETURN
            if starts and not s[st.JOINED]:
                s[st.PARENS] = s[st.DEPTH] = 0
                begin_statement(i - s[st.LINE], s)
            else:
                role = words.CONTINUED
        elif not fresh:
            role = words.CONTINUED
        s[st.ROLE] = role
    if features & syntax.INDENTED and s[st.ROLE] != words.CONTINUED:
        s[st.STATEMENT_ROLE] = s[st.ROLE]
        s[st.STATEMENT_WORD] = s[st.WORD_END]
    return i


@part
def _is_string_prefix(data, i, quote, end):
    """Is the word before a quote the r, b, u, f or rb of Python's strings, and not code?"""
    if quote == end or quote - i > 3 or (data[quote] != 34 and data[quote] != 39):
        return False
    for j in range(i, quote):
        byte = data[j] | 0x20
        if byte != 114 and byte != 98 and byte != 117 and byte != 102 and byte != 116:
            return False
    return True


@part
def end_line(data, i, flags, lang, store, s, in_span):
    """Count the line that ends at `i`. Inside a comment or string no statement can end with it."""
    features = lang[st.FEATURES]
    s[st.LONG_STRING_LINES] += (flags & st.LONG_STRING) != 0
    s[st.PROMPT_LINES] += (flags & st.PROMPT) != 0
    if flags & st.CODE:
        s[st.LINES] += 1
        s[st.CODE_LINES] += 1
        if features & syntax.STATEMENTS:
            _end_code_line(data, i, flags, features, lang, store, s)
    elif flags & st.COMMENT:
        s[st.LINES] += 1
        s[st.COMMENT_LINES] += 1
    if features & syntax.INDENTED:
        s[st.STATEMENT_FLAGS] |= flags
    if not in_span:
        s[st.IN_DIRECTIVE] = s[st.IN_DIRECTIVE] and flags & st.JOINS
        s[st.JOINED] = flags & st.JOINS
        whole = features & syntax.INDENTED and not s[st.JOINED] and s[st.PARENS] == 0
        if whole and s[st.STATEMENT_FLAGS] & st.CODE:
            end_statement(data, code_end(data, i, s), lang, store, s)
            s[st.STATEMENT_FLAGS] = 0
    s[st.ROLE] = words.CONTINUED


@part
def _end_code_line(data, i, flags, features, lang, store, s):
    role = s[st.ROLE]
    if words.NONE < role <= words.RETURN:
        s[st.DEF_LINES - 1 + role] += 1
    if flags & st.DEFINES and role != words.DEF:
        s[st.DEF_LINES] += 1
    s[st.DECLARATION_LINES] += (flags & st.DECLARES) != 0
    s[st.PREPROCESSOR_LINES] += s[st.IN_DIRECTIVE] != 0 and (role == words.IMPORT or role == words.DIRECTIVE)
    assigns = (flags & st.ASSIGNS) != 0 or role == words.VARIABLE
    only_declares = (
        role == words.IMPORT
        or role == words.DEF
        or role == words.CLASS
        or role == words.PASS
        or role == words.ELLIPSIS
        or role == words.DECORATOR
        or (flags & (st.DEFINES | st.DECLARES)) != 0
    )
    acts = (
        (flags & (st.CALL | st.OPERATOR)) != 0
        or role == words.CONTROL
        or role == words.CONTINUED
        or role == words.DIRECTIVE
    )
    if not (only_declares or acts or assigns or role == words.RETURN):
        assigns = _is_field(data, s[st.INDENT], code_end(data, i, s), features, lang)
    s[st.ASSIGNMENTS] += assigns
    s[st.LOGIC_LINES] += not (only_declares or (not acts and (assigns or role == words.RETURN)))


@part
def code_end(data, i, s):
    """Behind the last code byte of the line that ends at `i`."""
    while True:
        while i > s[st.INDENT] and is_blank(data[i - 1]):
            i -= 1
        if i != s[st.COMMENT_END] or i <= s[st.COMMENT_START]:
            return i
        i = max(s[st.COMMENT_START], s[st.INDENT])
        if i == s[st.INDENT]:
            return i


@part
def _is_field(data, i, stop, features, lang):
    """A declaration without a value: `Type name;` in the C family, `name: type` in Python."""
    if stop <= i or not features & (syntax.FIELDS | syntax.INDENTED) or not lang[data[i]] & st.WORD:
        return False
    count, names = 0, -1  # words, and how many stand before the first colon
    inside = False
    for j in range(i, stop):
        is_word = (lang[data[j]] & st.WORD) != 0
        count += is_word and not inside
        inside = is_word
        if data[j] == 58 and names < 0:
            names = count
    if features & syntax.INDENTED:
        return names == 1 and data[stop - 1] != 58
    return data[stop - 1] == 59 and count >= 2
