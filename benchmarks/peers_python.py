"""The same work in plain Python: StarCoder2's rules one by one, and BigCode's substring search.

`RULES` are the basic rules of StarCoder2 (arXiv 2402.19173, section 2.1) with the limits of our preset,
each a function of (text, language, path); phrases and paths of generated files are data and the same on both sides.
`per_character` takes letters and digits with generators over characters, as `bigcode-dataset` does with a list; the
datatrove filters use the faster `map(str.isalpha, text)`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pyarrow.parquet as pq

from evaluation.benchmarks import BenchmarkText
from pipelines.stages import generated

LONG_LINES = frozenset({"HTML", "JSON", "Markdown", "Roff", "Roff Manpage", "SMT", "TeX", "Text", "XML"})
SHORT_DATA = frozenset({"Text", "JSON", "YAML", "Web Ontology Language", "Graphviz (DOT)"})
GENERATED_PATH = re.compile(generated.PATHS)
GENERATED_MARKS = [
    (re.compile(mark.paths), mark.lines, re.compile(mark.text, re.MULTILINE)) for mark in generated.MARKS
]
PROSE_PATH = re.compile(
    r"requirement[^/]*$|(^|/)(readme|notes|todo|description|cmakelists)(\.[^/.]*)?$", re.I
)
BASE64 = re.compile(r"[a-zA-Z0-9+/\n=]{64,}")
HEXADECIMAL = re.compile(r"(?:\b(?:0x|\\x)?[0-9a-fA-F]{2}(?:,|\b\s*)){8,}", re.A)
UNICODE = re.compile(r"(?:\\u[0-9a-fA-F]{4}){8,}")


def long_lines(text: str, lang: str, path: str) -> bool:
    lengths = [len(line) for line in text.splitlines()] or [0]
    if len(lengths) > 100_000:
        return True
    if lang in LONG_LINES:
        return max(lengths) > 100_000
    return max(lengths) > 1000 or sum(lengths) / len(lengths) > 100


def unknown_language(text: str, lang: str, path: str) -> bool:
    return not lang


def made_by_a_program(text: str, lang: str, path: str) -> bool:
    if GENERATED_PATH.search(path):
        return True
    head = _first_lines(text, 5).lower()
    if any(phrase in head for phrase in generated.PHRASES):
        return True
    for paths, lines, words in GENERATED_MARKS:
        if paths.search(path):
            excerpt = _first_lines(text, lines) if lines else text.rstrip()[-4096:].rpartition("\n")[2]
            if words.search(excerpt):
                return True
    return False


def _first_lines(text: str, lines: int) -> str:
    return "\n".join(text[:4096].split("\n", lines)[:lines])


def few_letters(text: str, lang: str, path: str) -> bool:
    return sum(map(str.isalpha, text)) < 0.25 * len(text)


def encoded(text: str, lang: str, path: str) -> bool:
    lengths = [len(m[0]) for kind in (BASE64, HEXADECIMAL, UNICODE) for m in kind.finditer(text)]
    return bool(lengths) and (max(lengths) > 1024 or sum(lengths) > 0.5 * len(text))


def data_size(text: str, lang: str, path: str) -> bool:
    if lang in ("JSON", "YAML") and not 50 <= len(text) <= 5000:
        return True
    return lang in SHORT_DATA and len(text.splitlines()) > 512


class _Visible(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._hidden += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)


def hidden_text(text: str, lang: str, path: str) -> bool:
    if lang != "HTML":
        return False
    parser = _Visible()
    parser.feed(text)
    visible = len(" ".join("".join(parser.parts).split()))
    return visible < 100 or visible < 0.2 * len(text)


def xml_header(text: str, lang: str, path: str) -> bool:
    return lang not in ("XML", "XSLT") and "<?xml version=" in text[:100]


def unwanted_prose(text: str, lang: str, path: str) -> bool:
    return lang == "Text" and PROSE_PATH.search(path) is None


def blank(text: str, lang: str, path: str) -> bool:
    return not text.strip()


Rule = Callable[[str, str, str], bool]
RULES: tuple[Rule, ...] = (
    unknown_language,
    blank,
    made_by_a_program,
    xml_header,
    unwanted_prose,
    long_lines,
    few_letters,
    encoded,
    data_size,
    hidden_text,
)


def few_letters_by_character(text: str, lang: str, path: str) -> bool:
    alphanumeric = sum(c.isalnum() for c in text)
    alphabetic = sum(c.isalpha() for c in text)
    return min(alphanumeric, alphabetic) < 0.25 * len(text)


BY_CHARACTER = tuple(few_letters_by_character if rule is few_letters else rule for rule in RULES)


def rows(sample: str) -> list[tuple[str, str, str]]:
    """(text, language, path) of the documents of a sample file."""
    table = pq.read_table(sample, columns=["text", "lang", "path"])
    return list(zip(*(table[name].to_pylist() for name in ("text", "lang", "path")), strict=True))


def per_character(sample: str) -> Callable[[Any], list[bool]]:
    """A side: which documents all rules keep. Every rule is asked, as ours are."""
    documents = rows(sample)
    return lambda _: [not any([rule(*document) for rule in BY_CHARACTER]) for document in documents]  # noqa: C419


def nested_in(sample: str, known: list[BenchmarkText], minimum: int) -> Callable[[Any], int]:
    """A side: in how many documents one of the benchmarks' strings is, by `in` for one after the other.

    As in StarCoder2 both are compared in lower case and without white space; strings below `minimum` characters are
    not searched for.
    """
    parts = {_plain(part) for text in known for part in (text.prompt, text.solution)}
    needles = sorted(part for part in parts if len(part) >= minimum)
    texts = [text for text, _, _ in rows(sample)]

    def search(_: Any) -> int:
        return sum(any(needle in plain for needle in needles) for plain in map(_plain, texts))

    return search


def _plain(text: str) -> str:
    return "".join(text.lower().split())
