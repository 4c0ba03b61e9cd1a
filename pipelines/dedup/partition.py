"""One part of the index: the owners of the keys that fall to it, and the signatures of kept documents."""

from __future__ import annotations

import numba as nb
import numpy as np

from pipelines.dedup.config import DedupConfig
from pipelines.kernels.murmur import fmix64, fmix64_array, murmur128
from pipelines.kernels.owner_table import OwnerTable, TableFull
from snowcoder.base import UserError


class Partition:
    """Plain object; `pipelines.dedup.index` makes a Ray actor of it. Every method takes a batch.

    An exact key is the first half of the 128 bits: among 10**9 documents one false match is to be expected in
    37 runs, while the 64-bit band keys, unverified as everywhere, give a few per run.
    """

    def __init__(self, number: int, cfg: DedupConfig) -> None:
        self.number = number
        self._cfg = cfg
        self._exact = OwnerTable(cfg.documents_per_partition)
        self._bands = OwnerTable(cfg.bands_per_partition)
        self._places = OwnerTable(cfg.documents_per_partition)  # hashed ordinal -> row of `_signatures`
        # All it can ever hold: the system commits a page only when a signature is written to it.
        self._signatures = np.empty((self._places.capacity, cfg.bins), np.uint8)

    def lookup(self, exact: np.ndarray, bands: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Owners int64 of exact keys uint64[n] and of band keys uint64[m]; -1 where nobody owns the key."""
        return self._exact.lookup(exact), self._bands.lookup(bands)

    def signatures(self, ordinals: np.ndarray) -> np.ndarray:
        """uint8[n, bins] of kept documents; KeyError for one this partition never stored."""
        places = self._places.lookup(hash_ordinals(ordinals))
        if (places < 0).any():
            raise KeyError(f"partition {self.number} has no signature of ordinal {ordinals[places < 0][0]}")
        return self._signatures[places]

    def insert(
        self,
        exact: np.ndarray,
        exact_owners: np.ndarray,
        bands: np.ndarray,
        band_owners: np.ndarray,
        ordinals: np.ndarray,
        signatures: np.ndarray,
    ) -> None:
        """Idempotent; the lowest owner of a key wins. Raises UserError when the index is full."""
        try:
            self._exact.insert(exact, exact_owners)
            self._bands.insert(bands, band_owners)
            self._store(ordinals, signatures)
        except TableFull as full:
            raise UserError(
                f"near-duplicate index, partition {self.number}: {full}; "
                f"raise dedup.expected_documents (now {self._cfg.expected_documents})"
            ) from full

    def checksum(self) -> int:
        """64-bit hash of the contents, whatever the order they came in."""
        signatures = _checksum_signatures(*self._places.items(), self._signatures)
        return (self._exact.checksum() + 3 * self._bands.checksum() + 5 * int(signatures)) % 2**64

    def stats(self) -> dict[str, int]:
        """Counts for the run's metrics, and the bytes held."""
        tables = self._exact.nbytes + self._bands.nbytes + self._places.nbytes
        return {
            "documents": len(self._exact),
            "band_keys": len(self._bands),
            "signatures": len(self._places),
            "bytes": tables + len(self._places) * self._cfg.bins,
        }

    def _store(self, ordinals: np.ndarray, signatures: np.ndarray) -> None:
        hashed = hash_ordinals(ordinals)
        new = self._places.lookup(hashed) < 0
        stored = len(self._places)
        end = stored + int(new.sum())
        self._places.insert(hashed[new], np.arange(stored, end))
        self._signatures[stored:end] = signatures[new]


def hash_ordinals(ordinals: np.ndarray) -> np.ndarray:
    """uint64 keys of ordinals; a bijection, so two documents never share one."""
    return fmix64_array(ordinals.astype(np.uint64))


@nb.njit(nogil=True, cache=True)
def _checksum_signatures(keys, places, signatures):
    total = np.uint64(0)
    for i in range(len(keys)):
        half, other = murmur128(signatures[places[i]], 0, signatures.shape[1], np.uint32(0))
        total += fmix64(keys[i] ^ half ^ other)
    return total
