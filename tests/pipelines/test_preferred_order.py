"""Curate, then stream: the copies of the best repositories are kept, and training goes through them in seeded order."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.curation import kept_documents, kept_rows
from pipelines.dedup.config import DedupConfig
from pipelines.dedup.shard_order import preferred
from pipelines.manifest import build_manifest
from pipelines.phases.corpus import Corpus, curate
from pipelines.schema import Shard
from pipelines.sources import SourceConfig, read_shard, shard_repositories
from pipelines.sources.repository_facts import RepositoryFactsConfig, write_facts
from pipelines.stages.chain import StagesConfig
from pipelines.stream import in_order
from snowcoder.base import UserError
from tests.corpora import corpus, write_repositories

PACKAGES = ("json", "wsgiref", "logging", "http")
DEDUP = DedupConfig(partitions=1, expected_documents=1000, prefer=("stars", "path"), order="preferred")


@pytest.fixture(scope="module")
def made(tmp_path_factory, ray_session) -> Corpus:
    """Every package three times; the second copy has the most stars, the third is not known.

    Each copy lies in a folder of its own, as a shard counts by its best repository.
    """
    root = tmp_path_factory.mktemp("preferred")
    repositories = sorted(write_repositories(root / "all", copies=3, packages=PACKAGES).iterdir())
    names = [path.name for path in repositories]
    for path in repositories:
        folder = root / "source" / path.name[-1]
        folder.mkdir(parents=True, exist_ok=True)
        path.rename(folder / path.name)
    stars = [{"0": 1, "1": 50}.get(name[-1]) for name in names]
    pq.write_table(pa.table({"repo": names, "stars": pa.array(stars, pa.int64())}), root / "facts.parquet")
    facts = write_facts(RepositoryFactsConfig(paths=(str(root / "facts.parquet"),)), root / "facts.arrow")
    base = corpus(root / "source", root / "run")
    folders = tuple(str(path) for path in sorted((root / "source").iterdir()))
    config = SourceConfig(kind="directory", paths=folders, shard_bytes=60_000)
    manifest = build_manifest(
        config, 3, lambda shards: preferred(shards, [s.repos for s in shards], facts, DEDUP)
    )
    stages = StagesConfig(language=None, licence=None, syntax=None, secrets=None)
    curation = replace(base.curation, source=config, dedup=DEDUP, facts=facts, stages=stages)
    made = replace(base, shards=in_order(manifest), curation=curation)
    assert list(curate(made)) == [shard.shard for shard in made.shards]
    return made


def test_the_starred_copy_is_kept_wherever_it_lies(made):
    kept, seen = {}, {}
    for shard in made.shards:
        for table in kept_documents(shard, made.curation):
            for repo, path, text in zip(
                *(table[n].to_pylist() for n in ("repo", "path", "text")), strict=True
            ):
                kept.setdefault(text, []).append((repo, path))
        for table in read_shard(shard, made.curation.source):
            for repo, text in zip(table["repo"].to_pylist(), table["text"].to_pylist(), strict=True):
                seen.setdefault(text, set()).add(repo[-1])
    assert len(kept) >= 20
    assert all(seen[text] == {"0", "1", "2"} for text in kept)
    assert {repo[-1] for copies in kept.values() for repo, _ in copies} == {"1"}
    assert all(len(copies) == 1 for copies in kept.values())


def test_training_goes_through_the_shards_in_seeded_order(made):
    order = made.order(2)
    given = [shard.shard for shard in made.shards]
    first, second = (order.epoch_order(epoch).tolist() for epoch in (0, 1))
    assert sorted(first) == sorted(second) == given
    assert first != given != second != first
    live = replace(made, curation=replace(made.curation, dedup=DEDUP.model_copy(update={"order": "seeded"})))
    assert live.order(2).epoch_order(0).tolist() == given


def test_other_facts_are_other_verdicts(made, tmp_path):
    pq.write_table(pa.table({"repo": ["json-0"], "stars": [9]}), tmp_path / "facts.parquet")
    facts = write_facts(RepositoryFactsConfig(paths=(str(tmp_path),)), tmp_path / "facts.arrow")
    other = replace(made.curation, facts=facts)
    assert other.claim_stage.key != made.curation.claim_stage.key
    assert len(kept_rows(made.shards[0], made.curation))
    without = replace(made.curation, dedup=DEDUP.model_copy(update={"prefer": ("path",)}))
    assert "facts" not in without.claim_stage.config


def test_a_parquet_shard_tells_its_repositories(tmp_path):
    names = ["b/b", "a/a", "b/b", "c/c"]
    table = pa.table({"content": ["x = 1"] * 4, "name": pa.array(names).dictionary_encode()})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    config = SourceConfig(
        kind="parquet", paths=(str(tmp_path),), columns={"text": "content", "repo": "name"}, shard_bytes=1
    )
    found = {tuple(shard_repositories(shard, config)) for shard in build_manifest(config, 0).shards}
    assert found == {("b/b", "a/a"), ("b/b", "c/c")}


def test_what_cannot_be_ordered_is_refused(made):
    shard = Shard(shard=0, reader="jsonl", uri="x.jsonl")
    with pytest.raises(UserError, match="use Parquet"):
        shard_repositories(shard, made.curation.source)
    dated = DedupConfig(prefer=("date",), order="preferred")
    with pytest.raises(UserError, match=r"date: source\.facts\.columns"):
        preferred([shard], [["a"]], made.curation.facts, dated)
    with pytest.raises(ValueError, match="needs stars or date"):
        DedupConfig(prefer=("path",), order="preferred")
