"""Build a real corpus of source code from pinned packages: same lists, same bytes, on any machine.

    python -m benchmarks.corpus small|full|bench [--lock FILE --sha FILE] [--out DIR]

Fetches wheels with pip, tarballs with npm and Debian source archives with apt-get, checks every file against its
SHA-256, and reads the archives member by member (nothing is extracted; limits on size and expansion are those of the
`archive` source) into Parquet parts of about 64 MB of text:

    kind, package, version, path, lang, size, sha256, content, license

`lang` is `pipelines.language.detect`, `license` what the package states (Debian: the short name for `Files: *`).
Documents are the members whose name stands for a known language; one that is too large or not UTF-8 is counted and left
out. Beside the parts, under names that Arrow's dataset readers skip: `_manifest.json`, `_copyright/` with the Debian
copyright files, `_downloads/`. Wheels are those that pip
chooses for CPython 3.11 on Linux x86-64. Licences are mixed: use the text, do not redistribute it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.corpus_packages import Fetched, Package, fetch, read_hashes, read_lock
from pipelines.language import detect
from pipelines.sources import tar_archive, zip_archive
from pipelines.sources.files import Expansion, allowance
from pipelines.sources.members import Archive
from snowcoder.base import UserError
from snowcoder.files import write_atomically

LISTS = Path(__file__).resolve().parents[2] / "shared" / "corpus"
STEMS = {"small": "corpus-small", "full": "corpus", "bench": "corpus"}
NOT_IN_BENCH = frozenset({"transformers", "node-typescript", "kotlin", "sympy", "cargo", "guava-libraries"})
"""The giants: without them no package dominates, and `bench` is still above 300 MB."""

PART_BYTES = 64 << 20
MAX_DOCUMENT_BYTES = 16 << 20
MAX_EXPANSION = 200
MAX_COPYRIGHT_BYTES = 4 << 20

SCHEMA = pa.schema(
    [
        ("kind", pa.string()),
        ("package", pa.string()),
        ("version", pa.string()),
        ("path", pa.string()),
        ("lang", pa.string()),
        ("size", pa.int64()),
        ("sha256", pa.string()),
        ("content", pa.large_string()),
        ("license", pa.string()),
    ]
)


class Parts:
    """Rows to Parquet files of about PART_BYTES of text, in the order given."""

    def __init__(self, out: Path) -> None:
        self.names: list[str] = []
        self._out = out
        self._clear()

    def _clear(self) -> None:
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        self._bytes += row["size"]
        if self._bytes >= PART_BYTES:
            self.finish()

    def finish(self) -> None:
        if self._rows:
            self.names.append(f"part-{len(self.names):05d}.parquet")
            table = pa.Table.from_pylist(self._rows, schema=SCHEMA)
            pq.write_table(table, self._out / self.names[-1], compression="zstd", row_group_size=2048)
            self._clear()


def documents(package: Package, path: Path, faults: Counter[str]) -> Iterator[tuple[str, bytes]]:
    """(name, UTF-8 text) of the archive's documents, in its order; what is left out is counted in `faults`."""
    reader, archive = _open(path)
    try:
        for member in reader.members(archive):
            if member.content is None:
                faults[member.fault or "unreadable"] += 1
            elif not _is_utf8(member.content):
                faults["invalid_utf8"] += 1
            else:
                yield member.name, member.content
    except Expansion as error:
        raise UserError(
            f"{path}: unpacks to more than {MAX_EXPANSION} times its size; drop {package}"
        ) from error


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def stated_license(fetched: Fetched) -> tuple[str, str]:
    """(licence that the package states of itself, its Debian copyright file); "" for what there is not."""
    text = "".join(_copyright(path) for path in fetched.archives if ".debian.tar." in path.name)
    stated = _files_star(text)
    for path in fetched.archives:
        reader, archive = _open(path)
        stated = stated or reader.license(archive)
    return stated, text


def _open(path: Path) -> tuple[ModuleType, Archive]:
    size = path.stat().st_size
    archive = Archive(str(path), size, allowance(size, MAX_EXPANSION), MAX_DOCUMENT_BYTES, ())
    return zip_archive if path.suffix == ".whl" else tar_archive, archive


def _copyright(path: Path) -> str:
    with tarfile.open(path) as opened:
        for header in opened:
            name = header.name.removeprefix("./")
            if name == "debian/copyright" and header.isreg() and header.size <= MAX_COPYRIGHT_BYTES:
                stream = opened.extractfile(header)
                return stream.read().decode("utf-8", "replace") if stream else ""
    return ""


def _files_star(text: str) -> str:
    """The licence of `Files: *` in a machine-readable copyright file (the DEP-5 format), else ""."""
    for paragraph in re.split(r"\n\s*\n", text):
        if re.search(r"^Files:\s*\*\s*$", paragraph, re.MULTILINE):
            found = re.search(r"^License:[ \t]*(.+)$", paragraph, re.MULTILINE)
            return found[1].strip() if found else ""
    return ""


def build(name: str, packages: list[Fetched], out: Path) -> dict[str, object]:
    """Write the parts, the copyright files and the manifest, which is also returned."""
    out.mkdir(parents=True, exist_ok=True)
    for stale in out.glob("part-*.parquet"):
        stale.unlink()
    parts, digests = Parts(out), []
    files: Counter[str] = Counter()
    size_of: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    for fetched in packages:
        package = fetched.package
        license, copyright = stated_license(fetched)
        if copyright:
            write_atomically(out / "_copyright" / package.folder.replace("/", "_"), copyright)
        for archive in fetched.archives:
            for path, content in documents(package, archive, faults):
                lang, digest = detect(path, content), hashlib.sha256(content).hexdigest()
                parts.add(
                    {
                        "kind": package.kind,
                        "package": package.name,
                        "version": package.version,
                        "path": path,
                        "lang": lang,
                        "size": len(content),
                        "sha256": digest,
                        "content": content.decode(),
                        "license": license,
                    }
                )
                digests.append(digest)
                files[lang] += 1
                size_of[lang] += len(content)
    parts.finish()
    manifest: dict[str, object] = {
        "corpus": name,
        "documents": len(digests),
        "bytes": size_of.total(),
        "sha256": hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest(),
        "languages": {
            lang or "unknown": {"documents": files[lang], "bytes": total}
            for lang, total in size_of.most_common()
        },
        "left_out": dict(sorted(faults.items())),
        "packages": [str(fetched.package) for fetched in packages if fetched.archives],
        "skipped": {str(f.package): f.problem for f in packages if not f.archives},
        "parts": parts.names,
    }
    write_atomically(out / "_manifest.json", json.dumps(manifest, indent=1) + "\n")
    return manifest


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", choices=STEMS, help="`bench` is `full` without its giants")
    parser.add_argument(
        "--lock", type=Path, help="pinned packages (default: ../shared/corpus beside the project)"
    )
    parser.add_argument("--sha", type=Path, help="their hashes (default: likewise)")
    parser.add_argument("--out", type=Path, help="default: ~/.cache/snowcoder/corpus-CORPUS")
    parser.add_argument("--downloads", type=Path, help="where archives are kept (default: OUT/_downloads)")
    parser.add_argument("--mirror", help="Debian mirror (default: the one that this system uses)")
    arguments = parser.parse_args()
    stem = LISTS / STEMS[arguments.corpus]
    lock, sha = arguments.lock or Path(f"{stem}.lock.txt"), arguments.sha or Path(f"{stem}.sha256.txt")
    out = arguments.out or Path.home() / ".cache" / "snowcoder" / f"corpus-{arguments.corpus}"
    try:
        hashes = read_hashes(sha)
        wanted = [p for p in read_lock(lock) if arguments.corpus != "bench" or p.name not in NOT_IN_BENCH]
        packages = []
        for package in wanted:
            locked = hashes.get(package.folder, ())
            packages.append(
                fetch(package, locked, arguments.downloads or out / "_downloads", arguments.mirror)
            )
            if problem := packages[-1].problem:
                print(f"skipped {package}: {problem}")
        manifest = build(arguments.corpus, packages, out)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    fields = {key: manifest[key] for key in ("documents", "bytes", "sha256", "left_out")}
    got = sum(bool(fetched.archives) for fetched in packages)
    print(f"{out}: {got} of {len(wanted)} packages, {json.dumps(fields)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
