"""The terms in which `lexical_languages` describes comments, strings and statements of a language."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from pipelines.kernels.lexical_keywords import Keywords

# Kinds of delimiter.
LINE, BLOCK, STRING, CHARACTER, HEREDOC, REGEX, LONG_BRACKET, POD, PERCENT, OUTSIDE = range(10)

# Flags of a delimiter: where it may stand.
LINE_START = 1 << 0  # in the first column
FIRST = 1 << 1  # before any code of its line
WORD_START = 1 << 2  # behind a blank or what ends a command
NOT_AFTER_WORD = 1 << 3
NOT_OPERATOR = 1 << 4  # Haskell: "-->" is an operator
NOT_ATTRIBUTE = 1 << 5  # PHP: "#[" is an attribute
VALUE_START = 1 << 19  # YAML: a quote inside a plain scalar is text
# How the bytes behind it are read.
NESTS = 1 << 6
MULTILINE = 1 << 7  # else the line's end closes a string
DOUBLES = 1 << 8  # the quote twice is the quote itself
GREEDY = 1 << 9  # Kotlin, Scala: further quotes behind the closing ones belong to the string
CONTINUES = 1 << 10  # a backslash before the line's end continues a line comment
ENDS_AT_TAG = 1 << 11  # PHP: "?>" closes a line comment
COMMENTS = 1 << 12  # a long bracket that is a comment
COMMAND = 1 << 13  # Ruby, Perl: a regular expression may be the argument of a word
# What a prefix changes.
RAW = 1 << 14  # r: nothing escapes
HASHES = 1 << 15  # r##"…"## (Rust), ##"…"## (Swift)
DELIMITED = 1 << 16  # R"delimiter(…)delimiter" (C++)
VERBATIM = 1 << 17  # @: many lines, doubled quotes, no escape (C#)
QUOTES = 1 << 18  # as many quotes close as opened (C#)

# Features of a language.
STATEMENTS, INDENTED, DIRECTIVES, HEADS, ONE_WORD_HEADS, DECLARATIONS = (1 << i for i in range(6))
FIELDS, NAMED_ARGUMENTS, IGNORE_CASE, ESCAPES, DECORATORS, ATTRIBUTES, TEMPLATE, NEWLINES = (
    1 << i for i in range(6, 14)
)


class Delimiter(NamedTuple):
    """What opens a comment or string, what closes it, and how the bytes between are read."""

    kind: int
    opening: str
    closing: str = ""
    flags: int = 0
    escape: str = ""  # the byte that takes the meaning of the next one away
    inner: str = ""  # opens code inside the string: "${"; up to the bracket that fits
    prefix: str = ""  # letters that may stand before the opening quote, at most three


@dataclass(frozen=True, slots=True)
class Syntax:
    delimiters: tuple[Delimiter, ...] = ()
    keywords: Keywords = field(default_factory=dict)
    features: int = 0
    operators: str = "+/%^|!*&~"
    letters: str = ""  # that belong to words beside A-Z, a-z, 0-9, _ and everything that is not ASCII


def line(opening: str, flags: int = 0) -> Delimiter:
    return Delimiter(LINE, opening, flags=flags)


def block(opening: str, closing: str, flags: int = 0) -> Delimiter:
    return Delimiter(BLOCK, opening, closing, flags)


def string(quote: str, flags: int = 0, escape: str = "\\", inner: str = "", prefix: str = "") -> Delimiter:
    return Delimiter(STRING, quote, quote, flags, escape, inner, prefix)


def long_string(
    quote: str, flags: int = 0, escape: str = "\\", inner: str = "", prefix: str = ""
) -> Delimiter:
    return string(quote, flags | MULTILINE, escape, inner, prefix)


def character(prefix: str = "") -> Delimiter:
    """'x' or '\\n', and not a lifetime, a type variable, a prime or a quoted symbol."""
    return Delimiter(CHARACTER, "'", "'", NOT_AFTER_WORD, "\\", prefix=prefix)
