"""The classes of bytes against a lexer of regular expressions, slow and obvious; and columns of texts."""

from __future__ import annotations

import itertools
import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.kernels.lexical import LexicalStats, lexical_stats
from tests.pipelines.kernels.lexical_classes import CODE, COMMENT, DOCSTRING, STRING, classes, stats

# --- an oracle that is slow and obvious: one regular expression a language ---

BLANKS = " \t\n\r\v\f"
END = r"(?:\r\n|\r|\n)"


def quoted(quote: str, *, escapes: bool = True, lines: bool = False) -> str:
    escape = rf"\\(?:{END}|.)|\\\Z|" if escapes else ""
    plain = rf"(?!{quote}|{END}{'' if not lines else '(?!)'}{'|' if escapes else ''}{chr(92) * 2 if escapes else ''})."
    closing = rf"(?:{quote}|\Z)" if lines else rf"(?:{quote}|(?={END})|\Z)"
    return rf"{quote}(?:{escape}{plain})*{closing}"


PREFIX = r"(?:(?<![^\W]|[^\x00-\x7f])[rRbBuUfF]{1,3})?"
ORACLES = {
    "Python": (
        r"\#[^\r\n]*",
        "|".join(PREFIX + quoted(q, lines=len(q) == 3) for q in ('"""', "'''", '"', "'")),
    ),
    "Java": (
        r"//[^\r\n]*|/\*.*?(?:\*/|\Z)",
        "|".join((quoted('"""', lines=True), quoted('"'), quoted("'"))),
    ),
    "Go": (
        r"//[^\r\n]*|/\*.*?(?:\*/|\Z)",
        "|".join((quoted("`", escapes=False, lines=True), quoted('"'), quoted("'"))),
    ),
    "TOML": (
        r"\#[^\r\n]*",
        "|".join(
            (
                quoted('"""', lines=True),
                quoted("'''", escapes=False, lines=True),
                quoted('"'),
                quoted("'", escapes=False),
            )
        ),
    ),
    "Lua": (
        r"--\[(?P<a>=*)\[.*?(?:\](?P=a)\]|\Z)|--[^\r\n]*",
        r"\[(?P<b>=*)\[.*?(?:\](?P=b)\]|\Z)|" + "|".join((quoted('"'), quoted("'"))),
    ),
}


Span = tuple[int, int, int]


def oracle_spans(text: str, lang: str) -> list[Span]:
    """(start, end, class) of each comment and string."""
    comment, string = ORACLES[lang]
    spans: list[Span] = []
    for match in re.finditer(f"(?P<comment>{comment})|(?P<string>{string})", text, re.DOTALL):
        span_class = COMMENT if match["comment"] is not None else STRING
        if span_class == STRING and lang == "Python" and _stands_alone(text, spans, *match.span()):
            span_class = DOCSTRING
        spans.append((*match.span(), span_class))
    return spans


def spread(text: str, spans: list[Span]) -> list[int]:
    out = [CODE] * len(text)
    for start, end, span_class in spans:
        out[start:end] = [span_class] * (end - start)
    return out


def _stands_alone(text: str, spans: list[Span], start: int, end: int) -> bool:
    known = spread(text, spans)
    code = "".join(
        character if known[i] == CODE or character in "\r\n" else " "
        for i, character in enumerate(text[:start])
    )
    depth = 0
    for character in code:
        depth = max(0, depth + (character in "([{") - (character in ")]}"))
    before, newline, line = re.sub(r"\r\n|\r", "\n", code).rpartition("\n")
    string_ends_here = any(known[i] == STRING for i in range(_line_start(text, start), start))
    return (
        depth == 0
        and not (newline and before.endswith("\\"))
        and not string_ends_here
        and not line.strip(BLANKS)
        and re.match(r"[ \t]*(?:\Z|[\r\n#;])", text[end:]) is not None
    )


def _line_start(text: str, i: int) -> int:
    return max(text.rfind("\n", 0, i), text.rfind("\r", 0, i)) + 1


def trim(piece: str) -> str:
    """A piece of a string without its quotes and their prefix."""
    piece = piece.strip(BLANKS)
    piece = re.sub(r"""\A(?:\w|[^\x00-\x7f]){0,3}(?=["'`])""", "", piece)
    return piece.lstrip("\"'`").rstrip("\"'`" + BLANKS)


def oracle(text: str, lang: str) -> dict[str, int]:
    spans = oracle_spans(text, lang)
    known = spread(text, spans)
    counts = dict.fromkeys(("lines", "code_lines", "comment_lines", "max_depth"), 0)
    counts["comment_characters"] = sum(each in (COMMENT, DOCSTRING) for each in known)
    counts["docstring_characters"] = known.count(DOCSTRING)
    counts["string_characters"] = known.count(STRING)
    ends = [match.end() for match in re.finditer(END, text)]
    for start, end in itertools.pairwise(sorted({0, *ends, len(text)})):
        visible = {known[i] for i in range(start, end) if text[i] not in BLANKS}
        counts["lines"] += bool(visible)
        counts["code_lines"] += bool(visible & {CODE, STRING})
        counts["comment_lines"] += bool(visible) and not visible & {CODE, STRING}
    long, prompt = set(), set()
    for start, end, span_class in spans:
        for piece in re.finditer(r"[^\r\n]+", text[start:end]):
            line = _line_start(text, start + piece.start())
            if span_class == STRING:
                words = re.findall(r"(?:\w|[^\x00-\x7f])+|(?:(?![\w \t\v\f])[\x00-\x7f])+", trim(piece[0]))
                long |= {line} if len(words) > 20 else set()
            elif re.search(r"todo|fixme|your code here|write your code", piece[0], re.I | re.A):
                prompt |= {line}
    counts["long_string_lines"], counts["prompt_comment_lines"] = len(long), len(prompt)
    depth = 0
    for character, span_class in zip(text, known, strict=True):
        if span_class == CODE:
            depth = max(0, depth + (character in "([{") - (character in ")]}"))
            counts["max_depth"] = max(counts["max_depth"], depth)
    return counts


PIECES = {
    "Python": ['"""', "'''", '"', "'", "#", "\\", "r", "f'", "=", "(", ")", "[", "]", ";"],
    "Java": ['"""', '"', "'", "//", "/*", "*/", "/", "*", "\\", "{", "}", "(", ")"],
    "Go": ["`", '"', "'", "//", "/*", "*/", "/", "\\", "{", "}", "(", ")"],
    "TOML": ['"""', "'''", '"', "'", "#", "\\", "=", "[", "]"],
    "Lua": ["--", "[[", "]]", "[=[", "]=]", "[", "]", '"', "'", "\\", "{", "}", "="],
}
COMMON = [
    *(" ", "\t", "\n", "\r\n", "\r", "x", "y = 1", "TODO", "fixme", "write your code", "é", "漢", "👍", "\0"),
    *("a b c d e f g h i j k l m n o p q r s t u ", "w, " * 11, "\ufeff"),
]


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, str]:
    lang = draw(st.sampled_from(sorted(ORACLES)))
    pieces = draw(st.lists(st.sampled_from(PIECES[lang] * 2 + COMMON), max_size=40))
    return "x" + "".join(pieces) if draw(st.booleans()) else "\n" + "".join(pieces), lang


@settings(max_examples=250, deadline=None)
@given(st.lists(documents(), min_size=1, max_size=4))
def test_equals_the_oracle(rows: list[tuple[str, str]]) -> None:
    texts, langs = [text for text, _ in rows], [lang for _, lang in rows]
    found = stats(texts, langs)
    for i, (text, lang) in enumerate(rows):
        assert classes(text, lang).tolist() == spread(text, oracle_spans(text, lang)), (lang, text)
        for name, wanted in oracle(text, lang).items():
            assert getattr(found, name)[i] == wanted, (name, lang, text)


# --- columns ---


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.none(), documents()), min_size=3, max_size=9), st.data())
def test_slices_and_chunks_read_their_own_rows(
    rows: list[tuple[str, str] | None], data: st.DataObject
) -> None:
    texts = pa.array([row and row[0] for row in rows], pa.large_string())
    langs = pa.array([row and row[1] for row in rows], pa.string())
    cut = data.draw(st.integers(0, len(rows)))
    alone = [lexical_stats(texts[i : i + 1], langs[i : i + 1]) for i in range(len(rows))]
    chunked = lexical_stats(pa.chunked_array([texts[:cut], texts[cut:]]), langs.dictionary_encode())
    for name in LexicalStats.__slots__:
        wanted = [int(getattr(row, name)[0]) for row in alone]
        assert getattr(chunked, name).tolist() == wanted, name
        assert getattr(lexical_stats(texts[cut:], langs[cut:]), name).tolist() == wanted[cut:], name


def test_columns_must_fit() -> None:
    with pytest.raises(ValueError, match="2 texts but 1 languages"):
        stats(["a", "b"], ["Python"])
    assert len(lexical_stats(pa.chunked_array([], pa.large_string()), pa.array([], pa.string())).lines) == 0
