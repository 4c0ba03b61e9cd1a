"""What the index needs, what there is, and what happens when it needs more."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from pipelines.dedup.config import DedupConfig
from pipelines.dedup.memory import available_bytes, check_memory
from pipelines.dedup.partition import Partition
from snowcoder.base import UserError

GiB = 1 << 30


def test_the_formula_per_document():
    """16 band keys and a place of 16 bytes, an exact key of 24, at load 0.7 and with the last rehash, and 128."""
    large = DedupConfig(expected_documents=10**9, partitions=64)
    per_document = 1.25 * (16 * 16 + 16 + 24) / 0.7 + 128
    assert large.index_bytes / 10**9 == pytest.approx(per_document, rel=0.04)  # + processes and spread


def test_a_partition_must_fit_whole_on_a_node():
    cfg = DedupConfig(expected_documents=10_000_000, partitions=2)
    assert 3 * GiB < cfg.partition_bytes < 4 * GiB
    check_memory(cfg, [4 * GiB, 4 * GiB])
    check_memory(cfg, [9 * GiB])
    with pytest.raises(
        UserError, match=r"2 partitions of 3\.\d GiB do not fit in 9\.0 GiB on 3 nodes; raise dedup.parti"
    ):
        check_memory(cfg, [3 * GiB] * 3)
    with pytest.raises(UserError, match=r"do not fit in 2\.0 GiB on 1 nodes; lower dedup.expected_documents"):
        check_memory(cfg, [2 * GiB])


def test_available_memory_is_that_of_this_machine():
    assert 1 << 20 < available_bytes() < 1 << 50


def fill(partition: Partition, count: int, step: int = 50) -> None:
    rng = np.random.default_rng(0)
    bands = rng.integers(0, 2**64, (5000, 4), dtype=np.uint64)[:count]
    exact = rng.integers(0, 2**64, (5000, 2), dtype=np.uint64)[:count]
    signatures = rng.integers(0, 256, (5000, 64)).astype(np.uint8)[:count]
    for start in range(0, count, step):
        own = np.arange(start, min(start + step, count))
        partition.insert(exact[own], own, bands[own].reshape(-1), np.repeat(own, 4), own, signatures[own])
    assert (partition.lookup(exact, bands.reshape(-1))[1] == np.repeat(np.arange(count), 4)).all()
    assert (partition.signatures(np.arange(count)) == signatures).all()


CFG = DedupConfig(bins=64, bands=4, rows=8, partitions=1, expected_documents=100)


def test_a_partition_grows_past_its_declared_size_and_answers_the_same():
    small, declared = Partition(0, CFG), Partition(0, CFG.model_copy(update={"expected_documents": 5000}))
    fill(small, 3000)
    fill(declared, 3000)
    assert small.checksum() == declared.checksum()
    assert small.stats()["percent"] <= 100
    assert small.stats()["documents"] == 3000


def test_one_that_cannot_grow_says_so_long_before_it_is_full(caplog):
    partition = Partition(0, CFG, available=lambda: 1000)
    fill(partition, 100)
    with caplog.at_level(logging.WARNING):
        fill(partition, 120)
    (record,) = caplog.records
    assert record.getMessage() == (
        "near-duplicate index, partition 0: holds the 100 keys it was sized for, and cannot double in 0.0 GiB: raise "
        "dedup.expected_documents (now 100) before it is full"
    )
    assert partition.stats()["percent"] == 120
    with pytest.raises(UserError, match=r"raise dedup.expected_documents \(now 100\), the verdicts stay"):
        fill(partition, 200)
