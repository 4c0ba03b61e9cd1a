"""The keys by which documents are compared: everything the index ever sees of a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.dedup.config import DedupConfig
from pipelines.kernels.minhash import band_keys, minhash, signatures
from pipelines.kernels.murmur import exact_keys

KEYS_VERSION = 1  # raise when the same text would get other keys; a test pins them


@dataclass(frozen=True, slots=True)
class DocumentKeys:
    """Keys of n documents. Bands and signature mean nothing where `short`."""

    exact: np.ndarray  # uint64[n, 2]
    bands: np.ndarray  # uint64[n, bands]
    signature: np.ndarray  # uint8[n, bins]
    short: np.ndarray  # bool[n]

    def __len__(self) -> int:
        return len(self.short)

    def select(self, which: np.ndarray) -> DocumentKeys:
        """The documents of a mask bool[n] or of indices int[k]."""
        return DocumentKeys(self.exact[which], self.bands[which], self.signature[which], self.short[which])

    @staticmethod
    def concat(parts: Sequence[DocumentKeys]) -> DocumentKeys:
        """The keys of a shard from those of its tables. `parts` is not empty."""
        return DocumentKeys(
            np.concatenate([part.exact for part in parts]),
            np.concatenate([part.bands for part in parts]),
            np.concatenate([part.signature for part in parts]),
            np.concatenate([part.short for part in parts]),
        )

    def to_table(self) -> pa.Table:
        """As Arrow columns, to travel between operators."""
        return pa.table(
            {
                "exact": _rows_to_arrow(self.exact),
                "bands": _rows_to_arrow(self.bands),
                "signature": _rows_to_arrow(self.signature),
                "short": self.short,
            }
        )

    @staticmethod
    def from_table(table: pa.Table) -> DocumentKeys:
        """Inverse of `to_table`; other columns are ignored."""
        return DocumentKeys(
            _rows_from_arrow(table["exact"]),
            _rows_from_arrow(table["bands"]),
            _rows_from_arrow(table["signature"]),
            table["short"].to_numpy(),
        )


def document_keys(text: pa.Array | pa.ChunkedArray, cfg: DedupConfig) -> DocumentKeys:
    """Keys of each text. Raises ValueError on a null: a document without text is rejected before this."""
    if text.null_count:
        raise ValueError(f"{text.null_count} documents have no text; judge the rules first")
    hashes = minhash(text, bins=cfg.bins, shingle=cfg.shingle)
    return DocumentKeys(
        exact=exact_keys(text),
        bands=band_keys(hashes.bins, bands=cfg.bands, rows=cfg.rows),
        signature=signatures(hashes.bins),
        short=hashes.short,
    )


def _rows_to_arrow(rows: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])


def _rows_from_arrow(column: pa.ChunkedArray) -> np.ndarray:
    return column.combine_chunks().flatten().to_numpy().reshape(-1, column.type.list_size)
