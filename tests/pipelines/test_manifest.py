from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines.manifest import Manifest, build_manifest
from pipelines.schema import Shard
from pipelines.sources import SourceConfig
from snowcoder.base import UserError


@pytest.fixture
def cfg(tmp_path: Path) -> SourceConfig:
    root = tmp_path / "source"
    for repo in range(8):
        (root / f"repo{repo}").mkdir(parents=True)
        (root / f"repo{repo}" / "a.py").write_text("x = 1\n" * (repo + 1))
    return SourceConfig(kind="directory", paths=(str(root),), shard_bytes=30)


def places(manifest: Manifest) -> list[str]:
    return [shard.part for shard in manifest.shards]


def test_shards_are_numbered_in_a_seeded_order(cfg: SourceConfig) -> None:
    manifest = build_manifest(cfg, 1)
    assert [shard.shard for shard in manifest.shards] == list(range(len(manifest.shards)))
    assert build_manifest(cfg, 1).fingerprint == manifest.fingerprint
    orders = {tuple(places(build_manifest(cfg, seed))) for seed in range(5)}
    assert len(orders) > 1


def test_every_repository_is_in_exactly_one_shard(cfg: SourceConfig) -> None:
    manifest = build_manifest(cfg, 0)
    repos = [repo for shard in manifest.shards for repo in shard.repos]
    assert sorted(repos) == [f"repo{i}" for i in range(8)]
    assert manifest.summary() == {
        "shards": len(manifest.shards),
        "bytes": 6 * 36,
        "repositories": 8,
        "readers": {"directory": {"shards": len(manifest.shards), "bytes": 6 * 36, "repositories": 8}},
    }


def test_prefix_depends_on_the_shards_before_and_on_no_other(cfg: SourceConfig) -> None:
    shards = build_manifest(cfg, 0).shards
    whole, cut = Manifest(shards, 0), Manifest(shards[:3], 0)
    assert [whole.prefix(i) for i in range(4)] == [cut.prefix(i) for i in range(4)]
    assert whole.prefix(len(shards)) == whole.fingerprint
    assert len({whole.prefix(i) for i in range(len(shards) + 1)}) == len(shards) + 1
    swapped = Manifest([shards[1], shards[0], *shards[2:]], 0)
    assert swapped.prefix(2) != whole.prefix(2)


def test_the_fingerprint_follows_content_and_the_way_of_reading(cfg: SourceConfig) -> None:
    before = build_manifest(cfg, 0)
    other_way = cfg.model_copy(update={"max_document_bytes": 1000})
    assert build_manifest(other_way, 0).fingerprint != before.fingerprint
    assert places(build_manifest(other_way, 0)) == places(before)
    os.utime(Path(cfg.paths[0]) / "repo3" / "a.py", ns=(0, 0))
    assert build_manifest(cfg, 0).fingerprint != before.fingerprint


def test_a_written_manifest_is_read_back_as_it_was(cfg: SourceConfig, tmp_path: Path) -> None:
    manifest = build_manifest(cfg, 7)
    manifest.write(tmp_path / "manifest.jsonl")
    again = Manifest.read(tmp_path / "manifest.jsonl")
    assert (again.shards, again.seed, again.fingerprint) == (manifest.shards, 7, manifest.fingerprint)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.rsplit("\n", 2)[0] + "\n",
        lambda text: text.replace("repo3", "repo9"),
        lambda text: "",
        lambda text: "[]\n",
    ],
)
def test_a_damaged_manifest_is_refused(cfg: SourceConfig, tmp_path: Path, damage) -> None:
    path = tmp_path / "manifest.jsonl"
    build_manifest(cfg, 0).write(path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(UserError, match=r"manifest\.jsonl: manifest is cut short or was edited; rebuild it"):
        Manifest.read(path)


def test_a_missing_or_foreign_manifest_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="build it first"):
        Manifest.read(tmp_path / "none.jsonl")
    (tmp_path / "old.jsonl").write_text('{"format": 0}\n')
    with pytest.raises(UserError, match="format 0"):
        Manifest.read(tmp_path / "old.jsonl")


def test_a_shard_survives_json() -> None:
    shard = Shard(shard=3, reader="jsonl", uri="a/b", part='{"bytes":[0,1]}', repos=("é", "b"), bytes=5)
    assert Shard.from_json(shard.to_json()) == shard


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "directory", "git", "archive"])
def test_a_missing_source_names_the_path(kind, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no such .*; correct source\.paths"):
        build_manifest(SourceConfig(kind=kind, paths=(str(tmp_path / "nowhere"),)), 0)


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "directory", "git", "archive"])
def test_an_empty_source_names_the_remedy(kind, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"correct source\.paths|check its paths"):
        build_manifest(SourceConfig(kind=kind, paths=(str(tmp_path),)), 0)


def test_a_cap_below_every_repository_is_an_empty_source(cfg: SourceConfig) -> None:
    with pytest.raises(UserError, match="max_bytes"):
        build_manifest(cfg.model_copy(update={"max_bytes": 1}), 0)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "parquet"}, "needs at least one"),
        ({"languages": ("Klingon",)}, "'Klingon' is not known"),
        ({"columns": {"path": "p"}}, "which column holds the text"),
        ({"columns": {"text": "t", "stars": "s"}}, "no document field 'stars'"),
        ({"shard_bytes": 0}, "greater than 0"),
        ({"shards": 1}, "Extra inputs"),
    ],
)
def test_bad_configuration_is_refused(fields, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SourceConfig(**fields)
