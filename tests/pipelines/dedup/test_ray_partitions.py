"""The index as Ray actors: same verdicts as in one process, from any task, and rebuilt after a loss."""

from __future__ import annotations

import time

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.index_scale import SHARD, shard_keys
from pipelines.dedup.claim import claim_shard, rebuild
from pipelines.dedup.config import DedupConfig
from pipelines.dedup.index import Index, LocalPartitions, PartitionLost, RayPartitions, create_partitions
from pipelines.dedup.keys import DocumentKeys, document_keys
from pipelines.dedup.memory import check_memory, cluster_memory
from pipelines.dedup.snapshot import load_index, save_index
from snowcoder.base import UserError


def random_shards(cfg: DedupConfig) -> list[tuple[int, np.ndarray, DocumentKeys]]:
    """Three shards that repeat each other's documents, exactly and nearly."""
    rng = np.random.default_rng(0)
    shards = []
    for shard in range(3):
        stems = rng.integers(0, 60, 50)
        edits = rng.integers(0, 3, 50)
        texts = [
            " ".join(f"t{stem}_{i}" for i in range(200)) + f" edit{edit}"
            for stem, edit in zip(stems, edits, strict=True)
        ]
        keys = document_keys(pa.array(texts, pa.large_string()), cfg)
        shards.append((shard, np.arange(50, dtype=np.int32), keys))
    return shards


def wait_until_dead(partitions: RayPartitions, number: int) -> None:
    """A kill takes a moment to arrive."""
    for _ in range(600):
        try:
            partitions.call("stats", {number: ()})
        except PartitionLost:
            return
        time.sleep(0.05)


def test_actors_equal_local_partitions_and_a_lost_one_is_rebuilt(ray_session):
    ray = ray_session
    cfg = DedupConfig(partitions=2, expected_documents=1000)
    shards = random_shards(cfg)
    local = Index(LocalPartitions(cfg))
    want = [claim_shard(*shard, local, cfg) for shard in shards]
    partitions = create_partitions(cfg, "test-index")
    index = Index(partitions)

    @ray.remote
    def claim_in_a_task(index, shard):
        return claim_shard(*shard, index, cfg)

    got = [ray.get(claim_in_a_task.remote(index, shard)) for shard in shards]
    reasons = [reason for table in got for reason in table["reason"].to_pylist()]
    assert {"exact_duplicate", "near_duplicate", None} == set(reasons)
    for table, other in zip(got, want, strict=True):
        assert table.drop(["jaccard"]).equals(other.drop(["jaccard"]))
    assert index.checksums() == local.checksums()

    ray.kill(ray.get_actor("test-index-1"))
    wait_until_dead(partitions, 1)
    with pytest.raises(PartitionLost, match="partition 1 of the near-duplicate index") as lost:
        index.checksums()
    partitions.replace(lost.value.number, cfg)
    kept = [np.flatnonzero(table["dup_of"].to_numpy() < 0) for table in got]
    rebuild(
        index,
        [(n, r[k], keys.select(k)) for (n, r, keys), k in zip(shards, kept, strict=True)],
        cfg,
        only=[1],
    )
    assert index.checksums() == local.checksums()


def test_a_partition_killed_after_100_000_documents_comes_back_bit_for_bit(ray_session):
    """The claim goes on as if nothing had happened; the lost part is filled from the kept documents alone."""
    ray = ray_session
    cfg = DedupConfig(partitions=3, expected_documents=60_000)
    rows = np.arange(SHARD, dtype=np.int32)
    quiet, partitions = Index(LocalPartitions(cfg)), create_partitions(cfg, "test-large")
    index = Index(partitions)
    before = 100_000 // SHARD + 1
    kept = {}
    for shard in range(before):
        table = claim_shard(shard, rows, shard_keys(shard, cfg), index, cfg)
        assert table.drop(["jaccard"]).equals(
            claim_shard(shard, rows, shard_keys(shard, cfg), quiet, cfg).drop(["jaccard"])
        )
        kept[shard] = table["reason"].is_null().to_numpy()
    checksums = index.checksums()
    assert checksums == quiet.checksums()

    ray.kill(ray.get_actor("test-large-2"))
    wait_until_dead(partitions, 2)
    with pytest.raises(PartitionLost) as lost:
        claim_shard(before, rows, shard_keys(before, cfg), index, cfg)
    number = lost.value.number
    partitions.replace(number, cfg)
    rehashed = ((shard, rows[which], shard_keys(shard, cfg).select(which)) for shard, which in kept.items())
    rebuild(index, rehashed, cfg, only=[number])
    assert index.checksums() == checksums
    for shard in (before, before + 1):
        table, want = (claim_shard(shard, rows, shard_keys(shard, cfg), one, cfg) for one in (index, quiet))
        assert table.drop(["jaccard"]).equals(want.drop(["jaccard"]))
    assert index.checksums() == quiet.checksums()


def test_a_stored_index_in_actors_answers_as_in_one_process(ray_session, tmp_path):
    cfg = DedupConfig(partitions=2, expected_documents=1000)
    shards = random_shards(cfg)
    first = Index(LocalPartitions(cfg))
    claim_shard(*shards[0], first, cfg)
    save_index(first, tmp_path / "index", cfg)
    stored = load_index(tmp_path / "index", cfg, name_prefix="test-stored")
    assert stored.checksums() == first.checksums()
    tables = []
    ray_session.kill(ray_session.get_actor("test-stored-1"))  # comes back from its files, whoever asks next
    for below in (stored, first):
        index = Index(LocalPartitions(cfg), [below])
        tables.append(pa.concat_tables(claim_shard(n, *rest, index, cfg) for n, *rest in shards))
    assert tables[0].drop(["jaccard"]).equals(tables[1].drop(["jaccard"]))
    assert set(tables[0]["corpus"].to_pylist()) == {0, 1}


def test_the_memory_check_before_the_start_sees_this_cluster(ray_session):
    small = DedupConfig(expected_documents=1000)
    check_memory(small, cluster_memory())
    with pytest.raises(UserError, match="do not fit"):
        check_memory(
            small.model_copy(update={"expected_documents": 10**12, "partitions": 4096}), cluster_memory()
        )


def test_a_full_actor_raises_the_users_error_in_one_line(ray_session):
    cfg = DedupConfig(partitions=1, expected_documents=10, grow=False)
    partitions = create_partitions(cfg, "test-full")
    shard = random_shards(cfg)[0]
    with pytest.raises(UserError, match=r"raise dedup\.expected_documents") as full:
        claim_shard(*shard, Index(partitions), cfg)
    assert "\n" not in str(full.value)


def test_missing_partitions_are_lost_ones(ray_session):
    with pytest.raises(PartitionLost, match="test-nowhere-0"):
        Index(RayPartitions("test-nowhere", 1)).stats()
