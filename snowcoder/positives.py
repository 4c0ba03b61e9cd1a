"""What the annotator learns from: positives by the recipe, negatives from the front of the kept corpus."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipelines.annotator.config import AnnotatorConfig
from pipelines.annotator.positives import load_positives
from pipelines.curation import kept_documents
from pipelines.phases.corpus import Corpus
from pipelines.stages.benchmark_index import BenchmarkIndex
from snowcoder.progress import say

POOL = 8  # kept documents held per negative that is wanted, so that the sample is one of many repositories


def cache_dir() -> Path:
    """Where downloads and conversions are kept between runs: $SNOWCODER_CACHE, else ~/.cache/snowcoder."""
    return Path(os.environ.get("SNOWCODER_CACHE") or Path.home() / ".cache" / "snowcoder")


def positives(config: AnnotatorConfig, benchmarks: BenchmarkIndex) -> pa.Table:
    """Good code of the recipe's sources, never an item of a benchmark. `cache:NAME` is a folder of the cache."""
    sources = tuple(
        source.model_copy(update={"paths": tuple(_place(path) for path in source.paths)})
        for source in config.positives.sources
    )
    found, report = load_positives(
        config.positives.model_copy(update={"sources": sources}), benchmarks.contaminated, config.seed
    )
    dropped = ", ".join(f"{count} {reason}" for reason, count in sorted(report.dropped.items()) if count)
    say(f"annotator: {len(found)} positives of {report.read} read ({dropped or 'none dropped'})")
    return found


def negatives(corpus: Corpus, config: AnnotatorConfig, good: pa.Table) -> pa.Table:
    """Kept documents of the judged front of the order, a seeded sample of each shard; `group` is the repository."""
    wanted = POOL * max(1, round(config.negatives_per_positive * len(good)))
    languages = pa.array(sorted(set(good["lang"].to_pylist()))) if config.negatives_match_language else None
    tables: list[pa.Table] = []
    have = 0
    for shard in corpus.shards:
        if have >= wanted or corpus.curation.ledger.meta(corpus.curation.claim_stage, shard.shard) is None:
            break
        for table in kept_documents(shard, corpus.curation):
            if languages is not None:
                table = table.filter(pa.compute.is_in(table["lang"], languages))
            rng = np.random.default_rng([config.seed, shard.shard, have])
            some = np.sort(rng.permutation(table.num_rows)[: wanted - have])
            tables.append(table.take(pa.array(some)).select(["text", "lang", "repo"]))
            have += len(some)
    return pa.concat_tables(tables).rename_columns(["text", "lang", "group"])


def _place(path: str) -> str:
    return str(cache_dir() / path.removeprefix("cache:")) if path.startswith("cache:") else path
