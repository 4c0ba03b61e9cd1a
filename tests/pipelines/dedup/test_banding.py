"""The choice of bands and rows."""

from __future__ import annotations

import pytest

from pipelines.dedup.banding import best_banding, probability


@pytest.mark.parametrize(
    ("similarity", "bins", "chosen"),
    [  # as datasketch 2.0.0 chooses with equal weights
        (0.5, 128, (25, 5)),
        (0.5, 256, (42, 6)),
        (0.7, 128, (14, 9)),
        (0.7, 256, (25, 10)),
        (0.85, 128, (8, 16)),
        (0.85, 256, (13, 19)),
        (0.9, 256, (9, 28)),
    ],
)
def test_known_choices(similarity, bins, chosen):
    assert best_banding(similarity, bins) == chosen


@pytest.mark.parametrize("similarity", [0.3, 0.62, 0.8])
def test_no_other_choice_makes_fewer_errors(similarity):
    """Against a plain sum over every choice and a finer grid."""
    grid = [(i + 0.5) / 4000 for i in range(4000)]

    def errors(bands: int, rows: int) -> float:
        return sum(
            probability(j, bands, rows) if j < similarity else 1 - probability(j, bands, rows) for j in grid
        )

    best = errors(*best_banding(similarity, 64))
    others = [errors(bands, rows) for bands in range(1, 33, 3) for rows in range(1, 64 // bands + 1)]
    assert best <= min(others) * 1.001


def test_probability_is_the_curve():
    assert probability(1.0, 16, 8) == 1
    assert probability(0.0, 16, 8) == 0
    assert probability(0.8, 1, 1) == pytest.approx(0.8)
    assert probability(0.5, 2, 3) == pytest.approx(1 - (1 - 0.125) ** 2)
