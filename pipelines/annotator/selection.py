"""Selection: in each language, the best documents up to that language's token budget (paper 2.3).

A score histogram is an Arrow table `lang, bin, tokens, documents` with one row per bin that is not empty:
exact sums, so that histograms of shards add up in any order. A bin is 1/65,536 of a score wide.

Two modes. *Calibrated*: from a sample of shards. Documents of one bin cannot be told apart: the bin in which the
budget is reached is taken or left as a whole, whichever comes nearer to the budget, and the 95 % interval of what
all shards will give is stated. (Always taking it let one 90,000-token header triple a small budget.) *Exact*
(`pipelines.annotator.exact`): all shards are scored, and inside the boundary bin documents are told apart by
(score, ordinal), so that the budget is missed by half a document at most.

A language that has less than its budget is `exhausted`: all of it is selected and the rest of its budget stays
unspent, or with `redistribute` goes to the other languages in proportion to theirs. In a live stream the cuts
are fixed before it starts: a language that fills early goes on giving what reaches its cut, so that which documents
are selected never depends on how far the stream is; `Realised` says when it filled and what it came to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from pipelines.annotator.config import SelectionConfig
from pipelines.annotator.cuts import NOTHING, Cuts
from snowcoder.base import Config, UserError
from snowcoder.files import write_atomically

BINS = 65_536
PLOT_BINS = 64

HISTOGRAM = pa.schema(
    [("lang", pa.string()), ("bin", pa.int32()), ("tokens", pa.int64()), ("documents", pa.int64())]
)


class PlotHistogram(Config):
    edges: tuple[float, ...]
    tokens: tuple[int, ...]


class Interval(Config):
    """95 % interval of the tokens that all shards will give, when some were scored."""

    estimate: float
    low: float
    high: float


class LanguageSelection(Config):
    threshold: float  # documents with score >= threshold are selected
    last: int | None = (
        None  # exact: of documents at the threshold itself, those up to this ordinal; None: all
    )
    budget_tokens: int
    tokens: int  # all scored tokens of the language
    kept_tokens: int
    documents: int
    kept_documents: int
    status: Literal["filled", "exhausted"]  # exhausted: all there is, less than the budget
    interval: Interval | None = None  # calibrated
    repositories: dict[str, tuple[float, int]] = {}
    """Repositories over their quota: score and ordinal of the last document that is within it."""
    histogram: PlotHistogram


class Selection(Config):
    """Cuts and what they select; `selection.json`."""

    annotator: str
    mode: Literal["exact", "calibrated"] = "calibrated"
    budget_tokens: int
    realised_tokens: int
    languages: dict[str, LanguageSelection]
    interval: Interval | None = None
    """Calibrated: of the tokens over all languages."""
    sampled_shards: int | None = None
    total_shards: int | None = None

    @property
    def thresholds(self) -> Cuts:
        return Cuts(
            {lang: chosen.threshold for lang, chosen in self.languages.items()},
            {lang: chosen.last for lang, chosen in self.languages.items() if chosen.last is not None},
            {lang: chosen.repositories for lang, chosen in self.languages.items() if chosen.repositories},
        )

    def selects(
        self,
        lang: pa.Array | pa.ChunkedArray,
        score: np.ndarray,
        ordinal: np.ndarray | None = None,
        repo: pa.Array | pa.ChunkedArray | None = None,
    ) -> np.ndarray:
        """Which documents are selected, bool [n]; see `Cuts.select`."""
        return self.thresholds.select(lang, score, ordinal, repo)

    def write(self, path: Path) -> None:
        write_atomically(path, self.model_dump_json(indent=1).encode())

    @classmethod
    def read(cls, path: Path) -> Selection:
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError as error:
            raise UserError(f"{path}: there is no selection; score and select first") from error
        except ValidationError as error:
            raise UserError(
                f"{path}: not a selection ({error.error_count()} faults); select again"
            ) from error


def histogram(lang: pa.Array | pa.ChunkedArray, score: np.ndarray, tokens: np.ndarray) -> pa.Table:
    """Tokens and documents by language and score bin. `tokens` may be bytes where tokens are not known.

    A NaN score is left out. A bin's edge is exact in float32, so `score >= edge` and "bin or above" agree.
    """
    scored = ~np.isnan(score)
    bins = np.minimum(score[scored].astype(np.float64) * BINS, BINS - 1).astype(np.int32)
    table = pa.table(
        {
            "lang": lang.cast(pa.string()).filter(pa.array(scored)),
            "bin": bins,
            "tokens": pa.array(tokens[scored], pa.int64()),
            "documents": np.ones(len(bins), np.int64),
        },
        schema=HISTOGRAM,
    )
    return merge([table])


def merge(histograms: Sequence[pa.Table]) -> pa.Table:
    """Their sum, in (language, bin) order: the same for any order of `histograms`."""
    table = pa.concat_tables([HISTOGRAM.empty_table(), *histograms])
    sums = table.group_by(["lang", "bin"]).aggregate([("tokens", "sum"), ("documents", "sum")])
    return sums.rename_columns(HISTOGRAM.names).sort_by([("lang", "ascending"), ("bin", "ascending")])


def thresholds(
    total: pa.Table, budget_tokens: int, mix: Literal["natural"] | Mapping[str, float] = "natural"
) -> dict[str, float]:
    """The score from which each language's documents are selected."""
    budget = _budgets(total, budget_tokens, mix)
    return {lang: cut_bins(total, lang, tokens)[0] for lang, tokens in budget.items()}


def select(total: pa.Table, cfg: SelectionConfig, annotator: str) -> Selection:
    """Cuts at whole bins for the budget, from a histogram of all that was scored.

    Raises UserError when `mix` names a language that was never scored.
    """
    budget_tokens = wanted_tokens(total, cfg)
    languages = {}
    for lang, budget in spread(total, budget_tokens, cfg).items():
        threshold, (bins, tokens, documents) = cut_bins(total, lang, budget)
        kept = bins >= threshold * BINS
        languages[lang] = LanguageSelection(
            threshold=threshold,
            budget_tokens=budget,
            tokens=int(tokens.sum()),
            kept_tokens=int(tokens[kept].sum()),
            documents=int(documents.sum()),
            kept_documents=int(documents[kept].sum()),
            status="filled" if tokens.sum() >= budget else "exhausted",
            histogram=plotted(bins, tokens),
        )
    realised = sum(language.kept_tokens for language in languages.values())
    return Selection(
        annotator=annotator, budget_tokens=budget_tokens, realised_tokens=realised, languages=languages
    )


def wanted_tokens(total: pa.Table, cfg: SelectionConfig) -> int:
    everything = pc.sum(total["tokens"]).as_py() or 0
    return cfg.budget_tokens if cfg.fraction is None else math.ceil(cfg.fraction * everything)


def plotted(bins: np.ndarray, tokens: np.ndarray) -> PlotHistogram:
    plot = np.bincount(bins * PLOT_BINS // BINS, tokens, PLOT_BINS).astype(np.int64)
    return PlotHistogram(
        edges=tuple((np.arange(PLOT_BINS + 1) / PLOT_BINS).tolist()), tokens=tuple(plot.tolist())
    )


def spread(
    total: pa.Table, budget_tokens: int, cfg: SelectionConfig, eligible: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Tokens to select by language. With `redistribute`, what a language lacks goes to those that have more.

    `eligible`: tokens that a language can give, when that is less than `total` has of it.
    """
    budgets = _budgets(total, budget_tokens, cfg.mix)
    if not cfg.redistribute:
        return budgets
    sums = total.group_by("lang").aggregate([("tokens", "sum")])
    able = eligible or dict(zip(sums["lang"].to_pylist(), sums["tokens_sum"].to_pylist(), strict=True))
    final: dict[str, int] = {}
    open_ = {lang: budget for lang, budget in budgets.items() if budget}
    left = sum(open_.values())
    while open_:
        shares = sum(open_.values())
        full = {lang for lang, own in open_.items() if left * own >= able[lang] * shares}
        if not full:
            final |= {lang: -(-left * own // shares) for lang, own in open_.items()}
            break
        final |= {lang: able[lang] for lang in full}
        left -= sum(able[lang] for lang in full)
        open_ = {lang: own for lang, own in open_.items() if lang not in full}
    return {lang: final.get(lang, 0) for lang in budgets}


def _budgets(
    total: pa.Table, budget_tokens: int, mix: Literal["natural"] | Mapping[str, float]
) -> dict[str, int]:
    """Tokens to select by language, rounded up. A language that `mix` does not name gets none."""
    sums = total.group_by("lang").aggregate([("tokens", "sum")]).sort_by("lang")
    tokens = dict(zip(sums["lang"].to_pylist(), sums["tokens_sum"].to_pylist(), strict=True))
    if mix == "natural":
        everything = max(1, sum(tokens.values()))
        return {lang: -(-budget_tokens * own // everything) for lang, own in tokens.items()}
    for lang, share in mix.items():
        if lang not in tokens or not 0 <= share < math.inf:
            raise UserError(
                f"selection.mix: {lang}: {share}; name languages that were scored ({', '.join(tokens)})"
            )
    whole = sum(mix.values()) or 1.0
    return {lang: math.ceil(budget_tokens * mix.get(lang, 0.0) / whole) for lang in tokens}


def cut_bins(
    total: pa.Table, lang: str, budget: int
) -> tuple[float, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(threshold, (bins ascending, tokens, documents)) of one language."""
    rows = total.filter(pc.equal(total["lang"], lang)).sort_by("bin")
    bins, tokens, documents = (rows[name].to_numpy() for name in ("bin", "tokens", "documents"))
    if budget <= 0:
        return NOTHING, (bins, tokens, documents)
    from_top = np.cumsum(tokens[::-1])
    reached = int(np.searchsorted(from_top, budget))
    if reached == len(bins):
        return 0.0, (bins, tokens, documents)
    without = int(from_top[reached - 1]) if reached else 0
    if budget - without < from_top[reached] - budget:
        reached -= 1
    threshold = bins[::-1][reached] / BINS if reached >= 0 else NOTHING
    return float(threshold), (bins, tokens, documents)
