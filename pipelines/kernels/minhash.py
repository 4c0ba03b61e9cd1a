"""MinHash of code in one pass over the Arrow text buffer.

*Tokens* are maximal runs of `[A-Za-z0-9_]`, the split of BigCode's near-deduplication (`[^A-Za-z_0-9]`):
blanks and punctuation, and every byte outside ASCII, only separate. So a reformatted file is still a
duplicate, and a text with hardly any ASCII words is *short* rather than everybody's near duplicate. A
*shingle* is `shingle` tokens in a row.

*One-permutation hashing*: each shingle is hashed once. The top bits of the hash choose one of `bins` bins, 31 of the
others are its value, and a bin keeps the least: O(shingles + bins), where k permutations cost O(shingles * k). Bins
that are then empty are filled by further rounds over the shingles, each with another hash, until none is empty (fast
similarity sketching, Dahlgaard, Knudsen and Thorup, FOCS 2017; arXiv 1704.04370). A value of an earlier round is
always the lesser one, so a bin is a minimum over shingles like any MinHash: P(equal bins) is the Jaccard similarity
of the two sets, and the minimum of two sketches is the sketch of the union. Copying full bins into empty ones
(optimal densification) has neither the second property nor, for sets smaller than the sketch, as small an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import mmh3
import numba as nb
import numpy as np
import pyarrow as pa

from pipelines.kernels.murmur import fmix64, murmur128
from pipelines.kernels.text import text_buffers

EMPTY = np.uint32(0xFFFFFFFF)
_VALUE = np.uint64(0x7FFFFFFF)
_LATER = np.uint32(0x80000000)  # then 10 bits of the round, at most 2 * bins, and 21 of the value
_LOW21 = np.uint64(0x1FFFFF)
_S21 = np.uint32(21)
_FNV_OFFSET = np.uint64(0xCBF29CE484222325)  # FNV-1a reads the bytes of a token; fmix64 then spreads them
_FNV_PRIME = np.uint64(0x100000001B3)
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so the rolling polynomial below loses no bits

_IS_WORD = np.zeros(256, np.bool_)
_IS_WORD[list(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")] = True


class MinHashes(NamedTuple):
    bins: np.ndarray  # uint32[n, bins], all EMPTY where short
    short: np.ndarray  # bool[n]: fewer tokens than one shingle, so there is nothing to compare


def minhash(
    text: pa.Array | pa.ChunkedArray, *, bins: int = 128, shingle: int = 5, only: np.ndarray | None = None
) -> MinHashes:
    """MinHash of each document. `bins` is a power of two up to 256.

    A null text is as an empty one. `only` bool[n]: documents to read; the others are as empty. Raises ValueError on
    other `bins`.
    """
    if bins not in (64, 128, 256):
        raise ValueError(f"bins = {bins}: choose 64, 128 or 256")
    out = np.full((len(text), bins), EMPTY, np.uint32)
    wanted = np.ones(len(text), np.bool_) if only is None else only
    done = 0
    for chunk in text_buffers(text):
        end = done + len(chunk)
        _minhash(chunk.offsets, chunk.data, wanted[done:end], shingle, out[done:end])
        done = end
    return MinHashes(out, out[:, 0] == EMPTY)


def sketch_sets(offsets: np.ndarray, hashes: np.ndarray, *, bins: int, seed: int) -> np.ndarray:
    """uint32[n, bins]: MinHash of sets of shingle hashes uint64, set i at offsets[i]:offsets[i + 1], for draw `seed`.

    Each seed is another hash function, so that many draws of the same sets measure the curve that one draw follows.
    """
    out = np.full((len(offsets) - 1, bins), EMPTY, np.uint32)
    _sketch_sets(offsets, hashes, np.uint64(mmh3.hash64(str(seed), signed=False)[0]), out)
    return out


def shingle_hashes(text: pa.Array | pa.ChunkedArray, shingle: int = 5) -> Iterator[np.ndarray]:
    """The hash uint64[k] of every shingle of each document, in order, with repetitions."""
    for chunk in text_buffers(text):
        for i in range(len(chunk)):
            yield _shingle_hashes(chunk.data[chunk.offsets[i] : chunk.offsets[i + 1]], shingle)


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


@nb.njit(inline="always", nogil=True, cache=True)
def _last_weight(shingle):
    """What the token that leaves the window weighs in the rolling polynomial."""
    weight = np.uint64(1)
    for _ in range(shingle):
        weight *= _BASE
    return weight


@nb.njit(inline="always", nogil=True, cache=True)
def _read_shingles(data, start, end, shingle, oldest, window, out):
    """Write the hash of every shingle of `data[start:end]` to `out`; their number."""
    window[:] = 0
    tokens = 0
    count = 0
    place = 0
    rolling = np.uint64(0)  # polynomial of the last `shingle` token hashes
    token = _FNV_OFFSET
    for at in range(start, end + 1):
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
                out[count] = fmix64(rolling)
                count += 1
            token = _FNV_OFFSET
    return count


@nb.njit(nogil=True, cache=True)
def _shingle_hashes(data, shingle):
    out = np.empty(len(data) // 2 + 1, np.uint64)
    window = np.zeros(shingle, np.uint64)
    count = _read_shingles(data, 0, len(data), shingle, _last_weight(shingle), window, out)
    return out[:count].copy()


@nb.njit(nogil=True, cache=True)
def _minhash(offsets, data, wanted, shingle, out):
    bins = out.shape[1]
    bits = 0
    while (1 << bits) < bins:
        bits += 1
    to_bin = np.uint64(64 - bits)
    oldest = _last_weight(shingle)
    window = np.zeros(shingle, np.uint64)
    longest = 0
    for i in range(len(out)):
        longest = max(longest, offsets[i + 1] - offsets[i])
    hashes = np.empty(longest // 2 + 1, np.uint64)
    for i in range(len(out)):
        if wanted[i]:
            count = _read_shingles(data, offsets[i], offsets[i + 1], shingle, oldest, window, hashes)
            _sketch(out[i], hashes[:count], to_bin)


@nb.njit(nogil=True, cache=True)
def _sketch_sets(offsets, hashes, salt, out):
    bits = 0
    while (1 << bits) < out.shape[1]:
        bits += 1
    for i in range(len(out)):
        drawn = hashes[offsets[i] : offsets[i + 1]].copy()
        for k in range(len(drawn)):
            drawn[k] = fmix64(drawn[k] ^ salt)
        _sketch(out[i], drawn, np.uint64(64 - bits))


@nb.njit(inline="always", nogil=True, cache=True)
def _sketch(mins, hashes, to_bin):
    empty = len(mins)
    for k in range(len(hashes)):
        b = hashes[k] >> to_bin
        value = np.uint32(hashes[k] & _VALUE)
        empty -= mins[b] == EMPTY
        mins[b] = min(mins[b], value)
    if empty and len(hashes):
        _fill(mins, hashes, to_bin, empty)


@nb.njit(nogil=True, cache=True)
def _fill(mins, hashes, to_bin, empty):
    """Rounds over the shingles until no bin is empty: of a bin at random, and if that fails, of each bin in turn."""
    bins = len(mins)
    round_ = 0
    while empty:
        round_ += 1
        rank = _LATER | (np.uint32(round_) << _S21)
        salt = np.uint64(round_) * _BASE
        for k in range(len(hashes)):
            hashed = fmix64(hashes[k] ^ salt)
            b = hashed >> to_bin if round_ <= bins else np.uint64(round_ - bins - 1)
            if mins[b] > rank:  # of this round, or empty
                empty -= mins[b] == EMPTY
                mins[b] = min(mins[b], rank | np.uint32(hashed & _LOW21))


@nb.njit(nogil=True, cache=True)
def _band_keys(bins, width, keys):
    for i in range(keys.shape[0]):
        for band in range(keys.shape[1]):
            keys[i, band] = murmur128(bins[i], band * width, (band + 1) * width, np.uint32(band))[0]
