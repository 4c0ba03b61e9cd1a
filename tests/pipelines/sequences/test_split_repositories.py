"""An arm that the order of the source cannot give is refused, with what was measured."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.manifest import build_manifest
from pipelines.sequences.config import SequencesConfig
from pipelines.sequences.split_repositories import MOST_READ, check_grouping, split_repositories
from pipelines.sources import SourceConfig, shard_repositories
from snowcoder.base import UserError


def source(directory: Path, repos: list[str] | None) -> SourceConfig:
    """400 documents in row groups of 20, four groups a shard."""
    columns = {"text": ["x = 1\n" * 200] * 400, "path": [f"f{i}.py" for i in range(400)]}
    if repos:
        columns["repo"] = repos
    pq.write_table(
        pa.table(columns),
        directory / "a.parquet",
        row_group_size=20,
        use_dictionary=False,
        compression="none",
    )
    names = {name: name for name in columns}
    return SourceConfig(kind="parquet", paths=[str(directory)], columns=names, shard_bytes=100_000)


def measured(cfg: SourceConfig):
    return split_repositories(build_manifest(cfg, 0).shards, lambda shard: shard_repositories(shard, cfg))


def test_sorted_rows_split_one_repository_a_border(tmp_path: Path) -> None:
    found = measured(source(tmp_path, [f"r{i // 7:03d}" for i in range(400)]))
    assert found.repositories == 58
    assert 0 < found.split < found.shards
    check_grouping(SequencesConfig(max_split_repositories=0.2), found)


def test_scattered_rows_are_refused_by_repository_and_not_by_file(tmp_path: Path) -> None:
    found = measured(source(tmp_path, [f"r{i % 40}" for i in range(400)]))
    assert found.share == 1.0
    for group in ("language_repository", "repository"):
        with pytest.raises(UserError, match=r"100.0% of 40 repositories lie in several shards"):
            check_grouping(SequencesConfig(group=group), found)
    check_grouping(SequencesConfig(group="file"), found)
    check_grouping(SequencesConfig(max_split_repositories=1.0), found)


def test_a_source_without_repositories_has_only_files(tmp_path: Path) -> None:
    found = measured(source(tmp_path, None))
    with pytest.raises(UserError, match="names no repositories"):
        check_grouping(SequencesConfig(), found)
    check_grouping(SequencesConfig(group="file"), found)


def test_of_many_shards_whole_files_are_looked_at(tmp_path: Path) -> None:
    (one,) = build_manifest(source(tmp_path, ["r"] * 400), 0).shards[:1]
    from dataclasses import replace

    shards = [replace(one, uri=f"{i // 4:05d}", part=str(i), repos=(f"r{i}",)) for i in range(4 * MOST_READ)]
    found = split_repositories(shards[::-1], lambda shard: shard.repos)
    assert found.shards == MOST_READ - 4
    assert found.split == 0
