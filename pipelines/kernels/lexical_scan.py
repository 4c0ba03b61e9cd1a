"""The one pass over a column: every byte is code, comment, string or docstring, and every line is counted."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numba import njit

from pipelines.kernels import lexical_heads as heads
from pipelines.kernels import lexical_keywords as words
from pipelines.kernels import lexical_state as st
from pipelines.kernels import lexical_syntax as syntax
from pipelines.kernels.lexical_accounts import account
from pipelines.kernels.lexical_functions import end_statement
from pipelines.kernels.lexical_lines import begin_line, end_line, first_word
from pipelines.kernels.lexical_openings import close_heredoc, open_span, template_end
from pipelines.kernels.lexical_spans import line_end
from pipelines.kernels.lexical_state import part


@part
def _scan_document(data, start, end, lang, delimiters, store, s, classes):
    """Read `data[start:end]` once. A plain byte costs a look-up and an `or`; what is special goes further."""
    if start == end:
        return
    i = start
    flags = 0
    if i + 2 < end and data[i] == 0xEF and data[i + 1] == 0xBB and data[i + 2] == 0xBF:  # a byte order mark
        i += 3
        start = i
    stop = _preamble(data, i, end, lang)
    if stop > i:
        span_class = (
            st.CLASS_CODE if lang[st.FEATURES] & syntax.TEMPLATE and data[i + 1] != 33 else st.CLASS_COMMENT
        )
        flags = account(data, i, stop, span_class, flags, lang, store, s, classes)
        i = stop
    else:
        i = begin_line(data, i, end, lang, store, s)
    while i < end:
        byte = data[i]
        kind = lang[byte]
        if not kind & st.SPECIAL:
            flags |= kind
            i += 1
            continue
        if lang[st.COUNT + byte]:
            opening, stop, span_class = open_span(data, start, i, end, lang, delimiters, store, s)
            if stop >= 0:
                if span_class == st.CLASS_STRING and lang[st.FEATURES] & syntax.INDENTED:
                    if _is_docstring(data, stop, end, flags, s):
                        span_class = st.CLASS_DOCSTRING
                    s[st.STATEMENT_STRINGS] += 1
                flags = account(data, opening, stop, span_class, flags, lang, store, s, classes)
                i = stop
                continue
        action = lang[st.ACTION + byte]
        if action == st.ON_NEWLINE or action == st.ON_RETURN:
            if action == st.ON_RETURN and i + 1 < end and data[i + 1] == 10:
                i += 1
                continue
            flags |= _joins(data, start, i, s)
            if lang[st.FEATURES] & syntax.HEADS and s[st.HEAD] >= s[st.LINE]:
                heads.end_head_line(data, i, lang, s)
            end_line(data, i, flags, lang, store, s, False)
            flags = 0
            i += 1
            if s[st.HEREDOC] >= 0:
                stop = close_heredoc(data, i, end, s)
                if stop >= 0:
                    s[st.LINE] = s[st.INDENT] = i
                    flags = account(data, i, stop, st.CLASS_STRING, flags, lang, store, s, classes)
                    i = stop
                    continue
            i = begin_line(data, i, end, lang, store, s)
            continue
        flags |= (kind & (st.WORD | st.OPERATOR)) | st.CODE
        i = _act(action, data, start, i, end, flags, lang, store, s)
        flags |= s[st.ACTED]
    end_line(data, end, flags, lang, store, s, False)
    if lang[st.FEATURES] & syntax.INDENTED:
        if (s[st.PARENS] or s[st.JOINED]) and s[st.STATEMENT_FLAGS] & st.CODE:
            end_statement(data, end, lang, store, s)
        s[st.TRIVIAL_FUNCTIONS] += s[st.FUNCTION] >= 0


@part
def _reset(start, s):
    s[: st.NESTED] = 0
    s[st.LINE] = s[st.INDENT] = start
    s[st.COLON] = s[st.FUNCTION] = s[st.HEAD] = s[st.HEAD_PAREN] = s[st.HEREDOC] = -1
    s[st.COMMENT_START] = s[st.COMMENT_END] = s[st.STRING_END] = s[st.NO_REGEX] = -1


@part
def _preamble(data, i, end, lang):
    """The end of a first line "#!…", which is a comment in every language, or of the text before PHP's code."""
    # But #![…] is an attribute of Rust.
    if i + 2 < end and data[i] == 35 and data[i + 1] == 33 and data[i + 2] != 91:
        return line_end(data, i, end, 0)
    if lang[st.FEATURES] & syntax.TEMPLATE:
        stop = template_end(data, i, end)
        # A fragment without any tag is code.
        if stop < end or (end - i >= 2 and data[end - 1] == 63 and data[end - 2] == 60):
            return stop
    return i


@part
def _is_docstring(data, i, end, flags, s):
    """A string that ends before `i` and is a statement of its own."""
    if flags & st.CODE or s[st.PARENS] or s[st.JOINED]:
        return False
    while i < end and (data[i] == 32 or data[i] == 9):
        i += 1
    return i == end or data[i] == 10 or data[i] == 13 or data[i] == 35 or data[i] == 59


@part
def _joins(data, start, i, s):
    """JOINS when a backslash before the line's end at `i` joins it to the next line."""
    if i > start and data[i - 1] == 13:
        i -= 1
    return st.JOINS if i > start and data[i - 1] == 92 and i != s[st.COMMENT_END] else 0


@part
def _act(action, data, start, i, end, flags, lang, store, s):
    """Do what the byte at `i` does -> where to go on; ACTED are the flags it adds to its line."""
    features = lang[st.FEATURES]
    s[st.ACTED] = 0
    if action == 0:
        return i + 1
    if action == st.ON_ESCAPE:
        return i + 1 if i + 1 < end and (data[i + 1] == 10 or data[i + 1] == 13) else i + 2
    if action == st.ON_ASSIGN:
        return _assign(data, start, i, end, features, s)
    if action == st.ON_MINUS:
        before = i > start and (lang[data[i - 1]] & st.WORD or data[i - 1] == 41 or data[i - 1] == 93)
        if i + 1 < end and data[i + 1] == 62:  # ->
            return i + 2
        if before or (i + 1 < end and data[i + 1] == 32):
            s[st.ACTED] = st.OPERATOR
        return i + 1
    if s[st.IN_DIRECTIVE]:
        return i + 1
    if action == st.ON_OPEN or action == st.ON_BRACE:
        s[st.DEPTH] += 1
        s[st.MAX_DEPTH] = max(s[st.MAX_DEPTH], s[st.DEPTH])
        if action == st.ON_BRACE:
            s[st.ACTED] = heads.open_brace(data, i, lang, store, s)
        elif data[i] == 40:
            if i > start and lang[data[i - 1]] & st.WORD:
                s[st.ACTED] = st.CALL
            heads.open_parenthesis(data, i, start, lang, s)
        else:
            s[st.PARENS] += 1
    elif action == st.ON_CLOSE or action == st.ON_UNBRACE:
        s[st.DEPTH] = max(0, s[st.DEPTH] - 1)
        if action == st.ON_UNBRACE:
            heads.close_brace(data, i, lang, s)
        else:
            heads.close_parenthesis(i, s)
        if not flags & st.WORD and features & syntax.STATEMENTS and not features & syntax.INDENTED:
            _word_behind_bracket(data, i + 1, end, lang, store, s)
    elif action == st.ON_SEMICOLON:
        s[st.ACTED] = heads.semicolon(data, i, lang, store, s)
    elif s[st.STATEMENT_ROLE] == words.DEF and s[st.PARENS] == 0 and s[st.COLON] < 0:  # ON_COLON
        s[st.COLON] = i + 1
    return i + 1


@part
def _word_behind_bracket(data, i, end, lang, store, s):
    """`} else {`: brackets that close at the start of a line are not its first word."""
    while i < end and (data[i] == 32 or data[i] == 9):
        i += 1
    if i < end and lang[data[i]] & st.WORD:
        first_word(data, i, end, lang, store, s, s[st.PARENS] == 0)


@part
def _assign(data, start, i, end, features, s):
    """`=` alone or behind an operator assigns; `==`, `<=`, `!=` compare; `=>` does neither."""
    after = data[i + 1] if i + 1 < end else 0
    if after == 62:
        return i + 2
    if after == 61:
        s[st.ACTED] = st.OPERATOR
        return i + 3 if i + 2 < end and data[i + 2] == 61 else i + 2
    before = data[i - 1] if i > start else 0
    if before == 33 or ((before == 60 or before == 62) and not (i > start + 1 and data[i - 2] == before)):
        s[st.ACTED] = st.OPERATOR
        return i + 1
    # The operators that are not OPERATOR by themselves in every language.
    arithmetic = before == 60 or before == 62 or before == 38 or before == 42
    if s[st.PARENS] == 0 or not features & syntax.NAMED_ARGUMENTS:
        s[st.ACTED] = st.ASSIGNS | st.OPERATOR if arithmetic else st.ASSIGNS
    return i + 1


def _sources() -> int:
    """A number for the source text of the whole kernel."""
    folder = Path(__file__).parent
    text = b"".join(path.read_bytes() for path in sorted(folder.glob("lexical*.py")))
    return int.from_bytes(hashlib.sha256(text).digest()[:7], "big")


def _compile(sources):
    """numba keeps compiled code by the file a kernel stands in and by what it closes over. The parts of this one
    are other files, so it closes over `sources`: without that, an update of a part would leave old code in use.
    """

    @njit(cache=True, nogil=True)
    def scan(offsets, data, languages, t, out, classes):
        """Fill `out[document]`; and `classes`, unless it is empty, with the class of every byte of `data`."""
        s = np.zeros(st.STATE, np.int64)
        if sources < 0:  # never: see _compile
            return
        for document in range(len(offsets) - 1):
            _reset(offsets[document], s)
            _scan_document(
                data,
                offsets[document],
                offsets[document + 1],
                t.languages[languages[document]],
                t.delimiters,
                t.store,
                s,
                classes,
            )
            out[document] = s[: st.COLUMNS]

    return scan


scan = _compile(_sources())
