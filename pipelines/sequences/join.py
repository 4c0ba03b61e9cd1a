"""Files joined to training documents: names and separators between them, one copy of the tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numba as nb
import numpy as np

from pipelines import kernels  # noqa: F401 - sets where numba keeps compiled kernels


@dataclass(frozen=True)
class Ragged:
    """Token arrays of different lengths, end to end."""

    tokens: np.ndarray  # int32
    offsets: np.ndarray  # int64 [n + 1]

    @classmethod
    def of(cls, parts: list[np.ndarray]) -> Ragged:
        lengths = np.fromiter(map(len, parts), np.int64, len(parts))
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        tokens = np.concatenate(parts).astype(np.int32, copy=False) if parts else np.empty(0, np.int32)
        return cls(tokens, offsets)

    @classmethod
    def empty(cls, count: int) -> Ragged:
        return cls(np.empty(0, np.int32), np.zeros(count + 1, np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1


def join(
    files: Ragged,
    groups: list[np.ndarray],
    separator: int,
    end: int,
    names: Ragged | None = None,
    heads: Ragged | None = None,
) -> Ragged:
    """Training documents: [head] [name] file, separator, [name] file, …, `end`.

    Args:
        files: the shard's files.
        groups: file numbers of each training document, in their order.
        names: what stands before each file, by file number.
        heads: what stands before each training document, by its place in `groups`.
    """
    names = names or Ragged.empty(len(files))
    heads = heads or Ragged.empty(len(groups))
    order = np.concatenate(groups) if groups else np.empty(0, np.int64)
    sizes = np.fromiter(map(len, groups), np.int64, len(groups))
    ends = np.cumsum(sizes)
    lengths = np.diff(files.offsets)[order] + np.diff(names.offsets)[order] + 1
    per_group = np.add.reduceat(lengths, ends - sizes) if len(groups) else np.empty(0, np.int64)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(per_group + np.diff(heads.offsets))])
    out = np.empty(offsets[-1], np.int32)
    _copy(
        files.tokens, files.offsets, names.tokens, names.offsets, heads.tokens, heads.offsets, order, ends,
        separator, end, out,
    )  # fmt: skip
    return Ragged(out, offsets)


@nb.njit(cache=True, nogil=True)
def _copy(tokens, offsets, names, name_offsets, heads, head_offsets, order, ends, separator, end, out):
    at, i = 0, 0
    for group in range(len(ends)):
        begin, stop = head_offsets[group], head_offsets[group + 1]
        out[at : at + stop - begin] = heads[begin:stop]
        at += stop - begin
        while i < ends[group]:
            file = order[i]
            begin, stop = name_offsets[file], name_offsets[file + 1]
            out[at : at + stop - begin] = names[begin:stop]
            at += stop - begin
            begin, stop = offsets[file], offsets[file + 1]
            out[at : at + stop - begin] = tokens[begin:stop]
            at += stop - begin
            out[at] = separator
            at += 1
            i += 1
        out[at - 1] = end
