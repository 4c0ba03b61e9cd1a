"""Area under the ROC curve, and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.annotator.quality import Estimate

_Z = 1.959963984540054  # 97.5 % of the normal law


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


def auc_influence(score: np.ndarray, good: np.ndarray) -> tuple[float, np.ndarray]:
    """(AUC, each document's influence on it, float64 [n], which sums to 0 in each class).

    DeLong, DeLong and Clarke-Pearson 1988: a document's structural component, less the AUC, over its class' size.
    The sum of their squares is the variance of the AUC; of differences of two scorers' influences, that of the
    difference of their AUCs.
    """
    ranks = _midranks(score)
    inside = np.empty(len(score))
    inside[good], inside[~good] = _midranks(score[good]), _midranks(score[~good])
    positives, negatives = int(good.sum()), int((~good).sum())
    share = np.where(good, (ranks - inside) / negatives, 1 - (ranks - inside) / positives)
    auc = float(share[good].mean())
    return auc, (share - auc) / np.where(good, positives, negatives)


def clustered_estimate(value: float, influence: np.ndarray, group: Sequence[object] | np.ndarray) -> Estimate:
    """`value` with its 95 % interval (normal law), documents of one group counting as one observation.

    Obuchowski 1997 (clustered ROC data): influences are summed by group before they are squared. With G groups the
    variance is G / (G - 1) of the sum of squares. Groups of benchmark tasks hold one solution each. Raises ValueError
    for fewer than two groups.
    """
    _, member = np.unique(np.asarray(group), return_inverse=True)
    sums = np.bincount(member, influence)
    if len(sums) < 2:
        raise ValueError("an interval needs two groups")
    error = float(np.sqrt(len(sums) / (len(sums) - 1) * (sums @ sums)))
    return Estimate(value=value, low=value - _Z * error, high=value + _Z * error)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation, ties at their mean rank; NaN where one of them does not vary."""
    x, y = (_midranks(v) - (len(v) + 1) / 2 for v in (a, b))
    scale = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / scale) if scale else float("nan")


def _midranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, ties at their mean."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]


def auc_at_like_size(score: np.ndarray, good: np.ndarray, size: np.ndarray, ratio: float = 2.0) -> float:
    """AUC over those pairs whose sizes differ by less than `ratio`: what is left when length cannot tell.

    NaN when there is no such pair. Time and memory are positives x negatives; the caller bounds them.
    """
    log = np.log(np.maximum(size, 1))
    like = np.abs(log[good][:, None] - log[~good][None, :]) < np.log(ratio)
    above = score[good][:, None] - score[~good][None, :]
    wins = (above > 0) + 0.5 * (above == 0)
    return float((wins * like).sum() / like.sum()) if like.any() else float("nan")
