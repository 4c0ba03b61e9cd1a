"""Fill in the middle: a text cut in three, its middle moved to the end behind sentinels (arXiv 2207.14255).

    PSM  <prefix> P <suffix> S <middle> M
    SPM  <prefix> <suffix> S <middle> P M      (the variant of arXiv 2207.14255, section 3, that StarCoder trains on)

Cuts are between tokens. StarCoder2 cuts between characters and tokenises the three parts, so that the model also
sees words cut in two, as where a cursor stands in an editor. Then the number of tokens, and with it a shard's number
of rows, depends on where the cut is; ours must be the same in every epoch, since a position in the order is found
by counting. With cuts between tokens every rearranged text is three tokens longer, wherever it is cut: which texts
are rearranged is drawn once, where they are cut anew in each epoch.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from pipelines import kernels  # noqa: F401 - sets where numba keeps compiled kernels

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def draws(seed: list[int], ids: np.ndarray) -> np.ndarray:
    """float64 [n, 3] in [0, 1): three numbers for each id, functions of it and the seed alone (SplitMix64)."""
    state: Any = np.uint64(0)
    with np.errstate(over="ignore"):
        for part in seed:
            state = _mix(np.uint64(part) + _GOLDEN * (state + np.uint64(1)))
        streams = [_mix(_mix(ids.astype(np.uint64) ^ state) + _GOLDEN * np.uint64(k)) for k in (1, 2, 3)]
    return (np.stack(streams, axis=1) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(value: Any) -> Any:
    """Finaliser of SplitMix64 (Steele, Lea, Flood 2014)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def fill_in_the_middle(
    tokens: np.ndarray,
    offsets: np.ndarray,
    ids: np.ndarray,
    *,
    rate: float,
    spm_rate: float,
    seed: list[int],
    epoch: int,
    sentinels: tuple[int, ...],
    longest: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Texts (int32 tokens of all, int64 [n + 1] offsets) with a share `rate` of them rearranged; the same shape.

    Args:
        ids: int64 [n], who each text is; the draws depend on it, not on its place.
        sentinels: tokens of prefix, middle and suffix.
        longest: texts that would be longer than this afterwards stay as they are: a middle in another row than
            its prefix teaches nothing.
    """
    lengths = np.diff(offsets)
    chosen = (draws([*seed, 0], ids)[:, 0] < rate) & (lengths >= 2) & (lengths + 3 <= longest)
    where = draws([*seed, 1, epoch], ids)
    cuts = np.sort((where[:, :2] * (lengths + 1)[:, None]).astype(np.int64), axis=1)
    suffix_first = where[:, 2] < spm_rate
    out_offsets = np.concatenate([[0], np.cumsum(lengths + 3 * chosen)])
    out = np.empty(out_offsets[-1], np.int32)
    _rearrange(
        tokens, offsets, chosen, cuts[:, 0], cuts[:, 1], suffix_first, np.array(sentinels), out, out_offsets
    )
    return out, out_offsets


@nb.njit(cache=True, nogil=True)
def _rearrange(tokens, offsets, chosen, first, second, suffix_first, sentinels, out, out_offsets):
    for text in range(len(chosen)):
        begin, end = offsets[text], offsets[text + 1]
        at = out_offsets[text]
        if not chosen[text]:
            out[at : at + end - begin] = tokens[begin:end]
            continue
        a, b = begin + first[text], begin + second[text]
        prefix, middle, suffix = a - begin, b - a, end - b
        out[at] = sentinels[0]
        at += 1
        if not suffix_first[text]:
            out[at : at + prefix] = tokens[begin:a]
            at += prefix
        out[at] = sentinels[2]
        out[at + 1 : at + 1 + suffix] = tokens[b:end]
        at += 1 + suffix
        out[at] = sentinels[1]
        at += 1
        if suffix_first[text]:
            out[at : at + prefix] = tokens[begin:a]
            at += prefix
        out[at : at + middle] = tokens[a:b]
