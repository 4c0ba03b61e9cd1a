"""The environment that runs these tests, as a source."""

from __future__ import annotations

import importlib.metadata
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.manifest import build_manifest
from pipelines.sources import SourceConfig, read_shard
from snowcoder.base import UserError

CAPPED = SourceConfig(max_bytes=8 << 20, max_bytes_per_repository=1 << 20, shard_bytes=2 << 20)


@pytest.fixture(scope="module")
def manifest():
    return build_manifest(CAPPED, 0)


def test_the_cap_holds_and_is_nearly_used(manifest) -> None:
    total = manifest.summary()["bytes"]
    assert 0.9 * CAPPED.max_bytes < total <= CAPPED.max_bytes
    assert all(shard.bytes <= CAPPED.shard_bytes for shard in manifest.shards)
    assert manifest.summary()["repositories"] > 8


def test_repositories_are_in_one_shard_each(manifest) -> None:
    repos = [repo for shard in manifest.shards for repo in shard.repos]
    assert len(repos) == len(set(repos))


def test_the_same_seed_gives_the_same_documents(manifest) -> None:
    assert build_manifest(CAPPED, 0).fingerprint == manifest.fingerprint
    assert build_manifest(CAPPED, 1).fingerprint != manifest.fingerprint
    shard = manifest.shards[0]
    once, again = list(read_shard(shard, CAPPED)), list(read_shard(shard, CAPPED))
    assert all(a.equals(b) for a, b in zip(once, again, strict=True))


def test_documents_are_installed_files_whole_or_sampled_to_the_cap(manifest) -> None:
    rows = [row for s in manifest.shards for table in read_shard(s, CAPPED) for row in table.to_pylist()]
    assert sum(row["size"] for row in rows) == manifest.summary()["bytes"]
    assert len({row["lang"] for row in rows} - {""}) >= 4
    assert any(row["license"] for row in rows)
    assert not [row["repo"] for row in rows if row["repo"].startswith("snowcoder@")]
    for repo in {row["repo"] for row in rows}:
        name, version = repo.split("@")
        distribution = importlib.metadata.distribution(name)
        assert distribution.version == version
        mine = [row for row in rows if row["repo"] == repo]
        assert sum(row["size"] for row in mine) <= CAPPED.max_bytes_per_repository
        listed = {str(file) for file in distribution.files}
        assert {row["path"] for row in mine} <= listed
        path = Path(distribution.locate_file(mine[0]["path"]))
        assert path.read_bytes().decode().removeprefix("\ufeff") == mine[0]["text"]
        python = {
            str(f)
            for f in distribution.files
            if f.suffix == ".py" and f.locate().is_file() and ".." not in f.parts
        }
        if sum(row["size"] for row in mine) < CAPPED.max_bytes_per_repository // 2:
            assert {row["path"] for row in mine if row["path"].endswith(".py")} == python, repo


def test_excluded_distributions_are_left_out() -> None:
    cfg = SourceConfig(languages=("Python",), max_bytes_per_repository=1 << 18)
    everything = {repo for shard in build_manifest(cfg, 0).shards for repo in shard.repos}
    without = cfg.model_copy(update={"exclude": ("PyArrow", "typing-extensions")})
    rest = {repo for shard in build_manifest(without, 0).shards for repo in shard.repos}
    assert {repo.split("@")[0].lower().replace("_", "-") for repo in everything - rest} == {
        "pyarrow",
        "typing-extensions",
    }


def test_an_environment_that_changed_is_refused(manifest) -> None:
    shard = replace(manifest.shards[0], fingerprint="other")
    with pytest.raises(UserError, match="changed after the manifest"):
        list(read_shard(shard, CAPPED))
    gone = replace(manifest.shards[0], part='[["no_such_package-1.0",0,1]]')
    with pytest.raises(UserError, match=r"no_such_package-1\.0 is in the manifest and not installed here"):
        list(read_shard(gone, CAPPED))
