"""A benchmark index as a file of the run: tasks are sent its name and hash, and open it once per process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.stages.benchmark_index import BenchmarkIndex
from snowcoder.files import write_atomically


@dataclass(frozen=True)
class StoredIndex:
    path: str
    fingerprint: str  # of the index, for ledger keys

    def open(self) -> BenchmarkIndex:
        return _open(self.path)


def store(index: BenchmarkIndex, directory: Path) -> StoredIndex:
    """Write `index` as DIRECTORY/<fingerprint>.parquet."""
    path = directory / f"{index.fingerprint}.parquet"
    columns = {
        "needle": pa.array(index.needles, pa.binary()),
        "benchmark": pa.array([benchmark for benchmark, _ in index.owners], pa.string()),
        "task": pa.array([task for _, task in index.owners], pa.string()),
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    write_atomically(path, sink.getvalue())
    return StoredIndex(str(path), index.fingerprint)


@lru_cache(maxsize=2)
def _open(path: str) -> BenchmarkIndex:
    table = pq.read_table(path)
    owners = zip(table["benchmark"].to_pylist(), table["task"].to_pylist(), strict=True)
    return BenchmarkIndex(tuple(table["needle"].to_pylist()), tuple(owners))
