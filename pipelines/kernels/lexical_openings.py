"""Does a delimiter really open a comment or a string where its bytes stand, and how far does that go?"""

from __future__ import annotations

from pipelines.kernels import lexical_keywords as words
from pipelines.kernels import lexical_spans as spans
from pipelines.kernels import lexical_state as st
from pipelines.kernels import lexical_syntax as syntax
from pipelines.kernels.lexical_state import part
from pipelines.kernels.lexical_words import is_blank, role_of_word

_FAILURES = 8
"""Here-documents that never close, after which none is looked for: the search must stay linear."""


@part
def open_span(data, start, i, end, lang, delimiters, store, s):
    """The comment or string whose delimiter begins at `i` -> (where it begins, where it ends, class).

    It begins before `i` when the quote has a prefix, and ends at -1 when nothing opens here.
    """
    first = lang[st.FIRST + data[i]]
    for d in range(first, first + lang[st.COUNT + data[i]]):
        delimiter = delimiters[d]
        after = i + delimiter[st.OPENING_SIZE]
        if not spans.matches(data, i, end, delimiter, st.OPENING, delimiter[st.OPENING_SIZE]):
            continue
        flags, kind = delimiter[st.FLAGS], delimiter[st.KIND]
        opening = _with_prefix(data, start, i, delimiter, lang)
        if not _may_stand(data, start, opening, after, end, flags, lang, s):
            continue
        if kind == syntax.LINE:
            return i, spans.line_end(data, after, end, flags), st.CLASS_COMMENT
        if kind == syntax.BLOCK:
            return i, spans.block_end(data, after, end, delimiter, flags), st.CLASS_COMMENT
        if kind == syntax.STRING:
            opening, stop = _string(data, start, opening, i, after, end, delimiter, lang, flags)
            return opening, stop, st.CLASS_STRING
        stop, span_class = -1, st.CLASS_STRING
        if kind == syntax.CHARACTER:
            stop = spans.character_end(data, i, end)
        elif kind == syntax.REGEX:
            stop = _regex(data, start, i, end, flags, lang, store, s)
        elif kind == syntax.PERCENT:
            stop = _percent(data, start, i, end, lang, store, s)
        elif kind == syntax.HEREDOC:
            _note_heredoc(data, start, i, after, end, lang, s)
        elif kind == syntax.LONG_BRACKET:
            stop = spans.long_bracket_end(data, after, end)
            span_class = st.CLASS_COMMENT if flags & syntax.COMMENTS else st.CLASS_STRING
        elif kind == syntax.POD:
            if after < end and 97 <= data[after] | 0x20 <= 122:
                stop, span_class = spans.pod_end(data, after, end), st.CLASS_COMMENT
        elif kind == syntax.OUTSIDE:
            stop, span_class = template_end(data, after, end), st.CLASS_CODE
        if stop >= 0:
            return opening, stop, span_class
    return i, -1, st.CLASS_CODE


@part
def template_end(data, i, end):
    """PHP: behind the next `<?php`, `<?=` or `<?`."""
    while i + 1 < end:
        if data[i] == 60 and data[i + 1] == 63:
            i += 2
            while i < end and (data[i] == 61 or 97 <= data[i] | 0x20 <= 122):
                i += 1
            return i
        i += 1
    return end


@part
def _with_prefix(data, start, i, delimiter, lang):
    """Where the letters before the quote at `i` begin that belong to it."""
    j = i
    while j > start and i - j < 3 and delimiter[st.MARK + data[j - 1]] & st.PREFIX:
        j -= 1
    return i if j > start and lang[data[j - 1]] & st.WORD else j


@part
def _may_stand(data, start, i, after, end, flags, lang, s):
    if flags & syntax.LINE_START and i != s[st.LINE]:
        return False
    if flags & syntax.FIRST and i != s[st.INDENT]:
        return False
    if i > start:
        before = data[i - 1]
        if flags & syntax.NOT_AFTER_WORD and lang[before] & st.WORD:
            return False
        # ; & | ( ) end a command, the other bytes go on with a word.
        ends = before == 59 or before == 38 or before == 124 or before == 40 or before == 41
        if flags & syntax.WORD_START and not is_blank(before) and not ends and i != s[st.LINE]:
            return False
        if flags & syntax.VALUE_START and not _begins_value(data, i, s):
            return False
    if after < end:
        if flags & syntax.NOT_ATTRIBUTE and data[after] == 91:
            return False
        if flags & syntax.NOT_OPERATOR:
            while after < end and data[after] == 45:
                after += 1
            if after < end and lang[data[after]] & st.OPERATOR:
                return False
    return True


@part
def _begins_value(data, i, s):
    """At the start of its line, or behind one of : - [ { , ? and blanks."""
    while i > s[st.LINE] and is_blank(data[i - 1]):
        i -= 1
    if i == s[st.LINE]:
        return True
    before = data[i - 1]
    return before == 58 or before == 45 or before == 91 or before == 123 or before == 44 or before == 63


@part
def _string(data, start, opening, i, after, end, delimiter, lang, flags):
    """(where the string begins, its prefix included, where it ends)"""
    escape = delimiter[st.ESCAPE]
    if flags & syntax.HASHES:
        hashes = i
        while hashes > start and data[hashes - 1] == 35:
            hashes -= 1
        before = _with_prefix(data, start, hashes, delimiter, lang)
        raw = before < hashes and data[hashes - 1] == 114  # r##"
        if i > hashes and (raw or not delimiter[st.MARK + 114] & st.PREFIX):
            return before, spans.run_end(data, after, end, data[i], 35, i - hashes)
        if raw:
            escape = 0
    elif opening < i:
        if flags & syntax.DELIMITED and data[i - 1] == 82:
            stop = spans.delimited_end(data, after, end)
            if stop >= 0:
                return opening, stop
        elif flags & syntax.VERBATIM and (data[opening] == 64 or data[i - 1] == 64):
            flags |= syntax.MULTILINE | syntax.DOUBLES
            escape = 0
        elif flags & syntax.RAW:
            escape = 0
            return opening, spans.plain_end(data, after, end, delimiter, flags)
    if flags & syntax.QUOTES:
        while after < end and data[after] == 34:
            after += 1
        return opening, spans.run_end(data, after, end, 34, 34, after - i - 1)
    return opening, spans.string_end(data, after, end, delimiter, flags, escape)


@part
def _before(data, start, i, s):
    """The last code byte before `i`, comments and blanks left out; `start - 1` when there is none."""
    i -= 1
    while i >= start and is_blank(data[i]):
        i -= 1
    if i + 1 == s[st.COMMENT_END]:
        i = s[st.COMMENT_START] - 1
        while i >= start and is_blank(data[i]):
            i -= 1
    return i


@part
def _expects_value(data, start, i, end, lang, store, s):
    """Can what begins at `i` be an operand, and not an operator behind one?"""
    before = _before(data, start, i, s)
    if before < start:
        return True
    if before + 1 == s[st.STRING_END]:
        return False
    byte = data[before]
    if not lang[byte] & st.WORD:
        return byte != 41 and byte != 93 and byte != 125 and byte != 60
    word = before
    while word > start and before - word < 12 and lang[data[word - 1]] & st.WORD:
        word -= 1
    role = role_of_word(data, word, before + 1, lang, store, s)
    return role == words.CONTROL or role == words.RETURN


@part
def _stands_as_argument(data, start, i, end, flags):
    """`puts /x/`: a blank before and none behind."""
    return (
        flags & syntax.COMMAND
        and i > start
        and data[i - 1] == 32
        and i + 1 < end
        and not is_blank(data[i + 1])
    )


@part
def _regex(data, start, i, end, flags, lang, store, s):
    if i < s[st.NO_REGEX]:
        return -1
    if not _expects_value(data, start, i, end, lang, store, s) and not _stands_as_argument(
        data, start, i, end, flags
    ):
        return -1
    stop = spans.regex_end(data, i + 1, end)
    if stop < 0:
        s[st.NO_REGEX] = spans.line_end(data, i, end, 0)
    return stop


@part
def _percent(data, start, i, end, lang, store, s):
    """Ruby's %w[…], %q(…), %(…)."""
    j = i + 1
    if j < end and 97 <= data[j] | 0x20 <= 122:
        j += 1
    if j >= end or is_blank(data[j]) or lang[data[j]] & st.WORD or data[j] == 61:
        return -1
    bracket = data[j] == 40 or data[j] == 91 or data[j] == 123
    if (j == i + 1 and not bracket) or i < s[st.NO_REGEX]:
        return -1
    if not _expects_value(data, start, i, end, lang, store, s) and not _stands_as_argument(
        data, start, i, end, syntax.COMMAND
    ):
        return -1
    return spans.bracketed_end(data, j, end)


@part
def _note_heredoc(data, start, i, after, end, lang, s):
    """Remember the word behind `<<` that will close a here-document; its text begins on the next line."""
    if s[st.FAILURES] >= _FAILURES or s[st.HEREDOC] >= 0 or (i > start and data[i - 1] == 60):
        return
    j = after
    php = after - i == 3
    if not php and j < end and data[j] == 60:  # <<< is a here-string
        return
    indented = php
    marked = php
    if j < end and (data[j] == 45 or data[j] == 126):
        indented = marked = True
        j += 1
    if lang[st.FEATURES] & syntax.ESCAPES:  # the shell allows blanks
        marked = True
        while j < end and data[j] == 32:
            j += 1
    if j < end and (data[j] == 34 or data[j] == 39 or data[j] == 92):
        marked = True
        j += 1
    word = j
    while j < end and (lang[data[j]] & st.WORD) and data[j] < 0x80:
        j += 1
    if j > word and not 48 <= data[word] <= 57 and (marked or 65 <= data[word] <= 90):
        s[st.HEREDOC], s[st.HEREDOC_SIZE], s[st.HEREDOC_INDENTED] = word, j - word, indented


@part
def close_heredoc(data, i, end, s):
    """The end of the here-document whose text begins at `i`, -1 when its word never comes."""
    stop = spans.heredoc_end(data, i, end, s[st.HEREDOC], s[st.HEREDOC_SIZE], s[st.HEREDOC_INDENTED] != 0)
    s[st.HEREDOC] = -1
    s[st.FAILURES] += stop < 0
    return stop
