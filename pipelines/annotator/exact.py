"""Exact selection: every document is scored, and each language's budget is met to within half a document.

Three passes over the recorded scores, never over text. The first sums histograms, which give the budgets and the bin
in which each is reached. With quotas, two more find the repositories that have more than theirs, and where each is
cut. The last takes the documents of the boundary bins alone and orders them by (score, ordinal). What is held: one
histogram, the sums of all repositories (with quotas), and the documents of repositories over their quota and of the
boundary bins, 24 bytes each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.annotator.config import SelectionConfig
from pipelines.annotator.cuts import NOTHING, Cuts
from pipelines.annotator.selection import (
    BINS,
    LanguageSelection,
    Selection,
    cut_bins,
    histogram,
    merge,
    plotted,
    spread,
    wanted_tokens,
)

SCORED = pa.schema(
    [
        ("lang", pa.string()),
        ("repo", pa.string()),
        ("ordinal", pa.int64()),
        ("score", pa.float32()),
        ("tokens", pa.int64()),
    ]
)
"""A scored document."""

Tables = Callable[[], Iterator[pa.Table]]
"""Each call goes over all scored documents once, tables of schema SCORED in any order."""


@dataclass(frozen=True)
class _Documents:
    score: np.ndarray
    ordinal: np.ndarray
    tokens: np.ndarray

    @classmethod
    def of(cls, tables: Iterable[pa.Table]) -> _Documents:
        """Best first; of equal scores the earlier one."""
        table = pa.concat_tables(
            [SCORED.empty_table(), *(t.select(SCORED.names).cast(SCORED) for t in tables)]
        )
        score, ordinal, tokens = (table[name].to_numpy() for name in ("score", "ordinal", "tokens"))
        best = np.lexsort((ordinal, -score))
        return cls(score[best], ordinal[best], tokens[best])


def select_exact(tables: Tables, cfg: SelectionConfig, annotator: str) -> Selection:
    """The best documents of each language for its budget. Deterministic: ties go to the lower ordinal.

    A repository over its quota gives its best documents while their sum is within it, so none if the very best is
    larger. Raises UserError when `mix` names a language that was never scored.
    """
    total = merge_all(_histogram(table) for table in tables())
    wanted = wanted_tokens(total, cfg)
    quotas = _quotas(tables, total, wanted, cfg) if cfg.repository_share else Cuts({})
    able = total
    if quotas.repositories:
        able = merge_all(_histogram(table.filter(_within(table, quotas))) for table in tables())
    sums = able.group_by("lang").aggregate([("tokens", "sum")])
    eligible = dict.fromkeys(pc.unique(total["lang"]).to_pylist(), 0)
    eligible |= dict(zip(sums["lang"].to_pylist(), sums["tokens_sum"].to_pylist(), strict=True))
    budgets = spread(total, wanted, cfg, eligible)

    edges = {lang: _edge(able, lang, budget) for lang, budget in budgets.items()}
    boundary = _boundary(tables, edges, quotas)
    languages = {}
    for lang, budget in budgets.items():
        bins, tokens, documents = cut_bins(total, lang, budget)[1]
        cut = _cut(able, lang, budget, edges[lang], boundary.get(lang, _Documents.of([])))
        languages[lang] = LanguageSelection(
            threshold=cut.threshold,
            last=cut.last,
            budget_tokens=budget,
            tokens=int(tokens.sum()),
            kept_tokens=cut.tokens,
            documents=int(documents.sum()),
            kept_documents=cut.documents,
            status="filled" if eligible[lang] >= budget else "exhausted",
            repositories=dict(quotas.repositories.get(lang, {})),
            histogram=plotted(bins, tokens),
        )
    return Selection(
        annotator=annotator,
        mode="exact",
        budget_tokens=wanted,
        realised_tokens=sum(language.kept_tokens for language in languages.values()),
        languages=languages,
    )


def merge_all(histograms: Iterable[pa.Table]) -> pa.Table:
    """Their sum, holding a few of them at a time."""
    held: list[pa.Table] = []
    for one in histograms:
        held.append(one)
        if len(held) == 64:
            held = [merge(held)]
    return merge(held)


def _histogram(table: pa.Table) -> pa.Table:
    return histogram(table["lang"], table["score"].to_numpy(), table["tokens"].to_numpy())


def _within(table: pa.Table, quotas: Cuts) -> pa.Array:
    score, ordinal = table["score"].to_numpy(), table["ordinal"].to_numpy()
    return pa.array(quotas.within_quota(table["lang"], score, ordinal, table["repo"]))


def _quotas(tables: Tables, total: pa.Table, wanted: int, cfg: SelectionConfig) -> Cuts:
    """Where each repository that has more than its quota is cut."""
    assert cfg.repository_share is not None
    share = cfg.repository_share
    quota = {lang: int(share * budget) for lang, budget in spread(total, wanted, cfg).items()}
    sums = pa.table({"lang": pa.array([], pa.string()), "repo": pa.array([], pa.string()),
                     "tokens": pa.array([], pa.int64())})  # fmt: skip
    for table in tables():
        both = pa.concat_tables([sums, table.select(sums.column_names).cast(sums.schema)])
        sums = (
            both.group_by(["lang", "repo"]).aggregate([("tokens", "sum")]).rename_columns(sums.column_names)
        )
    room = np.array([quota[lang] for lang in sums["lang"].to_pylist()], np.int64)
    named = pc.not_equal(sums["repo"], "")  # files of unknown origin are no repository
    over = sums.filter(pc.and_(named, pa.array(sums["tokens"].to_numpy() > room))).select(["lang", "repo"])
    pieces: dict[tuple[str, str], list[pa.Table]] = {
        (lang, repo): []
        for lang, repo in zip(over["lang"].to_pylist(), over["repo"].to_pylist(), strict=True)
    }
    for table in tables():
        table = table.filter(pc.is_in(table["repo"], pc.unique(over["repo"])))
        for lang, repo in {
            pair
            for pair in zip(table["lang"].to_pylist(), table["repo"].to_pylist(), strict=True)
            if pair in pieces
        }:
            own = pc.and_(pc.equal(table["lang"], lang), pc.equal(table["repo"], repo))
            pieces[lang, repo].append(table.filter(own))
    cuts: dict[str, dict[str, tuple[float, int]]] = {}
    for (lang, repo), parts in pieces.items():
        documents = _Documents.of(parts)
        fit = int(np.searchsorted(np.cumsum(documents.tokens), quota[lang], side="right"))
        place = (float(documents.score[fit - 1]), int(documents.ordinal[fit - 1])) if fit else (NOTHING, -1)
        cuts.setdefault(lang, {})[repo] = place
    return Cuts({}, repositories=cuts)


def _edge(total: pa.Table, lang: str, budget: int) -> int:
    """The bin in which the budget is reached; -1: it never is, or there is none."""
    rows = total.filter(pc.equal(total["lang"], lang)).sort_by([("bin", "descending")])
    from_top = np.cumsum(rows["tokens"].to_numpy())
    reached = int(np.searchsorted(from_top, budget))
    return -1 if budget <= 0 or reached == len(from_top) else int(rows["bin"][reached].as_py())


def _boundary(tables: Tables, edges: dict[str, int], quotas: Cuts) -> dict[str, _Documents]:
    parts: dict[str, list[pa.Table]] = {lang: [] for lang, edge in edges.items() if edge >= 0}
    for table in tables():
        score = table["score"].to_numpy()
        bins = np.minimum(np.nan_to_num(score, nan=-1.0).astype(np.float64) * BINS, BINS - 1).astype(np.int64)
        names = table["lang"].to_pylist()
        edge = np.array([edges.get(lang, -1) for lang in names], np.int64)
        table = table.filter(pa.array((bins == edge) & (edge >= 0)))
        if quotas.repositories and len(table):
            table = table.filter(_within(table, quotas))
        for lang in pc.unique(table["lang"]).to_pylist():
            parts[lang].append(table.filter(pc.equal(table["lang"], lang)))
    return {lang: _Documents.of(own) for lang, own in parts.items()}


@dataclass(frozen=True)
class _Cut:
    threshold: float
    last: int | None
    tokens: int
    documents: int


def _cut(total: pa.Table, lang: str, budget: int, edge: int, boundary: _Documents) -> _Cut:
    """All above the edge, and of the edge's bin the best documents, as many as come nearest to the budget."""
    rows = total.filter(pc.equal(total["lang"], lang))
    if budget <= 0:
        return _Cut(NOTHING, None, 0, 0)
    above = rows.filter(pc.greater(rows["bin"], edge))
    tokens, documents = pc.sum(above["tokens"]).as_py() or 0, pc.sum(above["documents"]).as_py() or 0
    if edge < 0:
        return _Cut(0.0, None, tokens, documents)
    taken = np.concatenate([[0], np.cumsum(boundary.tokens)]) + tokens
    count = int(np.argmin(np.abs(taken - budget)))
    if not count:
        return _Cut((edge + 1) / BINS if documents else NOTHING, None, tokens, documents)
    return _Cut(
        float(boundary.score[count - 1]),
        int(boundary.ordinal[count - 1]),
        int(taken[count]),
        documents + count,
    )
