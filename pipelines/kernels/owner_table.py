"""A packed hash table `key -> owner`: who came first with this key.

Open addressing with linear probing over one array of slots, 16 bytes for a key of 64 bits and 24 for one of 128
(*wide*), one numba call per batch. An owner, not
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
WIDE_SLOT_BYTES = 24
_SMALLEST = 1 << 16  # slots a table starts with, where more are expected
_LARGEST = 1 << 32  # a slot is addressed by 32 bits of its key
_GROWTH = 4

_0 = np.uint64(0)
_1 = np.uint64(1)
_S32 = np.uint64(32)


class TableFull(Exception):
    """More keys than the table was sized for."""


class OwnerTable:
    """Maps keys to owners in [0, 2**63 - 1). Keys, uint64[n] or if `wide` uint64[n, 2], must be hashes: the top 32
    bits of the first number choose the slot.

    Memory grows in steps of four towards the slots for `expected` keys, so that a small run stays small and
    the last rehash holds at most a quarter more than the final table. Room to spare: 1.28 times `expected`.
    Raises ValueError where one table cannot address `expected` keys.
    """

    def __init__(self, expected: int, *, wide: bool = False) -> None:
        self.expected = expected
        self._columns = 3 if wide else 2
        slots = self._final = _addressable(expected)
        while slots > _SMALLEST:
            slots = -(-slots // _GROWTH)
        self._slots = _new_slots(slots, self._columns)
        self._used = 0

    @classmethod
    def from_slots(cls, slots: np.ndarray, expected: int) -> OwnerTable:
        """A table around the `slots` of another one, which it takes over."""
        table = cls(1, wide=slots.shape[1] == 3)
        table.expected, table._final = expected, max(_addressable(expected), len(slots))
        table._slots, table._used = slots, int(np.count_nonzero(slots[:, 1]))
        return table

    @property
    def slots(self) -> np.ndarray:
        """uint64[slots, 2 or 3]: (first number of the key, owner + 1, second number if wide), 0 owner = empty."""
        return self._slots

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
        """Owners int64[n] of `keys`, -1 where a key has none."""
        owners = np.empty(len(keys), np.int64)
        _lookup(self._slots, self._as_rows(keys), owners)
        return owners

    def insert(self, keys: np.ndarray, owners: np.ndarray) -> int:
        """Give each key to its owner; the lowest owner wins. Inserting a pair again changes nothing.

        Returns the number of new keys. Raises TableFull when the table would exceed 1.28 times `expected`:
        the pairs before that point are in, which a later insertion of the same batch does not mind.
        """
        keys, owners = self._as_rows(keys), frozen(owners, np.int64)
        before, done = self._used, 0
        while True:
            room = int(len(self._slots) * (MAX_LOAD if len(self._slots) == self._final else LOAD))
            done, self._used = _insert(self._slots, keys, owners, done, self._used, room)
            if done == len(keys):
                return self._used - before
            self._grow()

    def expect(self, keys: int) -> None:
        """Make room for more keys than declared. Nothing moves now: the table grows as they come."""
        self._final = max(self._final, _addressable(keys))
        self.expected = max(self.expected, keys)

    def items(self) -> tuple[np.ndarray, np.ndarray]:
        """All keys (their first numbers, uint64[n]) and their owners int64[n], in no useful order."""
        used = self._slots[self._slots[:, 1] != _0]
        return np.ascontiguousarray(used[:, 0]), used[:, 1].astype(np.int64) - 1

    def checksum(self) -> int:
        """64-bit hash of the set of (key, owner) pairs, whatever their order of arrival."""
        return int(_checksum(self._slots))

    def _grow(self) -> None:
        if len(self._slots) == self._final:
            raise TableFull(f"{self._used} keys in a table sized for {self.expected}")
        slots = _new_slots(min(self._final, len(self._slots) * _GROWTH), self._columns)
        _rehash(self._slots, slots)
        self._slots = slots

    def _as_rows(self, keys: np.ndarray) -> np.ndarray:
        return frozen(keys, np.uint64).reshape(-1, self._columns - 1)


def final_slots(expected: int) -> int:
    """Slots of a table that holds `expected` keys at its nominal load."""
    return max(64, math.ceil(expected / LOAD))


def _addressable(expected: int) -> int:
    slots = final_slots(expected)
    if slots > _LARGEST:
        raise ValueError(f"{expected} keys are too many for one table; use more partitions")
    return slots


def peak_bytes(expected: int, slot_bytes: int = SLOT_BYTES) -> int:
    """Bytes a table needs at most, its last rehash included."""
    return final_slots(expected) * slot_bytes * (_GROWTH + 1) // _GROWTH


def _new_slots(count: int, columns: int) -> np.ndarray:
    # Empty is zero, so the system commits a page only when a key lands in it.
    return np.zeros((count, columns), np.uint64)


def frozen(values: np.ndarray, dtype: type) -> np.ndarray:
    """A contiguous read-only view, as arrays from Arrow and Ray are: one kind of array, one compilation."""
    view: np.ndarray = np.ascontiguousarray(values, dtype).view()
    view.flags.writeable = False
    return view


@nb.njit(inline="always", nogil=True, cache=True)
def find_slot(slots, key, second):
    """The slot that holds `key`, or the empty one where it would go. The table must have an empty slot.

    `second`: the key's second number; a table of two columns does not look at it.
    """
    count = np.uint64(len(slots))
    wide = slots.shape[1] > 2
    at = ((key >> _S32) * count) >> _S32  # scales to any table size without a division
    while slots[at, 1] != _0 and (slots[at, 0] != key or (wide and slots[at, 2] != second)):
        at += _1
        if at == count:
            at = _0
    return at


@nb.njit(nogil=True, cache=True)
def _lookup(slots, keys, owners):
    for i in range(len(keys)):
        owners[i] = np.int64(slots[find_slot(slots, keys[i, 0], keys[i, -1]), 1]) - 1


@nb.njit(nogil=True, cache=True)
def _insert(slots, keys, owners, start, used, room):
    """Insert from `start` until the end or until a new key finds no room: (how far it came, keys in use)."""
    for i in range(start, len(keys)):
        at = find_slot(slots, keys[i, 0], keys[i, -1])
        owner = np.uint64(owners[i] + 1)
        if slots[at, 1] == _0:
            if used >= room:
                return i, used
            slots[at, 0] = keys[i, 0]
            slots[at, 1] = owner
            if slots.shape[1] > 2:
                slots[at, 2] = keys[i, 1]
            used += 1
        elif owner < slots[at, 1]:
            slots[at, 1] = owner
    return len(keys), used


@nb.njit(nogil=True, cache=True)
def _rehash(old, new):
    for i in range(len(old)):
        if old[i, 1] != _0:
            at = find_slot(new, old[i, 0], old[i, -1])
            for column in range(old.shape[1]):
                new[at, column] = old[i, column]


@nb.njit(nogil=True, cache=True)
def _checksum(slots):
    total = _0
    for i in range(len(slots)):
        if slots[i, 1] != _0:
            pair = slots[i, 0] ^ fmix64(slots[i, 1])
            if slots.shape[1] > 2:
                pair ^= fmix64(~slots[i, 2])
            total += fmix64(pair)
    return total
