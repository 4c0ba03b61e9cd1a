from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.manifest import build_manifest
from pipelines.sources import SourceConfig, parquet, read_shard
from snowcoder.base import UserError

COLUMNS = {"text": "content", "path": "path", "repo": "repo_name", "lang": "language", "license": "licenses"}


def stack_like(rows: int) -> pa.Table:
    """Columns named and typed like those of public code datasets, with one that nobody asks for."""
    made = random.Random(0)
    return pa.table(
        {
            "content": [f"# {i}\n" + "".join(made.choices("abc \n", k=400)) for i in range(rows)],
            "path": [f"src/{i}.h" if i % 3 == 0 else f"src/{i}.go" for i in range(rows)],
            "repo_name": [f"owner/{i // 10}" for i in range(rows)],
            "language": pa.array(["C", "c-sharp", None, "Klingon"] * (rows // 4)).dictionary_encode(),
            "licenses": pa.array([["MIT", "0BSD"], None, [], ["MIT"]] * (rows // 4)),
            "unused": pa.array([b"z" * 1000] * rows),
        }
    )


def source(path: Path, **fields) -> SourceConfig:
    return SourceConfig(kind="parquet", paths=(str(path),), **{"columns": COLUMNS, **fields})


def test_rows_are_documents(tmp_path: Path, read_source) -> None:
    table = stack_like(40)
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=8)
    rows = read_source(source(tmp_path))
    assert [row["text"] for row in rows] == table["content"].to_pylist()
    assert [row["size"] for row in rows] == [len(text) for text in table["content"].to_pylist()]
    assert [row["lang"] for row in rows[:8]] == ["C", "C#", "Go", "", "C", "C#", "C", ""]
    assert [row["license"] for row in rows[:4]] == ["MIT, 0BSD", "", "", "MIT"]
    assert rows[11]["repo"] == "owner/1"


@pytest.mark.parametrize("shard_bytes", [1, 5_000, 10_000, 1 << 30])
def test_shards_are_ranges_of_whole_row_groups(tmp_path: Path, shard_bytes: int) -> None:
    table = stack_like(96)
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=8, compression="zstd")
    cfg = source(tmp_path, shard_bytes=shard_bytes)
    shards = sorted(
        build_manifest(cfg, 0).shards, key=lambda shard: int(shard.part.split("[")[1].split(",")[0])
    )
    found = [text for shard in shards for tab in read_shard(shard, cfg) for text in tab["text"].to_pylist()]
    assert found == table["content"].to_pylist()
    assert len(shards) == {1: 12, 5_000: 12, 10_000: 6, 1 << 30: 1}[shard_bytes]


def test_tables_stay_near_their_size_where_documents_are_unequal(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(parquet, "TABLE_BYTES", 10_000)
    texts = ["x"] * 500 + [chr(97 + i) * 9_000 for i in range(5)] + ["y" * 50_000, "z"]
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet")
    cfg = SourceConfig(kind="parquet", paths=(str(tmp_path),))
    (shard,) = build_manifest(cfg, 0).shards
    tables = list(read_shard(shard, cfg))
    sizes = [sum(table["size"].to_pylist()) for table in tables]
    assert max(size for size, table in zip(sizes, tables, strict=True) if table.num_rows > 1) <= 10_000
    rows = pa.concat_tables(tables)
    assert rows["row"].to_pylist() == list(range(len(texts)))
    assert rows["text"].to_pylist() == texts


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.large_binary()])
def test_faults_of_rows(tmp_path: Path, read_source, kind: pa.DataType) -> None:
    blobs = [b"ok", b"\xff\xfe", None, b"x" * 101, b"", b"a\0b", b"\xef\xbb\xbfbom"]
    stored = pa.Array.from_buffers(
        kind,
        len(blobs),
        pa.array(blobs, pa.large_binary() if "large" in str(kind) else pa.binary()).buffers(),
    )
    pq.write_table(pa.table({"text": stored}), tmp_path / "a.parquet")
    rows = read_source(SourceConfig(kind="parquet", paths=(str(tmp_path),), max_document_bytes=100))
    assert [row["fault"] for row in rows] == [None, "invalid_utf8", "no_text", "too_large", None, None, None]
    assert [row["text"] for row in rows] == ["ok", None, None, None, "", "a\0b", "bom"]
    assert [row["size"] for row in rows] == [2, 2, 0, 101, 0, 3, 6]
    assert {row["lang"] for row in rows} == {""}


def test_languages_are_told_from_paths_and_content(tmp_path: Path, read_source) -> None:
    table = pa.table({"t": ["int a;", "namespace a {", None, "x"], "p": ["a.h", "b.h", "c.h", None]})
    pq.write_table(table, tmp_path / "a.parquet")
    rows = read_source(source(tmp_path, columns={"text": "t", "path": "p"}))
    assert [row["lang"] for row in rows] == ["C", "C++", "C", ""]


def test_a_path_that_is_not_unicode_is_made_printable(tmp_path: Path, read_source) -> None:
    paths = pa.Array.from_buffers(pa.string(), 2, pa.array([b"a\xff.py", b"b.py"], pa.binary()).buffers())
    pq.write_table(pa.table({"text": ["1", "2"], "path": paths}), tmp_path / "a.parquet")
    rows = read_source(source(tmp_path, columns={"text": "text", "path": "path"}))
    assert [(row["path"], row["lang"]) for row in rows] == [("a\ufffd.py", "Python"), ("b.py", "Python")]


@pytest.mark.parametrize("keep", [0.999, 0.5, 10])
def test_a_truncated_file_is_named_by_the_manifest(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(stack_like(40), path)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep if keep > 1 else keep * len(data))])
    with pytest.raises(UserError, match=r"a\.parquet: truncated or damaged .*; fetch it again"):
        build_manifest(source(tmp_path), 0)


def test_a_page_damaged_behind_a_good_footer_is_named_when_read(tmp_path: Path, read_source) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(stack_like(400), path, compression="zstd", use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[4:60] = bytes(56)
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"a\.parquet: truncated or damaged"):
        read_source(source(tmp_path))


def test_a_wrong_column_lists_those_there_are(tmp_path: Path) -> None:
    pq.write_table(stack_like(4), tmp_path / "a.parquet")
    with pytest.raises(
        UserError, match=r"no column 'code' for 'text'; there are content, path, .*unused: correct"
    ):
        build_manifest(source(tmp_path, columns={"text": "code"}), 0)


@pytest.mark.parametrize(("field", "column"), [("text", "n"), ("path", "n"), ("text", "licenses")])
def test_a_column_of_the_wrong_type_is_refused(tmp_path: Path, field: str, column: str) -> None:
    table = stack_like(4).append_column("n", pa.array([1, 2, 3, 4]))
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(UserError, match=rf"column '{column}' is (int64|list.*), '{field}' needs text"):
        build_manifest(source(tmp_path, columns={"text": "content", field: column}), 0)


def test_max_bytes_takes_whole_shards(tmp_path: Path) -> None:
    pq.write_table(stack_like(96), tmp_path / "a.parquet", row_group_size=8)
    whole = build_manifest(source(tmp_path, shard_bytes=1), 0)
    some = build_manifest(source(tmp_path, shard_bytes=1, max_bytes=20_000), 0)
    assert 15_000 < some.summary()["bytes"] <= 20_000
    assert [shard.part for shard in some.shards] == [shard.part for shard in whole.shards[: len(some.shards)]]


def test_only_the_columns_that_are_named_are_read(tmp_path: Path, read_source) -> None:
    """The unused column is damaged: whoever decodes it fails."""
    path = tmp_path / "a.parquet"
    pq.write_table(stack_like(8), path, compression="zstd", use_dictionary=False)
    column = pq.ParquetFile(path).metadata.row_group(0).column(5)
    assert column.path_in_schema == "unused"
    data = bytearray(path.read_bytes())
    data[column.data_page_offset + 1 : column.data_page_offset + column.total_compressed_size] = bytes(
        column.total_compressed_size - 1
    )
    path.write_bytes(data)
    assert len(read_source(source(tmp_path))) == 8
