from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks.corpus import build
from benchmarks.corpus_packages import Fetched, Package, fetch, read_hashes, read_lock
from snowcoder.base import UserError

LOCK = """# a comment
npm @scope/tools 1.0.0
pypi wheel-of 2.0
deb lib 1:3.0-1
"""
COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: debian/*
License: GPL-2+

Files: *
Copyright: somebody
License: Zlib
"""


def tar(files: dict[str, bytes], mode: str) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode=mode) as opened:  # type: ignore[call-overload]
        for name, content in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            opened.addfile(header, io.BytesIO(content))
        link = tarfile.TarInfo("package/link.js")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        opened.addfile(link)
    return sink.getvalue()


def wheel(files: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return sink.getvalue()


@pytest.fixture
def downloads(tmp_path: Path) -> tuple[Path, Path, Path]:
    """(lock file, hash file, folder of downloads)"""
    npm = {
        "package/package.json": b'{"license": "MIT"}',
        "package/a.js": b"let a;\n",
        "../../escape.js": b"let b;\n",
        "package/latin.js": b"// \xe9\n",
        "package/logo.png": b"\x89PNG",
    }
    files = {
        "npm/@scope__tools@1.0.0/scope-tools-1.0.0.tgz": tar(npm, "w:gz"),
        "pypi/wheel-of@2.0/wheel_of-2.0-py3-none-any.whl": wheel(
            {
                "wheel_of/b.py": b"b = 1\n",
                "wheel_of-2.0.dist-info/METADATA": b"License-Expression: Apache-2.0\n",
            }
        ),
        "deb/lib@1%3a3.0-1/lib_3.0-1.debian.tar.xz": tar({"debian/copyright": COPYRIGHT.encode()}, "w:xz"),
        "deb/lib@1%3a3.0-1/lib_3.0-1.dsc": b"Source: lib\n",
        "deb/lib@1%3a3.0-1/lib_3.0.orig.tar.gz": tar({"lib-3.0/c.c": b"int c;\n"}, "w:gz"),
    }
    lines = []
    for name, content in files.items():
        path = tmp_path / "downloads" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        lines.append(f"{hashlib.sha256(content).hexdigest()} {len(content)} {name}")
    lock, hashes = tmp_path / "lock.txt", tmp_path / "sha256.txt"
    lock.write_text(LOCK)
    hashes.write_text("\n".join(lines) + "\n")
    return lock, hashes, tmp_path / "downloads"


def fetched(downloads: tuple[Path, Path, Path]) -> list[Fetched]:
    lock, hashes, folder = downloads
    known = read_hashes(hashes)
    return [fetch(package, known[package.folder], folder, None) for package in read_lock(lock)]


def test_documents_of_all_kinds(downloads: tuple[Path, Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    missing = Fetched(Package("deb", "gone", "1.0"), (), "404 Not Found")
    manifest = build("test", [*fetched(downloads), missing], out)
    table = pq.read_table(out)  # the manifest and the rest are named so that Arrow skips them
    rows = {row["path"]: row for row in table.to_pylist()}
    assert {
        path: (row["package"], row["lang"], row["license"], row["content"]) for path, row in rows.items()
    } == {
        "package/package.json": ("@scope/tools", "JSON", "MIT", '{"license": "MIT"}'),
        "package/a.js": ("@scope/tools", "JavaScript", "MIT", "let a;\n"),
        "../../escape.js": ("@scope/tools", "JavaScript", "MIT", "let b;\n"),
        "wheel_of/b.py": ("wheel-of", "Python", "Apache-2.0", "b = 1\n"),
        "lib-3.0/c.c": ("lib", "C", "Zlib", "int c;\n"),
    }
    assert not list(tmp_path.rglob("escape.js"))
    assert rows["lib-3.0/c.c"]["sha256"] == hashlib.sha256(b"int c;\n").hexdigest()
    assert manifest["left_out"] == {"invalid_utf8": 1}
    assert manifest["skipped"] == {"deb gone 1.0": "404 Not Found"}
    assert manifest["documents"] == 5
    assert (out / "_copyright" / "deb_lib@1%3a3.0-1").read_text() == COPYRIGHT


def test_same_lists_same_bytes(downloads: tuple[Path, Path, Path], tmp_path: Path) -> None:
    for name in ("one", "two", "two"):
        build("test", fetched(downloads), tmp_path / name)
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir() if path.is_file()}
        for name in ("one", "two")
    )
    assert one == two
    assert set(one) == {"part-00000.parquet", "_manifest.json"}
    assert json.loads(one["_manifest.json"])["parts"] == ["part-00000.parquet"]


def test_another_hash_is_refused(downloads: tuple[Path, Path, Path]) -> None:
    archive = downloads[2] / "npm" / "@scope__tools@1.0.0" / "scope-tools-1.0.0.tgz"
    archive.write_bytes(archive.read_bytes() + b"\0")
    with pytest.raises(UserError, match=r"scope-tools-1.0.0.tgz: its SHA-256 .* is not the pinned"):
        fetched(downloads)


def test_a_package_without_pinned_archive_is_skipped(tmp_path: Path) -> None:
    found = fetch(Package("npm", "left-pad", "1.3.0"), (), tmp_path, None)
    assert (found.archives, found.problem) == ((), "the hash file has no archive of it")


@pytest.mark.parametrize(
    ("text", "match"),
    [("npm tools\n", r"lock.txt:1: want `kind name version`"), ("\ngem rails 7\n", r"lock.txt:2: want")],
)
def test_a_malformed_lock_names_its_line(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "lock.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=match):
        read_lock(path)


def test_a_malformed_hash_line(tmp_path: Path) -> None:
    path = tmp_path / "sha256.txt"
    path.write_text("abc 12 npm/a@1/a.tgz\n")
    with pytest.raises(UserError, match=r"sha256.txt:1: want `sha256 bytes kind/name@version/file`"):
        read_hashes(path)
    with pytest.raises(UserError, match=r"none.txt: cannot be read"):
        read_hashes(tmp_path / "none.txt")
