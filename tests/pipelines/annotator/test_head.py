from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.annotator.calibration import calibration_error, log_loss, temperature
from pipelines.annotator.config import HeadConfig
from pipelines.annotator.fit import Examples, Stopping, balanced, fit_head
from pipelines.annotator.head import Head, Linear
from pipelines.annotator.roc import (
    auc_at_like_size,
    auc_influence,
    auc_interval,
    clustered_estimate,
    roc_auc,
    spearman,
)
from snowcoder.base import UserError

rng = np.random.default_rng(5)
GOOD = np.arange(400) < 150
X = (rng.normal(size=(400, 12)) * np.linspace(0.01, 3, 12) + 5 + GOOD[:, None] * 0.3).astype(np.float32)
WEIGHT = rng.uniform(0.3, 1, 400)


TARGET = GOOD[:, None].astype(float)
SHARE = balanced(TARGET, WEIGHT, "binary")


def _fit(cfg: HeadConfig | None = None, **options) -> Head:
    examples = Examples(X, TARGET, SHARE)
    return Head(fit_head(examples, cfg or HeadConfig(), **options).linear)


def _loss_gradient(head: Head, l2: float) -> np.ndarray:
    """Gradient of the documented loss with respect to the standardised weights, written independently."""
    share = np.where(GOOD, WEIGHT / WEIGHT[GOOD].sum(), WEIGHT / WEIGHT[~GOOD].sum()) / 2
    x = X.astype(np.float64)
    mean = share @ x
    scale = np.sqrt(share @ (x - mean) ** 2)
    residual = share * (head.probability(X) - GOOD)
    return ((x - mean) / scale).T @ residual + l2 * head.linear.weight[0] * scale


def test_the_fit_is_the_minimum_and_depends_on_nothing_else():
    head = _fit(HeadConfig(l2=0.05))
    assert np.abs(_loss_gradient(head, 0.05)).max() < 1e-5
    again = _fit(HeadConfig(l2=0.05))
    assert np.array_equal(head.linear.weight, again.linear.weight)
    assert np.array_equal(head.linear.bias, again.linear.bias)


def test_classes_have_even_odds_whatever_their_counts():
    assert SHARE @ _fit().probability(X) == pytest.approx(0.5, abs=1e-4)


def test_a_regression_is_the_ridge_solution():
    weight = balanced(TARGET, WEIGHT, "regression")
    target = np.stack([X[:, 3] / 10, rng.uniform(size=400)], 1)
    found = fit_head(Examples(X, target, weight), HeadConfig(l2=0.2), "regression").linear
    x = X.astype(np.float64)
    mean = weight @ x
    scale = np.sqrt(weight @ (x - mean) ** 2)
    z = np.column_stack([(x - mean) / scale, np.ones(400)])
    ridge = np.diag([0.2] * 12 + [0.0])
    solution = np.linalg.solve(2 * z.T @ (z * weight[:, None]) + ridge, 2 * z.T @ (target * weight[:, None]))
    np.testing.assert_allclose(found(X), z @ solution, atol=1e-4)


def test_early_stopping_keeps_the_best_step():
    noisy = np.random.default_rng(0)
    few = Examples(noisy.normal(size=(40, 60)).astype(np.float32), (np.arange(40) % 2)[:, None] * 1.0,
                   np.full(40, 1 / 40))  # fmt: skip
    other = Examples(noisy.normal(size=(40, 60)).astype(np.float32), few.target, few.weight)
    found = fit_head(few, HeadConfig(l2=1e-6), stopping=Stopping(other, every=1, patience=2))
    assert 0 < found.best_step < found.steps < 20  # nothing is there to learn: it gets worse at once
    assert found.loss == pytest.approx(
        log_loss(Head(found.linear).probability(other.embeddings), other.target[:, 0] > 0, other.weight),
        abs=1e-6,
    )
    assert fit_head(few, HeadConfig(l2=1e-6)).steps > found.steps


def test_a_head_fitted_from_another_stays_there_under_a_strong_pull():
    shared = _fit().linear
    near = fit_head(Examples(X, 1 - TARGET, SHARE), HeadConfig(l2=1e6), start=shared).linear
    np.testing.assert_allclose(near.weight, shared.weight, atol=1e-4)
    far = fit_head(Examples(X, 1 - TARGET, SHARE), HeadConfig(l2=1e-3), start=shared).linear
    assert np.corrcoef(far.weight[0], shared.weight[0])[0, 1] < 0


def test_languages_have_their_own_head_or_the_shared_one():
    shared, own = (Linear(np.full((1, 2), w, np.float32), np.zeros(1, np.float32)) for w in (1, -1))
    head = Head(shared, languages={"Go": own})
    x = np.ones((4, 2), np.float32)
    score = head.score(x, ["Go", "C", None, "Go"])
    high, low = head.probability(x)[0], 1 - head.probability(x)[0]
    np.testing.assert_allclose(score, [low, high, high, low])
    assert head.by_language
    regression = Head(shared, "regression")
    assert regression.outputs(np.array([[9, 9], [-9, 0], [0.2, 0.3]], np.float32)).ravel() == pytest.approx(
        [1, 0, 0.5]
    )


def test_probability_does_not_overflow():
    head = Head(Linear(np.ones((1, 1), np.float32), np.zeros(1, np.float32)))
    with np.errstate(over="raise"):
        assert head.probability(np.array([[-2000.0], [0], [2000]], np.float32)).tolist() == [0, 0.5, 1]


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="both good and random"):
        balanced(np.ones((10, 1)), np.ones(10), "binary")


@pytest.mark.parametrize("languages", [(), ("C", "Go")])
def test_save_and_load(tmp_path, languages):
    linear = _fit().linear
    head = Head(linear, "binary", {name: linear.scaled(i + 2) for i, name in enumerate(languages)})
    head.save(tmp_path, {"encoder": "abc", "window_tokens": 64})
    loaded, about = Head.load(tmp_path)
    assert about == {"encoder": "abc", "window_tokens": 64}
    assert list(loaded.languages) == list(languages)
    lang = ["Go"] * len(X)
    assert np.array_equal(loaded.score(X, lang), head.score(X, lang))
    (tmp_path / "head.safetensors").write_bytes(b"\0" * 40)
    with pytest.raises(UserError, match="damaged"):
        Head.load(tmp_path)
    with pytest.raises(UserError, match="train the annotator first"):
        Head.load(tmp_path / "elsewhere")


def test_a_temperature_mends_an_overconfident_head_and_keeps_the_order():
    truth = rng.uniform(size=4000)
    good = rng.uniform(size=4000) < truth
    logit = np.log(truth / (1 - truth))

    def probability(t: float) -> np.ndarray:
        return 1 / (1 + np.exp(-3 * logit / t))  # three times too sure

    weight = np.ones(4000)
    found = temperature(probability, good, weight)
    assert found == pytest.approx(3, rel=0.1)
    assert calibration_error(probability(found), good, weight) < 0.03
    assert calibration_error(probability(1), good, weight) > 0.08
    assert log_loss(probability(found), good, weight) < log_loss(probability(1), good, weight)


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


def test_delongs_variance_is_that_of_many_draws():
    draws = np.random.default_rng(11)
    good = np.arange(150) < 60
    aucs, widths = [], []
    for _ in range(400):
        score = draws.normal(size=150) + good
        auc, influence = auc_influence(score, good)
        assert auc == pytest.approx(roc_auc(score, good))
        found = clustered_estimate(auc, influence, np.arange(150))
        aucs.append(auc)
        widths.append((found.high - found.low) / 2 / 1.96)
    assert np.mean(widths) == pytest.approx(np.std(aucs), rel=0.1)


def test_files_of_one_repository_count_as_one():
    score = np.repeat(rng.normal(size=40), 10) + GOOD
    auc, influence = auc_influence(score, GOOD)
    alone = clustered_estimate(auc, influence, np.arange(400))
    together = clustered_estimate(auc, influence, np.arange(400) // 10)
    assert together.high - together.low > 2 * (alone.high - alone.low)
    with pytest.raises(ValueError, match="two groups"):
        clustered_estimate(auc, influence, np.zeros(400))


def test_rank_correlation():
    a = np.array([1.0, 2, 2, 4, 5])
    assert spearman(a, np.exp(a)) == pytest.approx(1)
    assert spearman(a, np.array([2.0, 1, 1, 0, 9])) == pytest.approx(
        np.corrcoef([1, 2.5, 2.5, 4, 5], [4, 2.5, 2.5, 1, 5])[0, 1]
    )
    assert np.isnan(spearman(a, np.ones(5)))
