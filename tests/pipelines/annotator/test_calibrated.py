from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pipelines.annotator.calibrated import ratio_interval, realised, select_calibrated
from pipelines.annotator.config import SelectionConfig
from pipelines.annotator.exact import merge_all
from pipelines.annotator.selection import histogram, select
from snowcoder.base import UserError


def _shards(seed: int, count: int = 60) -> tuple[list[pa.Table], list[int]]:
    """Shards of unequal size whose scores and languages differ between shards: clusters, as repositories are."""
    rng = np.random.default_rng(seed)
    shards, sizes = [], []
    for _ in range(count):
        documents = int(rng.integers(20, 90))
        score = np.clip(rng.normal(rng.uniform(0.3, 0.7), 0.1, documents), 0, 1).astype(np.float32)
        tokens = rng.integers(1, 100, documents)
        lang = rng.choice(["Go", "C"], documents, p=[(p := rng.uniform(0.2, 0.8)), 1 - p])
        shards.append(histogram(pa.array(lang.tolist()), score, tokens))
        sizes.append(int(tokens.sum() * 3.5))
    return shards, sizes


def _given(selection, shards) -> int:
    return sum(
        int(
            shard["tokens"]
            .to_numpy()[selection.selects(shard["lang"], shard["bin"].to_numpy() / 65_536)]
            .sum()
        )
        for shard in shards
    )


def test_the_interval_of_a_fixed_cut_covers_the_truth_95_times_in_100():
    shards, sizes = _shards(2)
    selection = select(merge_all(shards), SelectionConfig(fraction=0.3), "test")
    truth = [_given(selection, [shard]) for shard in shards]
    rng, inside = np.random.default_rng(3), 0
    for _ in range(200):
        some = rng.choice(60, 15, replace=False)
        found = ratio_interval([truth[i] for i in some], [sizes[i] for i in some], sizes)
        inside += found.low <= sum(truth) <= found.high
    assert inside >= 180  # binomial(200, 0.95): fewer has a chance of 0.1 %
    whole = ratio_interval(truth, sizes, sizes)
    assert whole.low == pytest.approx(sum(truth)) == whole.high
    with pytest.raises(ValueError, match="at least two"):
        ratio_interval(truth[:1], sizes[:1], sizes)


def test_cuts_from_a_sample_give_the_budget_within_the_interval():
    shards, sizes = _shards(4)
    budget = round(0.3 * sum(int(shard["tokens"].to_numpy().sum()) for shard in shards))
    rng, inside = np.random.default_rng(5), 0
    for _ in range(100):
        some = rng.choice(60, 15, replace=False)
        found = select_calibrated(
            [shards[i] for i in some], [sizes[i] for i in some], sizes,
            SelectionConfig(budget_tokens=budget), "test",
        )  # fmt: skip
        assert (found.sampled_shards, found.total_shards) == (15, 60)
        assert found.interval is not None
        inside += found.interval.low <= _given(found, shards) <= found.interval.high
    assert inside >= 86  # as above, of 100


def test_a_language_that_fills_early_or_never_is_said():
    early = histogram(pa.array(["Go"] * 10), np.full(10, 0.9, np.float32), np.full(10, 100))
    late = histogram(pa.array(["Go"] * 10), np.full(10, 0.2, np.float32), np.full(10, 100))
    rare = histogram(pa.array(["C"]), np.full(1, 0.9, np.float32), np.full(1, 100))
    selection = select(
        merge_all([early, late, rare]), SelectionConfig(budget_tokens=1000, mix={"Go": 1, "C": 1}), "test"
    )
    stream = [
        (10, early),
        (10, late),
        (10, rare),
        (10, early),
    ]  # twice as many good files as the cut was made for
    found = realised(stream, selection, 40)
    assert (found["Go"].status, found["Go"].filled_after, found["Go"].tokens) == ("filled early", 0.25, 2000)
    assert (found["C"].status, found["C"].filled_after, found["C"].tokens) == ("short", None, 100)
    assert realised([*stream[2:3], *stream[:1]], selection, 20)["Go"].status == "filled"


def test_what_a_sample_cannot_give():
    shards, sizes = _shards(6, 4)
    with pytest.raises(UserError, match="quotas need all shards scored"):
        select_calibrated(shards, sizes, sizes, SelectionConfig(repository_share=0.1), "test")
    with pytest.raises(UserError, match="needs two sampled shards"):
        select_calibrated(shards[:1], sizes[:1], sizes, SelectionConfig(), "test")
