"""The solutions of the benchmarks as grams of code tokens (`pipelines.kernels.code_grams`), weighed.

A gram that several unrelated tasks have is an idiom: it counts 1/n, and not at all above a limit. Tasks are
related when they share half of the grams of the smaller one: a solution is in many benchmarks, translated,
extended or corrected. Solutions with equal grams are one, owned by the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.kernels.code_grams import all_grams
from pipelines.kernels.code_tokens import mode_of
from pipelines.kernels.gram_search import GramTable, gram_table
from pipelines.kernels.text import text_buffers


@dataclass(frozen=True)
class Solution:
    """One solution to be found."""

    owner: tuple[str, str]  # benchmark, task
    code: str
    language: str
    whole: bool = False  # short: only all of it counts


@dataclass(frozen=True)
class Grams:
    """The grams of one kind. Arrays are as in GramTable; `solutions` says whose (benchmark, task) they are."""

    tokens: int
    solutions: tuple[tuple[str, str], ...]
    grams: np.ndarray
    starts: np.ndarray
    owners: np.ndarray
    weights: np.ndarray
    totals: np.ndarray
    needed: np.ndarray
    spans: np.ndarray

    def table(self) -> GramTable:
        return gram_table(
            self.tokens if self.solutions else 0,
            self.grams,
            self.starts,
            self.owners,
            self.weights,
            self.totals,
            self.needed,
            self.spans,
        )


def grams_of(codes: Sequence[str], languages: Sequence[str], tokens: int, shape: bool):
    """(gram, document, tokens per document), as `all_grams` gives them, of strings."""
    (view,) = text_buffers(pa.array(codes, pa.large_string()))
    modes = np.array([mode_of(language) for language in languages], np.int64)
    return all_grams(view.offsets, view.data, modes, tokens, shape)


def solution_grams(
    solutions: Sequence[Solution],
    boilerplate: Sequence[tuple[str, str]],
    *,
    tokens: int,
    shape: bool,
    share: float,
    evidence: float,
    least: float,
    common: int,
    spread: float,
) -> Grams:
    """Weigh the grams of `solutions`, without those of `boilerplate`, (code, language).

    A solution is found where grams of `share` of its weight occur within `spread` times its tokens; one whose
    weight is below `evidence` must be there whole. Not searched is one whose
    weight is below `least`, and one of which idioms and boilerplate are more than half: what is left of it is
    how they begin and end.
    """
    grams, owner, counts = grams_of(
        [s.code for s in solutions], [s.language for s in solutions], tokens, shape
    )
    known, _, _ = grams_of(
        [code for code, _ in boilerplate], [language for _, language in boilerplate], tokens, shape
    )
    grams, owner = _distinct(grams, owner)
    sizes = np.bincount(owner, minlength=len(solutions))
    keep = ~np.isin(grams, known)
    grams, owner = grams[keep], owner[keep]
    keep = _first_of_equals(grams, owner, len(solutions))[owner] == owner
    grams, owner = grams[keep], owner[keep]
    values, inverse = np.unique(grams, return_inverse=True)
    families = _families(inverse, owner, len(solutions))
    pairs = np.unique(np.stack([inverse, families[owner]]), axis=1)
    tasks = np.bincount(pairs[0], minlength=len(values))
    weights = np.where(tasks <= common, 1 / np.maximum(tasks, 1), 0)
    totals = np.bincount(owner, weights[inverse], minlength=len(solutions))
    left = np.bincount(owner, weights[inverse] > 0, minlength=len(solutions))
    searched = (totals >= least) & (2 * left >= sizes) & (left > 0)
    keep = searched[owner] & (weights[inverse] > 0)
    values, inverse, weights = _renumbered(inverse[keep], values, weights)
    numbers = np.cumsum(searched) - 1
    order = np.argsort(inverse, kind="stable")
    chosen = np.flatnonzero(searched)
    whole = np.array([s.whole for s in solutions], bool)[chosen] if len(solutions) else np.zeros(0, bool)
    totals = totals[chosen]
    needed = np.where(whole, totals, np.maximum(share * totals, np.minimum(evidence, totals)))
    return Grams(
        tokens=tokens,
        solutions=tuple(solutions[i].owner for i in chosen),
        grams=values,
        starts=np.concatenate([[0], np.cumsum(np.bincount(inverse, minlength=len(values)))]).astype(np.int64),
        owners=numbers[owner[keep]][order].astype(np.int32),
        weights=weights.astype(np.float32),
        totals=totals.astype(np.float32),
        needed=(needed * (1 - 1e-5)).astype(np.float32),  # sums of float32 come in any order
        spans=np.ceil(spread * counts[chosen]).astype(np.int64),
    )


def _renumbered(inverse, values, weights):
    used, numbered = np.unique(inverse, return_inverse=True)
    return values[used], numbered, weights[used]


def _distinct(grams: np.ndarray, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.lexsort((grams, owner))
    grams, owner = grams[order], owner[order]
    new = np.ones(len(grams), bool)
    new[1:] = (grams[1:] != grams[:-1]) | (owner[1:] != owner[:-1])
    return grams[new], owner[new]


def _first_of_equals(grams: np.ndarray, owner: np.ndarray, n: int) -> np.ndarray:
    """For each solution the first that has the same grams. `owner` is sorted."""
    first = np.arange(n)
    seen: dict[bytes, int] = {}
    edges = np.searchsorted(owner, np.arange(n + 1))
    for i in range(n):
        first[i] = seen.setdefault(grams[edges[i] : edges[i + 1]].tobytes(), i)
    return first


# A gram of more solutions than this says nothing of who is related, and its pairs would be many.
_MOST_RELATED = 40


def _families(gram: np.ndarray, owner: np.ndarray, n: int) -> np.ndarray:
    """For each solution the number of its family: linked are those that share half of the smaller's grams."""
    sizes = np.bincount(owner, minlength=n)
    order = np.argsort(gram, kind="stable")
    gram, owner = gram[order], owner[order]
    counts = np.bincount(gram)
    starts = np.concatenate([[0], np.cumsum(counts)])
    shared: list[np.ndarray] = []
    for size in np.unique(counts[(counts > 1) & (counts <= _MOST_RELATED)]):
        members = owner[starts[:-1][counts == size][:, None] + np.arange(size)]
        left, right = np.triu_indices(size, 1)
        shared.append((members[:, left] * n + members[:, right]).ravel())
    family = np.arange(n)
    if not shared:
        return family
    pairs, common = np.unique(np.concatenate(shared), return_counts=True)
    a, b = pairs // n, pairs % n
    linked = 2 * common >= np.minimum(sizes[a], sizes[b])

    def root(i: int) -> int:
        while family[i] != i:
            family[i] = family[family[i]]
            i = family[i]
        return i

    for one, other in zip(a[linked].tolist(), b[linked].tolist(), strict=True):
        low, high = sorted((root(one), root(other)))
        family[high] = low
    return np.array([root(i) for i in range(n)])
