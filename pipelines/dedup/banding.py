"""Bands and rows: which pairs banding finds, and the best choice for a similarity."""

from __future__ import annotations

from functools import cache

import numpy as np

_STEPS = 1000  # of Jaccard similarity in the integrals; the choice is the same from 200 on


def probability(jaccard: float, bands: int, rows: int) -> float:
    """Chance that two documents of this Jaccard similarity agree on all rows of at least one band."""
    return 1 - (1 - jaccard**rows) ** bands


@cache
def best_banding(similarity: float, bins: int) -> tuple[int, int]:
    """(bands, rows) with bands * rows <= bins that make the fewest errors about `similarity` in (0, 1).

    False positives are the area under `probability` below the similarity, false negatives the area over it from
    there on; their sum is least (E. Zhu, datasketch, `MinHashLSH`; both weights 1/2, as in text-dedup and BigCode's
    near-deduplication). Of equal choices the one with the fewest bands is taken: it holds the fewest keys.
    """
    at = (np.arange(_STEPS) + 0.5) / _STEPS
    below, above = at * similarity, similarity + at * (1 - similarity)
    best, chosen = np.inf, (1, 1)
    for bands in range(1, bins + 1):
        rows = np.arange(1, bins // bands + 1)[:, None]
        false_positives = (1 - (1 - below**rows) ** bands).mean(axis=1) * similarity
        false_negatives = ((1 - above**rows) ** bands).mean(axis=1) * (1 - similarity)
        errors = false_positives + false_negatives
        if errors.min() < best - 1e-12:
            best, chosen = float(errors.min()), (bands, int(errors.argmin()) + 1)
    return chosen
