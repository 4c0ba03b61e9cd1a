"""Reading a whole source the way a run does: manifest first, then shard by shard."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest

from pipelines.manifest import build_manifest
from pipelines.schema import DOCUMENT
from pipelines.sources import SourceConfig, read_shard

Rows = list[dict[str, object]]


@pytest.fixture
def read_source() -> Callable[[SourceConfig], Rows]:
    def read(cfg: SourceConfig, seed: int = 0) -> Rows:
        rows: Rows = []
        for shard in build_manifest(cfg, seed).shards:
            tables = list(read_shard(shard, cfg))
            table = pa.concat_tables(tables) if tables else DOCUMENT.empty_table()
            assert table.schema == DOCUMENT
            assert table["row"].to_pylist() == list(range(table.num_rows))
            assert table["text"].is_null() == table["fault"].is_valid()
            rows += table.to_pylist()
        return rows

    return read
