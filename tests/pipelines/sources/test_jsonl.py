from __future__ import annotations

import gzip
import json
import lzma
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.manifest import build_manifest
from pipelines.sources import SourceConfig, jsonl, read_shard
from snowcoder.base import UserError

COLUMNS = {"text": "content", "path": "path", "repo": "repo", "license": "licenses"}
RECORDS = [
    {
        "content": f"x = {i}\n" * (i % 7),
        "path": f"src/{i}.py",
        "repo": "a/b",
        "licenses": ["MIT", "0BSD"],
        "n": i,
    }
    for i in range(200)
]
LINES = b"".join(json.dumps(record).encode() + b"\n" for record in RECORDS)


def source(path: Path, **fields) -> SourceConfig:
    return SourceConfig(kind="jsonl", paths=(str(path),), **{"columns": COLUMNS, **fields})


def texts(rows) -> list:
    return [row["text"] for row in rows]


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("a.jsonl", LINES),
        ("a.jsonl.gz", gzip.compress(LINES[:5000]) + gzip.compress(LINES[5000:])),
        ("a.jsonl.zst", zstandard.compress(LINES[:5000]) + zstandard.compress(LINES[5000:])),
        ("a.jsonl.xz", lzma.compress(LINES)),
    ],
)
def test_every_packing_gives_the_same_documents(
    tmp_path: Path, read_source, name: str, packed: bytes
) -> None:
    (tmp_path / name).write_bytes(packed)
    rows = read_source(source(tmp_path))
    assert texts(rows) == [record["content"] for record in RECORDS]
    assert rows[3] == {
        "row": 3,
        "repo": "a/b",
        "path": "src/3.py",
        "lang": "Python",
        "license": "MIT, 0BSD",
        "size": 18,
        "text": "x = 3\n" * 3,
        "fault": None,
    }


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(
        st.one_of(st.just(b""), st.text(max_size=9).map(lambda t: json.dumps({"content": t}).encode()))
    ),
    shard_bytes=st.integers(1, 60),
    newline=st.sampled_from([b"\n", b"\r\n"]),
    ended=st.booleans(),
    block=st.integers(1, 40),
)
def test_byte_ranges_give_every_line_once(
    tmp_path, monkeypatch, lines, shard_bytes, newline, ended, block
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(newline.join(lines) + (newline if ended else b""))
    if not path.stat().st_size:
        return
    monkeypatch.setattr(jsonl, "_BLOCK", block)
    cfg = source(path, columns={"text": "content"}, shard_bytes=shard_bytes)
    shards = sorted(build_manifest(cfg, 0).shards, key=lambda shard: json.loads(shard.part)["bytes"])
    assert sum(shard.bytes for shard in shards) == path.stat().st_size
    found = [
        text for shard in shards for table in read_shard(shard, cfg) for text in table["text"].to_pylist()
    ]
    assert found == [json.loads(line)["content"] for line in lines if line]


def test_bad_lines_are_rows_with_a_fault(tmp_path: Path, read_source) -> None:
    lines = [
        b'{"content": "ok"}',
        b'{"content": ',
        b'["content"]',
        b'{"text": "other"}',
        b'{"content": null}',
        b'{"content": 5}',
        b'{"content": "\xff"}',
        b'{"content": "\\ud800"}',
        b"[" * 100_000,
        b'{"content": "' + b"x" * 150 + b'"}',
        b'{"content": "' + b"x" * 250 + b'"}',
        b"   ",
        b'{"content": "\\u0000", "path": "\\ud800.py"}',
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    cfg = source(tmp_path, columns={"text": "content", "path": "path"}, max_document_bytes=100)
    rows = read_source(cfg)
    assert [row["fault"] for row in rows] == [
        None,
        "bad_json",
        "bad_json",
        "no_text",
        "no_text",
        "no_text",
        "invalid_utf8",
        "invalid_utf8",
        "too_large",
        "too_large",
        "too_large",
        None,
    ]
    assert rows[8]["size"] == 100_000
    assert (rows[-1]["text"], rows[-1]["path"]) == ("\0", "?.py")


def test_deep_nesting_is_bad_json(tmp_path: Path, read_source) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "ok"}\n' + b"[" * 100_000)
    rows = read_source(SourceConfig(kind="jsonl", paths=(str(tmp_path),)))
    assert [row["fault"] for row in rows] == [None, "bad_json"]


def test_a_column_that_does_not_occur_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(LINES)
    with pytest.raises(UserError, match=r"a\.jsonl: no 'code' for 'text' .*content, path, repo, licenses, n"):
        build_manifest(source(tmp_path, columns={"text": "code"}), 0)


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("a.jsonl.gz", gzip.compress(LINES)),
        ("a.jsonl.zst", zstandard.compress(LINES)),
        ("a.jsonl.xz", lzma.compress(LINES)),
    ],
)
@pytest.mark.parametrize("broken", [lambda packed: packed[:-9], lambda packed: b"not packed at all"])
def test_a_damaged_stream_names_the_file(
    tmp_path: Path, read_source, name: str, packed: bytes, broken
) -> None:
    (tmp_path / name).write_bytes(broken(packed))
    with pytest.raises(UserError, match=rf"{name}: truncated or damaged .*; fetch it again"):
        read_source(source(tmp_path))


def test_a_file_that_changed_after_the_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(LINES)
    cfg = source(tmp_path)
    (shard,) = build_manifest(cfg, 0).shards
    (tmp_path / "a.jsonl").write_bytes(LINES + LINES)
    with pytest.raises(UserError, match="changed after the manifest"):
        list(read_shard(shard, cfg))


def test_a_stream_that_unpacks_without_end_stops(tmp_path: Path, read_source) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"text": "ok"}\n' + b" " * (3 << 20)))
    rows = read_source(SourceConfig(kind="jsonl", paths=(str(tmp_path),), max_expansion=2))
    assert [row["fault"] for row in rows] == [None, "expansion"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_a_giant_line_takes_no_memory(tmp_path: Path, name: str) -> None:
    """A line of 60 MB under a limit of 1 MiB, in a process of its own so that its peak is its own."""
    data = b'{"text": "first"}\n{"text": "' + b"x" * 60_000_000 + b'"}\n{"text": "last"}\n'
    (tmp_path / name).write_bytes(gzip.compress(data, 1) if name.endswith("gz") else data)
    program = f"""
import resource
from pipelines.manifest import build_manifest
from pipelines.sources import SourceConfig, read_shard
import pygments.lexers
cfg = SourceConfig(kind="jsonl", paths=({str(tmp_path)!r},), max_document_bytes=1 << 20,
                   shard_bytes=1 << 30, max_expansion=1000)
shards = build_manifest(cfg, 0).shards
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for shard in shards:
    for table in read_shard(shard, cfg):
        print(table["text"].to_pylist(), table["fault"].to_pylist(), table["size"].to_pylist())
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    rows, grown = done.stdout.splitlines()
    assert rows == "['first', None, 'last'] [None, 'too_large', None] [5, 60000012, 4]"
    assert int(grown) < 24, f"{grown} MiB for a line that is not kept"
