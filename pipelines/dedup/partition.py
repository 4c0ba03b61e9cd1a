"""One part of the index: the owners of the keys that fall to it, and the signatures of kept documents."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numba as nb
import numpy as np

from pipelines.dedup.config import DedupConfig
from pipelines.dedup.memory import available_bytes
from pipelines.kernels.murmur import fmix64, fmix64_array, murmur128
from pipelines.kernels.owner_table import OwnerTable, TableFull, final_slots
from snowcoder.base import UserError

_SPARE = 0.1  # of the free memory stays free when a partition grows

log = logging.getLogger(__name__)


class Partition:
    """Plain object; `pipelines.dedup.index` makes a Ray actor of it. Every method takes a batch.

    Exact keys have all their 128 bits here. Band keys have 64, unverified as everywhere: among 10**9 documents of 16
    bands a few pairs meet by chance.
    """

    def __init__(
        self, number: int, cfg: DedupConfig, *, available: Callable[[], int] = available_bytes
    ) -> None:
        self.number = number
        self._cfg = cfg
        self._available = available
        self._warned = False
        self._exact = OwnerTable(cfg.exact_per_partition, wide=True)
        self._bands = OwnerTable(cfg.bands_per_partition)
        self._places = OwnerTable(cfg.documents_per_partition)  # hashed ordinal -> row of `_signatures`
        # All it can ever hold: the system commits a page only when a signature is written to it.
        self._signatures = np.empty((self._places.capacity, cfg.bins), np.uint8)

    def lookup(self, exact: np.ndarray, bands: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Owners int64 of exact keys uint64[n, 2] and of band keys uint64[m]; -1 where nobody owns the key."""
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
        if self._cfg.grow:
            self._grow(len(exact_owners), len(bands), len(ordinals))
        try:
            self._exact.insert(exact, exact_owners)
            self._bands.insert(bands, band_owners)
            self._store(ordinals, signatures)
        except TableFull as full:
            raise UserError(
                f"near-duplicate index, partition {self.number}: {full}; "
                f"raise dedup.expected_documents (now {self._cfg.expected_documents}), the verdicts stay"
            ) from full

    def checksum(self) -> int:
        """64-bit hash of the contents, whatever the order they came in."""
        signatures = _checksum_signatures(*self._places.items(), self._signatures)
        return (self._exact.checksum() + 3 * self._bands.checksum() + 5 * int(signatures)) % 2**64

    def stats(self) -> dict[str, int]:
        """Counts for the run's metrics, and the bytes held; `percent` of what it was sized for, above 100 is late."""
        tables = self._exact.nbytes + self._bands.nbytes + self._places.nbytes
        return {
            "documents": len(self._exact) // self._cfg.exact_keys,
            "band_keys": len(self._bands),
            "signatures": len(self._places),
            "bytes": tables + len(self._places) * self._cfg.bins,
            "percent": max(100 * len(t) // t.expected for t in (self._exact, self._bands, self._places)),
        }

    def save(self, folder: str) -> int:
        """Write the tables to `folder`, which must be new or this partition's own; returns the checksum."""
        arrays = {
            "exact": self._exact.slots,
            "bands": self._bands.slots,
            "places": self._places.slots,
            "signatures": self._signatures[: len(self._places)],
        }
        for name, array in arrays.items():
            np.save(self._file(folder, name), array)
        return self.checksum()

    def load(self, folder: str) -> int:
        """Become what `save` wrote; returns the checksum. Pages are read as they are asked for, and shared."""
        mapped = {
            name: _mapped(self._file(folder, name)) for name in ("exact", "bands", "places", "signatures")
        }
        self._exact = OwnerTable.from_slots(mapped["exact"], self._exact.expected)
        self._bands = OwnerTable.from_slots(mapped["bands"], self._bands.expected)
        self._places = OwnerTable.from_slots(mapped["places"], self._places.expected)
        self._signatures = mapped["signatures"]
        return self.checksum()

    def _file(self, folder: str, name: str) -> Path:
        return Path(folder) / f"{self.number:04d}-{name}.npy"

    def _store(self, ordinals: np.ndarray, signatures: np.ndarray) -> None:
        hashed = hash_ordinals(ordinals)
        new = self._places.lookup(hashed) < 0
        stored = len(self._places)
        end = stored + int(new.sum())
        self._places.insert(hashed[new], np.arange(stored, end))
        if end > len(self._signatures):
            self._extend_signatures(stored)
        self._signatures[stored:end] = signatures[new]

    def _extend_signatures(self, stored: int) -> None:
        larger = np.empty((self._places.capacity, self._cfg.bins), np.uint8)
        larger[:stored] = self._signatures[:stored]
        self._signatures = larger

    def _grow(self, exact: int, bands: int, documents: int) -> None:
        """Expect twice the keys of a table that these would fill, if the node can hold them beside the old ones.

        Otherwise it says so now, 28 % of the declared keys before `insert` fails.
        """
        for table, more, row_bytes in (
            (self._exact, exact, 0),
            (self._bands, bands, 0),
            (self._places, documents, self._cfg.bins),
        ):
            while len(table) + more > table.expected:
                twice = 2 * table.expected
                needed = final_slots(twice) * table.slots.itemsize * table.slots.shape[1] + twice * row_bytes
                free = int(self._available() * (1 - _SPARE))
                if needed > free:
                    if not self._warned:
                        log.warning(
                            "near-duplicate index, partition %d: holds the %d keys it was sized for, and cannot "
                            "double in %.1f GiB: raise dedup.expected_documents (now %d) before it is full",
                            *(self.number, table.expected, free / (1 << 30), self._cfg.expected_documents),
                        )
                    self._warned = True
                    return
                log.info("near-duplicate index, partition %d: sized for %d keys now", self.number, twice)
                table.expect(twice)


def _mapped(path: Path) -> np.ndarray:
    # The system cannot map an array of no rows.
    return np.asarray(np.load(path, mmap_mode="c" if path.stat().st_size > 4096 else None))


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
