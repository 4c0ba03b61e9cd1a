from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.annotator.config import SelectionConfig
from pipelines.annotator.selection import (
    BINS,
    Selection,
    histogram,
    merge,
    select,
    thresholds,
)
from snowcoder.base import UserError

documents = st.lists(
    st.tuples(
        st.sampled_from(["C", "Go", "Python"]),
        st.one_of(st.floats(0, 1, width=32), st.integers(0, 20).map(lambda i: i / 20)),
        st.integers(0, 1000),
    ),
    min_size=1,
    max_size=60,
)


def _columns(rows) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    lang, score, tokens = zip(*rows, strict=True)
    return pa.array(lang), np.array(score, np.float32), np.array(tokens, np.int64)


def _by_sorting(rows, budgets: dict[str, int]) -> set[int]:
    """Rows selected: best bins first until the budget is reached, the last one only if that is nearer to it."""
    chosen: set[int] = set()
    for lang, budget in budgets.items():
        own = sorted((i for i, row in enumerate(rows) if row[0] == lang), key=lambda i: -rows[i][1])
        bins = {i: min(math.floor(float(np.float32(rows[i][1])) * BINS), BINS - 1) for i in own}
        taken = 0
        for at in sorted(set(bins.values()), reverse=True):
            members = [i for i in own if bins[i] == at]
            more = taken + sum(rows[i][2] for i in members)
            if taken >= budget or (more >= budget and budget - taken < more - budget):
                break
            taken = more
            chosen.update(members)
    return chosen


@settings(deadline=None, max_examples=50)
@given(documents, st.integers(1, 20_000), st.integers(1, 5))
def test_equals_sorting_and_adds_up_over_shards(rows, budget, shards):
    lang, score, tokens = _columns(rows)
    whole = histogram(lang, score, tokens)
    places = [np.arange(start, len(rows), shards) for start in range(min(shards, len(rows)))]
    parts = [histogram(lang.take(pa.array(at)), score[at], tokens[at]) for at in places]
    assert merge(parts).equals(whole)
    assert merge(parts[::-1]).equals(whole)

    selection = select(whole, SelectionConfig(budget_tokens=budget), "test")
    total = max(1, int(tokens.sum()))
    own = {name: int(tokens[np.array(lang) == name].sum()) for name in selection.languages}
    budgets = {name: math.ceil(budget * count / total) for name, count in own.items()}
    chosen = selection.selects(lang, score)
    # A language without a single token has no budget; any other has at least one token's worth.
    assert set(np.flatnonzero(chosen)) == _by_sorting(rows, {k: v for k, v in budgets.items() if v})
    assert selection.realised_tokens == int(tokens[chosen].sum())
    assert dict(selection.thresholds) == thresholds(whole, budget)
    for name, found in selection.languages.items():
        assert found.tokens == own[name] == sum(found.histogram.tokens)
        assert found.kept_tokens == int(tokens[chosen & (np.array(lang) == name)].sum())
        assert (found.status == "filled") == (found.tokens >= found.budget_tokens)


def test_a_mix_by_name_and_languages_that_never_fill(tmp_path: Path):
    lang = pa.array(["Python"] * 10 + ["Go"] * 10 + ["C"] * 10)
    score = np.tile(np.linspace(0.05, 0.95, 10, dtype=np.float32), 3)
    whole = histogram(lang, score, np.full(30, 100))
    cfg = SelectionConfig(budget_tokens=2000, mix={"Python": 3, "Go": 1})
    selection = select(whole, cfg, "test")
    python, go, c = (selection.languages[name] for name in ("Python", "Go", "C"))
    assert (python.budget_tokens, python.kept_tokens, python.status) == (1500, 1000, "exhausted")
    assert python.threshold == 0
    assert (go.budget_tokens, go.kept_tokens, go.kept_documents, go.status) == (500, 500, 5, "filled")
    assert c.kept_tokens == 0
    assert selection.realised_tokens == 1500
    selection.write(tmp_path / "selection.json")
    assert Selection.read(tmp_path / "selection.json") == selection
    with pytest.raises(UserError, match=r"selection\.mix: Rust"):
        select(whole, SelectionConfig(mix={"Rust": 1}), "test")


def test_fraction_and_the_edges_of_the_scale():
    lang = pa.chunked_array([["Go", "Go"], ["Go", None]]).dictionary_encode()
    score = np.array([0.0, 1.0, np.nan, 1.0], np.float32)
    whole = histogram(lang.slice(0, 3), score[:3], np.array([10, 10, 10]))
    assert whole["documents"].to_pylist() == [1, 1]
    selection = select(whole, SelectionConfig(fraction=0.5), "test")
    assert selection.budget_tokens == 10
    assert selection.selects(lang, score).tolist() == [False, True, False, False]
    assert select(whole, SelectionConfig(fraction=1.0), "test").selects(lang, score).tolist() == [
        True,
        True,
        False,
        False,
    ]
    assert select(whole, SelectionConfig(budget_tokens=0), "test").realised_tokens == 0


def test_nothing_scored():
    empty = merge([])
    selection = select(empty, SelectionConfig(), "test")
    assert (selection.realised_tokens, selection.languages) == (0, {})
    assert selection.selects(pa.array([], pa.string()), np.empty(0, np.float32)).shape == (0,)
    assert selection.selects(pa.chunked_array([], pa.string()), np.empty(0, np.float32)).shape == (0,)


def test_a_damaged_or_absent_selection(tmp_path: Path):
    with pytest.raises(UserError, match="score and select first"):
        Selection.read(tmp_path / "selection.json")
    (tmp_path / "selection.json").write_text('{"annotator": 1}')
    with pytest.raises(UserError, match="not a selection"):
        Selection.read(tmp_path / "selection.json")
