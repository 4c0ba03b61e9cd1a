"""Where a comment or a string ends. All functions look forward once; none allocates, none can fail.

`data[i:end]` is what is left of the document; `delimiter` is a row of `Tables.delimiters`.
"""

from __future__ import annotations

from pipelines.kernels import lexical_state as st
from pipelines.kernels import lexical_syntax as syntax
from pipelines.kernels.lexical_state import part
from pipelines.kernels.lexical_words import is_line_end, is_word

_NEWLINE, _RETURN, _BACKSLASH = 10, 13, 92
_DEEPEST = 7  # strings inside code inside strings


@part
def matches(data, i, end, delimiter, text, size):
    """Does the opening or closing of a delimiter, `size` bytes from `text`, stand at `i`? In either case."""
    if i + size > end:
        return False
    for k in range(size):
        byte = delimiter[text + k]
        if data[i + k] != byte and not (97 <= byte <= 122 and data[i + k] | 0x20 == byte):
            return False
    return True


@part
def line_end(data, i, end, flags):
    """The line's end at or behind `i`, or `end`."""
    while i < end:
        byte = data[i]
        if is_line_end(byte):
            if not (flags & syntax.CONTINUES and data[i - 1] == _BACKSLASH):
                return i
            if byte == _RETURN and i + 1 < end and data[i + 1] == _NEWLINE:
                i += 1
        elif byte == 63 and flags & syntax.ENDS_AT_TAG and i + 1 < end and data[i + 1] == 62:  # ?>
            return i
        i += 1
    return end


@part
def block_end(data, i, end, delimiter, flags):
    """Behind the block comment whose opening ends before `i`."""
    open_, close = delimiter[st.OPENING], delimiter[st.CLOSING]
    depth = 1
    while i < end:
        byte = data[i]
        if byte == close and matches(data, i, end, delimiter, st.CLOSING, delimiter[st.CLOSING_SIZE]):
            if not flags & syntax.LINE_START:
                i += delimiter[st.CLOSING_SIZE]
                depth -= 1
                if depth == 0:
                    return i
                continue
            if is_line_end(data[i - 1]):
                return line_end(data, i, end, 0)
        if (
            byte == open_
            and flags & syntax.NESTS
            and matches(data, i, end, delimiter, st.OPENING, delimiter[st.OPENING_SIZE])
        ):
            i += delimiter[st.OPENING_SIZE]
            depth += 1
            continue
        i += 1
    return end


@part
def string_end(data, i, end, delimiter, flags, escape):
    """Behind the string whose opening ends before `i`; the line's end when it must close on its line."""
    quote, inner = delimiter[st.CLOSING], delimiter[st.INNER]
    while i < end:
        byte = data[i]
        if not delimiter[st.MARK + byte] & st.STOP:
            i += 1
        elif byte == quote and matches(data, i, end, delimiter, st.CLOSING, delimiter[st.CLOSING_SIZE]):
            i += delimiter[st.CLOSING_SIZE]
            if flags & syntax.DOUBLES and i < end and data[i] == quote:
                i += 1
                continue
            while flags & syntax.GREEDY and i < end and data[i] == quote:
                i += 1
            return i
        elif byte == inner and inner != 0 and i + 1 < end and data[i + 1] == delimiter[st.INNER + 1]:
            i = _inner_end(data, i + 2, end, delimiter, flags)
        elif byte == escape and escape != 0:
            i += 3 if i + 2 < end and data[i + 1] == _RETURN and data[i + 2] == _NEWLINE else 2
        elif is_line_end(byte) and not flags & syntax.MULTILINE:
            return i
        else:
            i += 1
    return end


@part
def _inner_end(data, i, end, delimiter, flags):
    """Behind the bracket that closes the code inside a string.

    The code may hold strings, and those code again, seven deep; comments in it are not looked for.
    """
    quote, inner, open_ = delimiter[st.CLOSING], delimiter[st.INNER], delimiter[st.INNER + 1]
    close = 125 if open_ == 123 else 41
    within = 0  # the quote of the string we are in, 0 in code
    brackets = 1
    level = outer_quotes = outer_brackets = 0  # eight bits a level
    while i < end:
        byte = data[i]
        if is_line_end(byte) and not flags & syntax.MULTILINE:
            return i
        if within == 0:
            if byte == open_:
                brackets += 1
            elif byte == close:
                brackets -= 1
                if brackets == 0:
                    if level == 0:
                        return i + 1
                    level -= 1
                    within = (outer_quotes >> 8 * level) & 255
                    brackets = (outer_brackets >> 8 * level) & 255
            elif byte == 34 or byte == 39 or byte == 96:
                within = byte
            elif byte == _BACKSLASH:
                i += 1
        elif byte == inner and within == quote and i + 1 < end and data[i + 1] == open_:
            i += 1
            if level < _DEEPEST and brackets < 256:
                mask = ~(255 << 8 * level)
                outer_quotes = (outer_quotes & mask) | (within << 8 * level)
                outer_brackets = (outer_brackets & mask) | (brackets << 8 * level)
                level += 1
                within, brackets = 0, 1
        elif byte == within:
            within = 0
        elif byte == _BACKSLASH:
            i += 1
        i += 1
    return end


@part
def run_end(data, i, end, first, then, count):
    """Behind the first byte `first` that `count` bytes `then` follow: "## in Rust, \"\"\" in C#."""
    while i < end:
        if data[i] == first:
            k = 0
            while k < count and i + 1 + k < end and data[i + 1 + k] == then:
                k += 1
            if k == count:
                return i + 1 + count
            i += k
        i += 1
    return end


@part
def delimited_end(data, i, end):
    """Behind C++'s `delimiter(…)delimiter"` whose delimiter starts at `i`, -1 when it is none."""
    size = 0
    while i + size < end and size <= 16 and data[i + size] != 40:
        byte = data[i + size]
        if byte == 41 or byte == _BACKSLASH or byte <= 32 or byte == 34:
            return -1
        size += 1
    if size > 16 or i + size >= end:
        return -1
    j = i + size + 1
    while j + size + 1 < end:
        if data[j] == 41 and data[j + size + 1] == 34:
            k = 0
            while k < size and data[j + 1 + k] == data[i + k]:
                k += 1
            if k == size:
                return j + size + 2
        j += 1
    return end


@part
def long_bracket_end(data, i, end):
    """Behind Lua's `=*[…]=*]` whose first bracket is before `i`, -1 when it is none."""
    level = 0
    while i + level < end and data[i + level] == 61:
        level += 1
    if i + level >= end or data[i + level] != 91:
        return -1
    i += level + 1
    while i < end:
        if data[i] == 93:
            k = 0
            while k < level and i + 1 + k < end and data[i + 1 + k] == 61:
                k += 1
            if k == level and i + 1 + k < end and data[i + 1 + k] == 93:
                return i + 2 + level
            i += k
        i += 1
    return end


@part
def character_end(data, i, end):
    """Behind the character literal whose quote is at `i`, -1 when it is something else (a lifetime, a prime)."""
    if i + 2 >= end:
        return -1
    byte = data[i + 1]
    if byte == _BACKSLASH:
        for j in range(i + 3, min(end, i + 16)):
            if data[j] == 39:
                return j + 1
            if data[j] == _NEWLINE:
                return -1
        return -1
    if byte == 39 or is_line_end(byte):
        return -1
    after = i + 2
    while after < end and (data[after] & 0xC0) == 0x80 and after < i + 5:
        after += 1
    return after + 1 if after < end and data[after] == 39 else -1


@part
def regex_end(data, i, end):
    """Behind the regular expression whose slash is before `i`, -1 when the line ends first."""
    in_class = False
    while i < end:
        byte = data[i]
        if is_line_end(byte):
            return -1
        if byte == _BACKSLASH:
            i += 1
        elif byte == 91:
            in_class = True
        elif byte == 93:
            in_class = False
        elif byte == 47 and not in_class:
            return i + 1
        i += 1
    return -1


@part
def bracketed_end(data, i, end):
    """Behind Ruby's `(…)`, `{…}`, `|…|` or the like that opens at `i`."""
    open_ = data[i]
    close = (
        41 if open_ == 40 else 93 if open_ == 91 else 125 if open_ == 123 else 62 if open_ == 60 else open_
    )
    depth = 1
    i += 1
    while i < end:
        byte = data[i]
        if byte == close:
            depth -= 1
            if depth == 0:
                return i + 1
        elif byte == open_:
            depth += 1
        elif byte == _BACKSLASH:
            i += 1
        i += 1
    return end


@part
def pod_end(data, i, end):
    """Behind the line "=cut" that closes Perl's documentation."""
    while i < end:
        i = line_end(data, i, end, 0) + 1
        if i + 3 < end and data[i] == 61 and data[i + 1] == 99 and data[i + 2] == 117 and data[i + 3] == 116:
            return line_end(data, i, end, 0)
    return end


@part
def heredoc_end(data, i, end, word, size, indented):
    """Behind the word that closes a here-document whose text starts at `i`, -1 when none does."""
    while i < end:
        j = i
        while indented and j < end and (data[j] == 32 or data[j] == 9):
            j += 1
        k = 0
        while k < size and j + k < end and data[j + k] == data[word + k]:
            k += 1
        if k == size and (j + k == end or not is_word(data[j + k])):
            return j + k
        i = line_end(data, i, end, 0) + 1
    return -1


@part
def plain_end(data, i, end, delimiter, flags):
    """Behind the string in which nothing but its closing has a meaning."""
    while i < end:
        if data[i] == delimiter[st.CLOSING] and matches(
            data, i, end, delimiter, st.CLOSING, delimiter[st.CLOSING_SIZE]
        ):
            return i + delimiter[st.CLOSING_SIZE]
        if is_line_end(data[i]) and not flags & syntax.MULTILINE:
            return i
        i += 1
    return end
