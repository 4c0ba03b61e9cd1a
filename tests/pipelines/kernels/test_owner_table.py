"""The owner table against a dict."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.kernels import owner_table
from pipelines.kernels.owner_table import OwnerTable, TableFull, peak_bytes

# Few distinct keys, and all in one corner of the table, so that probes run long and wrap around its end.
key = st.one_of(st.integers(0, 40), st.integers(2**64 - 40, 2**64 - 1), st.integers(0, 2**64 - 1))
batch = st.lists(st.tuples(key, st.integers(0, 2**63 - 2)), max_size=30)


def columns(pairs) -> tuple[np.ndarray, np.ndarray]:
    return np.array([k for k, _ in pairs], np.uint64), np.array([o for _, o in pairs], np.int64)


def lowest(pairs) -> dict[int, int]:
    owners: dict[int, int] = {}
    for k, owner in pairs:
        owners[k] = min(owner, owners.get(k, owner))
    return owners


@settings(deadline=None)
@given(st.lists(batch, max_size=6))
def test_equals_a_dict(batches):
    table, pairs = OwnerTable(200), []
    for new in batches:
        before = len(lowest(pairs))
        pairs += new
        assert table.insert(*columns(new)) == len(lowest(pairs)) - before
    want = lowest(pairs)
    asked = np.array([*want, 41, 42], np.uint64)
    assert table.lookup(asked).tolist() == [want.get(k, -1) for k in asked.tolist()]
    assert len(table) == len(want)
    keys, owners = table.items()
    assert dict(zip(keys.tolist(), owners.tolist(), strict=True)) == want


@settings(deadline=None)
@given(batch, st.randoms())
def test_checksum_depends_on_the_pairs_alone(pairs, rng):
    table = OwnerTable(64)
    table.insert(*columns(pairs))
    shuffled = pairs + pairs[:3]
    rng.shuffle(shuffled)
    other = OwnerTable(500)
    for pair in shuffled:
        other.insert(*columns([pair]))
    assert other.checksum() == table.checksum()
    if pairs:
        k, owner = next(iter(lowest(pairs).items()))
        changed = OwnerTable(64)
        changed.insert(*columns([*((a, b) for a, b in pairs if a != k), (k, owner + 1)]))
        assert changed.checksum() != table.checksum()


def test_grows_in_steps_and_keeps_everything(monkeypatch):
    monkeypatch.setattr(owner_table, "_SMALLEST", 64)
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 2**64, 20_000, dtype=np.uint64)
    owners = np.arange(20_000)
    table, sizes = OwnerTable(20_000), []
    for start in range(0, 20_000, 37):
        table.insert(keys[start : start + 37], owners[start : start + 37])
        sizes.append(table.nbytes)
    assert len(set(sizes)) >= 4
    assert sizes[0] < 2000
    assert max(sizes) + max(s for s in sizes if s < max(sizes)) <= 1.01 * peak_bytes(20_000)
    assert (table.lookup(keys) == owners).all()
    assert (table.lookup(keys + np.uint64(1)) == -1).all()


def test_full_table_says_so_keeps_what_it_has_and_still_takes_known_keys():
    table = OwnerTable(100)
    keys = np.random.default_rng(0).integers(0, 2**64, 1000, dtype=np.uint64)
    with pytest.raises(TableFull, match=r"128 keys in a table sized for 100"):
        table.insert(keys, np.arange(1000))
    assert len(table) == table.capacity == 128
    assert (table.lookup(keys[:128]) == np.arange(128)).all()
    assert table.insert(keys[:128], np.arange(128)) == 0


def test_more_keys_than_one_table_addresses():
    with pytest.raises(ValueError, match="use more partitions"):
        OwnerTable(2**40)
