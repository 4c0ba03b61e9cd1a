"""Which of many known solutions a document has, by the grams of code tokens that lie close together in it."""

from __future__ import annotations

from typing import NamedTuple

import numba as nb
import numpy as np

from pipelines.kernels.code_grams import (
    CARRY,
    carry,
    exact_grams,
    next_tokens,
    reset,
    shape_grams,
    token_buffers,
)
from pipelines.kernels.code_tokens import STATE_SIZE

_ONE = np.uint64(1)
_ZERO = np.uint64(0)


class GramTable(NamedTuple):
    """The grams of one kind that are searched, and whose they are. Made by `gram_table`."""

    tokens: int  # of each gram; 0: nothing is searched
    filter: np.ndarray  # uint64[...], a blocked Bloom filter: most grams of a document stop here
    filter_shift: np.uint64
    slots: np.ndarray  # uint64[...], open addressing, 0 is empty
    slot_grams: np.ndarray  # int32[...]
    slot_shift: np.uint64
    starts: np.ndarray  # int64[grams + 1], where in `owners` a gram's owners are
    owners: np.ndarray  # int32[...], solutions
    weights: np.ndarray  # float32[grams]
    totals: np.ndarray  # float32[solutions], weight of all grams of a solution
    needed: np.ndarray  # float32[solutions], weight at which it counts as found
    spans: np.ndarray  # int64[solutions], tokens within which they must lie


class Found(NamedTuple):
    """The best solution of each document, arrays of length n; `solution` -1 where there is none."""

    solution: np.ndarray  # int32
    share: np.ndarray  # float32, of the solution's weight
    begin: np.ndarray  # int64, the bytes [begin, end) in which its grams lie, as positions in the buffer
    end: np.ndarray  # int64


class _Counters(NamedTuple):
    """What is counted while searching.

    Two windows are open per solution, each of two spans and half of it apart from the other: every stretch of one
    span lies whole in one of them.
    """

    counted: np.ndarray  # int64[owners, 2], the last window in which this gram was counted for this owner
    window: np.ndarray  # int64[solutions, 2], the open window
    weight: np.ndarray  # float32[solutions, 2], what was counted in it
    begin: np.ndarray  # int64[solutions, 2], where its first gram begins


def gram_table(
    tokens: int,
    grams: np.ndarray,
    starts: np.ndarray,
    owners: np.ndarray,
    weights: np.ndarray,
    totals: np.ndarray,
    needed: np.ndarray,
    spans: np.ndarray,
) -> GramTable:
    """A table of the distinct `grams` uint64[n]; the other arguments are as in GramTable.

    Arrays are copied: read-only ones, as Arrow gives them, would be another type, and be compiled for again.
    """
    filter_bits = max(12, (16 * len(grams)).bit_length())
    slot_bits = max(4, (2 * len(grams)).bit_length())
    filters = np.zeros(1 << (filter_bits - 6), np.uint64)
    slots, slot_grams = np.zeros(1 << slot_bits, np.uint64), np.zeros(1 << slot_bits, np.int32)
    filter_shift, slot_shift = np.uint64(64 + 6 - filter_bits), np.uint64(64 - slot_bits)
    _fill(np.array(grams, np.uint64), filters, filter_shift, slots, slot_grams, slot_shift)
    return GramTable(
        tokens=tokens if len(grams) else 0,
        filter=filters,
        filter_shift=filter_shift,
        slots=slots,
        slot_grams=slot_grams,
        slot_shift=slot_shift,
        starts=np.array(starts, np.int64),
        owners=np.array(owners, np.int32),
        weights=np.array(weights, np.float32),
        totals=np.array(totals, np.float32),
        needed=np.array(needed, np.float32),
        spans=np.array(spans, np.int64),
    )


def find_grams(
    offsets: np.ndarray, data: np.ndarray, modes: np.ndarray, exact: GramTable, shape: GramTable
) -> tuple[Found, Found]:
    """The best solution by exact grams and the best by shape grams, for every document of a TextBuffers.

    `modes` int64[n] as `code_tokens.mode_of` gives them. Memory does not depend on the documents' lengths.
    """
    n = len(offsets) - 1
    by_exact, by_shape = (
        Found(np.full(n, -1, np.int32), np.zeros(n, np.float32), np.zeros(n, np.int64), np.zeros(n, np.int64))
        for _ in range(2)
    )
    if exact.tokens or shape.tokens:
        _find(offsets, data, modes, exact, shape, _counters(exact), _counters(shape), by_exact, by_shape)
    return by_exact, by_shape


def _counters(table: GramTable) -> _Counters:
    solutions = len(table.totals)
    return _Counters(
        np.zeros((len(table.owners), 2), np.int64),
        np.zeros((solutions, 2), np.int64),
        np.zeros((solutions, 2), np.float32),
        np.zeros((solutions, 2), np.int64),
    )


@nb.njit(cache=True, nogil=True, inline="always")
def _filter_mask(gram):
    """Two bits of the word that a gram's leading bits choose, so that one load tells that a gram is unknown."""
    low, high = (gram >> np.uint64(8)) & np.uint64(63), (gram >> np.uint64(14)) & np.uint64(63)
    return (_ONE << low) | (_ONE << high)


@nb.njit(cache=True, nogil=True)
def _fill(grams, filters, filter_shift, slots, slot_grams, slot_shift):
    for g in range(len(grams)):
        filters[np.int64(grams[g] >> filter_shift)] |= _filter_mask(grams[g])
        slot = np.int64(grams[g] >> slot_shift)
        while slots[slot] != _ZERO:
            slot = (slot + 1) & (len(slots) - 1)
        slots[slot] = grams[g]
        slot_grams[slot] = g


@nb.njit(cache=True, nogil=True)
def _find(offsets, data, modes, by_text, by_structure, text_counters, structure_counters, by_exact, by_shape):
    raw, exact, shape, begins, again, grams = token_buffers()
    state = np.empty(STATE_SIZE, np.int64)
    for document in range(len(offsets) - 1):
        end = offsets[document + 1]
        reset(state, offsets[document])
        first = np.int64(CARRY)
        token = 0
        text_polynomial = structure_polynomial = _ZERO
        while True:
            count = next_tokens(
                data, end, state, modes[document], raw, exact[CARRY:], shape[CARRY:], begins[CARRY:]
            )
            if count == 0:
                break
            stop = CARRY + count
            begins[stop] = state[0]
            if by_text.tokens:
                text_polynomial = exact_grams(exact, first, stop, by_text.tokens, text_polynomial, grams)
                _look_up(grams, begins, stop, token, document, by_text, text_counters, by_exact)
            if by_structure.tokens:
                structure_polynomial = shape_grams(
                    exact, shape, first, stop, by_structure.tokens, structure_polynomial, again, grams
                )
                _look_up(grams, begins, stop, token, document, by_structure, structure_counters, by_shape)
            token += count
            first = carry(exact, shape, begins, again, first, stop)


@nb.njit(cache=True, nogil=True)
def _look_up(grams, begins, stop, token, document, table, counters, found):
    """Count the known ones of grams[CARRY:stop]; the first of them ends at token number `token`."""
    last = len(table.slots) - 1
    for t in range(CARRY, stop):
        gram = grams[t]
        mask = _filter_mask(gram)
        if table.filter[np.int64(gram >> table.filter_shift)] & mask != mask or gram == _ZERO:
            continue
        slot = np.int64(gram >> table.slot_shift)
        while table.slots[slot] != gram and table.slots[slot] != _ZERO:
            slot = (slot + 1) & last
        if table.slots[slot] != _ZERO:
            known = np.int64(table.slot_grams[slot])
            begin, end = begins[t - table.tokens + 1], begins[t + 1]
            _count(known, token + t - CARRY, begin, end, document, table, counters, found)


@nb.njit(cache=True, nogil=True)
def _count(gram, token, begin, end, document, table, counters, found):
    """Gram number `gram` lies in the bytes [begin, end) and ends at token number `token`."""
    for place in range(table.starts[gram], table.starts[gram + 1]):
        solution = table.owners[place]
        turn = token // table.spans[solution]
        for parity in range(2):
            window = ((document + 1) << 32) | ((turn + parity) >> 1)
            if counters.window[solution, parity] != window:
                counters.window[solution, parity] = window
                counters.weight[solution, parity] = 0
                counters.begin[solution, parity] = begin
            if counters.counted[place, parity] == window:
                continue
            counters.counted[place, parity] = window
            counters.weight[solution, parity] += table.weights[gram]
            weight = counters.weight[solution, parity]
            share = min(weight / table.totals[solution], np.float32(1))
            if weight >= table.needed[solution] and share > found.share[document]:
                found.solution[document] = solution
                found.share[document] = share
                found.begin[document] = counters.begin[solution, parity]
                found.end[document] = end
