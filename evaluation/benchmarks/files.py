"""Where a benchmark's file is found, and that it is the one we know.

Order: the given directory, the cache, an installed package, a download into the cache. Whatever is found
first is checked and used; a file with other content is an error, never a reason to look further, because
a score against unknown tasks is not a score.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from snowcoder.base import UserError

DOWNLOAD_SECONDS = 30


@dataclass(frozen=True)
class KnownFile:
    """One published data file. `sha256` is of the decompressed bytes, so that it survives re-compression."""

    stem: str  # `<stem>.jsonl.gz` or `<stem>.jsonl`
    folder: str  # the sub-folder of the data directory in which it may lie
    sha256: str
    url: str
    package: str = ""  # an installed package that ships `data/<stem>.jsonl.gz`
    remedy: str = ""  # how to get it, if not by the download


def cache_dir() -> Path:
    """$SNOWCODER_CACHE, else ~/.cache/snowcoder."""
    return Path(os.environ.get("SNOWCODER_CACHE") or Path.home() / ".cache" / "snowcoder")


def places(file: KnownFile, data_dir: Path | None) -> list[Path]:
    """Every local path at which the file may lie, in order of preference."""
    folders = [data_dir, data_dir / file.folder] if data_dir else []
    folders.append(cache_dir() / "benchmarks")
    spec = find_spec(file.package) if file.package else None
    if spec is not None:  # found without importing the package
        folders += [Path(location) / "data" for location in spec.submodule_search_locations or []]
    return [folder / f"{file.stem}{suffix}" for folder in folders for suffix in (".jsonl.gz", ".jsonl")]


def locate(file: KnownFile, data_dir: Path | None) -> Path | None:
    """The first local copy, unchecked. UserError if a data directory is given and does not exist."""
    if data_dir is not None and not data_dir.is_dir():
        raise UserError(f"{data_dir}: data_dir is no directory: create it or leave the field out")
    return next((path for path in places(file, data_dir) if path.is_file()), None)


def read(file: KnownFile, data_dir: Path | None) -> bytes:
    """The decompressed content. UserError when it is not what `sha256` says, or is nowhere to be had."""
    path = locate(file, data_dir)
    if path is None:
        path = _download(file, data_dir)
    return _verified(path.read_bytes(), file, str(path))


def _verified(content: bytes, file: KnownFile, origin: str) -> bytes:
    try:
        text = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError) as error:
        raise UserError(f"{origin}: broken gzip file ({error}): remove it and get {file.url}") from None
    found = hashlib.sha256(text).hexdigest()
    if found != file.sha256:
        raise UserError(
            f"{origin}: sha256 of the decompressed content is {found}, expected {file.sha256}: "
            f"remove the file and get {file.remedy or file.url}"
        )
    return text


def _download(file: KnownFile, data_dir: Path | None) -> Path:
    try:
        with urllib.request.urlopen(file.url, timeout=DOWNLOAD_SECONDS) as response:
            content = response.read()
    except (urllib.error.URLError, OSError) as error:
        looked = ", ".join(str(path) for path in places(file, data_dir) if path.suffix == ".gz")
        raise UserError(
            f"{file.stem}.jsonl.gz: not found in {looked}, and {file.url} failed ({error}): "
            f"{file.remedy or 'put the file into one of these places'}"
        ) from None
    _verified(content, file, file.url)
    folder = cache_dir() / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    suffix = ".jsonl.gz" if content[:2] == b"\x1f\x8b" else ".jsonl"
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as part:
        part.write(content)
    return Path(part.name).replace(folder / f"{file.stem}{suffix}")
