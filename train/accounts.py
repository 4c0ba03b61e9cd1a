"""Where the loss comes from: by language and by source, at no more than one number a token and one a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

OTHER = "other"  # a language without a name here, or none
MIXED = "several"  # a training document with files in several languages


@dataclass(frozen=True)
class Accounts:
    """Names of what rows carry as numbers. Without names nothing is counted apart."""

    languages: tuple[str, ...] = ()  # by number; -1 stands for OTHER, -2 for MIXED
    sources: tuple[str, ...] = ()
    source_of_shard: Mapping[int, int] = field(default_factory=dict)  # shard -> place in `sources`; absent: 0

    @property
    def count(self) -> int:
        """Accounts in all: one a pair of source and language."""
        return len(self._languages) * max(1, len(self.sources)) if self.languages else 0

    @property
    def _languages(self) -> tuple[str, ...]:
        return (*self.languages, MIXED, OTHER)

    def of_tokens(
        self, languages: list[np.ndarray], boundaries: list[np.ndarray], shards: np.ndarray, seq_len: int
    ) -> np.ndarray:
        """int64 [rows, seq_len]: the account of each token.

        Args:
            languages: per row, the number of each training document in it, in order.
            boundaries: per row, where training documents start; one fewer where the row begins inside one.
            shards: int [rows].
        """
        accounts = np.empty((len(languages), seq_len), np.int64)
        width = len(self._languages)
        for row, (numbers, starts) in enumerate(zip(languages, boundaries, strict=True)):
            numbers = np.asarray(numbers, np.int64)
            numbers = np.where((numbers < len(self.languages)) & (numbers >= -2), numbers, -1) % width
            source = self.source_of_shard.get(int(shards[row]), 0)
            edges = np.asarray(starts, np.int64)
            if len(edges) < len(numbers):
                edges = np.concatenate([[0], edges])
            lengths = np.diff(np.append(edges, seq_len))
            accounts[row] = source * width + np.repeat(numbers, lengths)
        return accounts

    def by_language(self, sums: np.ndarray) -> dict[str, float]:
        """Mean loss in nats a token by language. `sums`: float64 [2, count], loss and predicted tokens."""
        return _means(self._languages, self._folded(sums).sum(axis=1))

    def by_source(self, sums: np.ndarray) -> dict[str, float]:
        return _means(self.sources, self._folded(sums).sum(axis=2)) if self.sources else {}

    def _folded(self, sums: np.ndarray) -> np.ndarray:
        return sums.reshape(2, max(1, len(self.sources)), len(self._languages))


def _means(names: tuple[str, ...], sums: np.ndarray) -> dict[str, float]:
    return {name: float(loss / tokens) for name, loss, tokens in zip(names, *sums, strict=True) if tokens}
