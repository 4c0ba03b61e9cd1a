from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import zstandard

from pipelines.manifest import build_manifest
from pipelines.sources import SourceConfig, read_shard
from pipelines.sources.archive import repository_name
from snowcoder.base import UserError

FILES = {
    "package/package.json": json.dumps({"name": "p", "license": "MIT"}).encode(),
    "package/a.py": b"x = 1\n",
    "package/bad.py": b"\xff\xfe",
    "package/empty.js": b"",
    "package/big.c": b"int x;\n" * 300,
    "package/logo.png": b"\x89PNG",
    "../../etc/evil.sh": b"echo\n",
    "/abs/evil.go": b"package a\n",
}
ROWS = [
    ("package/package.json", "JSON", None),
    ("package/a.py", "Python", None),
    ("package/bad.py", "Python", "invalid_utf8"),
    ("package/empty.js", "JavaScript", None),
    ("package/big.c", "C", "too_large"),
    ("../../etc/evil.sh", "Shell", None),
    ("/abs/evil.go", "Go", None),
]


def tar(files: dict[str, bytes], **options) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", **options) as archive:
        for name, content in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
        link = tarfile.TarInfo("package/link.py")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return buffer.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        link = zipfile.ZipInfo("package/link.py")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    return buffer.getvalue()


def source(path: Path, **fields) -> SourceConfig:
    return SourceConfig(kind="archive", paths=(str(path),), **fields)


def facts(rows) -> list[tuple]:
    return [(row["path"], row["lang"], row["fault"]) for row in rows]


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("p-1.0.tar", tar(FILES)),
        ("p-1.0.tar.gz", gzip.compress(tar(FILES))),
        ("p-1.0.tgz", gzip.compress(tar(FILES, format=tarfile.GNU_FORMAT))),
        ("p-1.0.tar.bz2", bz2.compress(tar(FILES))),
        ("p-1.0.tar.xz", lzma.compress(tar(FILES))),
        ("p-1.0.tar.zst", zstandard.compress(tar(FILES))),
        ("p-1.0.zip", zipped(FILES)),
        ("p-1.0.whl", zipped(FILES)),
    ],
)
def test_members_are_documents_and_names_are_only_names(
    tmp_path, read_source, name: str, packed: bytes
) -> None:
    (tmp_path / name).write_bytes(packed)
    before = sorted(os.listdir(tmp_path.parent))
    rows = read_source(source(tmp_path, max_document_bytes=1000))
    assert facts(rows) == ROWS
    assert {row["repo"] for row in rows} == {"p-1.0"}
    assert rows[1]["text"] == "x = 1\n"
    assert rows[4]["size"] == 2100
    assert sorted(os.listdir(tmp_path.parent)) == before
    if name.endswith((".gz", ".tgz", ".zip", ".whl")):
        assert {row["license"] for row in rows} == {"MIT"}


@pytest.mark.parametrize(
    ("member", "content", "license"),
    [
        ("p-1.0/PKG-INFO", b"Name: p\nLicense-Expression: Apache-2.0\n", "Apache-2.0"),
        ("p-1.0/PKG-INFO", b"Name: p\nClassifier: License :: OSI Approved :: MIT License\n", "MIT License"),
        ("p-1.0/PKG-INFO", b"Name: p\nLicense: UNKNOWN\n", ""),
        ("p-1.0/Cargo.toml", b'[package]\nlicense = "MIT OR Apache-2.0"\n', "MIT OR Apache-2.0"),
        ("package/package.json", b'{"license": {"type": "ISC"}}', "ISC"),
        ("package/package.json", b'["not", "an", "object"]', ""),
        ("package/package.json", b"{", ""),
        ("package/deep/package.json", b'{"license": "MIT"}', ""),
    ],
)
def test_a_package_states_its_licence(
    tmp_path: Path, read_source, member: str, content: bytes, license: str
) -> None:
    (tmp_path / "p.tar.gz").write_bytes(gzip.compress(tar({"p/a.py": b"x", member: content})))
    assert read_source(source(tmp_path))[0]["license"] == license


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("p.tar", tar(FILES)),
        ("p.tar.gz", gzip.compress(tar(FILES))),
        ("p.tar.xz", lzma.compress(tar(FILES))),
        ("p.tar.zst", zstandard.compress(tar(FILES))),
        ("p.zip", zipped(FILES)),
    ],
)
@pytest.mark.parametrize("keep", [0.2, 0.5, 0.75])
def test_a_truncated_archive_is_named(
    tmp_path: Path, read_source, name: str, packed: bytes, keep: float
) -> None:
    whole = (
        packed.rstrip(b"\0") if name == "p.tar" else packed
    )  # a tar ends with blocks of zeros that say nothing
    (tmp_path / name).write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(UserError, match=rf"{name}: truncated .*; fetch it again"):
        read_source(source(tmp_path))


def test_a_broken_header_is_not_taken_for_the_end(tmp_path: Path, read_source) -> None:
    data = bytearray(tar({"a.py": b"1", "b.py": b"2", "c.py": b"3"}))
    data[1024 : 1024 + 100] = b"\xaa" * 100
    (tmp_path / "p.tar").write_bytes(data)
    with pytest.raises(UserError, match=r"p\.tar: truncated or not a tar archive"):
        read_source(source(tmp_path))


def test_damaged_and_encrypted_members_are_rows(tmp_path: Path, read_source) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.py", "AAAAAAAA")
        archive.writestr("b.py", "BBBBBBBB")
        archive.writestr("c.py", "CCCCCCCC")
    data = buffer.getvalue().replace(b"AAAAAAAA", b"AAAAXAAA")
    central = data.rindex(b"PK\x01\x02")  # the entry of c.py
    data = data[: central + 8] + struct.pack("<H", 1) + data[central + 10 :]
    (tmp_path / "p.zip").write_bytes(data)
    rows = read_source(source(tmp_path))
    assert facts(rows) == [
        ("a.py", "Python", "corrupt"),
        ("b.py", "Python", None),
        ("c.py", "Python", "encrypted"),
    ]


def test_a_zip_bomb_stops_with_a_fault(tmp_path: Path, read_source) -> None:
    members = {f"{i}.py": bytes(1 << 20) for i in range(40)}
    (tmp_path / "bomb.zip").write_bytes(zipped(members))
    rows = read_source(source(tmp_path, max_expansion=8))
    assert [row["fault"] for row in rows] == [None] * 8 + ["expansion"]
    assert rows[-1]["repo"] == "bomb"


def test_a_tar_bomb_stops_with_a_fault(tmp_path: Path, read_source) -> None:
    members = {"a.py": b"x = 1\n", "skipped.bin": bytes(40 << 20), "b.py": b"x = 2\n"}
    (tmp_path / "bomb.tar.zst").write_bytes(zstandard.compress(tar(members)))
    rows = read_source(source(tmp_path, max_expansion=8))
    assert facts(rows) == [("a.py", "Python", None), ("", "", "expansion")]


def test_a_giant_tar_header_takes_no_memory(tmp_path: Path) -> None:
    """A pax header of 80 MB, which `tarfile` alone would hold."""
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 80_000_000
    bomb = tar({"a.py": b"x = 1\n"})[:1024] + header.tobuf() + b"0" * 80_000_000
    (tmp_path / "bomb.tar.zst").write_bytes(zstandard.compress(bomb))
    program = f"""
import resource
from pipelines.manifest import build_manifest
from pipelines.sources import SourceConfig, read_shard
import pygments.lexers
cfg = SourceConfig(kind="archive", paths=({str(tmp_path)!r},))
shards = build_manifest(cfg, 0).shards
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print([table["fault"].to_pylist() for shard in shards for table in read_shard(shard, cfg)])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    faults, grown = done.stdout.splitlines()
    assert faults == "[[None, 'expansion']]"
    assert int(grown) < 24, f"{grown} MiB for a header"


def test_small_archives_share_a_shard_and_each_is_read_once(tmp_path: Path) -> None:
    for index in range(10):
        (tmp_path / f"p-{index}.zip").write_bytes(zipped({"a.py": b"x" * 100}))
    cfg = source(tmp_path, shard_bytes=350)
    manifest = build_manifest(cfg, 0)
    assert sorted(len(shard.repos) for shard in manifest.shards) == [1, 3, 3, 3]
    repos = [r for s in manifest.shards for t in read_shard(s, cfg) for r in t["repo"].to_pylist()]
    assert sorted(repos) == [f"p-{index}" for index in range(10)]
    capped = build_manifest(source(tmp_path, max_bytes=450), 0)
    assert capped.summary()["repositories"] == 4


def test_an_archive_that_changed_after_the_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.zip").write_bytes(zipped(FILES))
    cfg = source(tmp_path)
    (shard,) = build_manifest(cfg, 0).shards
    (tmp_path / "p.zip").write_bytes(zipped({"a.py": b"other"}))
    with pytest.raises(UserError, match="p, … or the source's configuration changed after the manifest"):
        list(read_shard(shard, cfg))


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("pool/foo_1.2.orig.tar.xz", "foo_1.2"),
        ("requests-2.31.0.tar.gz", "requests-2.31.0"),
        ("a_b-1.0-py3-none-any.WHL", "a_b-1.0"),
        ("rand-0.8.5.crate", "rand-0.8.5"),
    ],
)
def test_a_repository_is_named_after_its_archive(name: str, repository: str) -> None:
    assert repository_name(name) == repository
