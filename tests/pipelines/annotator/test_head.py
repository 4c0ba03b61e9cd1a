from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.annotator.config import HeadConfig
from pipelines.annotator.head import Head, fit_head
from pipelines.annotator.roc import auc_at_like_size, auc_interval, roc_auc
from snowcoder.base import UserError

rng = np.random.default_rng(5)
GOOD = np.arange(400) < 150
X = (rng.normal(size=(400, 12)) * np.linspace(0.01, 3, 12) + 5 + GOOD[:, None] * 0.3).astype(np.float32)
WEIGHT = rng.uniform(0.3, 1, 400)


def _loss_gradient(head: Head, l2: float) -> np.ndarray:
    """Gradient of the documented loss with respect to the standardised weights, written independently."""
    share = np.where(GOOD, WEIGHT / WEIGHT[GOOD].sum(), WEIGHT / WEIGHT[~GOOD].sum()) / 2
    x = X.astype(np.float64)
    mean = share @ x
    scale = np.sqrt(share @ (x - mean) ** 2)
    residual = share * (head.probability(X) - GOOD)
    return ((x - mean) / scale).T @ residual + l2 * head.weight * scale


def test_the_fit_is_the_minimum_and_depends_on_nothing_else():
    head = fit_head(X, GOOD, WEIGHT, HeadConfig(l2=0.05))
    assert np.abs(_loss_gradient(head, 0.05)).max() < 1e-5
    again = fit_head(X, GOOD, WEIGHT, HeadConfig(l2=0.05))
    assert np.array_equal(head.weight, again.weight)
    assert head.bias == again.bias


def test_classes_have_even_odds_whatever_their_counts():
    head = fit_head(X, GOOD, WEIGHT, HeadConfig())
    share = np.where(GOOD, WEIGHT / WEIGHT[GOOD].sum(), WEIGHT / WEIGHT[~GOOD].sum()) / 2
    assert share @ head.probability(X) == pytest.approx(0.5, abs=1e-4)


def test_probability_does_not_overflow():
    head = Head(np.ones(1, np.float32), 0.0)
    with np.errstate(over="raise"):
        assert head.probability(np.array([[-2000.0], [0], [2000]], np.float32)).tolist() == [0, 0.5, 1]


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="both good and random"):
        fit_head(X[:10], np.ones(10, bool), np.ones(10), HeadConfig())


def test_save_and_load(tmp_path):
    head = fit_head(X, GOOD, WEIGHT, HeadConfig())
    head.save(tmp_path, {"encoder": "abc", "window_tokens": 64})
    loaded, about = Head.load(tmp_path)
    assert about == {"encoder": "abc", "window_tokens": 64}
    np.testing.assert_allclose(loaded.probability(X), head.probability(X), atol=1e-6)
    (tmp_path / "head.safetensors").write_bytes(b"\0" * 40)
    with pytest.raises(UserError, match="damaged"):
        Head.load(tmp_path)
    with pytest.raises(UserError, match="train the annotator first"):
        Head.load(tmp_path / "elsewhere")


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 3)), min_size=1, max_size=40))
def test_auc_counts_pairs(documents):
    score, good, weight = (np.array(column) for column in zip(*documents, strict=True))
    pairs = [
        (weight[i] * weight[j], (score[i] > score[j]) + 0.5 * (score[i] == score[j]))
        for i in np.flatnonzero(good)
        for j in np.flatnonzero(~good)
    ]
    total = sum(pair[0] for pair in pairs)
    found = roc_auc(score.astype(float), good, weight)
    assert np.isnan(found) if not total else found == pytest.approx(sum(a * b for a, b in pairs) / total)


def test_the_interval_holds_the_auc_and_widens_with_fewer_groups():
    score = rng.normal(size=400) + GOOD
    many = auc_interval(score, GOOD, np.arange(400), 300, seed=1)
    few = auc_interval(score, GOOD, np.arange(400) // 40, 300, seed=1)
    assert many[0] < roc_auc(score, GOOD) < many[1]
    assert many == auc_interval(score, GOOD, np.arange(400), 300, seed=1)
    # Hanley and McNeil's standard error at this AUC and these counts is 0.024: 0.095 wide.
    assert 0.06 < many[1] - many[0] < 0.13
    block_effect = np.repeat(rng.normal(size=10), 40)
    blocked = auc_interval(block_effect + GOOD, GOOD, np.arange(400) // 40, 300, seed=1)
    assert blocked[1] - blocked[0] > 1.5 * (many[1] - many[0])
    assert few[0] < few[1]


def test_like_size_leaves_out_what_length_alone_tells():
    size = np.where(GOOD, rng.integers(100, 1000, 400), rng.integers(800, 9000, 400))
    assert roc_auc(-size.astype(float), GOOD) > 0.95
    like = auc_at_like_size(-np.log2(size).round(), GOOD, size)
    assert 0.4 < like < 0.9
    assert np.isnan(auc_at_like_size(size, GOOD, np.where(GOOD, 1, 10**6)))
