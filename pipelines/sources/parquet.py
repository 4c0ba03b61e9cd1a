"""Parquet files: a shard is a range of row groups, read batch by batch, only the columns that are named.

A row group is the smallest thing that can be sought, so one larger than `shard_bytes` is a shard of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pt

from pipelines.language import HEAD_BYTES, candidates, canonical, detect
from pipelines.schema import Shard
from pipelines.sources.config import SourceConfig
from pipelines.sources.files import StoredFile, damage, list_files, open_file, stored_file
from pipelines.sources.packing import UNNUMBERED, check_unchanged, place_name, runs, seeded_order, take_within
from pipelines.sources.text import TABLE_BYTES, document_table, printable
from snowcoder.base import UserError

_READ_BYTES = 1 << 20
"""Read buffer of a column: without it, Arrow loads a whole column chunk at once."""

_BATCH_ROWS = 1 << 13
"""Rows decoded at once: a dictionary-encoded column can unpack to far more than its size says."""


def shards(cfg: SourceConfig, seed: int) -> list[Shard]:
    planned = [shard for file in list_files(cfg.paths, (".parquet",)) for shard in _plan(file, cfg)]
    return take_within(seeded_order(planned, seed, place_name), cfg.max_bytes, lambda shard: shard.bytes)


def _plan(file: StoredFile, cfg: SourceConfig) -> Iterator[Shard]:
    with damage(file.uri), pq.ParquetFile(open_file(file.uri)) as opened:
        _check_columns(file.uri, opened.schema_arrow, cfg.columns)
        sizes = [_text_bytes(opened.metadata.row_group(i), cfg) for i in range(opened.num_row_groups)]
    for start, stop, total in runs(sizes, cfg.shard_bytes):
        part = json.dumps({"row_groups": [start, stop]}, separators=(",", ":"))
        state = cfg.fingerprint(file.state)
        yield Shard(
            shard=UNNUMBERED, reader="parquet", uri=file.uri, part=part, bytes=total, fingerprint=state
        )


def _text_bytes(group: pq.RowGroupMetaData, cfg: SourceConfig) -> int:
    columns = (group.column(index) for index in range(group.num_columns))
    return sum(c.total_uncompressed_size for c in columns if c.path_in_schema == cfg.columns["text"])


def _check_columns(uri: str, schema: pa.Schema, columns: dict[str, str]) -> None:
    for field, column in columns.items():
        if column not in schema.names:
            raise UserError(
                f"{uri}: no column {column!r} for {field!r}; there are {', '.join(schema.names)}: "
                f"correct source.columns.{field}"
            )
        kind = schema.field(column).type
        item = kind.value_type if pt.is_dictionary(kind) else kind
        listed = field == "license" and (pt.is_list(item) or pt.is_large_list(item))
        if not _is_text(item.value_type if listed else item):
            raise UserError(
                f"{uri}: column {column!r} is {kind}, {field!r} needs text: correct source.columns.{field}"
            )


def _is_text(kind: pa.DataType) -> bool:
    tests = (
        pt.is_string,
        pt.is_large_string,
        pt.is_string_view,
        pt.is_binary,
        pt.is_large_binary,
        pt.is_binary_view,
    )
    return any(test(kind) for test in tests)


def repositories(shard: Shard, cfg: SourceConfig) -> list[str]:
    """The distinct repositories of a shard's rows, by first appearance: reads that column. None without one."""
    if "repo" not in cfg.columns:
        return []
    start, stop = json.loads(shard.part)["row_groups"]
    with damage(shard.uri), pq.ParquetFile(open_file(shard.uri)) as opened:
        column = opened.read_row_groups(list(range(start, stop)), columns=[cfg.columns["repo"]]).column(0)
    return pc.unique(pa.concat_arrays([_strings(chunk) for chunk in column.chunks])).to_pylist()


def read(shard: Shard, cfg: SourceConfig) -> Iterator[pa.Table]:
    start, stop = json.loads(shard.part)["row_groups"]
    first_row = 0
    check_unchanged(shard, cfg, stored_file(*shard.uri.rsplit("/", 1)).state)
    with (
        damage(shard.uri),
        pq.ParquetFile(open_file(shard.uri), buffer_size=_READ_BYTES, pre_buffer=False) as opened,
    ):
        _check_columns(shard.uri, opened.schema_arrow, cfg.columns)
        for group in range(start, stop):
            facts = opened.metadata.row_group(group)
            mean = max(1, _text_bytes(facts, cfg) // max(1, facts.num_rows))
            batches = opened.iter_batches(
                batch_size=min(_BATCH_ROWS, max(1, TABLE_BYTES // mean)),
                row_groups=[group],
                columns=list(dict.fromkeys(cfg.columns.values())),
                use_threads=False,  # a shard is read by one task that was given one core
            )
            for batch in batches:
                for table in _tables(batch, first_row, cfg):
                    yield table
                    first_row += table.num_rows


def _tables(batch: pa.RecordBatch, first_row: int, cfg: SourceConfig) -> Iterator[pa.Table]:
    """The batch's size follows the mean of its row group: cut it again where its own rows are longer."""
    binary = _plain(batch.column(cfg.columns["text"])).cast(pa.large_binary())
    size = pc.fill_null(pc.binary_length(binary), 0)
    for start, stop, _ in runs(size.to_numpy().tolist(), TABLE_BYTES):
        part = slice(start, stop)
        columns = {field: batch.column(name)[part] for field, name in cfg.columns.items() if field != "text"}
        yield _documents(binary[part], size[part], columns, first_row + start, cfg)


def _documents(
    binary: pa.Array, size: pa.Array, columns: dict[str, pa.Array], first_row: int, cfg: SourceConfig
) -> pa.Table:
    too_large = pc.greater(size, cfg.max_document_bytes)
    faults = pc.if_else(
        too_large, "too_large", pc.if_else(pc.is_null(binary), "no_text", pa.scalar(None, pa.string()))
    )
    kept = (
        pc.if_else(too_large, pa.scalar(None, binary.type), binary) if pc.any(too_large).as_py() else binary
    )
    fields: dict[str, object] = {
        name: _strings(columns[name]) if name in columns else pa.array([""] * len(binary), pa.string())
        for name in ("repo", "path", "license")
    }
    fields["lang"] = _languages(columns, kept)
    return document_table(first_row, fields | {"size": size}, kept, faults.to_pylist(), cfg.notebooks)


def _plain(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pt.is_dictionary(column.type) else column


def _strings(column: pa.Array) -> pa.Array:
    """Any text column as strings without null; a list of them (licences) is joined by ", "."""
    column = _plain(column)
    if pt.is_list(column.type) or pt.is_large_list(column.type):
        column = pc.binary_join(column.cast(pa.list_(pa.string())), ", ")
    binary = column.cast(pa.binary())
    try:
        return pc.fill_null(binary.cast(pa.string()), "")
    except pa.ArrowInvalid:  # Parquet does not promise that a string is UTF-8
        return pa.array([printable(value or b"") for value in binary.to_pylist()], pa.string())


def _languages(columns: dict[str, pa.Array], binary: pa.Array) -> pa.Array:
    """The source's own word where it has one, else the path's."""
    stated = _strings(columns["lang"]) if "lang" in columns else None
    if stated is not None and not pc.any(pc.equal(stated, "")).as_py():
        return _canonical(stated)
    if "path" not in columns:
        return _canonical(stated) if stated is not None else pa.array([""] * len(binary), pa.string())
    paths = _strings(columns["path"]).to_pylist()
    told = [
        detect(path, _head(binary, row)) if len(candidates(path)) > 1 else detect(path)
        for row, path in enumerate(paths)
    ]
    if stated is None:
        return pa.array(told, pa.string())
    return pc.if_else(pc.equal(stated, ""), pa.array(told, pa.string()), _canonical(stated))


def _canonical(stated: pa.Array) -> pa.Array:
    encoded = stated.dictionary_encode()
    names = pa.array([canonical(name) for name in encoded.dictionary.to_pylist()], pa.string())
    return names.take(encoded.indices)


def _head(binary: pa.Array, row: int) -> bytes:
    buffer = binary[row].as_buffer()
    return bytes(memoryview(buffer)[:HEAD_BYTES]) if buffer is not None else b""
