"""Where one of thousands of long strings may begin: eight bytes at a step, exact on the strings' first bytes.

A text is looked at in aligned words of 8 bytes. Wherever a string lies, one of its first eight positions is
aligned, and the 16 bytes from there are among the 8 x n that the table knows; the 23 bytes of the head are then
compared. On code this is several times faster than an automaton, which takes one step per byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numba as nb
import numpy as np

HEAD = 23  # bytes: 16 from each of 8 positions

_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_FIRST = np.uint64(0x9E3779B97F4A7C15)
_SECOND = np.uint64(0xC2B2AE3D27D4EB4F)


class HeadFilter(NamedTuple):
    """The heads that are searched. Made by `head_filter`."""

    heads: np.ndarray  # uint8[n, HEAD]
    filter: np.ndarray  # uint64[...], a blocked Bloom filter of the keys: most words stop here
    filter_shift: np.uint64
    slots: np.ndarray  # int32[...], open addressing: 1 + the key's first place in `keys`, 0 is empty
    slot_shift: np.uint64
    keys: np.ndarray  # uint64[8 n], of 16 bytes of a head, in ascending order
    owners: np.ndarray  # int32[8 n], 8 x the head + the offset of the 16 bytes


def head_filter(strings: Sequence[bytes]) -> HeadFilter:
    """A filter of the first HEAD bytes of `strings`. ValueError when one is shorter."""
    heads = sorted({string[:HEAD] for string in strings})
    if any(len(head) < HEAD for head in heads):
        raise ValueError(f"strings must have at least {HEAD} bytes")
    table = np.frombuffer(b"".join(heads), np.uint8).reshape(len(heads), HEAD)
    pieces = np.lib.stride_tricks.sliding_window_view(table, 16, axis=1).reshape(-1, 16)
    words = np.ascontiguousarray(pieces).view("<u8")
    keys = _keys(words[:, 0].copy(), words[:, 1].copy())
    order = np.argsort(keys, kind="stable")
    keys, owners = keys[order], order.astype(np.int32)
    filter_bits = max(12, (16 * len(keys)).bit_length())
    slot_bits = max(4, (2 * len(keys)).bit_length())
    found = HeadFilter(
        heads=table,
        filter=np.zeros(1 << (filter_bits - 6), np.uint64),
        filter_shift=np.uint64(64 + 6 - filter_bits),
        slots=np.zeros(1 << slot_bits, np.int32),
        slot_shift=np.uint64(64 - slot_bits),
        keys=keys,
        owners=owners,
    )
    _fill(found)
    return found


def find_heads(filter: HeadFilter, block: np.ndarray, length: int) -> np.ndarray:
    """Positions (int64, in no strict order) in `block[:length]` at which one of the heads lies whole.

    `block` is uint8 and starts at an address that is a multiple of 8.
    """
    out = np.empty(256, np.int64)
    words = block[: length & ~7].view(np.uint64)
    at = count = 0
    while True:
        at, count = _find(filter, words, block, length, at, out, count)
        if at >= len(words) - 1:
            return out[:count]
        out = np.concatenate([out, np.empty(len(out) + 8 * len(filter.heads), np.int64)])


@nb.njit(cache=True, nogil=True, inline="always")
def _key(first, second):
    return (first ^ (second * _SECOND)) * _FIRST ^ ((second ^ (first >> np.uint64(29))) * _SECOND)


@nb.njit(cache=True, nogil=True)
def _keys(first, second):
    out = np.empty(len(first), np.uint64)
    for i in range(len(first)):
        out[i] = _key(first[i], second[i])
    return out


@nb.njit(cache=True, nogil=True, inline="always")
def _mask(key):
    """Two bits of the word that a key's leading bits choose."""
    return (_ONE << (key & np.uint64(63))) | (_ONE << ((key >> np.uint64(6)) & np.uint64(63)))


@nb.njit(cache=True, nogil=True)
def _fill(table):
    last = len(table.slots) - 1
    for place in range(len(table.keys)):
        key = table.keys[place]
        if place and table.keys[place - 1] == key:
            continue
        table.filter[np.int64(key >> table.filter_shift)] |= _mask(key)
        slot = np.int64(key >> table.slot_shift)
        while table.slots[slot]:
            slot = (slot + 1) & last
        table.slots[slot] = place + 1


@nb.njit(cache=True, nogil=True)
def _find(table, words, block, length, at, out, count):
    """Go on at word `at`; returns (word to go on at, count), before the end when `out` is nearly full."""
    last = len(table.slots) - 1
    for j in range(at, len(words) - 1):
        key = _key(words[j], words[j + 1])
        mask = _mask(key)
        if table.filter[np.int64(key >> table.filter_shift)] & mask != mask:
            continue
        slot = np.int64(key >> table.slot_shift)
        while table.slots[slot] and table.keys[table.slots[slot] - 1] != key:
            slot = (slot + 1) & last
        place = np.int64(table.slots[slot]) - 1
        if place < 0:
            continue
        start = count
        while place < len(table.keys) and table.keys[place] == key:
            owner = np.int64(table.owners[place])
            begin = 8 * j - (owner & 7)
            if _lies(table.heads[owner >> 3], block, begin, length):
                if count == len(out):
                    return j, start
                out[count] = begin
                count += 1
            place += 1
    return len(words), count


@nb.njit(cache=True, nogil=True)
def _lies(head, block, begin, length):
    if begin < 0 or begin + len(head) > length:
        return False
    for k in range(len(head)):
        if block[begin + k] != head[k]:
            break
    else:
        return True
    return False
