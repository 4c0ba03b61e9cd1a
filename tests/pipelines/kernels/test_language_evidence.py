from __future__ import annotations

import re
from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import language
from pipelines.kernels.language_evidence import LANGUAGES, check_form, language_evidence
from pipelines.kernels.language_words import FAMILIES, entries

COMMENTS = {
    "/*": "*/", '"""': '"""', "'''": "'''", "<!--": "-->", "{-": "-}", "(*": "*)", "=begin": "=end", "--[[": "]]",
}  # fmt: skip
SIGNS = r"[!-/:-@\[-^`{-~]"
WORD = r"[A-Za-z0-9_\x7f-\U0010ffff]"


WEIGHTS: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
for _entry in entries():
    WEIGHTS[_entry.kind, _entry.text].append((LANGUAGES.index(_entry.lang), _entry.weight))


def marks(text: str) -> list[tuple[str, str]]:
    """(kind, entry) of everything in a text that an entry of the table could stand for, one line at a time."""
    found: list[tuple[str, str]] = []
    closer = ""
    for line in re.split(r"[\r\n]", text):
        line = line.lstrip("".join(map(chr, range(33))))
        if not line:
            continue
        if closer:
            closer = "" if closer in line else closer
            continue
        for opens, closes in COMMENTS.items():
            if line.startswith(opens):
                closer = "" if closes in line[len(opens) :] else closes
                break
        signs = re.match(f"{SIGNS}{{0,4}}", line)[0]
        if signs:
            found.append(("first", signs))
        if closer:
            continue
        word = re.match(f"{WORD}*", line[len(signs) :])[0]
        first, rest = signs + word, line[len(signs + word) :]
        if word:
            found.append(("first", first))
            if not signs and re.match(SIGNS, rest):
                found.append(("first", first + rest[0]))
        after = rest.lstrip("".join(map(chr, range(33))))
        if after:
            if re.match(SIGNS, after):
                found.append(("pair", f"{first} {after[0]}"))
            else:
                found.append(("pair", f"{first} x"))
                found.append(("pair", f"{first} " + re.match(f"{WORD}+", after)[0]))
        if re.match(r"//|--|;|%|#(?:[\x00-\x20]|$)", line):
            continue
        line = line.rstrip("".join(map(chr, range(33))))
        found.append(("end", f"{first} {line[-1]}"))
        found += [("shape", shape) for shape in [shape_of(line)] if shape]
        for match in re.finditer(f"{WORD}+", rest):
            start, stop = match.span()
            found.append(("word", match[0]))
            before = line[len(first) + start - 1 : len(first) + start]
            if re.match(SIGNS, before):
                found.append(("word", before + match[0]))
            if re.match(SIGNS, rest[stop:]):
                found.append(("word", match[0] + ("::" if rest[stop:].startswith("::") else rest[stop])))
        for size in (2, 3):
            found += [("sign", sign) for sign in re.findall(f"(?=({SIGNS}{{{size}}}))", rest)]
    return found


def shape_of(line: str) -> str:
    if line.startswith('"'):
        return "string" if line[-1] in ",{[" else ""
    if line[-1] in ";{,(":
        return ""
    for shape, form in (
        ("item", r"-[\x00-\x20]"),
        ("key", rf"{WORD}(?:{WORD}|[-.])*:(?:[\x00-\x20]|$)"),
        ("field", rf"{WORD}(?:{WORD}|[-.])*[\x00-\x20]=[\x00-\x20]"),
    ):
        if re.match(form, line):
            return shape
    return ""


def slow(text: str) -> np.ndarray:
    scores = np.zeros(len(LANGUAGES), np.int64)
    for mark, times in Counter(marks(text)).items():
        for column, weight in WEIGHTS.get(mark, ()):
            scores[column] += sum((weight * 4) >> time for time in range(min(3, times)))
    return scores / 4


# Lines made of what the table speaks of, so that entries are hit and not only missed.
_PIECES = sorted(
    {piece for entry in entries() for piece in entry.text.split()} | set(COMMENTS) | set(COMMENTS.values())
)
_TEXT = st.lists(
    st.one_of(st.sampled_from(_PIECES), st.sampled_from(list(" \t\n\r\0;{}():#é-=")), st.text(max_size=3)),
    max_size=40,
).map("".join)


@settings(max_examples=200, deadline=None)
@given(st.lists(_TEXT, max_size=4))
def test_equals_reading_line_by_line(texts: list[str]) -> None:
    got = language_evidence(pa.array(texts, pa.large_string()))
    assert got.tolist() == [slow(text).tolist() for text in texts]


def test_a_null_or_empty_document_says_nothing() -> None:
    assert not language_evidence(pa.array([None, "", "\n\n", "# "], pa.large_string()))[:3].any()
    assert language_evidence(pa.array([], pa.large_string())).shape == (0, len(LANGUAGES))


def test_only_the_head_counts_and_comments_are_not_part_of_it() -> None:
    code = "def f(self):\n    return None\n"
    licence = "/*\n" + "all rights reserved by import class function\n" * 3 + "*/\n"
    head = language_evidence(pa.array([licence + code + "x\n" * 9000]), 64)[0]
    assert LANGUAGES[head.argmax()] == "Python"
    assert head.max() > 10
    assert not language_evidence(pa.array(["\n" * 999 + code]), 64)[0].any()


def test_every_entry_can_be_found() -> None:
    assert [entry for entry in entries() if not check_form(entry.kind, entry.text)] == []
    places = Counter((entry.lang, entry.kind, entry.text) for entry in entries())
    assert [place for place, times in places.items() if times > 1] == []


def test_the_table_speaks_of_our_languages() -> None:
    assert set(LANGUAGES) == set(language.LANGUAGES) - {"Jupyter Notebook"}  # its script is code of another
    members = [lang for base, dialects in FAMILIES.items() for lang in (base, *dialects)]
    assert len(set(members)) == len(members)
    assert set(members) <= set(LANGUAGES)
