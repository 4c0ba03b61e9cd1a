"""Exact Jaccard similarity of texts: what MinHash estimates, for evidence and as an oracle.

The sets are those of `pipelines.kernels.minhash`, shingle for shingle, each known by its 64-bit hash.
"""

from __future__ import annotations

from typing import NamedTuple

import numba as nb
import numpy as np
import pyarrow as pa

from pipelines.dedup.config import DedupConfig
from pipelines.dedup.normal import normalised
from pipelines.kernels.minhash import shingle_hashes


class ShingleSets(NamedTuple):
    """Document i has the distinct, ascending hashes `hashes[offsets[i]:offsets[i + 1]]`; none where it is short."""

    offsets: np.ndarray  # int64[n + 1]
    hashes: np.ndarray  # uint64[...]

    def __len__(self) -> int:
        return len(self.offsets) - 1


def shingle_sets(text: pa.Array | pa.ChunkedArray, cfg: DedupConfig) -> ShingleSets:
    """The sets of shingles of a column of texts, as the keys are made of them: 8 bytes a distinct shingle."""
    sets = [np.unique(hashes) for hashes in shingle_hashes(normalised(text, cfg.normalise), cfg.shingle)]
    sizes = np.array([len(hashes) for hashes in sets], np.int64)
    return ShingleSets(
        np.concatenate([[0], np.cumsum(sizes)]), np.concatenate([np.zeros(0, np.uint64), *sets])
    )


def exact_jaccard(text_a: str, text_b: str, cfg: DedupConfig) -> float:
    """|A & B| / |A | B| of the two texts' sets of shingles.

    Texts with fewer tokens than one shingle have no set: 1 if they are equal as `cfg.normalise` sees them, else 0.
    """
    pair = pa.array([text_a, text_b], pa.large_string())
    sets = shingle_sets(pair, cfg)
    if not len(sets.hashes):
        left, right = normalised(pair, cfg.normalise).to_pylist()
        return float(left == right)
    return float(_jaccard(sets.offsets, sets.hashes, 0, 1))


def similar_pairs(sets: ShingleSets, least: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every pair i < j with Jaccard similarity of at least `least` > 0: (i, j, similarity), by i, then j.

    O(n**2) merges of two sorted sets, less the pairs whose sizes alone rule them out: an oracle for samples.
    """
    left, right, similarity = _similar_pairs(sets.offsets, sets.hashes, least)
    return np.asarray(left), np.asarray(right), np.asarray(similarity)


@nb.njit(nogil=True, cache=True)
def _jaccard(offsets, hashes, i, j):
    a, b, end_a, end_b = offsets[i], offsets[j], offsets[i + 1], offsets[j + 1]
    total = end_a - a + end_b - b
    common = 0
    while a < end_a and b < end_b:
        left, right = hashes[a], hashes[b]
        common += left == right
        a += left <= right
        b += right <= left
    return common / (total - common) if total else 0.0


@nb.njit(nogil=True, cache=True)
def _similar_pairs(offsets, hashes, least):
    left, right, similarity = (
        nb.typed.List.empty_list(nb.int64),
        nb.typed.List.empty_list(nb.int64),
        nb.typed.List.empty_list(nb.float64),
    )
    for i in range(len(offsets) - 1):
        size = offsets[i + 1] - offsets[i]
        for j in range(i + 1, len(offsets) - 1):
            other = offsets[j + 1] - offsets[j]
            if size and other and min(size, other) >= least * max(size, other):
                value = _jaccard(offsets, hashes, i, j)
                if value >= least:
                    left.append(i)
                    right.append(j)
                    similarity.append(value)
    return left, right, similarity
