"""Calibration of a binary head by one temperature (Guo et al. 2017, arXiv 1706.04599), and how far off it is.

A temperature keeps the order of a window's scores, so that ties and ranks are as they were (isotonic regression would
tie whole ranges, and the selection ranks), and it folds into the head: scoring does not know of it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_GRID = np.geomspace(0.1, 20.0, 60)
_BINS = 10


def log_loss(probability: np.ndarray, good: np.ndarray, weight: np.ndarray) -> float:
    p = np.clip(probability, 1e-12, 1 - 1e-12)
    return float(-(weight * np.where(good, np.log(p), np.log1p(-p))).sum() / weight.sum())


def calibration_error(probability: np.ndarray, good: np.ndarray, weight: np.ndarray) -> float:
    """Expected calibration error: mean distance between a bin's mean probability and its share of good ones."""
    place = np.minimum((probability * _BINS).astype(int), _BINS - 1)
    mass = np.bincount(place, weight, _BINS)
    said = np.bincount(place, weight * probability, _BINS)
    true = np.bincount(place, weight * good, _BINS)
    return float(np.abs(said - true).sum() / mass.sum())


def temperature(probability: Callable[[float], np.ndarray], good: np.ndarray, weight: np.ndarray) -> float:
    """The temperature with the least log loss of the documents; `probability(t)` is theirs with logits over t.

    A grid of 60 from 0.1 to 20 (8 % apart), then one pass of 20 between the neighbours of its best.
    """

    def best(grid: np.ndarray) -> int:
        return int(np.argmin([log_loss(probability(float(t)), good, weight) for t in grid]))

    at = best(_GRID)
    fine = np.geomspace(_GRID[max(at - 1, 0)], _GRID[min(at + 1, len(_GRID) - 1)], 20)
    return float(fine[best(fine)])
