"""All that betrays a benchmark, searchable at once: texts as they stand, and solutions that were edited.

Three detectors, in the order in which a verdict names them:

`substring` a description or a solution, whatever its white space, case, quotes and comment signs;
`ngram` enough of a solution's n-grams of code tokens, whatever its comments, docstrings and type hints;
`near_duplicate` enough of a solution's n-grams of code tokens without their names: a renamed copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipelines.kernels.code_grams import CODE_GRAMS_VERSION, LONGEST
from pipelines.kernels.code_tokens import CODE_TOKENS_VERSION, mode_of
from pipelines.kernels.gram_search import GramTable, find_grams
from pipelines.kernels.squeeze import SQUEEZE_VERSION, squeeze
from pipelines.kernels.text import TextBuffers, text_buffers
from pipelines.schema import stable_hash
from pipelines.stages.needles import BenchmarkText, find_needles, needles_of, signature
from pipelines.stages.solutions import Grams, Solution, grams_of, solution_grams
from pipelines.stages.trivial_code import BODIES, BOILERPLATE
from snowcoder.base import Config

INDEX_VERSION = 1

Detector = Literal["substring", "ngram", "near_duplicate"]


class DecontaminateConfig(Config):
    """Which texts count as a leak. Characters are squeezed ones, what `kernels.squeeze` keeps; tokens are those of
    `kernels.code_tokens`; a gram weighs 1/n when n unrelated tasks have it. docs/decontamination.md has the
    measurements that the defaults come from.
    """

    detectors: tuple[Detector, ...] = ("substring", "ngram", "near_duplicate")
    """Which detectors judge."""
    min_characters: int = Field(default=30, ge=8)
    """substring: shortest text searched. A shorter solution is searched together with its signature instead."""
    min_description: int = Field(default=60, ge=8)
    """substring: shortest description (a docstring up to its examples) searched alone; below, all of it is."""
    ngram_tokens: int = Field(default=10, ge=3, le=LONGEST)
    """ngram: tokens of a gram (DeepSeek-Coder, section 2.4: 10). A solution too short for its evidence is searched
    together with its signature, and must be there whole (there: 3 to 9 tokens by exact match)."""
    ngram_share: float = Field(default=0.4, gt=0, le=1)
    """ngram: share of a solution's weight that a document must have."""
    ngram_evidence: float = Field(default=3, ge=0)
    """ngram: least weight that is evidence; of a solution that has less, all of it is needed."""
    ngram_least: float = Field(default=3, ge=0)
    """ngram: a solution of less weight is not searched."""
    near_tokens: int = Field(default=10, ge=3, le=LONGEST)
    """near_duplicate: tokens of a gram."""
    near_share: float = Field(default=0.6, gt=0, le=1)
    """near_duplicate: share of a solution's weight that a document must have."""
    near_evidence: float = Field(default=12, ge=0)
    """near_duplicate: least weight that is evidence; of a solution that has less, all of it is needed."""
    near_least: float = Field(default=4, ge=0)
    """near_duplicate: a solution of less weight says too little without its names, and is not searched."""
    common: int = Field(default=8, ge=1)
    """ngram, near_duplicate: a gram of more unrelated tasks than this is an idiom, and not searched."""
    spread: float = Field(default=1.5, ge=1)
    """ngram, near_duplicate: within how many times a solution's length its grams must lie."""
    allowed: tuple[str, ...] = tuple(body.code for body in BODIES)
    """Solutions so trivial that honest code has them: never searched, not even with a signature (BigCode)."""
    evidence_characters: int = Field(default=200, ge=1)
    """How much of the matching text a verdict keeps."""

    def what_is_searched(self) -> dict[str, object]:
        """Everything that decides which documents are found."""
        return self.model_dump(mode="json", exclude={"evidence_characters"})


@dataclass(frozen=True, slots=True)
class Match:
    """A leak: whose text it is, and the words of the document that match it."""

    benchmark: str
    task: str
    text: str
    detector: str = "substring"
    share: float = 1.0  # of the text, in the detector's own weights


@dataclass(frozen=True)
class BenchmarkIndex:
    """What is searched, and whose it is. Cheap to send to workers: automaton and hash tables stay behind."""

    needles: tuple[bytes, ...]
    owners: tuple[tuple[str, str], ...]  # (benchmark, task) of each needle
    fingerprint: str  # of everything that decides what this index finds
    settings: DecontaminateConfig = field(default_factory=DecontaminateConfig)
    exact: Grams | None = field(default=None, compare=False, repr=False)
    shape: Grams | None = field(default=None, compare=False, repr=False)

    @classmethod
    def build(cls, texts: Iterable[BenchmarkText], cfg: DecontaminateConfig | None = None) -> BenchmarkIndex:
        """Index of all texts. Of equal ones the first is the owner: the order of `texts` counts."""
        cfg, texts = cfg or DecontaminateConfig(), list(texts)
        allowed = frozenset(squeeze(body) for body in cfg.allowed)
        owners: dict[bytes, tuple[str, str]] = {}
        if "substring" in cfg.detectors:
            for text in texts:
                for needle in needles_of(text, cfg.min_characters, cfg.min_description, allowed):
                    owners.setdefault(needle, (text.benchmark, text.task))
        return cls(
            needles=tuple(owners),
            owners=tuple(owners.values()),
            fingerprint=fingerprint(texts, cfg),
            settings=cfg,
            exact=_exact_grams(texts, cfg, allowed) if "ngram" in cfg.detectors else None,
            shape=_shape_grams(texts, cfg, allowed) if "near_duplicate" in cfg.detectors else None,
        )

    def contaminated(
        self,
        texts: Sequence[str | None],
        evidence_characters: int = 200,
        langs: Sequence[str | None] | None = None,
    ) -> list[Match | None]:
        """One match per text, or None: for annotator positives, seeds and generated text.

        `langs` are names of languages; without them, what is a comment is guessed.
        """
        matches: list[Match | None] = [None] * len(texts)
        languages = None if langs is None else pa.array(langs, pa.string())
        for document, match in self.search(
            pa.array(texts, pa.large_string()), evidence_characters, languages
        ):
            matches[document] = match
        return matches

    def search(
        self,
        text: pa.Array | pa.ChunkedArray,
        evidence: int,
        langs: pa.Array | pa.ChunkedArray | None = None,
    ) -> Iterator[tuple[int, Match]]:
        """(document, match) of every document with one, in order, in bounded memory.

        Of several matches of one document the first detector's counts; of its matches, the one that starts first
        (substring) or has the largest share.
        """
        base = 0
        for view in text_buffers(text):
            matches = self._by_tokens(view, _modes(langs, base, len(view)), evidence)
            for document, needle, begin, end in find_needles(view, self.needles):
                words = _words(view, begin, end, evidence)
                matches[document] = Match(*self.owners[needle], words)
            for document in sorted(matches):
                yield base + document, matches[document]
            base += len(view)

    def _by_tokens(self, view: TextBuffers, modes: np.ndarray, evidence: int) -> dict[int, Match]:
        matches: dict[int, Match] = {}
        exact, shape = self.exact or _NOTHING, self.shape or _NOTHING
        if not exact.solutions and not shape.solutions:
            return matches
        by_exact, by_shape = find_grams(view.offsets, view.data, modes, *_tables(self))
        for detector, grams, found in (("near_duplicate", shape, by_shape), ("ngram", exact, by_exact)):
            for document in np.flatnonzero(found.solution >= 0).tolist():
                benchmark, task = grams.solutions[found.solution[document]]
                words = _words(view, found.begin[document], found.end[document], evidence).rstrip()
                matches[document] = Match(benchmark, task, words, detector, float(found.share[document]))
        return matches


_NOTHING = solution_grams([], [], tokens=1, shape=False, share=1, evidence=1, least=1, common=1, spread=1)


def fingerprint(texts: Iterable[BenchmarkText], cfg: DecontaminateConfig) -> str:
    """Hash of everything that decides what the index of `texts` finds, known before it is built."""
    versions = [INDEX_VERSION, SQUEEZE_VERSION, CODE_TOKENS_VERSION, CODE_GRAMS_VERSION]
    known = [[t.benchmark, t.task, t.prompt, t.solution, t.language] for t in texts]
    return stable_hash([versions, cfg.what_is_searched(), [list(item) for item in BOILERPLATE], known])


@lru_cache(maxsize=2)
def _tables(index: BenchmarkIndex) -> tuple[GramTable, GramTable]:
    """One per process: an index that is sent along with every task is not indexed again for every task."""
    return (index.exact or _NOTHING).table(), (index.shape or _NOTHING).table()


def _modes(langs: pa.Array | pa.ChunkedArray | None, base: int, count: int) -> np.ndarray:
    if langs is None:
        return np.full(count, mode_of(None), np.int64)
    part = langs.slice(base, count)
    encoded = (
        (part.combine_chunks() if isinstance(part, pa.ChunkedArray) else part)
        .fill_null("")
        .dictionary_encode()
    )
    modes = np.array([mode_of(name) for name in encoded.dictionary.to_pylist()], np.int64)
    return modes[encoded.indices.to_numpy()] if count else np.zeros(0, np.int64)


def _words(view: TextBuffers, begin: int, end: int, evidence: int) -> str:
    # A character is at most 4 bytes, so the slice never decodes more than the evidence needs.
    words = view.data[begin : min(end, begin + 4 * evidence)].tobytes().decode("utf-8", "replace")
    return words[:evidence]


def _exact_grams(
    texts: Sequence[BenchmarkText], cfg: DecontaminateConfig, allowed: frozenset[bytes]
) -> Grams:
    texts = [text for text in texts if text.solution.strip() and squeeze(text.solution) not in allowed]
    _, _, counts = grams_of([t.solution for t in texts], [t.language for t in texts], cfg.ngram_tokens, False)
    enough = cfg.ngram_tokens + cfg.ngram_evidence
    solutions = [
        Solution(
            (text.benchmark, text.task),
            text.solution if count >= enough else signature(text) + "\n" + text.solution,
            text.language,
            whole=bool(count < enough),
        )
        for text, count in zip(texts, counts, strict=True)
    ]
    return solution_grams(
        solutions,
        [(item.code, item.language) for item in BOILERPLATE],
        tokens=cfg.ngram_tokens,
        shape=False,
        share=cfg.ngram_share,
        evidence=cfg.ngram_evidence,
        least=cfg.ngram_least,
        common=cfg.common,
        spread=cfg.spread,
    )


def _shape_grams(
    texts: Sequence[BenchmarkText], cfg: DecontaminateConfig, allowed: frozenset[bytes]
) -> Grams:
    solutions = [
        Solution((text.benchmark, text.task), text.solution, text.language)
        for text in texts
        if text.solution.strip() and squeeze(text.solution) not in allowed
    ]
    return solution_grams(
        solutions,
        [(item.code, item.language) for item in BOILERPLATE],
        tokens=cfg.near_tokens,
        shape=True,
        share=cfg.near_share,
        evidence=cfg.near_evidence,
        least=cfg.near_least,
        common=cfg.common,
        spread=cfg.spread,
    )
