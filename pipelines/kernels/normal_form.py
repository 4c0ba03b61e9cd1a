"""A text without what an editor or a formatter changes: the form whose hash is the second exact key."""

from __future__ import annotations

import numba as nb
import numpy as np
import pyarrow as pa

from pipelines.kernels.text import text_buffers

_IS_SPACE = np.zeros(256, np.bool_)
_IS_SPACE[list(b" \t\n\r\v\f")] = True
_BLANK = np.uint8(32)
_MARK = np.frombuffer(b"\xef\xbb\xbf", np.uint8)  # a byte order mark, in UTF-8


def normal_form(text: pa.Array | pa.ChunkedArray, *, fold_case: bool) -> pa.ChunkedArray:
    """Each text with runs of ASCII white space as one blank, none at its ends, no byte order mark.

    `fold_case`: A-Z as a-z too. Other bytes stay, so it is valid UTF-8 if the text is. A null becomes empty.
    """
    return pa.chunked_array(
        [_normal_form(chunk.offsets, chunk.data, fold_case) for chunk in text_buffers(text)],
        pa.large_string(),
    )


def _normal_form(offsets: np.ndarray, data: np.ndarray, fold_case: bool) -> pa.Array:
    out = np.empty(int(offsets[-1] - offsets[0]), np.uint8)
    ends = np.zeros(len(offsets), np.int64)
    _rewrite(offsets, data, fold_case, out, ends)
    return pa.LargeStringArray.from_buffers(
        len(offsets) - 1, pa.py_buffer(ends), pa.py_buffer(out[: ends[-1]])
    )


@nb.njit(nogil=True, cache=True)
def _rewrite(offsets, data, fold_case, out, ends):
    to = 0
    for i in range(len(offsets) - 1):
        at, end = offsets[i], offsets[i + 1]
        if end - at >= 3 and data[at] == _MARK[0] and data[at + 1] == _MARK[1] and data[at + 2] == _MARK[2]:
            at += 3
        start = to
        space = False
        for k in range(at, end):
            byte = data[k]
            if _IS_SPACE[byte]:
                space = True
                continue
            if space and to > start:
                out[to] = _BLANK
                to += 1
            space = False
            if fold_case and np.uint8(65) <= byte <= np.uint8(90):
                byte |= np.uint8(32)
            out[to] = byte
            to += 1
        ends[i + 1] = to
