"""Fingerprints of n consecutive code tokens.

Two kinds. An *exact* gram is of the tokens' text. A *shape* gram is of their structure: a name counts as how many
tokens ago it occurred last within the gram, or as new (Baker's parameterised matching, STOC 1993), so that it is
the same for `a[i] = a[j]` and `xs[p] = xs[q]`, and another for `a[i] = b[j]`. Both are polynomials modulo 2^64
that roll: when its window moves, a shape gram changes at its ends and in at most one place between.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from pipelines.kernels.code_tokens import STATE_SIZE, next_tokens, reset
from pipelines.kernels.murmur import fmix64_array

CODE_GRAMS_VERSION = 1
LONGEST = 63  # tokens of the longest gram

CARRY = LONGEST + 1  # tokens kept in front of each chunk of a document: the last of the chunk before
_CHUNK = 1024
_BASE = 0x9E3779B97F4A7C15
_POWERS = np.array([pow(_BASE, power, 1 << 64) for power in range(CARRY)], np.uint64)
_NAMES = fmix64_array(np.arange(0x5EED, 0x5EED + CARRY, dtype=np.uint64))  # by distance, 0 for new
_MULTIPLIER = np.uint64(_BASE)
_ONE = np.uint64(1)
_ZERO = np.uint64(0)


def all_grams(
    offsets: np.ndarray, data: np.ndarray, modes: np.ndarray, tokens: int, by_shape: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every gram of every document of a TextBuffers, `modes` int64[n] as `mode_of` gives them.

    Returns (gram uint64[m], document int32[m], tokens per document int64[n]).
    """
    counts = np.zeros(len(offsets) - 1, np.int64)
    space = int(offsets[-1] - offsets[0])  # a token has at least a byte
    grams, documents = np.empty(space, np.uint64), np.empty(space, np.int32)
    m = _collect(offsets, data, modes, tokens, by_shape, grams, documents, counts)
    return grams[:m].copy(), documents[:m].copy(), counts


@nb.njit(cache=True, nogil=True)
def token_buffers():
    """(raw, exact, shape, begins, again, grams): what one thread needs to read documents chunk by chunk."""
    raw = (
        np.empty(_CHUNK, np.uint64),
        np.empty(_CHUNK, np.uint64),
        np.empty(_CHUNK, np.int64),
        np.empty(_CHUNK, np.int64),
    )
    size = CARRY + _CHUNK + 1
    exact, shape, grams = np.empty(size, np.uint64), np.empty(size, np.uint64), np.empty(size, np.uint64)
    return raw, exact, shape, np.empty(size + 1, np.int64), np.empty(size, np.int64), grams


@nb.njit(cache=True, nogil=True)
def carry(exact, shape, begins, again, first, stop):
    """Move the last tokens before the next chunk. Returns where the document, or what is kept of it, begins."""
    kept = min(stop - first, CARRY)
    for k in range(kept):
        exact[CARRY - kept + k] = exact[stop - kept + k]
        shape[CARRY - kept + k] = shape[stop - kept + k]
        begins[CARRY - kept + k] = begins[stop - kept + k]
        again[CARRY - kept + k] = again[stop - kept + k]
    return CARRY - kept


@nb.njit(cache=True, nogil=True)
def exact_grams(exact, first, stop, tokens, polynomial, out):
    """out[t] = gram of the `tokens` tokens up to t, 0 while there are fewer since `first`, for t in [CARRY, stop).

    `polynomial` is what the call for the chunk before returned, at first 0.
    """
    top = _POWERS[tokens - 1]
    for t in range(CARRY, stop):
        if t - first >= tokens:
            polynomial -= exact[t - tokens] * top
        polynomial = polynomial * _MULTIPLIER + exact[t]
        out[t] = polynomial | _ONE if t - first >= tokens - 1 else _ZERO
    return polynomial


@nb.njit(cache=True, nogil=True)
def shape_grams(exact, shape, first, stop, tokens, polynomial, again, out):
    """As `exact_grams`. again[t]: after how many tokens the name at t occurs again within a gram, or 0."""
    top = _POWERS[tokens - 1]
    new = _NAMES[0]
    for t in range(CARRY, stop):
        value = shape[t]
        again[t] = 0
        if value == _ZERO:
            value = new
            name = exact[t]
            for p in range(t - 1, max(first, t - tokens + 1) - 1, -1):
                if exact[p] == name and shape[p] == _ZERO:
                    value = _NAMES[t - p]
                    again[p] = t - p
                    break
        if t - first >= tokens:
            leaving = t - tokens
            polynomial -= (shape[leaving] if shape[leaving] != _ZERO else new) * top
            if again[leaving] != 0:  # its next occurrence is now the first of the window
                polynomial += (new - _NAMES[again[leaving]]) * _POWERS[tokens - 1 - again[leaving]]
        polynomial = polynomial * _MULTIPLIER + value
        out[t] = polynomial | _ONE if t - first >= tokens - 1 else _ZERO
    return polynomial


@nb.njit(cache=True, nogil=True)
def _collect(offsets, data, modes, tokens, by_shape, out, documents, counts):
    raw, exact, shape, begins, again, grams = token_buffers()
    state = np.empty(STATE_SIZE, np.int64)
    m = 0
    for document in range(len(offsets) - 1):
        end = offsets[document + 1]
        reset(state, offsets[document])
        first = np.int64(CARRY)
        polynomial = _ZERO
        while True:
            count = next_tokens(
                data, end, state, modes[document], raw, exact[CARRY:], shape[CARRY:], begins[CARRY:]
            )
            if count == 0:
                break
            stop = CARRY + count
            if by_shape:
                polynomial = shape_grams(exact, shape, first, stop, tokens, polynomial, again, grams)
            else:
                polynomial = exact_grams(exact, first, stop, tokens, polynomial, grams)
            for t in range(CARRY, stop):
                if grams[t] != _ZERO:
                    out[m] = grams[t]
                    documents[m] = document
                    m += 1
            counts[document] += count
            first = carry(exact, shape, begins, again, first, stop)
    return m
