"""The index as Ray actors: same verdicts as in one process, from any task, and rebuilt after a loss."""

from __future__ import annotations

import time

import numpy as np
import pyarrow as pa
import pytest

from pipelines.dedup.claim import claim_shard, rebuild
from pipelines.dedup.config import DedupConfig
from pipelines.dedup.index import Index, LocalPartitions, PartitionLost, RayPartitions, create_partitions
from pipelines.dedup.keys import DocumentKeys, document_keys
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


def test_a_full_actor_raises_the_users_error_in_one_line(ray_session):
    cfg = DedupConfig(partitions=1, expected_documents=10)
    partitions = create_partitions(cfg, "test-full")
    shard = random_shards(cfg)[0]
    with pytest.raises(UserError, match=r"raise dedup\.expected_documents") as full:
        claim_shard(*shard, Index(partitions), cfg)
    assert "\n" not in str(full.value)


def test_missing_partitions_are_lost_ones(ray_session):
    with pytest.raises(PartitionLost, match="test-nowhere-0"):
        Index(RayPartitions("test-nowhere", 1)).stats()
