"""A benchmark index as a file of the run: tasks are sent its name and hash, and open it once per process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.stages.benchmark_index import BenchmarkIndex, DecontaminateConfig, fingerprint
from pipelines.stages.needles import BenchmarkText
from pipelines.stages.solutions import Grams
from snowcoder.files import write_atomically

_KINDS = ("exact", "shape")
_ARRAYS = ("grams", "starts", "owners", "weights", "totals", "needed", "spans")
_SETTINGS = b"decontaminate"


@dataclass(frozen=True)
class StoredIndex:
    path: str
    fingerprint: str  # of the index, for ledger keys

    def open(self) -> BenchmarkIndex:
        return _open(self.path, self.fingerprint)


def build_stored(
    texts: Sequence[BenchmarkText], cfg: DecontaminateConfig | None, directory: Path
) -> StoredIndex:
    """The index of `texts` in `directory`, built only if no file of the same inputs and code is there."""
    cfg = cfg or DecontaminateConfig()
    name = fingerprint(texts, cfg)
    path = directory / f"{name}.parquet"
    if path.exists():
        return StoredIndex(str(path), name)
    return store(BenchmarkIndex.build(texts, cfg), directory)


def store(index: BenchmarkIndex, directory: Path) -> StoredIndex:
    """Write `index` as DIRECTORY/<fingerprint>.parquet: one row, each column a list."""
    path = directory / f"{index.fingerprint}.parquet"
    columns: dict[str, Any] = {"needles": index.needles, **_owner_columns("needle", index.owners)}
    for kind in _KINDS:
        grams: Grams | None = getattr(index, kind)
        if grams is not None:
            columns |= _owner_columns(kind, grams.solutions)
            columns |= {f"{kind}_{name}": getattr(grams, name) for name in _ARRAYS}
            columns[f"{kind}_tokens"] = np.array([grams.tokens])
    types = {"needles": pa.binary()}
    arrays = {
        name: pa.array([values], pa.list_(types.get(name, _type_of(values))))
        for name, values in columns.items()
    }
    table = pa.table(arrays).replace_schema_metadata({_SETTINGS: index.settings.model_dump_json()})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    write_atomically(path, sink.getvalue())
    return StoredIndex(str(path), index.fingerprint)


def _owner_columns(prefix: str, owners: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    return {
        f"{prefix}_benchmarks": [benchmark for benchmark, _ in owners],
        f"{prefix}_tasks": [task for _, task in owners],
    }


def _type_of(values: Sequence | np.ndarray) -> pa.DataType:
    return pa.from_numpy_dtype(values.dtype) if isinstance(values, np.ndarray) else pa.string()


@lru_cache(maxsize=2)
def _open(path: str, name: str) -> BenchmarkIndex:
    table = pq.read_table(path)
    columns = {column: table[column].combine_chunks().flatten() for column in table.column_names}

    def owners(prefix: str) -> tuple[tuple[str, str], ...]:
        names = (columns[f"{prefix}_{part}"].to_pylist() for part in ("benchmarks", "tasks"))
        return tuple(zip(*names, strict=True))

    def grams(kind: str) -> Grams | None:
        if f"{kind}_tokens" not in columns:
            return None
        arrays = {name: columns[f"{kind}_{name}"].to_numpy() for name in _ARRAYS}
        return Grams(tokens=columns[f"{kind}_tokens"][0].as_py(), solutions=owners(kind), **arrays)

    return BenchmarkIndex(
        needles=tuple(columns["needles"].to_pylist()),
        owners=owners("needle"),
        fingerprint=name,
        settings=DecontaminateConfig.model_validate_json(table.schema.metadata[_SETTINGS]),
        exact=grams("exact"),
        shape=grams("shape"),
    )
