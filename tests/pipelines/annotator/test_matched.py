"""Matching by length, the comparison with baselines, and the baselines."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pipelines.annotator.baselines import BagOfTokens, Length
from pipelines.annotator.config import QualityConfig
from pipelines.annotator.fit import balanced
from pipelines.annotator.matched import SOLUTION, compare, match

rng = np.random.default_rng(2)


def test_files_are_the_nearest_in_length_and_used_once():
    sizes = np.array([100, 101, 102, 500, 9000])
    places = match(np.array([101, 100, 400, 10]), sizes, each=2, max_ratio=1.5, seed=1)
    assert set(places[0]) | set(places[1]) == {0, 1, 2, -1}
    assert places[2].tolist() == [3, -1]
    assert places[3].tolist() == [-1, -1]
    used = places[places >= 0]
    assert len(used) == len(set(used)) == 4
    assert match(np.array([5]), np.zeros(0, np.int64), 1, 2.0, 0).tolist() == [[-1]]


def _solutions(count: int, languages=("Go", "Rust"), benchmark="made") -> pa.Table:
    rows = [
        {"text": f"solve {n} " * (3 + n % 5), "lang": lang, "benchmark": benchmark, "task": f"{lang}/{n}"}
        for lang in languages
        for n in range(count)
    ]
    return pa.Table.from_pylist(rows, schema=SOLUTION)


def _files(count: int, repositories: int = 8, languages=("Go", "Rust", "C")) -> pa.Table:
    rows = [
        {"text": f"config {n} " * (2 + n % 7), "lang": lang, "group": f"repo{n % repositories}"}
        for lang in languages
        for n in range(count)
    ]
    return pa.Table.from_pylist(rows)


def _oracle(table: pa.Table) -> np.ndarray:
    return np.array([text.startswith("solve") for text in table["text"].to_pylist()], float)


def _noise(table: pa.Table) -> np.ndarray:
    return np.random.default_rng(5).normal(size=len(table))


def _size(table: pa.Table) -> np.ndarray:
    return np.array([float(len(text)) for text in table["text"].to_pylist()])


def test_the_better_scorer_wins_and_length_cannot():
    cfg = QualityConfig(files_per_solution=2)
    found = compare(_solutions(40), _files(200), {"mine": _oracle, "length": _size}, cfg, seed=3)
    assert [(c.benchmark, c.language) for c in found] == [("made", "Go"), ("made", "Rust"), ("made", "mean")]
    for one in found:
        assert one.winner == "mine"
        assert one.of("mine").auc.value == 1
        assert 0.35 < one.of("length").auc.value < 0.65  # matched
        assert one.of("length").lead is not None
        assert one.of("length").lead.low > 0
        assert one.repositories <= 8
        assert one.median_bytes[0] == pytest.approx(one.median_bytes[1], rel=0.3)
    assert found[2].positives == found[0].positives + found[1].positives


def test_nobody_wins_by_chance():
    scorers = {"mine": _noise, "length": lambda t: -_noise(t)[::-1]}
    found = compare(_solutions(60), _files(200), scorers, QualityConfig(), seed=3)
    assert [c.winner for c in found] == ["tie"] * 3


def test_translations_of_one_task_are_one_observation():
    """The same scores in two languages: the mean over them is no surer than one of them alone."""

    def same(table: pa.Table) -> np.ndarray:
        numbers = np.array([int(text.split()[1]) for text in table["text"].to_pylist()])
        return np.random.default_rng(9).normal(size=1000)[numbers] + 0.5 * _oracle(table)

    go, rust, mean = compare(_solutions(60), _files(300, 300), {"mine": same}, QualityConfig(), seed=3)
    assert go.of("mine").auc.value == pytest.approx(rust.of("mine").auc.value)
    one, both = go.of("mine").auc, mean.of("mine").auc
    assert both.high - both.low == pytest.approx(one.high - one.low, rel=0.02)


def test_a_language_without_two_repositories_is_left_out():
    files = pa.concat_tables([_files(200, 8, ("Go",)), _files(200, 1, ("Rust",))])
    found = compare(_solutions(20), files, {"mine": _oracle}, QualityConfig(), seed=0)
    assert [c.language for c in found] == ["Go"]
    assert compare(_solutions(20, ("PHP",)), files, {"mine": _oracle}, QualityConfig(), seed=0) == ()


def test_a_bag_of_tokens_learns_words_and_nothing_else():
    words = ["parse", "merge", "sort", "socket", "widget", "license"]
    texts = [" ".join(rng.choice(words, 12)) for _ in range(300)]
    good = np.array(["merge" in text.split() for text in texts])
    share = balanced(good[:, None] * 1.0, np.ones(300), "binary")
    bag = BagOfTokens.fit(
        texts[:200], good[:200], balanced(good[:200, None] * 1.0, np.ones(200), "binary"), 12
    )
    score = bag.score(texts[200:])
    assert score[good[200:]].min() > score[~good[200:]].max()
    shuffled = [" ".join(reversed(text.split())) for text in texts[200:]]
    np.testing.assert_allclose(bag.score(shuffled), score, atol=1e-9)
    assert bag.score([]).shape == (0,)
    assert bag.score([""]) == pytest.approx([bag.bias])
    assert share.sum() == pytest.approx(1)


def test_length_takes_the_direction_that_training_showed():
    size, good = np.array([10, 20, 300, 400]), np.array([True, True, False, False])
    assert np.diff(Length.fit(size, good).score(np.array([5, 50]))) < 0
    assert np.diff(Length.fit(size, ~good).score(np.array([5, 50]))) > 0
