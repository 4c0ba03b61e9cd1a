"""Where the annotator's data sets lie, and what of them is good code."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa

from pipelines.annotator.config import AnnotatorConfig
from pipelines.annotator.positives import Contaminated, PositivesReport, Scored, load_positives
from snowcoder.progress import say

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "positives"


def cache_dir() -> Path:
    """Where downloads and conversions are kept between runs: $SNOWCODER_CACHE, else ~/.cache/snowcoder."""
    return Path(os.environ.get("SNOWCODER_CACHE") or Path.home() / ".cache" / "snowcoder")


def positives(
    config: AnnotatorConfig, contaminated: Contaminated, scored: Scored | None = None
) -> tuple[pa.Table, PositivesReport]:
    """Good code of the recipe's sources, never an item of a benchmark."""
    sources = tuple(
        source.model_copy(
            update={"name": source.title, "paths": tuple(str(place(path)) for path in source.paths)}
        )
        for source in config.positives.sources
    )
    found, report = load_positives(
        config.positives.model_copy(update={"sources": sources}), contaminated, config.seed, scored
    )
    dropped = ", ".join(f"{count} {reason}" for reason, count in sorted(report.dropped.items()) if count)
    say(f"{config.name}: {len(found)} positives of {report.read} read ({dropped or 'none dropped'})")
    for use in report.sources:
        if use.stands_in_for:
            say(f"{config.name}: {use.name} ({use.kept}) stands in for {use.stands_in_for}")
    if report.absent:
        say(f"{config.name}: not there and left out: {', '.join(report.absent)}")
    return found, report


def place(path: str) -> Path:
    """`cache:NAME` below the cache; `positives:NAME` below $SNOWCODER_POSITIVES, else the cache's `positives`, else
    ../shared/data/positives; other paths as they are."""
    if path.startswith("cache:"):
        return cache_dir() / path.removeprefix("cache:")
    if not path.startswith("positives:"):
        return Path(path)
    name = path.removeprefix("positives:")
    given = os.environ.get("SNOWCODER_POSITIVES")
    roots = [Path(given)] if given else [cache_dir() / "positives", SHARED]
    return next((root / name for root in roots if (root / name).exists()), roots[0] / name)
