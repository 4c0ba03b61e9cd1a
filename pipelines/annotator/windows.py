"""Token windows of a document: top, middle and bottom, whose scores are averaged (paper 2.3).

A window holds `window_tokens` tokens, of which w are the document's own and the rest the encoder's special
tokens. Where the paper is silent: a document of n own tokens has

    n <= w       one window, the whole document (an empty document has one window of special tokens alone)
    w < n <= 2w  two windows, top and bottom, which cover it; a middle one would only repeat them
    n > 2w       three windows; middle is centred, and overlaps the others while n < 3w

A text of more than 3 * window_tokens * bytes_per_token bytes is never tokenised whole: each window is taken
from a piece of window_tokens * bytes_per_token bytes at the start, around the centre byte, and at the end,
cut back to the start of a character. So the cost does not depend on the document's length. A piece that gives
fewer than w tokens (almost only blanks) is a shorter window.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from pipelines.kernels.text import TextBuffers, text_buffers

WHOLE, TOP, MIDDLE, BOTTOM = range(4)


@dataclass(frozen=True, slots=True)
class Windows:
    """Window i is `tokens[offsets[i]:offsets[i + 1]]`, special tokens included."""

    tokens: np.ndarray  # int32
    offsets: np.ndarray  # int64[windows + 1]
    document: (
        np.ndarray
    )  # int32[windows], ascending: the document's place in the column. A null has no window
    documents: int

    def __len__(self) -> int:
        return len(self.document)

    def counts(self) -> np.ndarray:
        """Windows of each document, int64 [documents]."""
        return np.bincount(self.document, minlength=self.documents)

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Plain mean over each document's windows, float64 [documents]; NaN for a document without."""
        total = np.bincount(self.document, weights=values, minlength=self.documents)
        count = self.counts()
        return np.divide(total, count, out=np.full(self.documents, np.nan), where=count > 0)


class WindowTokenizer:
    """Cuts and tokenises columns of text with an encoder's own `tokenizer.json`."""

    def __init__(self, tokenizer_json: Path, window_tokens: int, bytes_per_token: int):
        self._tokenizer = Tokenizer.from_file(str(tokenizer_json))
        # The file may bring the limits of some other use: MiniLM's truncates to 128 tokens and pads.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        marked = self._tokenizer.encode("a")
        own = [place for place, special in enumerate(marked.special_tokens_mask) if not special]
        self._before, self._after = marked.ids[: own[0]], marked.ids[own[-1] + 1 :]
        self.own_tokens = window_tokens - len(self._before) - len(self._after)
        self.piece_bytes = window_tokens * bytes_per_token

    def __call__(self, text: pa.Array | pa.ChunkedArray) -> Windows:
        tokens: list[int] = []
        ends: list[int] = [0]
        document: list[int] = []
        first = 0
        for buffers in text_buffers(text):
            rows, kinds, pieces = cut(buffers, self.piece_bytes)
            encodings = self._tokenizer.encode_batch_fast(pieces, add_special_tokens=False)
            for row, kind, encoding in zip(rows.tolist(), kinds.tolist(), encodings, strict=True):
                ids = encoding.ids
                for start, stop in spans(len(ids), self.own_tokens, kind):
                    tokens += self._before + ids[start:stop] + self._after
                    ends.append(len(tokens))
                    document.append(first + row)
            first += len(buffers)
        return Windows(
            np.array(tokens, np.int32), np.array(ends, np.int64), np.array(document, np.int32), first
        )


def cut(buffers: TextBuffers, piece_bytes: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The pieces to tokenise: (row int64, kind int64, text) per piece, in row order.

    Only the pieces' bytes are read and decoded, however long the documents are.
    """
    start, stop = buffers.offsets[:-1][buffers.valid], buffers.offsets[1:][buffers.valid]
    rows = np.flatnonzero(buffers.valid)
    long = stop - start > 3 * piece_bytes
    centre = (start + stop) // 2 - piece_bytes // 2
    begins = np.stack([start, centre, stop - piece_bytes], axis=1)
    finishes = np.stack([start + piece_bytes, centre + piece_bytes, stop], axis=1)
    kinds = np.broadcast_to(np.array([TOP, MIDDLE, BOTTOM]), begins.shape).copy()
    begins[~long, 0], finishes[~long, 0], kinds[~long, 0] = start[~long], stop[~long], WHOLE
    used = np.stack([np.ones_like(long), long, long], axis=1)
    begin, finish = (_character_start(buffers.data, edges[used]) for edges in (begins, finishes))
    pieces = [
        buffers.data[a:b].tobytes().decode("utf-8", "replace")
        for a, b in zip(begin.tolist(), finish.tolist(), strict=True)
    ]
    return np.repeat(rows, used.sum(axis=1)), kinds[used], pieces


def spans(count: int, own_tokens: int, kind: int) -> list[tuple[int, int]]:
    """Which of a piece's `count` tokens each window takes, as [start, stop)."""
    if count <= own_tokens:
        return [(0, count)]
    top, bottom = (0, own_tokens), (count - own_tokens, count)
    middle = ((count - own_tokens) // 2, (count - own_tokens) // 2 + own_tokens)
    if kind == WHOLE:
        return [top, bottom] if count <= 2 * own_tokens else [top, middle, bottom]
    return [{TOP: top, MIDDLE: middle, BOTTOM: bottom}[kind]]


def _character_start(data: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Move each position back to the first byte of the character it points into: at most 3 bytes in UTF-8."""
    at = at.copy()
    for _ in range(3):
        inside = at < len(data)
        inside[inside] = (data[at[inside]] & 0xC0) == 0x80
        at[inside] -= 1
    return at
