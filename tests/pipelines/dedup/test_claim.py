"""The claim against its semantics in plain Python, through retries, crashes and rebuilds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.dedup.claim import CLAIM, claim_shard, rebuild
from pipelines.dedup.config import DedupConfig
from pipelines.dedup.index import Index, LocalPartitions
from pipelines.dedup.keys import document_keys
from pipelines.schema import ordinal
from snowcoder.base import UserError
from tests.pipelines.dedup.corpora import config, plain_claim, shards, to_keys

# Every way of linking, in one partition and in several.
ways = st.sampled_from(
    [
        {**link, "prefer": prefer, "partitions": partitions}
        for link in (
            {"link": "direct"},
            {"link": "direct", "similarity": 0.4, "verify": True},
            {"link": "chain"},
        )
        for prefer in ((), ("path",))
        for partitions in (1, 4)
    ]
)


def keys_of(documents, cfg):
    """Ranks only where the configuration prefers: else the order is that of the rows."""
    rows, keys = to_keys(documents)
    return rows, keys if cfg.prefer else replace(keys, rank=np.arange(len(keys), dtype=np.int32))


def claim_all(corpus, cfg, index) -> list[pa.Table]:
    return [
        claim_shard(shard, *keys_of(documents, cfg), index, cfg) for shard, documents in enumerate(corpus)
    ]


def rows_of(table: pa.Table) -> list[tuple]:
    assert table.schema == CLAIM
    return list(
        zip(*(table[name].to_pylist() for name in ("row", "reason", "dup_of", "corpus")), strict=True)
    )


def equal(left: pa.Table, right: pa.Table) -> bool:
    return left.drop(["jaccard"]).equals(right.drop(["jaccard"])) and np.array_equal(
        left["jaccard"].to_numpy(), right["jaccard"].to_numpy(), equal_nan=True
    )


@settings(deadline=None, max_examples=200)
@given(shards(), ways)
def test_equals_the_plain_claim(corpus, way):
    cfg = config(**way)
    tables = claim_all(corpus, cfg, Index(LocalPartitions(cfg)))
    assert [rows_of(table) for table in tables] == plain_claim(corpus, cfg)


@settings(deadline=None, max_examples=60)
@given(shards(), ways, st.data())
def test_several_calls_per_shard_equal_one(corpus, way, data):
    cfg = config(**{**way, "prefer": ()})
    index = Index(LocalPartitions(cfg))
    for shard, want in enumerate(plain_claim(corpus, cfg)):
        cut = data.draw(st.integers(0, len(want)))
        rows, keys = keys_of(corpus[shard], cfg)
        first, second = np.arange(cut), np.arange(cut, len(want))
        got = [
            rows_of(claim_shard(shard, rows[part], keys.select(part), index, cfg)) for part in (first, second)
        ]
        assert got[0] + got[1] == want


class CrashingPartitions(LocalPartitions):
    """Ends a call after `survivors` of the partitions have answered, once."""

    survivors: int | None = None

    def call(self, method, arguments):
        if method == "insert" and self.survivors is not None:
            reached = dict(list(arguments.items())[: self.survivors])
            self.survivors = None
            super().call(method, reached)
            raise InterruptedError
        return super().call(method, arguments)


@settings(deadline=None, max_examples=100)
@given(shards(), ways, st.data())
def test_retry_after_a_crash_gives_the_same_table(corpus, way, data):
    cfg = config(**way)
    calm, crashing = Index(LocalPartitions(cfg)), CrashingPartitions(cfg)
    index = Index(crashing)
    want = claim_all(corpus, cfg, calm)
    for shard, documents in enumerate(corpus):
        crashing.survivors = data.draw(st.integers(0, cfg.partitions))
        if documents:
            with pytest.raises(InterruptedError):
                claim_shard(shard, *keys_of(documents, cfg), index, cfg)
        crashing.survivors = None
        assert equal(claim_shard(shard, *keys_of(documents, cfg), index, cfg), want[shard])
    assert index.checksums() == calm.checksums()


@settings(deadline=None, max_examples=100)
@given(shards(), ways, st.data())
def test_a_late_retry_gives_the_same_table_and_changes_nothing(corpus, way, data):
    """A shard is claimed again when all later ones are in the index."""
    cfg = config(**way)
    index = Index(LocalPartitions(cfg))
    want = claim_all(corpus, cfg, index)
    checksums = index.checksums()
    shard = data.draw(st.integers(0, len(corpus) - 1))
    assert equal(claim_shard(shard, *keys_of(corpus[shard], cfg), index, cfg), want[shard])
    assert index.checksums() == checksums


@settings(deadline=None, max_examples=100)
@given(shards(), ways, st.randoms(), st.data())
def test_rebuilt_partitions_equal_the_lost_ones(corpus, way, rng, data):
    cfg = config(**way)
    partitions = LocalPartitions(cfg)
    index = Index(partitions)
    tables = claim_all(corpus, cfg, index)
    checksums = index.checksums()
    lost = data.draw(st.sets(st.integers(0, cfg.partitions - 1), min_size=1))
    for number in lost:
        partitions.replace(number, cfg)
    claimed = []
    for shard, documents in enumerate(corpus):
        rows, keys = keys_of(documents, cfg)
        kept = np.flatnonzero(tables[shard]["dup_of"].to_numpy() < 0)
        if cfg.link == "direct":
            claimed.append((shard, rows[kept], keys.select(kept)))
        else:
            claimed.append((shard, rows, keys))
    if cfg.link == "direct":
        rng.shuffle(claimed)
    rebuild(index, claimed, cfg, only=lost)
    assert index.checksums() == checksums
    assert [equal(again, table) for again, table in zip(claim_all(corpus, cfg, index), tables, strict=True)]


def test_checksum_notices_a_changed_signature():
    cfg = config(partitions=1)
    rng = np.random.default_rng(0)
    own = np.arange(2)
    signatures = rng.integers(0, 256, (2, cfg.bins)).astype(np.uint8)
    none, nobody = np.zeros((0, 2), np.uint64), np.zeros(0, np.int64)
    sums = set()
    for rows in (signatures, signatures[::-1], signatures ^ np.uint8(1)):
        index = Index(LocalPartitions(cfg))
        index.insert(none, nobody, none[:, 0], nobody, own, rows)
        sums.update(index.checksums())
    assert len(sums) == 3


FUNCTION = (
    "def total(prices, tax):\n    result = 0\n    for price in prices:\n        result += price * (1 + tax)\n"
)
LONG = "\n".join(FUNCTION.replace("total", f"total_{i}") for i in range(30))


def test_texts_get_the_reason_the_owner_and_the_evidence():
    texts = [
        LONG,
        "x = 1",
        LONG + "\n# one more line of comment\n",  # near
        "y = 2",  # short, and no duplicate of the other short one
        LONG,  # exact
        "x = 1",  # exact, by its only key
        "x  =  1",  # short: formatting is not looked through
        "\n".join(f"value_{i} = other_{i * i}" for i in range(100)),
    ]
    cfg = DedupConfig()
    keys = document_keys(pa.array(texts, pa.large_string()), cfg)
    table = claim_shard(3, np.arange(10, 18, dtype=np.int32), keys, Index(LocalPartitions(cfg)), cfg)
    first, second = ordinal(3, 10), ordinal(3, 11)
    assert rows_of(table) == [
        (10, None, -1, 0),
        (11, None, -1, 0),
        (12, "near_duplicate", first, 0),
        (13, None, -1, 0),
        (14, "exact_duplicate", first, 0),
        (15, "exact_duplicate", second, 0),
        (16, None, -1, 0),
        (17, None, -1, 0),
    ]
    jaccard = table["jaccard"].to_numpy()
    assert 0.9 < jaccard[2] <= 1
    assert jaccard[[4, 5]].tolist() == [1, 1]
    assert np.isnan(jaccard[[0, 1, 3, 6, 7]]).all()


def test_a_full_index_names_the_field_to_raise():
    cfg = DedupConfig(expected_documents=50, partitions=1, grow=False)
    texts = pa.array([f"a{i} b{i} c{i} d{i} e{i} f{i}" for i in range(100)], pa.large_string())
    with pytest.raises(
        UserError, match=r"partition 0: .* sized for .*; raise dedup.expected_documents \(now 50\)"
    ):
        claim_shard(
            0, np.arange(100, dtype=np.int32), document_keys(texts, cfg), Index(LocalPartitions(cfg)), cfg
        )


def test_an_index_filled_as_expected_stays_within_its_declared_memory():
    cfg = DedupConfig(expected_documents=20_000, partitions=3)
    texts = pa.array([f"a{i} b{i} c{i} d{i} e{i} f{i}" for i in range(20_000)], pa.large_string())
    index = Index(LocalPartitions(cfg))
    claim_shard(0, np.arange(20_000, dtype=np.int32), document_keys(texts, cfg), index, cfg)
    assert sum(part["documents"] for part in index.stats()) == 20_000
    for part in index.stats():
        assert part["bytes"] < cfg.partition_bytes - (300 << 20)


def test_rows_out_of_order_are_refused():
    cfg = DedupConfig()
    keys = document_keys(pa.array(["a", "b"], pa.large_string()), cfg)
    with pytest.raises(ValueError, match="ascending rows"):
        claim_shard(0, np.array([1, 0], np.int32), keys, Index(LocalPartitions(cfg)), cfg)
