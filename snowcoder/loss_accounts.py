"""By what a phase's loss is told apart: the languages that have a number, and where its shards come from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipelines.language import LANGUAGES
from pipelines.schema import Shard
from pipelines.sources import SourceConfig
from train.accounts import Accounts


def accounts_of(shards: Sequence[Shard], source: SourceConfig) -> Accounts:
    """Sources are the configured paths that shards lie under, by their last part; generated files are one of their own.
    A source without paths has its kind's name."""
    names = [_source(shard, source) for shard in shards]
    sources = tuple(dict.fromkeys(names))
    places = {name: place for place, name in enumerate(sources)}
    return Accounts(
        languages=tuple(LANGUAGES),
        sources=sources,
        source_of_shard={
            shard.shard: places[name]
            for shard, name in zip(shards, names, strict=True)
            if places[name]  # 0 where there is none: a run has millions of shards, and often one source
        },
    )


def _source(shard: Shard, source: SourceConfig) -> str:
    if shard.reader == "answers":
        return "generated"
    for path in source.paths:
        name = path.rstrip("/").rpartition("/")[2]
        if shard.uri.startswith((path, str(Path(path).resolve()))):
            return name
    return shard.reader
