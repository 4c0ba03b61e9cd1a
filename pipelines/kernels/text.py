"""Arrow string columns as plain NumPy views, so that kernels read the text where it lies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa


@dataclass(frozen=True, slots=True)
class TextBuffers:
    """One contiguous string array: document i is `data[offsets[i]:offsets[i + 1]]`.

    The views are read-only and keep Arrow's memory alive. A null document is an empty range, and False in
    `valid`.
    """

    offsets: np.ndarray  # int64[n + 1], positions in `data`; they need not start at 0
    data: np.ndarray  # uint8[...], UTF-8
    valid: np.ndarray  # bool[n]

    def __len__(self) -> int:
        return len(self.valid)

    def document(self, index: int) -> bytes:
        """One document's bytes, copied: for evidence and tests, not for hot paths."""
        return self.data[self.offsets[index] : self.offsets[index + 1]].tobytes()


def text_buffers(text: pa.Array | pa.ChunkedArray) -> Iterator[TextBuffers]:
    """Views of a string column, one per chunk, in order. A large_string column is not copied.

    Raises TypeError for a column that is not text.
    """
    chunks = text.chunks if isinstance(text, pa.ChunkedArray) else [text]
    for chunk in chunks:
        yield _view(chunk)


def _view(array: pa.Array) -> TextBuffers:
    if pa.types.is_string(array.type):
        array = array.cast(pa.large_string())
    if not pa.types.is_large_string(array.type):
        raise TypeError(f"text must be large_string or string, not {array.type}")
    valid = np.ones(len(array), bool)
    if array.null_count:
        valid = array.is_valid().to_numpy(zero_copy_only=False)
        offsets, _ = _positions_and_data(array)
        if np.any((offsets[1:] > offsets[:-1]) & ~valid):
            # Arrow lets a null span bytes; rewriting such an array spares every kernel from looking.
            array = array.fill_null("")
    offsets, data = _positions_and_data(array)
    return TextBuffers(offsets, data, valid)


def _positions_and_data(array: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    _, offsets, data = array.buffers()
    # Arrow may leave out the buffers of an empty array.
    if len(array) == 0:
        positions = np.zeros(1, np.int64)
    else:
        positions = np.frombuffer(offsets, np.int64, len(array) + 1, array.offset * 8)
    characters = np.zeros(0, np.uint8) if not data else np.frombuffer(data, np.uint8)
    # One mutability, hence one compiled version of each kernel.
    positions.flags.writeable = False
    characters.flags.writeable = False
    return positions, characters
