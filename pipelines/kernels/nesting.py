"""How deep the brackets of a text go and how long its lines are: bounds on a parser's work, told without parsing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numba import njit

from pipelines.kernels.text import text_buffers


def _steps() -> np.ndarray:
    table = np.zeros(256, np.int8)
    table[np.frombuffer(b"([{", np.uint8)] = 1
    table[np.frombuffer(b")]}", np.uint8)] = -1
    return table


_STEP = _steps()


@dataclass(frozen=True, slots=True)
class Extent:
    """Per document, int64[n] each; 0 for a null or empty one."""

    depth: np.ndarray
    """Most brackets of any kind open at once. Strings and comments are not told from code, and which bracket closes
    which is not checked. "<" counts too, up to the next of ";", "{" and "}": in generic types it nests. A run of "#"
    counts as that many: raw strings of Swift and Rust nest by them."""
    longest_line: np.ndarray
    """Bytes between line feeds."""


def extent(text: pa.Array | pa.ChunkedArray) -> Extent:
    """Nesting and line length of a (large_)string column in one pass."""
    parts = [np.zeros((0, 2), np.int64)]
    for view in text_buffers(text):
        out = np.empty((len(view), 2), np.int64)
        _extent(view.offsets, view.data, _STEP, out)
        parts.append(out)
    return Extent(*np.concatenate(parts).T.copy())


@njit(cache=True, nogil=True)
def _extent(offsets, data, steps, out):
    for document in range(len(offsets) - 1):
        depth = deepest = angles = run = longest_run = longest_line = 0
        line = offsets[document]
        for i in range(offsets[document], offsets[document + 1]):
            byte = data[i]
            depth = max(0, depth + steps[byte])
            if byte == 60:
                angles += 1
            elif byte == 62:
                angles = max(0, angles - 1)
            elif byte == 59 or byte == 123 or byte == 125:
                angles = 0
            deepest = max(deepest, depth, angles)
            run = run + 1 if byte == 35 else 0
            longest_run = max(longest_run, run)
            if byte == 10:
                longest_line = max(longest_line, i - line)
                line = i + 1
        out[document, 0] = max(deepest, longest_run)
        out[document, 1] = max(longest_line, offsets[document + 1] - line)
