"""Selection: in each language, the best documents up to that language's token budget (paper 2.3).

A score histogram is an Arrow table `lang, bin, tokens, documents` with one row per bin that is not empty:
exact sums, so that histograms of shards add up in any order. A bin is 1/65,536 of a score wide. Documents of
one bin cannot be told apart: the bin in which the budget is reached is taken or left as a whole, whichever
comes nearer to the budget, and what was realised is reported. (Always taking it let one 90,000-token header
triple a small budget.)
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
from snowcoder.base import Config, UserError
from snowcoder.files import write_atomically

BINS = 65_536
PLOT_BINS = 64
NOTHING = 2.0
"""A threshold that no score reaches."""

HISTOGRAM = pa.schema(
    [("lang", pa.string()), ("bin", pa.int32()), ("tokens", pa.int64()), ("documents", pa.int64())]
)


class PlotHistogram(Config):
    edges: tuple[float, ...]
    tokens: tuple[int, ...]


class LanguageSelection(Config):
    threshold: float  # documents with score >= threshold are selected
    budget_tokens: int
    tokens: int  # all scored tokens of the language
    kept_tokens: int
    documents: int
    kept_documents: int
    status: Literal["filled", "exhausted"]  # exhausted: all there is, less than the budget
    histogram: PlotHistogram


class Selection(Config):
    """Thresholds and what they select; `selection.json`."""

    annotator: str
    budget_tokens: int
    realised_tokens: int
    languages: dict[str, LanguageSelection]

    @property
    def thresholds(self) -> dict[str, float]:
        return {lang: chosen.threshold for lang, chosen in self.languages.items()}

    def selects(self, lang: pa.Array | pa.ChunkedArray, score: np.ndarray) -> np.ndarray:
        """Which documents are selected, bool [n]. A NaN score or a language never seen is not."""
        return score >= _of_language(lang, self.thresholds, NOTHING)

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
    return {lang: _cut(total, lang, tokens)[0] for lang, tokens in budget.items()}


def select(total: pa.Table, cfg: SelectionConfig, annotator: str) -> Selection:
    """Thresholds for the budget, from a histogram of all that was scored.

    Raises UserError when `mix` names a language that was never scored.
    """
    everything = pc.sum(total["tokens"]).as_py() or 0
    budget_tokens = cfg.budget_tokens if cfg.fraction is None else math.ceil(cfg.fraction * everything)
    languages = {}
    for lang, budget in _budgets(total, budget_tokens, cfg.mix).items():
        threshold, (bins, tokens, documents) = _cut(total, lang, budget)
        kept = bins >= threshold * BINS
        plot = np.bincount(bins * PLOT_BINS // BINS, tokens, PLOT_BINS).astype(np.int64)
        languages[lang] = LanguageSelection(
            threshold=threshold,
            budget_tokens=budget,
            tokens=int(tokens.sum()),
            kept_tokens=int(tokens[kept].sum()),
            documents=int(documents.sum()),
            kept_documents=int(documents[kept].sum()),
            status="filled" if tokens.sum() >= budget else "exhausted",
            histogram=PlotHistogram(
                edges=tuple((np.arange(PLOT_BINS + 1) / PLOT_BINS).tolist()), tokens=tuple(plot.tolist())
            ),
        )
    realised = sum(language.kept_tokens for language in languages.values())
    return Selection(
        annotator=annotator, budget_tokens=budget_tokens, realised_tokens=realised, languages=languages
    )


def sampling_interval(
    shards: Sequence[pa.Table], selection: Selection, total_shards: int
) -> tuple[float, float, float]:
    """(estimate, low, high) of the tokens selected over all shards, when a random sample of them was scored.

    Cluster sampling (Cochran, Sampling Techniques, chapter 9A): with mean y and variance s² of the m sampled
    of M shards, the total is My and its variance M²(1 - m/M)s²/m; 95 % by the normal law. The thresholds are
    taken as given. Raises ValueError for fewer than two sampled shards.
    """
    selected = np.array([_selected_tokens(shard, selection) for shard in shards], np.float64)
    if len(selected) < 2:
        raise ValueError("a sampling interval needs at least two shards")
    estimate = selected.mean() * total_shards
    left = max(0.0, 1 - len(selected) / total_shards)
    half = 1.96 * total_shards * math.sqrt(left * selected.var(ddof=1) / len(selected))
    return estimate, max(0.0, estimate - half), estimate + half


def _selected_tokens(shard: pa.Table, selection: Selection) -> int:
    score = shard["bin"].to_numpy() / BINS
    return int(shard["tokens"].to_numpy()[selection.selects(shard["lang"], score)].sum())


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


def _cut(total: pa.Table, lang: str, budget: int) -> tuple[float, tuple[np.ndarray, np.ndarray, np.ndarray]]:
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


def _of_language(
    lang: pa.Array | pa.ChunkedArray, values: Mapping[str, float], otherwise: float
) -> np.ndarray:
    coded = lang.cast(pa.string()).dictionary_encode()
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    if not isinstance(coded, pa.DictionaryArray):  # what combining no chunk at all may give
        return np.empty(0)
    by_code = np.array([*(values.get(name, otherwise) for name in coded.dictionary.to_pylist()), otherwise])
    return by_code[coded.indices.fill_null(-1).to_numpy()]
