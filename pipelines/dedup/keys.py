"""The keys by which documents are compared: everything the index ever sees of a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import mmh3
import numba as nb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.dedup.config import DedupConfig
from pipelines.dedup.normal import normalised
from pipelines.dedup.preference import preference_columns, preference_order
from pipelines.kernels.minhash import EMPTY, band_keys, minhash, signatures
from pipelines.kernels.murmur import exact_keys, fmix64_array, murmur128
from pipelines.kernels.owner_table import OwnerTable

KEYS_VERSION = 2  # raise when the same text would get other keys; a test pins them
_NORMAL = np.uint64(0xA5A5A5A5A5A5A5A5)  # keeps a text apart from the normal form of another one


@dataclass(frozen=True, slots=True)
class DocumentKeys:
    """Keys of n documents. Bands and signature mean nothing where `short`."""

    exact: np.ndarray  # uint64[n, e, 2], e = 1: of the bytes, 2: also of the normal form
    bands: np.ndarray  # uint64[n, bands]
    signature: np.ndarray  # uint8[n, bins]
    short: np.ndarray  # bool[n]
    unit: np.ndarray  # int32[n]: what is kept or dropped as one; its documents have equal keys
    rank: np.ndarray  # int32[n]: claimed in this order, ties as they come

    def __len__(self) -> int:
        return len(self.short)

    def select(self, which: np.ndarray) -> DocumentKeys:
        """The documents of a mask bool[n] or of indices int[k]."""
        return DocumentKeys(*(getattr(self, field.name)[which] for field in fields(self)))

    @staticmethod
    def concat(parts: Sequence[DocumentKeys]) -> DocumentKeys:
        """The keys of several tables, whose units and ranks are independent. `parts` is not empty."""
        starts = np.cumsum([0, *(len(part) for part in parts[:-1])])
        joined = {
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(DocumentKeys)
        }
        for name in ("unit", "rank"):
            shifted = [getattr(part, name) + start for part, start in zip(parts, starts, strict=True)]
            joined[name] = np.concatenate(shifted).astype(np.int32)
        return DocumentKeys(**joined)

    def to_table(self) -> pa.Table:
        """As Arrow columns, to travel between operators."""
        return pa.table({field.name: _rows_to_arrow(getattr(self, field.name)) for field in fields(self)})

    @staticmethod
    def from_table(table: pa.Table) -> DocumentKeys:
        """Inverse of `to_table`; other columns are ignored."""
        columns = {field.name: _rows_from_arrow(table[field.name]) for field in fields(DocumentKeys)}
        width = columns["exact"].shape[1]
        columns["exact"] = columns["exact"].reshape(len(table), width // 2, 2)
        return DocumentKeys(**columns)


class ShardKeys:
    """Makes the keys of one shard, table by table: units and preference need to see all of it.

    A text that is, in its normal form, equal to an earlier one of the shard is not shingled again.
    """

    def __init__(self, cfg: DedupConfig) -> None:
        self._cfg = cfg
        self._seen = OwnerTable(1 << 30, wide=True)  # grows from little
        self._count = 0
        self._rows = [np.zeros(0, np.int32)]
        self._exact = [np.zeros((0, cfg.exact_keys, 2), np.uint64)]
        self._bins = [np.zeros((0, cfg.bins), np.uint32)]
        self._first = [np.zeros(0, np.int64)]  # the first document of the shard with this text
        self._salt = [np.zeros(0, np.uint64)]
        self._unit_names = [np.zeros(0, np.uint64)]
        self._preferences: list[pa.Table] = []

    def add(self, documents: pa.Table) -> None:
        """The next documents (columns `row`, `text`, and what scope, level and preference ask for: `lang`, `repo` ...).

        Raises ValueError on a null text: a document without text is rejected before this. UserError for a missing
        column of `prefer`.
        """
        cfg, text = self._cfg, documents["text"]
        if text.null_count:
            raise ValueError(f"{text.null_count} documents have no text; judge the rules first")
        normal = normalised(text, cfg.normalise)
        exact = exact_keys(text)[:, None, :]
        if cfg.exact_keys == 2:
            exact = np.concatenate([exact, exact_keys(normal)[:, None, :] ^ _NORMAL], axis=1)
        numbers = np.arange(self._count, self._count + len(text))
        self._seen.insert(exact[:, -1], numbers)
        first = self._seen.lookup(exact[:, -1])
        self._count += len(text)
        self._rows.append(np.asarray(documents["row"], np.int32))
        self._exact.append(exact)
        self._first.append(first)
        self._bins.append(minhash(normal, bins=cfg.bins, shingle=cfg.shingle, only=first == numbers).bins)
        self._salt.append(_salt(documents, cfg))
        if cfg.level == "training_document":
            self._unit_names.append(_unit_names(documents, numbers))
        self._preferences.append(preference_columns(documents, cfg.prefer))

    def finish(self) -> tuple[np.ndarray, DocumentKeys]:
        """(rows int32[n], keys) of all documents added."""
        cfg, first, salt = self._cfg, np.concatenate(self._first), np.concatenate(self._salt)
        bins, exact = np.concatenate(self._bins), np.concatenate(self._exact)
        unit = np.arange(len(first))
        if cfg.level == "training_document":
            _, leader, member = np.unique(
                np.concatenate(self._unit_names), return_index=True, return_inverse=True
            )
            unit = leader[member]  # named by its first document
            bins, exact = _joined(unit, bins[first], exact)
            first = unit
        keys = DocumentKeys(
            exact=exact ^ salt[:, None, None],
            bands=band_keys(bins, bands=cfg.bands, rows=cfg.rows)[first] ^ salt[:, None],
            signature=signatures(bins)[first],
            short=bins[first, 0] == EMPTY,
            unit=unit.astype(np.int32),
            rank=self._ranks(len(first)),
        )
        return np.concatenate(self._rows), keys

    def _ranks(self, count: int) -> np.ndarray:
        rank = np.arange(count, dtype=np.int32)
        if self._cfg.prefer and count:
            rank[preference_order(pa.concat_tables(self._preferences), self._cfg.prefer)] = np.arange(count)
        return rank


def document_keys(text: pa.Array | pa.ChunkedArray, cfg: DedupConfig) -> DocumentKeys:
    """Keys of texts that have nothing else: no language, repository or preference. Errors as `ShardKeys.add`."""
    maker = ShardKeys(cfg)
    maker.add(pa.table({"row": np.arange(len(text), dtype=np.int32), "text": text}))
    return maker.finish()[1]


def _salt(documents: pa.Table, cfg: DedupConfig) -> np.ndarray:
    """uint64[n]: what keeps the keys of different scopes apart."""
    if cfg.scope == "corpus":
        return np.zeros(len(documents), np.uint64)
    return _hashes(documents["lang" if cfg.scope == "language" else "repo"])


def _unit_names(documents: pa.Table, numbers: np.ndarray) -> np.ndarray:
    """uint64[n]: equal for files of one repository in one language. A file without a repository stands alone."""
    names = _hashes(documents["repo"]) ^ fmix64_array(_hashes(documents["lang"]))
    alone = np.asarray(pc.equal(documents["repo"].fill_null(""), ""))
    return np.where(alone, fmix64_array(numbers.astype(np.uint64)), names)


def _hashes(names: pa.ChunkedArray) -> np.ndarray:
    """64-bit hash of each name, uint64[n]; one call per distinct name."""
    encoded = names.fill_null("").combine_chunks().dictionary_encode()
    hashed = [mmh3.hash64(name, signed=False)[0] for name in encoded.dictionary.to_pylist()]
    return np.array(hashed, np.uint64)[np.asarray(encoded.indices, np.int64)]


def _joined(unit: np.ndarray, bins: np.ndarray, exact: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """MinHashes and exact keys of units, each at its first document; the other rows are left over.

    Its set of shingles is the union of its files', its exact key hashes theirs in ascending order.
    """
    if not len(unit):
        return bins, exact
    out = np.empty_like(exact)
    for form in range(exact.shape[1]):
        order = np.lexsort([exact[:, form, 1], exact[:, form, 0], unit])
        starts = np.flatnonzero(np.diff(unit[order], prepend=-1))
        digests = np.ascontiguousarray(exact[order, form]).view(np.uint8).reshape(-1)
        hashed = _hash_groups(digests, np.append(starts, len(unit)) * 16)
        members = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(unit))))
        out[order, form] = hashed[members]
    joined = np.full_like(bins, EMPTY)
    joined[unit[order[starts]]] = np.minimum.reduceat(bins[order], starts)
    return joined, out


@nb.njit(nogil=True, cache=True)
def _hash_groups(data, bounds):
    out = np.empty((len(bounds) - 1, 2), np.uint64)
    for i in range(len(out)):
        out[i, 0], out[i, 1] = murmur128(data, bounds[i], bounds[i + 1], np.uint32(0))
    return out


def _rows_to_arrow(rows: np.ndarray) -> pa.Array:
    if rows.ndim == 1:
        return pa.array(rows)
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), int(np.prod(rows.shape[1:])))


def _rows_from_arrow(column: pa.ChunkedArray) -> np.ndarray:
    if not pa.types.is_fixed_size_list(column.type):
        return np.asarray(column)
    return column.combine_chunks().flatten().to_numpy().reshape(-1, column.type.list_size)
