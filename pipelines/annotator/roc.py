"""Area under the ROC curve, and how sure it is."""

from __future__ import annotations

import numpy as np


def roc_auc(score: np.ndarray, good: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Chance that a good document scores above a random one, ties counting half; NaN without both classes."""
    weight = np.ones(len(score)) if weight is None else weight
    _, place = np.unique(score, return_inverse=True)
    positive = np.bincount(place, weight * good)
    negative = np.bincount(place, weight * ~good)
    below = np.cumsum(negative) - negative
    pairs = positive.sum() * negative.sum()
    return float(positive @ (below + negative / 2) / pairs) if pairs else float("nan")


def auc_interval(
    score: np.ndarray, good: np.ndarray, group: np.ndarray, resamples: int, seed: int
) -> tuple[float, float]:
    """95 % percentile interval of the AUC by resampling whole groups, within each class.

    Documents of one repository are alike, so resampling documents would claim too much.
    """
    rng = np.random.default_rng(seed)
    _, member = np.unique(np.stack([group, good.astype(group.dtype)]), axis=1, return_inverse=True)
    member = member.ravel()
    is_good = np.zeros(member.max() + 1, bool)
    is_good[member] = good
    pools = [np.flatnonzero(is_good), np.flatnonzero(~is_good)]
    values = np.empty(resamples)
    for i in range(resamples):
        drawn = np.concatenate([rng.choice(pool, len(pool)) for pool in pools])
        values[i] = roc_auc(score, good, np.bincount(drawn, minlength=len(is_good))[member])
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def auc_at_like_size(score: np.ndarray, good: np.ndarray, size: np.ndarray, ratio: float = 2.0) -> float:
    """AUC over those pairs whose sizes differ by less than `ratio`: what is left when length cannot tell.

    NaN when there is no such pair. Time and memory are positives x negatives; the caller bounds them.
    """
    log = np.log(np.maximum(size, 1))
    like = np.abs(log[good][:, None] - log[~good][None, :]) < np.log(ratio)
    above = score[good][:, None] - score[~good][None, :]
    wins = (above > 0) + 0.5 * (above == 0)
    return float((wins * like).sum() / like.sum()) if like.any() else float("nan")
