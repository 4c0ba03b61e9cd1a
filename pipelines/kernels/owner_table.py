"""A packed hash table `key -> owner`: who came first with this key.

Open addressing with linear probing over one array of 16-byte slots, one numba call per batch. An owner, not
set membership, is what makes a retried claim harmless: a document that meets its own key sees its own
ordinal.
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np

from pipelines.kernels.murmur import fmix64

LOAD = (
    0.7  # share of slots in use at the expected number of keys: a miss then costs about 6 neighbouring slots
)
MAX_LOAD = 0.9  # refuse more; a miss would cost 50
SLOT_BYTES = 16
_SMALLEST = 1 << 16  # slots a table starts with, where more are expected
_LARGEST = 1 << 32  # a slot is addressed by 32 bits of its key
_GROWTH = 4

_0 = np.uint64(0)
_1 = np.uint64(1)
_S32 = np.uint64(32)


class TableFull(Exception):
    """More keys than the table was sized for."""


class OwnerTable:
    """Maps `uint64` keys to owners in [0, 2**63 - 1). Keys must be hashes: their top 32 bits choose the slot.

    Memory grows in steps of four towards the slots for `expected` keys, so that a small run stays small and
    the last rehash holds at most a quarter more than the final table. Room to spare: 1.28 times `expected`.
    Raises ValueError where one table cannot address `expected` keys.
    """

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self._final = final_slots(expected)
        if self._final > _LARGEST:
            raise ValueError(f"{expected} keys are too many for one table; use more partitions")
        slots = self._final
        while slots > _SMALLEST:
            slots = -(-slots // _GROWTH)
        self._slots = _new_slots(slots)
        self._used = 0

    def __len__(self) -> int:
        return self._used

    @property
    def nbytes(self) -> int:
        return self._slots.nbytes

    @property
    def capacity(self) -> int:
        """Keys it can hold at all."""
        return int(self._final * MAX_LOAD)

    def lookup(self, keys: np.ndarray) -> np.ndarray:
        """Owners int64[n] of `keys` uint64[n], -1 where a key has none."""
        owners = np.empty(len(keys), np.int64)
        _lookup(self._slots, frozen(keys, np.uint64), owners)
        return owners

    def insert(self, keys: np.ndarray, owners: np.ndarray) -> int:
        """Give each key to its owner; the lowest owner wins. Inserting a pair again changes nothing.

        Returns the number of new keys. Raises TableFull when the table would exceed 1.28 times `expected`:
        the pairs before that point are in, which a later insertion of the same batch does not mind.
        """
        keys, owners = frozen(keys, np.uint64), frozen(owners, np.int64)
        before, done = self._used, 0
        while True:
            room = int(len(self._slots) * (MAX_LOAD if len(self._slots) == self._final else LOAD))
            done, self._used = _insert(self._slots, keys, owners, done, self._used, room)
            if done == len(keys):
                return self._used - before
            self._grow()

    def items(self) -> tuple[np.ndarray, np.ndarray]:
        """All keys uint64[n] and their owners int64[n], in no useful order."""
        used = self._slots[self._slots[:, 1] != _0]
        return np.ascontiguousarray(used[:, 0]), used[:, 1].astype(np.int64) - 1

    def checksum(self) -> int:
        """64-bit hash of the set of (key, owner) pairs, whatever their order of arrival."""
        return int(_checksum(self._slots))

    def _grow(self) -> None:
        if len(self._slots) == self._final:
            raise TableFull(f"{self._used} keys in a table sized for {self.expected}")
        slots = _new_slots(min(self._final, len(self._slots) * _GROWTH))
        _rehash(self._slots, slots)
        self._slots = slots


def final_slots(expected: int) -> int:
    """Slots of a table that holds `expected` keys at its nominal load."""
    return max(64, math.ceil(expected / LOAD))


def peak_bytes(expected: int) -> int:
    """Bytes a table needs at most, its last rehash included."""
    return final_slots(expected) * SLOT_BYTES * (_GROWTH + 1) // _GROWTH


def _new_slots(count: int) -> np.ndarray:
    # A slot is (key, owner + 1). Empty is zero, so the system commits a page only when a key lands in it.
    return np.zeros((count, 2), np.uint64)


def frozen(values: np.ndarray, dtype: type) -> np.ndarray:
    """A contiguous read-only view, as arrays from Arrow and Ray are: one kind of array, one compilation."""
    view: np.ndarray = np.ascontiguousarray(values, dtype).view()
    view.flags.writeable = False
    return view


@nb.njit(inline="always", nogil=True, cache=True)
def find_slot(slots, key):
    """The slot that holds `key`, or the empty one where it would go. The table must have an empty slot."""
    count = np.uint64(len(slots))
    at = ((key >> _S32) * count) >> _S32  # scales to any table size without a division
    while slots[at, 1] != _0 and slots[at, 0] != key:
        at += _1
        if at == count:
            at = _0
    return at


@nb.njit(nogil=True, cache=True)
def _lookup(slots, keys, owners):
    for i in range(len(keys)):
        owners[i] = np.int64(slots[find_slot(slots, keys[i]), 1]) - 1


@nb.njit(nogil=True, cache=True)
def _insert(slots, keys, owners, start, used, room):
    """Insert from `start` until the end or until a new key finds no room: (how far it came, keys in use)."""
    for i in range(start, len(keys)):
        at = find_slot(slots, keys[i])
        owner = np.uint64(owners[i] + 1)
        if slots[at, 1] == _0:
            if used >= room:
                return i, used
            slots[at, 0] = keys[i]
            slots[at, 1] = owner
            used += 1
        elif owner < slots[at, 1]:
            slots[at, 1] = owner
    return len(keys), used


@nb.njit(nogil=True, cache=True)
def _rehash(old, new):
    for i in range(len(old)):
        if old[i, 1] != _0:
            at = find_slot(new, old[i, 0])
            new[at, 0] = old[i, 0]
            new[at, 1] = old[i, 1]


@nb.njit(nogil=True, cache=True)
def _checksum(slots):
    total = _0
    for i in range(len(slots)):
        if slots[i, 1] != _0:
            total += fmix64(slots[i, 0] ^ fmix64(slots[i, 1]))
    return total
