"""The texts of the benchmarks that are searched as they stand: descriptions and solutions, squeezed.

All are searched at once (Aho-Corasick), and only in the documents in which `kernels.head_filter` finds the first
bytes of one: the automaton of all benchmarks is larger than a processor's cache, and every byte costs it a step.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Protocol

import ahocorasick_rs
import numpy as np

from pipelines.kernels.head_filter import HEAD, find_heads, head_filter
from pipelines.kernels.squeeze import KEPT, fill_block, original_span, squeeze
from pipelines.kernels.text import TextBuffers

_BLOCK_BYTES = 4 << 20
# Where a docstring turns from saying what to do to showing it, or to listing its parameters.
_EXAMPLES = re.compile(
    r">>>|\bfor example\b|\bexamples?\s*:|\be\.g\.|^\s*assert\b"
    r"|^\s*(?:parameters|args|arguments|returns|requirements)\s*:",
    re.IGNORECASE | re.MULTILINE,
)
_LINE_COMMENTS = re.compile(
    r"(?:^[ \t]*//[^\n]*\n?)+|(?:^[ \t]*#[ #][^\n]*\n?)+|/\*.*?\*/", re.MULTILINE | re.DOTALL
)


class BenchmarkText(Protocol):
    """What is known of one task; `evaluation.benchmarks.BenchmarkText` is one."""

    @property
    def benchmark(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def prompt(self) -> str: ...
    @property
    def solution(self) -> str: ...
    @property
    def language(self) -> str: ...


def needles_of(
    text: BenchmarkText, min_characters: int, min_description: int, allowed: frozenset[bytes]
) -> list[bytes]:
    """The squeezed texts that betray one task: its descriptions and its solution."""
    needles = [_description_needle(description, min_description) for description in descriptions(text)]
    solution = squeeze(text.solution)
    if text.language != "Python":
        solution = solution.rstrip(b"}")  # of a class around the function, which a copy need not have
    if solution not in allowed:
        needles.append(solution if len(solution) >= min_characters else squeeze(signature(text)) + solution)
    return [needle for needle in needles if len(needle) >= min_characters]


def _description_needle(description: str, min_description: int) -> bytes:
    """Up to the examples if that says enough: a translated task keeps its words, not its examples."""
    start = squeeze(_EXAMPLES.split(description, maxsplit=1)[0])
    return start if len(start) >= min_description else squeeze(description)


def descriptions(text: BenchmarkText) -> list[str]:
    """The docstrings of a Python prompt, the comments of one in another language; all of it if it has none."""
    if text.language != "Python":
        return _LINE_COMMENTS.findall(text.prompt) or [text.prompt]
    tree = _parsed(text.prompt)
    docstrings = [
        node.value.value
        for node in (ast.walk(tree) if tree else ())
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]
    return docstrings or [text.prompt]


def signature(text: BenchmarkText) -> str:
    """The head of the function that the prompt ends in, up to its body; empty when the solution brings its own."""
    if text.language != "Python":
        lines = text.prompt.strip().splitlines()
        return lines[-1] if lines and lines[-1].endswith("{") else ""
    tree = _parsed(text.prompt)
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)] if tree else []
    if not functions:
        return ""
    last = functions[-1]
    return "\n".join(text.prompt.splitlines()[last.lineno - 1 : last.body[0].lineno - 1])


def _parsed(prompt: str) -> ast.Module | None:
    try:
        return ast.parse(prompt)
    except (SyntaxError, ValueError):
        return None


class _Searcher:
    """What is derived of the needles, once per process."""

    def __init__(self, needles: tuple[bytes, ...]):
        self.longest = max(map(len, needles))
        self.filter = head_filter(needles) if min(map(len, needles)) >= HEAD else None
        # The faster kind of automaton takes some 400 bytes per byte of needle: 800 MB for all benchmarks.
        self.automaton = ahocorasick_rs.BytesAhoCorasick(
            needles, implementation=ahocorasick_rs.Implementation.ContiguousNFA
        )

    def matches(self, block: np.ndarray, length: int, starts: np.ndarray) -> Iterator[tuple[int, int, int]]:
        """(i, needle, begin) of the match that ends first in each document that has one; number i is at `starts[i]`."""
        edges = np.append(np.maximum(starts, 0), length)
        documents = np.arange(len(starts))
        if self.filter is not None:
            begins = find_heads(self.filter, block, length)
            documents = np.unique(np.searchsorted(starts, begins, side="right") - 1)
        for document in documents.tolist():
            low, high = int(edges[document]), int(edges[document + 1])
            for needle, begin, _ in self.automaton.find_matches_as_indexes(block.data[low:high])[:1]:
                yield document, needle, low + begin


@lru_cache(maxsize=2)
def _searcher(needles: tuple[bytes, ...]) -> _Searcher:
    """One per process: an index that is sent along with every task is not compiled for every task."""
    return _Searcher(needles)


def find_needles(view: TextBuffers, needles: tuple[bytes, ...]) -> Iterator[tuple[int, int, int, int]]:
    """(document, needle, begin, end) of the match that ends first in each document that has one, in order.

    `begin` and `end` are byte positions in `view.data`. Memory does not depend on the documents' lengths.
    """
    if not needles:
        return
    for document, needle, first in _first_matches(view, _searcher(needles)):
        start, end = view.offsets[document], view.offsets[document + 1]
        last = first + len(needles[needle]) - 1
        yield document, needle, *original_span(view.data, start, end, first, last, KEPT)


def _first_matches(view: TextBuffers, searcher: _Searcher) -> Iterator[tuple[int, int, int]]:
    """(document, needle, squeezed offset in the document) of each document's first match.

    Documents are squeezed into one block after the other, separated by a byte that no needle has. One
    that does not fit goes on in the next block, behind its own last bytes: a match may lie across.
    """
    overlap = searcher.longest - 1
    block = np.empty(_BLOCK_BYTES + overlap, np.uint8)
    starts = np.zeros(
        len(view), np.int64
    )  # where in the block a document starts; negative: in an earlier one
    document = position = at = 0
    found = -1
    while document < len(view):
        first = document
        document, position, at = fill_block(
            view.offsets, view.data, document, position, block, at, starts, KEPT
        )
        for number, needle, begin in searcher.matches(block, at, starts[first : document + 1]):
            owner = first + number
            if owner > found:
                found = owner
                yield owner, needle, begin - int(starts[owner])
        if document < len(view) and position:
            carried = min(overlap, at - max(int(starts[document]), 0))
            block[:carried] = block[at - carried : at]
            starts[document] -= at - carried
            at = carried
        else:
            at = 0
