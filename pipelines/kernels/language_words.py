"""What speaks for a language: words and signs at the places where its code has them, with weights.

The table is language_words.txt, written by hand, so that a verdict can be explained; docs/language.md has what it
achieves. A line holds a kind, a weight and the entries. A weight is how much one occurrence counts: 8 almost
decides, 4 is typical, 2 is shared by few languages, 1 by many. Repeats count half, then a quarter, then nothing, so
that no single habit decides. The kinds:

    first   the first word of a line, with the signs before it or the sign after it: `def`, `#include`, `<?php`,
            `public:`; or only the signs: `});`
    pair    such a first word, and the word or sign after it: `pub fn`, `enum {`; the word `x` stands for any
    word    a word further on in a line, with or without a sign before or after it: `null`, `std::`, `self.`, `&mut`
    sign    two or three signs in a row: `=>`, `:=`, `</`
    end     a first word and the last character of its line: `if :`, `let ;`
    shape   how a line is built: `key` (`name: value`), `item` (`- value`), `string` (`"name": value`),
            `field` (`name = value`), none of them ended as a statement would be
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

FAMILIES: dict[str, tuple[str, ...]] = {
    "C": ("C++", "Objective-C", "CUDA"),
    "CSS": ("SCSS", "Less"),
    "HTML": ("Vue",),
    "JavaScript": ("TypeScript",),
    "Python": ("Cython",),
    "Verilog": ("SystemVerilog",),
}
"""Base language -> dialects. What speaks for the base speaks for all of them; a dialect needs evidence of its own
besides."""


class Entry(NamedTuple):
    lang: str
    kind: str
    weight: int
    text: str


@cache
def entries() -> tuple[Entry, ...]:
    """The table, in the order of the file."""
    found: list[Entry] = []
    lang = ""
    for line in Path(__file__).with_suffix(".txt").read_text().splitlines():
        if line.startswith("[") and line.endswith("]"):
            lang = line[1:-1]
        elif line and not line.startswith("#"):
            head, _, body = line.partition(": ")
            kind, weight = head.split()
            words = body.split()
            if kind in ("pair", "end"):
                words = [f"{first} {second}" for first, second in zip(words[::2], words[1::2], strict=True)]
            found += [Entry(lang, kind, int(weight), word) for word in words]
    return tuple(found)
