"""Sources of documents: where raw code lies, and how a shard of it becomes tables of documents.

Each kind is a module with two functions: `shards(cfg, seed)`, from metadata alone, and `read(shard, cfg)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa

from pipelines.schema import Shard
from pipelines.sources import archive, directory, environment, git, jsonl, parquet
from pipelines.sources.config import SourceConfig
from snowcoder.base import UserError

LISTERS: dict[str, Callable[[SourceConfig, int], list[Shard]]] = {
    "environment": environment.shards,
    "parquet": parquet.shards,
    "jsonl": jsonl.shards,
    "directory": directory.shards,
    "git": git.shards,
    "archive": archive.shards,
}

READERS: dict[str, Callable[[Shard, SourceConfig], Iterator[pa.Table]]] = {
    "environment": environment.read,
    "parquet": parquet.read,
    "jsonl": jsonl.read,
    "directory": directory.read,
    "git": git.read,
    "archive": archive.read,
}


def shard_repositories(shard: Shard, cfg: SourceConfig) -> list[str]:
    """The repositories in a shard. Raises UserError for a source that would have to be read to tell."""
    if shard.reader == "jsonl":
        raise UserError(
            "dedup.order: preferred: JSON Lines do not tell which repositories they hold; use Parquet"
        )
    return parquet.repositories(shard, cfg) if shard.reader == "parquet" else list(shard.repos)


def read_shard(shard: Shard, cfg: SourceConfig) -> Iterator[pa.Table]:
    """The documents of a shard, as tables of schema DOCUMENT with about 32 MiB of text.

    Rows are numbered from 0 over the whole shard. A document that cannot be read is a row with a fault; a
    shard without documents yields no table. Raises UserError when the source is damaged or changed after the
    manifest.
    """
    return READERS[shard.reader](shard, cfg)


__all__ = ["LISTERS", "READERS", "SourceConfig", "read_shard", "shard_repositories"]
