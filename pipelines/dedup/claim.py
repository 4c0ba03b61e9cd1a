"""The claim: which documents of a shard duplicate an earlier one. Shards are claimed one after another.

Reading order is the whole semantics. A document whose key is owned by a lower ordinal is a duplicate of the
lowest such owner; otherwise it is kept and owns its keys. The index is asked once per shard, the shard is
decided in row order against the answers and a table of its own keys, and what it adds goes to the index in
one batch.

*A retry gives the same table*, even if part of the first attempt's keys, or later shards, are already in the
index: owners from this batch on are treated as absent and found again here, and an owner from before it is
never displaced, because the lowest owner wins. (With `chain`, a dropped document's keys go to an earlier
root; the first document with such a key meets the root it would choose anyway.)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numba as nb
import numpy as np
import pyarrow as pa

from pipelines.dedup.config import DedupConfig
from pipelines.dedup.index import Index
from pipelines.dedup.keys import DocumentKeys
from pipelines.kernels.minhash import estimate_jaccard
from pipelines.kernels.owner_table import find_slot, frozen
from pipelines.schema import ordinal

REASONS = ["exact_duplicate", "near_duplicate", "normalised_duplicate"]
EXACT, NEAR, NORMALISED = range(3)
CLAIM = pa.schema(
    [
        ("row", pa.int32()),
        ("reason", pa.dictionary(pa.int8(), pa.string())),  # of REASONS; null = kept
        ("dup_of", pa.int64()),  # ordinal of the document it duplicates, -1 = kept
        ("corpus", pa.int8()),  # where that document is: 0 = here, k = in the k-th index of `against`
        ("jaccard", pa.float32()),  # estimated similarity to it, 1 for an exact duplicate, NaN = kept
    ]
)


def claim_shard(shard: int, rows: np.ndarray, keys: DocumentKeys, index: Index, cfg: DedupConfig) -> pa.Table:
    """Verdicts (schema CLAIM) of a shard's documents `rows` int32[k], ascending; kept ones enter the index.

    All earlier shards must have been claimed. A large shard may be claimed in several calls, in row order, unless
    `level` or `prefer` look at all of it. Raises UserError when the index is full and PartitionLost when a part of
    it is gone; call again after the remedy.
    """
    if len(rows) != len(keys) or (np.diff(rows) <= 0).any():
        raise ValueError(f"shard {shard}: claim needs one key set for each of its ascending rows")
    if not len(rows):
        return CLAIM.empty_table()
    units, member = _units(keys)
    own, keys = index.codes(_ordinals(shard, rows[units])), keys.select(units)
    long = ~keys.short

    # Owners from before this batch. What is there of this batch or later is left of an earlier attempt.
    forms = keys.exact.shape[1]
    exact_owner, found = index.lookup(keys.exact.reshape(-1, 2), keys.bands[long].reshape(-1))
    exact_owner = exact_owner.reshape(-1, forms)
    band_owner = np.full(keys.bands.shape, -1, np.int64)
    band_owner[long] = found.reshape(-1, keys.bands.shape[1])
    exact_owner[exact_owner >= own.min()] = -1
    band_owner[band_owner >= own.min()] = -1

    # From here on a document is an index into `codes`: owners in the index, ascending, then this batch as claimed.
    signed = np.union1d(band_owner[band_owner >= 0], exact_owner[(exact_owner >= 0) & long[:, None]])
    before = np.union1d(signed, exact_owner[exact_owner >= 0])
    codes = np.concatenate([before, own])
    signatures = np.zeros((len(codes), keys.signature.shape[1]), np.uint8)
    signatures[np.searchsorted(before, signed)] = index.signatures(signed, signatures.shape[1])
    signatures[len(before) :] = keys.signature
    exact_first = np.where(exact_owner < 0, -1, np.searchsorted(before, exact_owner))
    band_first = np.where(band_owner < 0, -1, np.searchsorted(before, band_owner))

    chosen, reason = _decide(
        frozen(keys.exact, np.uint64),
        frozen(keys.bands, np.uint64),
        frozen(keys.short, np.bool_),
        exact_first,
        band_first,
        signatures,
        len(before),
        cfg.link == "chain",
        _least_agreement(cfg),
    )
    kept = chosen < 0
    _insert(index, keys, own, kept, np.where(kept, own, codes[chosen]), band_first < 0, cfg)

    jaccard = estimate_jaccard(signatures[chosen], keys.signature)
    jaccard[reason != NEAR] = 1  # their shingles are the same, if they have any
    jaccard[kept] = np.nan
    dup_of, corpus = index.places(codes[chosen])
    return pa.table(
        [
            pa.array(rows, pa.int32()),
            pa.DictionaryArray.from_arrays(pa.array(reason[member], mask=kept[member]), pa.array(REASONS)),
            pa.array(np.where(kept, -1, dup_of)[member]),
            pa.array(np.where(kept, 0, corpus)[member], pa.int8()),
            pa.array(jaccard[member]),
        ],
        schema=CLAIM,
    )


def rebuild(
    index: Index,
    shards: Iterable[tuple[int, np.ndarray, DocumentKeys]],
    cfg: DedupConfig,
    *,
    only: Collection[int] | None = None,
) -> None:
    """Fill an empty index, or the empty partitions `only`, with (shard, rows, keys) of what was claimed.

    `link: direct` needs the kept documents, in any order. `link: chain` needs all documents that were
    claimed, in the order of the claim, as dropped ones own keys there too. The checksums then equal those of
    the lost partitions.
    """
    for shard, rows, keys in shards:
        if cfg.link == "chain":
            claim_shard(shard, rows, keys, index, cfg)
        elif len(rows):
            units, _ = _units(keys)
            own, kept = index.codes(_ordinals(shard, rows[units])), np.ones(len(units), np.bool_)
            keys = keys.select(units)
            free = np.ones(keys.bands.shape, np.bool_)
            if (
                cfg.prefer and cfg.verify
            ):  # else kept documents share no key, or the lowest ordinal is the first
                free[~keys.short] = _first_uses(keys.bands[~keys.short])
            if index.below and cfg.verify:  # else nothing that is kept shares a key with them
                free &= ~index.owned_below(keys.bands)
            _insert(index, keys, own, kept, own, free, cfg, only)


def _units(keys: DocumentKeys) -> tuple[np.ndarray, np.ndarray]:
    """Units in the order of the claim, each by its first document int64[u], and each document's unit int64[n]."""
    ranked, grouped = (np.diff(keys.rank) < 0).any(), (np.diff(keys.unit) <= 0).any()
    every = np.arange(len(keys))
    if not ranked and not grouped:
        return every, every
    _, leader, member = np.unique(keys.unit, return_index=True, return_inverse=True)
    rank = np.full(len(leader), np.iinfo(np.int32).max, np.int32)
    np.minimum.at(rank, member, keys.rank)
    order = np.argsort(rank, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return leader[order], place[member]


def _first_uses(bands: np.ndarray) -> np.ndarray:
    """bool[n, bands]: where a band key is met for the first time."""
    first = np.zeros(bands.size, np.bool_)
    first[np.unique(bands, return_index=True)[1]] = True
    return first.reshape(bands.shape)


def _ordinals(shard: int, rows: np.ndarray) -> np.ndarray:
    return np.asarray(ordinal(shard, rows.astype(np.int64)))


def _insert(
    index: Index,
    keys: DocumentKeys,
    own: np.ndarray,
    kept: np.ndarray,
    owner: np.ndarray,
    free: np.ndarray,
    cfg: DedupConfig,
    only: Collection[int] | None = None,
) -> None:
    """Kept documents own their keys. With `chain` a dropped one's free band keys go to its root.

    Its exact keys do not: an exact duplicate is byte for byte its `dup_of`, and its copies share its bands.
    """
    signed = kept & ~keys.short
    owning = ~keys.short if cfg.link == "chain" else signed
    which = free & owning[:, None]
    index.insert(
        keys.exact[kept].reshape(-1, 2),
        np.repeat(own[kept], keys.exact.shape[1]),
        keys.bands[which],
        np.broadcast_to(owner[:, None], which.shape)[which],
        own[signed],
        keys.signature[signed],
        only,
    )


def _least_agreement(cfg: DedupConfig) -> int:
    """Signature bytes that agree at the similarity to verify: `estimate_jaccard` the other way round."""
    return int(np.ceil((cfg.similarity * 255 + 1) / 256 * cfg.bins)) if cfg.verify else 0


@nb.njit(nogil=True, cache=True)
def _decide(exact, bands, short, exact_first, band_first, signatures, before, chain, least):
    """Decide each document in the order given: (chosen int64[n], reason int8[n]).

    `exact_first`, `band_first`: the document that owns the key in the index, or -1; owners among the batch
    itself are filled in. Document i of the batch has number `before + i`. chosen: the lowest owner, -1 = kept.
    """
    count, width = bands.shape
    forms = exact.shape[1]
    exact_slots = np.zeros((2 * count * forms + 1, 3), np.uint64)
    band_slots = np.zeros((2 * count * width + 1, 2), np.uint64)
    chosen = np.full(count, -1, np.int64)
    reason = np.full(count, NEAR, np.int8)
    for i in range(count):
        lowest = np.int64(-1)
        for form in range(forms):
            other = exact_first[i, form]
            if other < 0:
                at = find_slot(exact_slots, exact[i, form, 0], exact[i, form, 1])
                other = np.int64(exact_slots[at, 1]) - 1
            # Equal bytes are equal in the normal form too, so the second form names the lower owner, or the same.
            if other >= 0 and (lowest < 0 or other < lowest):
                lowest = other
                reason[i] = EXACT if form == 0 else NORMALISED
        if not short[i]:
            for j in range(width):
                other = band_first[i, j]
                if other < 0:
                    other = np.int64(band_slots[find_slot(band_slots, bands[i, j], bands[i, j]), 1]) - 1
                    band_first[i, j] = other
                if other >= 0 and (lowest < 0 or other < lowest):
                    agree = 0
                    if least:
                        for b in range(signatures.shape[1]):
                            agree += signatures[other, b] == signatures[before + i, b]
                    if agree >= least:
                        lowest = other
                        reason[i] = NEAR
        chosen[i] = lowest
        if lowest < 0:
            for form in range(forms):
                at = find_slot(exact_slots, exact[i, form, 0], exact[i, form, 1])
                exact_slots[at, 0] = exact[i, form, 0]
                exact_slots[at, 1] = before + i + 1
                exact_slots[at, 2] = exact[i, form, 1]
        if not short[i] and (lowest < 0 or chain):
            for j in range(width):
                if band_first[i, j] < 0:
                    at = find_slot(band_slots, bands[i, j], bands[i, j])
                    band_slots[at, 0] = bands[i, j]
                    band_slots[at, 1] = (before + i if lowest < 0 else lowest) + 1
    return chosen, reason
