"""How often pairs of a given similarity share a band: measured over many hash functions, beside two curves.

The usual curve, 1 - (1 - J ** rows) ** bands, takes the bins for independent. One-permutation hashing puts each
shingle into one bin, so the bins of a pair are a sample of the shingles of both *without replacement*: the number of
bins that agree is hypergeometric, not binomial, and the curve is steeper on both sides of its middle.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln
from scipy.stats import hypergeom

from pipelines.dedup.config import DedupConfig
from pipelines.dedup.exact import ShingleSets
from pipelines.kernels.minhash import band_keys, sketch_sets

DRAWS = 200  # hash functions
EDGES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0001)


class Pairs(NamedTuple):
    left: np.ndarray  # int64[k] < right
    right: np.ndarray
    jaccard: np.ndarray  # float64[k]


class Interval(NamedTuple):
    low: float
    high: float
    pairs: int
    found: float  # share of the pairs that share a band, mean over the hash functions
    error: float  # three standard errors of that mean
    independent: float  # what the usual curve says
    sampled: float  # what sampling without replacement says

    @property
    def inside(self) -> bool:
        return abs(self.found - self.sampled) <= max(self.error, 1e-3)


def curve(sets: ShingleSets, pairs: Pairs, cfg: DedupConfig) -> Iterator[Interval]:
    """Intervals of similarity, of the pairs that have at least `cfg.bins` shingles between them.

    Smaller ones fill several bins with one shingle, for which there is no such simple law.
    """
    sizes = np.diff(sets.offsets)
    total = sizes[pairs.left] + sizes[pairs.right]
    shared = np.rint(pairs.jaccard / (1 + pairs.jaccard) * total).astype(np.int64)
    large = total - shared >= cfg.bins
    pairs, union, shared = Pairs(*(part[large] for part in pairs)), (total - shared)[large], shared[large]
    found = np.array([_banded(sets, pairs, cfg, seed) for seed in range(DRAWS)])
    sampled = sampled_probability(shared, union, cfg)
    for low, high in pairwise(EDGES):
        inside = (pairs.jaccard >= low) & (pairs.jaccard < high)
        if inside.any():
            shares = found[:, inside].mean(axis=1)
            yield Interval(
                low,
                min(high, 1.0),
                int(inside.sum()),
                float(shares.mean()),
                float(3 * shares.std(ddof=1) / np.sqrt(DRAWS)),
                float(cfg.probability(pairs.jaccard[inside]).mean()),
                float(sampled[inside].mean()),
            )


def sampled_probability(shared: np.ndarray, union: np.ndarray, cfg: DedupConfig) -> np.ndarray:
    """float64[k]: chance of a common band for pairs with `shared` of `union` >= bins shingles in common.

    The bins that agree are hypergeometric(union, shared, bins) in number and lie anywhere; which of them fill a band
    is counted by inclusion and exclusion over the bands.
    """
    bins, bands, rows = cfg.bins, cfg.bands, cfg.rows
    agreeing = np.arange(bins + 1)
    given = np.zeros(bins + 1)
    for full in range(1, bands + 1):
        some = agreeing >= rows * full
        ways = _log_choose(bins - rows * full, agreeing[some] - rows * full) - _log_choose(
            bins, agreeing[some]
        )
        given[some] += (-1) ** (full + 1) * np.exp(_log_choose(bands, full) + ways)
    kinds, which = np.unique(np.stack([union, shared], axis=1), axis=0, return_inverse=True)
    return np.array([hypergeom.pmf(agreeing, u, s, bins) @ given for u, s in kinds.tolist()])[which.ravel()]


def _banded(sets: ShingleSets, pairs: Pairs, cfg: DedupConfig, seed: int) -> np.ndarray:
    keys = band_keys(sketch_sets(*sets, bins=cfg.bins, seed=seed), bands=cfg.bands, rows=cfg.rows)
    return (keys[pairs.left] == keys[pairs.right]).any(axis=1)


def _log_choose(n: int | np.ndarray, k: int | np.ndarray) -> np.ndarray:
    return gammaln(np.add(n, 1)) - gammaln(np.add(k, 1)) - gammaln(np.subtract(n, k) + 1)
