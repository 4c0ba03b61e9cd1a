"""Thirty million documents through the claim: every verdict as known, time flat, memory as planned."""

from __future__ import annotations

import statistics

import pytest

from benchmarks.index_scale import measure, plan

DOCUMENTS = 30_000_000


@pytest.mark.soak
@pytest.mark.timeout(3000)
def test_time_is_flat_and_memory_as_planned():
    cfg = plan(DOCUMENTS)
    points = list(measure(DOCUMENTS))
    assert points[-1].documents == DOCUMENTS
    # A table is slower the fuller it is, and each growth makes it faster again: compare it full with it full.
    growth = max(range(1, len(points)), key=lambda i: points[i].held - points[i - 1].held)
    before, last = (
        statistics.median(point.seconds_per_million for point in part)
        for part in (points[growth - 5 : growth - 1], points[-5:])
    )
    assert growth > 5
    assert last < 1.5 * before
    assert max(point.held for point in points) < cfg.index_bytes
    assert max(point.resident for point in points) < cfg.index_bytes
