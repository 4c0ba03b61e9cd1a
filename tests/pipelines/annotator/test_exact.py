from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.annotator.config import SelectionConfig
from pipelines.annotator.exact import SCORED, select_exact
from pipelines.annotator.selection import Selection

rows = st.lists(
    st.tuples(
        st.sampled_from(["C", "Go", "Python"]),
        st.sampled_from(["a", "b", "c", ""]),
        # Whole tens tie; the others fall into one bin without a tie.
        st.one_of(st.integers(0, 10).map(lambda i: i / 10), st.floats(0.5, 0.5 + 2**-17, width=32)),
        st.integers(0, 1000),
    ),
    min_size=1,
    max_size=60,
)


def _table(documents) -> pa.Table:
    lang, repo, score, tokens = zip(*documents, strict=True)
    columns = [lang, repo, np.arange(len(lang)), np.array(score, np.float32), tokens]
    return pa.table(dict(zip(SCORED.names, columns, strict=True)), schema=SCORED)


def _select(table: pa.Table, cfg: SelectionConfig, parts: int = 3) -> tuple[Selection, np.ndarray]:
    """The selection, from tables in another order than the documents', and which documents it selects."""
    size = -(-len(table) // parts)
    slices = [table.slice(start, size) for start in range(0, len(table), size)][::-1]
    found = select_exact(lambda: iter(slices), cfg, "test")
    ordinal, score = table["ordinal"].to_numpy(), table["score"].to_numpy()
    return found, found.selects(table["lang"], score, ordinal, table["repo"])


def _by_sorting(documents, budgets: dict[str, int], quotas: dict[str, float]) -> set[int]:
    """Best first; a repository stops at its first document beyond its quota; the sum nearest to the budget."""
    chosen: set[int] = set()
    for lang, budget in budgets.items():
        own = [i for i, row in enumerate(documents) if row[0] == lang]
        own.sort(key=lambda i: (-np.float32(documents[i][2]), i))
        used: dict[str, float] = {}
        eligible = []
        for i in own:
            _, repo, _, tokens = documents[i]
            used[repo] = used.get(repo, 0) + tokens
            if not repo or used[repo] <= quotas[lang]:
                eligible.append(i)
            else:
                used[repo] = float("inf")
        sums = np.cumsum([0, *(documents[i][3] for i in eligible)])
        if not budget:
            continue
        count = len(eligible) if sums[-1] < budget else int(np.argmin(np.abs(sums - budget)))
        chosen.update(eligible[:count])
    return chosen


@settings(deadline=None, max_examples=60)
@given(rows, st.integers(1, 20_000), st.sampled_from([None, 0.1, 0.3, 1.0]))
def test_equals_sorting(documents, budget, share):
    table = _table(documents)
    found, chosen = _select(table, SelectionConfig(budget_tokens=budget, repository_share=share))
    budgets = {lang: own.budget_tokens for lang, own in found.languages.items()}
    quotas = {lang: float("inf") if share is None else int(share * own) for lang, own in budgets.items()}
    tokens = table["tokens"].to_numpy()
    expected = _by_sorting(documents, budgets, quotas)
    # Documents without a token may be on either side of the cut: the sum is the same.
    counted = set(np.flatnonzero(tokens).tolist())
    assert set(np.flatnonzero(chosen).tolist()) & counted == expected & counted
    assert found.realised_tokens == tokens[chosen].sum()
    for lang, own in found.languages.items():
        mine = chosen & (np.asarray(table["lang"].to_pylist()) == lang)
        assert own.kept_tokens == tokens[mine].sum()
        assert own.kept_documents == mine.sum()


def test_a_bin_of_equal_scores_is_cut_to_within_half_a_document():
    """All scores are equal, where whole bins would give everything or nothing."""
    rng = np.random.default_rng(0)
    documents = [("Go", f"r{i % 7}", 0.5, int(size)) for i, size in enumerate(rng.integers(1, 400, 5000))]
    found, chosen = _select(_table(documents), SelectionConfig(budget_tokens=30_000))
    assert found.mode == "exact"
    assert abs(found.realised_tokens - 30_000) <= 200
    assert chosen[: chosen.sum()].all()  # ties go to those that come first


def test_realised_within_one_per_cent_of_every_language_budget():
    rng = np.random.default_rng(1)
    documents = [
        (lang, f"{lang}{i % 40}", float(np.float32(score)), int(size))
        for lang, count in (("Python", 6000), ("Go", 2000), ("C", 900))
        for i, (score, size) in enumerate(
            zip(rng.beta(2, 5, count), np.exp(rng.normal(5.5, 1, count)).clip(1, 20_000), strict=True)
        )
    ]
    found, _ = _select(_table(documents), SelectionConfig(fraction=0.2))
    for own in found.languages.values():
        assert own.status == "filled"
        assert abs(own.kept_tokens - own.budget_tokens) <= 0.01 * own.budget_tokens


def test_what_a_language_lacks_stays_or_goes_to_the_others():
    documents = [("Python", "p", 0.1 * (i % 9), 100) for i in range(100)]
    documents += [("Go", "g", 0.5, 100)] * 5 + [("C", "c", 0.5, 100)] * 40
    cfg = SelectionConfig(budget_tokens=6000, mix={"Python": 1, "Go": 1, "C": 1})
    found, _ = _select(_table(documents), cfg)
    budgets = {
        lang: (own.budget_tokens, own.kept_tokens, own.status) for lang, own in found.languages.items()
    }
    assert budgets == {
        "Python": (2000, 2000, "filled"),
        "Go": (2000, 500, "exhausted"),
        "C": (2000, 2000, "filled"),
    }
    found, _ = _select(_table(documents), cfg.model_copy(update={"redistribute": True}))
    assert {lang: own.kept_tokens for lang, own in found.languages.items()} == {
        "Python": 2800,  # half of the 1,500 that Go lacks, to the nearest document
        "Go": 500,
        "C": 2800,
    } or abs(found.realised_tokens - 6000) <= 100
    assert abs(found.realised_tokens - 6000) <= 100
    everything = cfg.model_copy(update={"redistribute": True, "budget_tokens": 10**6})
    assert _select(_table(documents), everything)[0].realised_tokens == 14_500


def test_no_repository_gives_more_than_its_quota():
    documents = [("Go", "vast", 0.9, 100)] * 500 + [("Go", f"r{i}", 0.5, 100) for i in range(500)]
    documents += [("Go", "", 0.95, 100)] * 20  # of unknown origin: no repository, no quota
    table = _table(documents)
    found, chosen = _select(table, SelectionConfig(budget_tokens=10_000, repository_share=0.1))
    repo = np.asarray(table["repo"].to_pylist())
    assert (chosen & (repo == "vast")).sum() == 10
    assert (chosen & (repo == "")).sum() == 20
    assert found.realised_tokens == 10_000
    assert list(found.languages["Go"].repositories) == ["vast"]
    without, taken = _select(table, SelectionConfig(budget_tokens=10_000))
    assert (taken & (repo == "vast")).sum() == 80
    assert Selection.model_validate_json(found.model_dump_json()) == found
    with pytest.raises(ValueError, match="quotas need each document's repository"):
        found.selects(table["lang"], table["score"].to_numpy(), table["ordinal"].to_numpy())
    with pytest.raises(ValueError, match="by their ordinals"):
        without.selects(table["lang"], table["score"].to_numpy())


def test_a_repository_whose_best_document_is_over_the_quota_gives_none():
    documents = [("Go", "one", 0.9, 5000), ("Go", "one", 0.8, 10)] + [
        ("Go", f"r{i}", 0.5, 10) for i in range(50)
    ]
    found, chosen = _select(_table(documents), SelectionConfig(budget_tokens=100, repository_share=0.2))
    assert not chosen[:2].any()
    assert found.realised_tokens == 100


def test_nothing_scored():
    found = select_exact(lambda: iter(()), SelectionConfig(), "test")
    assert (found.realised_tokens, found.languages, found.mode) == (0, {}, "exact")
