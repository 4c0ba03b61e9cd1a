"""Calibrated selection: cuts from a sample of shards, with the interval of what all shards will give; and what came.

Shards are clusters of unequal size, and a seeded order makes its front a random sample of them. The total over all
shards is estimated as R X, where X is the bytes of all shards and R = sum(y) / sum(x) the selected tokens per byte of
the sample; its variance is M² (1 - m/M) s² / m with s² that of the residuals y - R x over the m of M sampled shards
(Cochran, Sampling Techniques, 3rd ed., 6.3 and 9A). The multiple of the standard error is Student's, m - 1 degrees.
Cuts that meet the budget in the sample miss it over all shards by the same error (Woodruff 1952).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.annotator.config import SelectionConfig
from pipelines.annotator.exact import merge_all
from pipelines.annotator.selection import BINS, Interval, Selection, select
from snowcoder.base import Config, UserError

# 97.5 % points of Student's t for 1 to 30 degrees of freedom; the normal law's above.
_STUDENT = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


def select_calibrated(
    shards: Sequence[pa.Table],
    sizes: Sequence[int],
    all_sizes: Sequence[int],
    cfg: SelectionConfig,
    annotator: str,
) -> Selection:
    """Cuts from the histograms of the sampled shards, of `sizes` bytes, for a budget over shards of `all_sizes` bytes.

    Budgets in the result are the sample's share; intervals are of all shards. Raises UserError for fewer than two
    sampled shards, and with quotas: a repository outside the sample would have none.
    """
    if cfg.repository_share is not None:
        raise UserError(
            "selection.repository_share: quotas need all shards scored; leave out continued.calibration_shards"
        )
    if len(shards) < 2:
        raise UserError("continued.calibration_shards: an interval needs two sampled shards; sample more")
    share = sum(sizes) / max(1, sum(all_sizes))
    sampled = cfg.model_copy(update={"budget_tokens": round(cfg.budget_tokens * share)})
    found = select(merge_all(shards), sampled, annotator)
    by_language = {lang: [_selected(shard, found, lang) for shard in shards] for lang in found.languages}
    languages = {
        lang: chosen.model_copy(update={"interval": ratio_interval(by_language[lang], sizes, all_sizes)})
        for lang, chosen in found.languages.items()
    }
    whole = [sum(own) for own in zip(*by_language.values(), strict=True)] or [0] * len(shards)
    return found.model_copy(
        update={
            "languages": languages,
            "interval": ratio_interval(whole, sizes, all_sizes),
            "sampled_shards": len(shards),
            "total_shards": len(all_sizes),
        }
    )


def ratio_interval(selected: Sequence[int], sizes: Sequence[int], all_sizes: Sequence[int]) -> Interval:
    """95 % interval of the total of what `selected` counts in a random sample of shards.

    Raises ValueError for fewer than two sampled shards.
    """
    count, total = len(selected), len(all_sizes)
    if count < 2:
        raise ValueError("a sampling interval needs at least two shards")
    y, x = np.asarray(selected, np.float64), np.asarray(sizes, np.float64)
    ratio = y.sum() / max(1.0, x.sum())
    estimate = ratio * float(np.sum(all_sizes))
    residual = y - ratio * x
    variance = float(residual @ residual) / (count - 1)
    student = _STUDENT[count - 2] if count - 2 < len(_STUDENT) else 1.96
    half = student * total * math.sqrt(max(0.0, 1 - count / total) * variance / count)
    return Interval(estimate=estimate, low=max(0.0, estimate - half), high=estimate + half)


class Realised(Config):
    """What a language's cut gave over the shards scored so far."""

    tokens: int
    target_tokens: int
    """The budget over all shards."""
    filled_after: float | None
    """Share of the stream's bytes after which the budget was reached; None: not yet, or never."""
    status: Literal["filled", "filled early", "short"]
    """"filled early": reached before the end, and what came after reached the cut as well. "short": not reached."""


def realised(
    shards: Iterable[tuple[int, pa.Table]], selection: Selection, all_bytes: int, early: float = 0.99
) -> dict[str, Realised]:
    """What each language gave in stream order: `shards` are (bytes, histogram) of scored shards.

    Cuts never move while the stream runs, so a language that fills early goes on giving. The ratio of the target to
    the budget that the cut was made for is the sample's share.
    """
    share = 1.0
    if selection.interval and selection.realised_tokens:
        share = selection.realised_tokens / max(1.0, selection.interval.estimate)
    target = {lang: round(chosen.budget_tokens / share) for lang, chosen in selection.languages.items()}
    tokens, filled, read = dict.fromkeys(target, 0), dict[str, float](), 0
    for size, shard in shards:
        read += size
        for lang in target:
            tokens[lang] += _selected(shard, selection, lang)
            if lang not in filled and tokens[lang] >= target[lang]:
                filled[lang] = read / max(1, all_bytes)
    return {
        lang: Realised(
            tokens=tokens[lang],
            target_tokens=target[lang],
            filled_after=filled.get(lang),
            status="short" if lang not in filled else "filled early" if filled[lang] < early else "filled",
        )
        for lang in target
    }


def _selected(shard: pa.Table, selection: Selection, lang: str) -> int:
    """Tokens of a histogram at or above the language's cut."""
    kept = pc.and_(
        pc.equal(shard["lang"], lang),
        pc.greater_equal(shard["bin"], selection.languages[lang].threshold * BINS),
    )
    return pc.sum(shard["tokens"].filter(kept)).as_py() or 0
