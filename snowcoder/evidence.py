"""Where in a document the evidence against it lies, and the piece of the text that shows it.

Stages record what they found, seldom where: the place is looked for again here, in the one document that is
shown. Places are character offsets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snowcoder.rule_costs import rule_of

if TYPE_CHECKING:
    from pipelines.stages.rules_config import RulesConfig
    from snowcoder.config import CurationConfig

    Finder = Callable[[str, RulesConfig], list["Span"]]

Span = tuple[int, int]

_CONTEXT_LINES = 3
_CONTEXT = 240  # characters before the first mark, where lines are long
_MOST_SPANS = 100

# The expressions of `pipelines.kernels.line_stats`.
_ENCODED = (
    re.compile(r"[a-zA-Z0-9+/\n=]{64,}"),
    re.compile(r"(?:\b(?:0x|\\x)?[0-9a-fA-F]{2}(?:,|\b\s*)){8,}", re.ASCII),
    re.compile(r"(?:\\u[0-9a-fA-F]{4}){8,}"),
)
_INVISIBLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]"
)
_LINE = re.compile(r"[^\r\n]+")


@dataclass(frozen=True)
class Excerpt:
    """A piece of a text as (piece, is it evidence?) in turn. `line` is the number of its first line, from 1."""

    parts: list[tuple[str, bool]]
    line: int
    before: int  # characters left out
    after: int

    @property
    def text(self) -> str:
        return "".join(piece for piece, _ in self.parts)


def excerpt(text: str, spans: Sequence[Span], limit: int) -> Excerpt:
    """At most `limit` characters, from a few lines before the first of `spans` on; the beginning without any.

    The first span given is what is to be seen; the others are marked where they are within the piece.
    """
    spans = [(begin, end) for begin, end in spans if 0 <= begin < end]
    begin = first = spans[0][0] if spans else 0
    for _ in range(_CONTEXT_LINES + 1):
        begin = text.rfind("\n", 0, begin) if begin > 0 else -1
    begin = max(begin + 1, first - _CONTEXT, 0)
    end = min(len(text), begin + limit)
    parts: list[tuple[str, bool]] = []
    at = begin
    for start, stop in sorted(spans):
        start, stop = max(start, at), min(stop, end)
        if start < stop:
            parts += [(text[at:start], False), (text[start:stop], True)]
            at = stop
    parts = [part for part in [*parts, (text[at:end], False)] if part[0]]
    return Excerpt(parts, text.count("\n", 0, begin) + 1, begin, len(text) - end)


def spans_of(stage: str, verdict: Mapping[str, Any], text: str, curation: CurationConfig) -> list[Span]:
    """Where the evidence for a verdict's reason lies; empty where it is nowhere in particular, or the whole text."""
    rule = rule_of(verdict.get("reason") or "")
    if stage == "rules":
        find = _FINDERS.get(rule)
        return find(text, curation.rules) if find else []
    if stage == "licence":
        begin, end = verdict.get("header_begin") or 0, verdict.get("header_end") or 0
        return [characters(text, begin, end)] if end > begin else []
    if stage == "syntax":
        return _unparsed(text, verdict.get("lang") or "")
    quote = verdict.get("match")
    at = text.find(quote) if quote else -1
    return [(at, at + len(quote))] if quote and at >= 0 else []


def visible(text: str) -> str:
    """Control, direction and zero-width characters and lone surrogates as \\uXXXX: nothing is disguised."""
    text = _INVISIBLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    return text.encode("utf-8", "backslashreplace").decode()


def characters(text: str, begin: int, end: int) -> Span:
    """Byte offsets in UTF-8 as character offsets."""
    data = text.encode("utf-8", "surrogatepass")
    start, stop = (len(data[:at].decode("utf-8", "ignore")) for at in (begin, end))
    return start, stop


def replaced(
    text: str, edits: Sequence[tuple[int, int, str]], spans: Sequence[Span]
) -> tuple[str, list[Span]]:
    """`text` with the characters [begin, end) of each edit replaced, and `spans` moved along. Edits are sorted.

    An end of a span inside an edit moves to the same end of the replacement.
    """
    pieces: list[str] = []
    at = size = 0
    places: list[tuple[int, int, int, int]] = []  # of each edit in the old text, and in the new
    for begin, end, words in edits:
        pieces += [text[at:begin], words]
        size += begin - at
        places.append((begin, end, size, size + len(words)))
        size, at = size + len(words), end
    pieces.append(text[at:])

    def moved(place: int, is_end: bool) -> int:
        shift = 0
        for begin, end, new_begin, new_end in places:
            if place < begin or (is_end and place == begin):
                break
            if place < end or (is_end and place == end):
                return new_end if is_end else new_begin
            shift = new_end - end
        return place + shift

    return "".join(pieces), [(moved(begin, False), moved(end, True)) for begin, end in spans]


def _longest_line(text: str, rules: RulesConfig) -> list[Span]:
    longest = max((match.span() for match in _LINE.finditer(text)), key=_length, default=None)
    return [longest] if longest else []


def _encoded_data(text: str, rules: RulesConfig) -> list[Span]:
    """The longest run first, then others beside it: the share of all of them may be the reason."""
    found = [match.span() for expression in _ENCODED for match in expression.finditer(text)]
    apart: list[Span] = []
    for span in sorted(found, key=_length, reverse=True)[:_MOST_SPANS]:
        if all(span[1] <= other[0] or span[0] >= other[1] for other in apart):
            apart.append(span)
    return apart


def _generated(text: str, rules: RulesConfig) -> list[Span]:
    """A phrase in the first lines, or a mark that files of certain names have there or at the end."""
    lines = text.splitlines(keepends=True)
    start = "".join(lines[: rules.generated_lines])[: rules.generated_characters]
    phrases = "|".join(map(re.escape, rules.generated_phrases))
    if phrases and (found := _first(phrases, start)):
        return found
    for mark in rules.generated_marks:
        if mark.lines:
            found = _first(mark.text, "".join(lines[: mark.lines]))
        else:
            last = text.rstrip().rfind("\n") + 1
            found = [(last + begin, last + end) for begin, end in _first(mark.text, text[last:])]
        if found:
            return found
    return []


def _xml_header(text: str, rules: RulesConfig) -> list[Span]:
    return _first(r"<\?xml version=[^>\n]*>?", text)


def _replacement_characters(text: str, rules: RulesConfig) -> list[Span]:
    return _each("\ufffd+", text)


def _hexadecimal_words(text: str, rules: RulesConfig) -> list[Span]:
    return _each(r"\b0[xX][0-9a-fA-F]+\b", text)


def _prompts(text: str, rules: RulesConfig) -> list[Span]:
    return _each(r"(?i)TODO|FIXME|your code here", text)


def _duplicate_lines(text: str, rules: RulesConfig) -> list[Span]:
    """Every line, not blank, that has occurred before."""
    seen: set[str] = set()
    spans = []
    for match in _LINE.finditer(text):
        line = match[0].strip()
        if line in seen:
            spans.append(match.span())
        elif line:
            seen.add(line)
    return spans[:_MOST_SPANS]


def _each_line(expression: str) -> Finder:
    """Lines that start like this, in the common languages: a guide to the eye, where the rule itself parses."""
    return lambda text, rules: _each(rf"(?m)^[ \t]*(?:{expression})[^\r\n]*", text)


def _unparsed(text: str, lang: str) -> list[Span]:
    """What the syntax stage counts as lost: tokens directly under an error, runs of them together, the longest first.

    By the first grammar of the language; empty where there is none.
    """
    from pipelines.stages.grammars import GRAMMARS, parser

    if lang not in GRAMMARS:
        return []
    data = text.encode("utf-8", "surrogatepass")
    nodes = [(parser(GRAMMARS[lang][0]).parse(data).root_node, False)]
    runs: list[Span] = []
    while nodes:
        node, under_error = nodes.pop()
        if not node.child_count and (node.is_error or node.is_missing or under_error):
            begin, end = node.start_byte, max(node.end_byte, node.start_byte + 1)
            if runs and not data[runs[-1][1] : begin].strip():
                begin = runs.pop()[0]
            runs.append((begin, end))
        elif node.has_error:
            nodes += [(child, node.is_error) for child in reversed(node.children)]
    runs.sort(key=_length, reverse=True)
    return [characters(text, *span) for span in runs[:_MOST_SPANS]]


def _first(expression: str, text: str) -> list[Span]:
    """The first match; none where the expression, which RE2 takes, is none of Python's."""
    try:
        found = re.search(expression, text, re.IGNORECASE)
    except re.error:
        return []
    return [found.span()] if found else []


def _each(expression: str, text: str) -> list[Span]:
    return [match.span() for _, match in zip(range(_MOST_SPANS), re.finditer(expression, text), strict=False)]


def _length(span: Span) -> int:
    return span[1] - span[0]


_FINDERS: dict[str, Finder] = {
    "long_line": _longest_line,
    "long_mean_line": _longest_line,
    "encoded_data": _encoded_data,
    "generated": _generated,
    "xml_header": _xml_header,
    "replacement_characters": _replacement_characters,
    "hexadecimal_words": _hexadecimal_words,
    "prompts": _prompts,
    "duplicate_lines": _duplicate_lines,
    "imports": _each_line(r"import|from|#\s*include|using|use|require"),
    "assertions": _each_line(r"assert|self\.assert|ASSERT|EXPECT|expect\("),
    "prints": _each_line(r"print|console\.log|System\.out|fmt\.Print|puts|echo|printf|std::cout"),
    "passes": _each_line(r"pass\b"),
    "preprocessor": _each_line(r"#\s*\w+"),
    "sql_dump": _each_line(r"(?i:insert\s+into|replace\s+into|copy)\b"),
}
