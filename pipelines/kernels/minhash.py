"""MinHash of code in one pass over the Arrow text buffer.

*Tokens* are maximal runs of `[A-Za-z0-9_]`, the split of BigCode's near-deduplication (`[^A-Za-z_0-9]`):
blanks and punctuation, and every byte outside ASCII, only separate. So a reformatted file is still a
duplicate, and a text with hardly any ASCII words is *short* rather than everybody's near duplicate. A
*shingle* is `shingle` tokens in a row.

*One-permutation hashing*: each shingle is hashed once. The top bits of the hash choose one of `bins` bins,
the low 32 bits are its value, and a bin keeps the least: O(shingles + bins), where k permutations cost
O(shingles * k). An empty bin copies the first filled bin of its own fixed random order (optimal
densification, Shrivastava, ICML 2017). Donors are originally filled bins only, or the copies would favour the
neighbours of empty bins. P(equal bins) is then the Jaccard similarity of the two sets of shingles, as for
plain MinHash.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numba as nb
import numpy as np
import pyarrow as pa

from pipelines.kernels.murmur import fmix64, fmix64_array, murmur128
from pipelines.kernels.text import text_buffers

EMPTY = np.uint32(0xFFFFFFFF)
_LOW32 = np.uint64(0xFFFFFFFF)
_FNV_OFFSET = np.uint64(0xCBF29CE484222325)  # FNV-1a reads the bytes of a token; fmix64 then spreads them
_FNV_PRIME = np.uint64(0x100000001B3)
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so the rolling polynomial below loses no bits

_IS_WORD = np.zeros(256, np.bool_)
_IS_WORD[list(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")] = True


class MinHashes(NamedTuple):
    bins: np.ndarray  # uint32[n, bins], all EMPTY where short
    short: np.ndarray  # bool[n]: fewer tokens than one shingle, so there is nothing to compare


def minhash(text: pa.Array | pa.ChunkedArray, *, bins: int = 128, shingle: int = 5) -> MinHashes:
    """Densified one-permutation MinHash of each document. `bins` is a power of two up to 256.

    A null text is as an empty one. Raises ValueError on other `bins`.
    """
    if bins not in (64, 128, 256):
        raise ValueError(f"bins = {bins}: choose 64, 128 or 256")
    out = np.full((len(text), bins), EMPTY, np.uint32)
    short = np.empty(len(text), np.bool_)
    donors = _donors(bins)
    done = 0
    for chunk in text_buffers(text):
        end = done + len(chunk)
        _minhash(chunk.offsets, chunk.data, shingle, donors, out[done:end], short[done:end])
        done = end
    return MinHashes(out, short)


def band_keys(bins: np.ndarray, *, bands: int, rows: int) -> np.ndarray:
    """uint64[n, bands]: first half of MurmurHash3_x64_128 over a band's `rows` bins, seeded with its number.

    Two documents share a band with probability J ** rows, and at least one with 1 - (1 - J ** rows) ** bands.
    The seed keeps equal bins in different bands apart. Raises ValueError where the bands need more bins than
    there are.
    """
    if bands * rows > bins.shape[1]:
        raise ValueError(
            f"{bands} bands of {rows} rows need {bands * rows} bins, and there are {bins.shape[1]}"
        )
    keys = np.empty((len(bins), bands), np.uint64)
    _band_keys(np.ascontiguousarray(bins, "<u4").view(np.uint8), rows * bins.itemsize, keys)
    return keys


def signatures(bins: np.ndarray) -> np.ndarray:
    """uint8[n, bins]: the low byte of each bin (b-bit MinHash, Li & König, WWW 2010)."""
    return bins.astype(np.uint8)


def estimate_jaccard(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Jaccard similarity float32[n] of signatures uint8[n, bins], less the 1 in 256 that agrees by chance."""
    agree = np.mean(left == right, axis=-1, dtype=np.float32)
    return np.maximum((agree * 256 - 1) / 255, 0, dtype=np.float32)


@cache
def _donors(bins: int) -> np.ndarray:
    """uint8[bins, bins]: row i is the order in which bin i, if empty, tries the others."""
    ranks = fmix64_array(np.arange(bins * bins, dtype=np.uint64)).reshape(bins, bins)
    orders = np.argsort(ranks, axis=1, kind="stable").astype(np.uint8)
    orders.flags.writeable = False
    return orders


@nb.njit(nogil=True, cache=True)
def _minhash(offsets, data, shingle, donors, out, short):
    bins = out.shape[1]
    bits = 0
    while (1 << bits) < bins:
        bits += 1
    to_bin = np.uint64(64 - bits)
    oldest = np.uint64(1)
    for _ in range(shingle):
        oldest *= _BASE
    window = np.zeros(shingle, np.uint64)
    filled = np.empty(bins, np.bool_)

    for i in range(len(out)):
        mins = out[i]
        window[:] = 0
        tokens = 0
        place = 0
        rolling = np.uint64(0)  # polynomial of the last `shingle` token hashes
        token = _FNV_OFFSET
        end = offsets[i + 1]
        for at in range(offsets[i], end + 1):
            byte = data[at] if at < end else np.uint8(0)
            if _IS_WORD[byte]:
                token = (token ^ np.uint64(byte)) * _FNV_PRIME
            elif token != _FNV_OFFSET:  # at the end of a token
                token = fmix64(token)
                rolling = rolling * _BASE + token - oldest * window[place]
                window[place] = token
                place += 1
                if place == shingle:
                    place = 0
                tokens += 1
                if tokens >= shingle:
                    hashed = fmix64(rolling)
                    value = np.uint32(hashed & _LOW32)
                    b = hashed >> to_bin
                    if value < mins[b]:
                        mins[b] = value
                token = _FNV_OFFSET
        short[i] = not _densify(mins, donors, filled)


@nb.njit(nogil=True, cache=True)
def _densify(mins, donors, filled):
    """Fill the empty bins; False when there is no bin to copy from."""
    some = False
    for b in range(len(mins)):
        filled[b] = mins[b] != EMPTY
        some |= filled[b]
    if not some:
        return False
    for b in range(len(mins)):
        if not filled[b]:
            t = 0
            while not filled[donors[b, t]]:
                t += 1
            mins[b] = mins[donors[b, t]]
    return True


@nb.njit(nogil=True, cache=True)
def _band_keys(bins, width, keys):
    for i in range(keys.shape[0]):
        for band in range(keys.shape[1]):
            keys[i, band] = murmur128(bins[i], band * width, (band + 1) * width, np.uint32(band))[0]
