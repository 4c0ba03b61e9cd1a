"""Cuts: which documents are selected, from their language, score, ordinal and repository alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

NOTHING = 2.0
"""A threshold that no score reaches."""
_ANY = np.iinfo(np.int64).max  # an ordinal above all


@dataclass(frozen=True)
class Cuts(Mapping[str, float]):
    """Who is selected. As a mapping: the lowest score kept, per language; a language without one gives nothing."""

    least: Mapping[str, float]
    last: Mapping[str, int] = field(default_factory=dict)
    repositories: Mapping[str, Mapping[str, tuple[float, int]]] = field(default_factory=dict)

    def __getitem__(self, lang: str) -> float:
        return self.least[lang]

    def __iter__(self) -> Iterator[str]:
        return iter(self.least)

    def __len__(self) -> int:
        return len(self.least)

    @property
    def identity(self) -> dict[str, Any]:
        """What the selection depends on, for the ledger key."""
        config: dict[str, Any] = {"thresholds": dict(sorted(self.least.items()))}
        if self.last:
            config["last"] = dict(sorted(self.last.items()))
        if self.repositories:
            config["repositories"] = {
                lang: {repo: list(cut) for repo, cut in sorted(own.items())}
                for lang, own in sorted(self.repositories.items())
            }
        return config

    def select(
        self,
        lang: pa.Array | pa.ChunkedArray,
        score: np.ndarray,
        ordinal: np.ndarray | None = None,
        repo: pa.Array | pa.ChunkedArray | None = None,
    ) -> np.ndarray:
        """Which documents are selected, bool [n]. A NaN score or a language never seen is not.

        `ordinal` int64 [n] and `repo` are needed where cuts are exact and where repositories have quotas.
        """
        names = _codes(lang)
        least = names.values(self.least, NOTHING, np.float64)
        chosen = score >= least
        if self.last:
            if ordinal is None:
                raise ValueError("exact cuts tell documents apart by their ordinals")
            chosen &= (score > least) | (ordinal <= names.values(self.last, _ANY, np.int64))
        if any(self.repositories.values()):
            if ordinal is None or repo is None:
                raise ValueError("quotas need each document's repository and ordinal")
            chosen &= self.within_quota(lang, score, ordinal, repo)
        return chosen

    def within_quota(
        self,
        lang: pa.Array | pa.ChunkedArray,
        score: np.ndarray,
        ordinal: np.ndarray,
        repo: pa.Array | pa.ChunkedArray,
    ) -> np.ndarray:
        """Which documents their repository's quota has room for, bool [n]."""
        within = np.ones(len(score), bool)
        languages, repositories = _codes(lang), _codes(repo)
        for name, cuts in self.repositories.items():
            code = languages.code(name)
            if code is None or not cuts:
                continue
            least = repositories.values({r: cut[0] for r, cut in cuts.items()}, -1.0, np.float64)
            last = repositories.values({r: cut[1] for r, cut in cuts.items()}, _ANY, np.int64)
            inside = (score > least) | ((score == least) & (ordinal <= last))
            within &= inside | (languages.codes != code)
        return within


@dataclass(frozen=True)
class _Codes:
    """A column of names as numbers; -1 for a null."""

    names: list[str]
    codes: np.ndarray

    def code(self, name: str) -> int | None:
        return self.names.index(name) if name in self.names else None

    def values(self, values: Mapping[str, Any], otherwise: Any, dtype: Any) -> np.ndarray:
        by_code = np.array([*(values.get(name, otherwise) for name in self.names), otherwise], dtype)
        return by_code[self.codes]


def _codes(column: pa.Array | pa.ChunkedArray) -> _Codes:
    coded = column.cast(pa.string()).dictionary_encode()
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    if not isinstance(coded, pa.DictionaryArray):  # what combining no chunk at all may give
        return _Codes([], np.empty(0, np.int64))
    return _Codes(coded.dictionary.to_pylist(), coded.indices.fill_null(-1).to_numpy())
