"""All texts of the benchmarks that must not be trained on, searchable at once."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Protocol

import ahocorasick_rs
import numpy as np
import pyarrow as pa
from pydantic import Field

from pipelines.kernels.squeeze import KEPT, SQUEEZE_VERSION, fill_block, original_span, squeeze
from pipelines.kernels.text import TextBuffers, text_buffers
from pipelines.schema import stable_hash
from snowcoder.base import Config

_BLOCK_BYTES = 4 << 20
# The fast automaton takes some 400 bytes per byte of needle: above this, 400 MB in every worker.
_DFA_NEEDLE_BYTES = 1 << 20
# Where a docstring turns from saying what to do to showing it.
_EXAMPLES = re.compile(
    r">>>|\bfor example\b|\bexamples?\s*:|\be\.g\.|^\s*assert\b", re.IGNORECASE | re.MULTILINE
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


class DecontaminateConfig(Config):
    """Which texts count as a leak. Lengths are squeezed characters: what `kernels.squeeze` keeps."""

    min_characters: int = Field(default=30, ge=8)
    """Shortest text searched. A shorter solution is searched together with its signature instead."""
    min_description: int = Field(default=60, ge=8)
    """Shortest description (a docstring up to its examples) searched alone; below, the whole docstring is."""
    allowed: tuple[str, ...] = (
        "return n**2",
        "return x + y",
        "return len(string)",
        "return ''.join(strings)",
    )
    """Solutions so trivial that honest code has them: never searched, not even with a signature (BigCode)."""
    evidence_characters: int = Field(default=200, ge=1)
    """How much of the matching text a verdict keeps."""


@dataclass(frozen=True, slots=True)
class Match:
    """A leak: whose text it is, and the words of the document that match it."""

    benchmark: str
    task: str
    text: str


@dataclass(frozen=True)
class BenchmarkIndex:
    """The needles, squeezed, and whose they are. Cheap to send to workers, for the automaton stays behind."""

    needles: tuple[bytes, ...]
    owners: tuple[tuple[str, str], ...]  # (benchmark, task) of each needle

    @classmethod
    def build(cls, texts: Iterable[BenchmarkText], cfg: DecontaminateConfig | None = None) -> BenchmarkIndex:
        """Needles of all texts. Of equal ones the first is the owner: the order of `texts` counts."""
        cfg = cfg or DecontaminateConfig()
        owners: dict[bytes, tuple[str, str]] = {}
        for text in texts:
            for needle in needles_of(text, cfg):
                owners.setdefault(needle, (text.benchmark, text.task))
        return cls(tuple(owners), tuple(owners.values()))

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything that decides what this index finds."""
        needles = [needle.decode("utf-8", "surrogateescape") for needle in self.needles]
        return stable_hash([SQUEEZE_VERSION, sorted(zip(needles, self.owners, strict=True))])

    def contaminated(self, texts: Sequence[str | None], evidence_characters: int = 200) -> list[Match | None]:
        """One match per text, or None: for annotator positives, seeds and generated text."""
        matches: list[Match | None] = [None] * len(texts)
        for document, match in self.search(pa.array(texts, pa.large_string()), evidence_characters):
            matches[document] = match
        return matches

    def search(self, text: pa.Array | pa.ChunkedArray, evidence: int) -> Iterator[tuple[int, Match]]:
        """(document, first match) of every document with one, in order, in bounded memory."""
        if not self.needles:
            return
        base = 0
        for view in text_buffers(text):
            for document, needle, first in self._first_matches(view):
                begin, end = original_span(
                    view.data,
                    view.offsets[document],
                    view.offsets[document + 1],
                    first,
                    first + len(self.needles[needle]) - 1,
                    KEPT,
                )
                # A character is at most 4 bytes, so the slice never decodes more than the evidence needs.
                words = view.data[begin : min(end, begin + 4 * evidence)].tobytes().decode("utf-8", "replace")
                yield base + document, Match(*self.owners[needle], words[:evidence])
            base += len(view)

    def _first_matches(self, view: TextBuffers) -> Iterator[tuple[int, int, int]]:
        """(document, needle, squeezed offset in the document) of each document's first match.

        Documents are squeezed into one block after the other, separated by a byte that no needle has. One
        that does not fit goes on in the next block, behind its own last bytes: a match may lie across.
        """
        overlap = max(map(len, self.needles)) - 1
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
            block_starts = starts[first : document + 1]
            for needle, begin, _ in _automaton(self.needles).find_matches_as_indexes(block.data[:at]):
                owner = first + int(np.searchsorted(block_starts, begin, side="right")) - 1
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


@lru_cache(maxsize=2)
def _automaton(needles: tuple[bytes, ...]) -> ahocorasick_rs.BytesAhoCorasick:
    """One per process: an index that is sent along with every task is not compiled for every task."""
    small = sum(map(len, needles)) <= _DFA_NEEDLE_BYTES
    kind = ahocorasick_rs.Implementation.DFA if small else ahocorasick_rs.Implementation.ContiguousNFA
    return ahocorasick_rs.BytesAhoCorasick(needles, implementation=kind)


def needles_of(text: BenchmarkText, cfg: DecontaminateConfig) -> list[bytes]:
    """The squeezed texts that betray one task: its descriptions and its solution."""
    needles = [_description_needle(description, cfg) for description in _descriptions(text.prompt)]
    solution = squeeze(text.solution)
    if solution not in {squeeze(body) for body in cfg.allowed}:
        needles.append(
            solution if len(solution) >= cfg.min_characters else squeeze(_signature(text)) + solution
        )
    return [needle for needle in needles if len(needle) >= cfg.min_characters]


def _description_needle(description: str, cfg: DecontaminateConfig) -> bytes:
    """Up to the examples if that says enough: a translated task keeps its words, not its examples."""
    start = squeeze(_EXAMPLES.split(description, maxsplit=1)[0])
    return start if len(start) >= cfg.min_description else squeeze(description)


def _descriptions(prompt: str) -> list[str]:
    """The docstrings of a Python prompt; the whole of one that has none or is not Python."""
    tree = _parsed(prompt)
    docstrings = [
        node.value.value
        for node in (ast.walk(tree) if tree else ())
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]
    return docstrings or [prompt]


def _signature(text: BenchmarkText) -> str:
    """The lines of the prompt's last `def`, up to its body; empty when the solution brings its own."""
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
