"""A second corpus against a stored index of a first one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.dedup.claim import claim_shard, rebuild
from pipelines.dedup.index import Index, LocalPartitions
from pipelines.dedup.snapshot import index_fingerprint, load_index, save_index
from snowcoder.base import UserError
from tests.pipelines.dedup.corpora import Plain, config, shards
from tests.pipelines.dedup.test_claim import claim_all, equal, keys_of, rows_of, ways


def built(corpus, cfg, below=()) -> Index:
    index = Index(LocalPartitions(cfg), below)
    claim_all(corpus, cfg, index)
    return index


@settings(deadline=None, max_examples=150)
@given(st.lists(shards(), min_size=1, max_size=2), shards(), ways, st.data())
def test_equals_the_plain_claim_and_leaves_the_first_corpus_alone(firsts, second, way, data):
    cfg = config(**way)
    below = [built(first, cfg) for first in firsts]
    before = [index.checksums() for index in below]
    index = Index(LocalPartitions(cfg), below)
    tables = claim_all(second, cfg, index)
    plain = [Plain(cfg) for _ in firsts]
    for oracle, first in zip(plain, firsts, strict=True):
        oracle.claims(first)
    assert [rows_of(table) for table in tables] == Plain(cfg, below=tuple(plain)).claims(second)
    assert [base.checksums() for base in below] == before

    # A late retry, and a partition lost and rebuilt.
    checksums = index.checksums()
    shard = data.draw(st.integers(0, len(second) - 1))
    assert equal(claim_shard(shard, *keys_of(second[shard], cfg), index, cfg), tables[shard])
    lost = data.draw(st.integers(0, cfg.partitions - 1))
    index.partitions.replace(lost, cfg)
    claimed = []
    for number, documents in enumerate(second):
        rows, keys = keys_of(documents, cfg)
        kept = tables[number]["reason"].is_null().to_numpy()
        claimed.append(
            (number, rows, keys) if cfg.link == "chain" else (number, rows[kept], keys.select(kept))
        )
    rebuild(index, claimed, cfg, only=[lost])
    assert index.checksums() == checksums


@settings(deadline=None, max_examples=10)
@given(shards(), shards(), ways)
def test_a_stored_index_is_the_index(tmp_path_factory, first, second, way):
    cfg = config(**way)
    folder = tmp_path_factory.mktemp("stored") / "index"
    live = built(first, cfg)
    save_index(live, folder, cfg, run="first")
    stored = load_index(folder, cfg)
    assert stored.checksums() == live.checksums()
    assert index_fingerprint(folder) == index_fingerprint(folder)
    here = Index(LocalPartitions(cfg), [stored])
    want = claim_all(second, cfg, Index(LocalPartitions(cfg), [live]))
    assert [equal(a, b) for a, b in zip(claim_all(second, cfg, here), want, strict=True)]

    # The second corpus' own index can be stored in turn, and a third one sees only what it kept.
    save_index(here, folder.with_name("second"), cfg)
    if cfg.link == "chain":
        with pytest.raises(UserError, match="link: direct"):
            load_index(folder.with_name("second"), cfg)
        return
    third = Index(LocalPartitions(cfg), [load_index(folder.with_name("second"), cfg)])
    for number, (table, again) in enumerate(zip(want, claim_all(second, cfg, third), strict=True)):
        kept = table["reason"].is_null().to_numpy()
        owned = [row for row, mine in zip(rows_of(again), kept, strict=True) if mine]
        assert all(reason == "exact_duplicate" and corpus == 1 for _, reason, _, corpus in owned), number


def test_what_does_not_fit_is_refused(tmp_path):
    cfg = config(partitions=2)
    folder = tmp_path / "index"
    with pytest.raises(UserError, match="no stored index"):
        load_index(folder, cfg)
    save_index(Index(LocalPartitions(cfg)), folder, cfg)
    with pytest.raises(UserError, match="is not empty"):
        save_index(Index(LocalPartitions(cfg)), folder, cfg)
    with pytest.raises(UserError, match=r"dedup\.bands = 3, here it is 4"):
        load_index(folder, cfg.model_copy(update={"bands": 4}))
    table = folder / "0001-bands.npy"
    data = bytearray(table.read_bytes())
    data[200:216] = b"\x01" * 16
    table.write_bytes(data)
    with pytest.raises(UserError, match="partition 1 of the stored index is damaged"):
        load_index(folder, cfg)
    table.write_bytes(data[:100])
    with pytest.raises(UserError, match="cannot be read"):
        load_index(folder, cfg)
    header = json.loads((folder / "index.json").read_text())
    del header["checksums"]
    (folder / "index.json").write_text(json.dumps(header))
    with pytest.raises(UserError, match="damaged"):
        index_fingerprint(folder)
