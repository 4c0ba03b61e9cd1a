"""Finding and opening stored files, local or in an object store, through pyarrow's file systems."""

from __future__ import annotations

import lzma
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa
import pyarrow.fs as pafs

from snowcoder.base import UserError

_CODECS = {".gz": "gzip", ".tgz": "gzip", ".crate": "gzip", ".bz2": "bz2", ".tbz2": "bz2", ".zst": "zstd"}
_XZ = (".xz", ".txz")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a source. `state` changes when the content may have changed."""

    root: str  # the folder it was found under; a path or URI
    name: str  # relative to `root`
    size: int
    state: tuple[int, int]  # size, modification time in ns

    @property
    def uri(self) -> str:
        return f"{self.root}/{self.name}"


def list_files(paths: tuple[str, ...], suffixes: tuple[str, ...]) -> list[StoredFile]:
    """The files named by `paths`, and those with one of `suffixes` in the folders named by it, sorted.

    Raises UserError when a path does not exist or holds no such file.
    """
    found: dict[str, StoredFile] = {}
    for path in paths:
        here = [file for file in _list(path, suffixes) if file.size > 0]
        if not here:
            raise UserError(
                f"{path}: no file that ends in {', '.join(suffixes)} and is not empty; correct source.paths"
            )
        found |= {file.uri: file for file in here}
    return [found[uri] for uri in sorted(found)]


def stored_file(root: str, name: str) -> StoredFile:
    """One known file as it is now. Raises UserError when it is gone."""
    filesystem, inner, _ = _resolve(f"{root}/{name}")
    try:
        info = filesystem.get_file_info(inner)
    except OSError as error:
        raise UserError(f"{root}/{name}: cannot be reached ({error}); check access") from error
    if info.type != pafs.FileType.File:
        raise UserError(f"{root}/{name}: is gone; put it back or rebuild the manifest")
    return StoredFile(root, name, info.size, _state(info))


def _state(info: pafs.FileInfo) -> tuple[int, int]:
    return info.size, info.mtime_ns or 0


def _list(path: str, suffixes: tuple[str, ...]) -> Iterator[StoredFile]:
    filesystem, inner, scheme = _resolve(path)
    try:
        top = filesystem.get_file_info(inner)
        if top.type == pafs.FileType.NotFound:
            raise UserError(f"{path}: no such file or folder; correct source.paths")
        root = inner if top.type == pafs.FileType.Directory else inner.rpartition("/")[0]
        listed = (
            filesystem.get_file_info(pafs.FileSelector(inner, recursive=True)) if root == inner else [top]
        )
    except OSError as error:
        raise UserError(f"{path}: cannot be listed ({error}); check source.paths and access") from error
    for info in listed:
        if info.type == pafs.FileType.File and (info is top or info.path.lower().endswith(suffixes)):
            yield StoredFile(scheme + root, os.path.relpath(info.path, root), info.size, _state(info))


def _resolve(path: str) -> tuple[pafs.FileSystem, str, str]:
    """(file system, path inside it, what to put before that path to make it a URI again)."""
    if "://" not in path:
        return pafs.LocalFileSystem(), os.path.abspath(os.path.expanduser(path)).rstrip("/") or "/", ""
    try:
        filesystem, inner = pafs.FileSystem.from_uri(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not a location that pyarrow can open ({error})") from error
    scheme = path.partition("://")[0] + "://"
    return filesystem, inner.rstrip("/"), scheme


def open_file(uri: str) -> pa.NativeFile:
    """Open for random access. Raises UserError when the file is gone."""
    filesystem, inner, _ = _resolve(uri)
    try:
        return filesystem.open_input_file(inner)
    except OSError as error:
        raise UserError(f"{uri}: cannot be opened ({error}); rebuild the manifest") from error


def is_compressed(name: str) -> bool:
    suffix = os.path.splitext(name.lower())[1]
    return suffix in _CODECS or suffix in _XZ


def open_unpacked(uri: str) -> IO[bytes] | Any:
    """Open as a forward stream of the unpacked bytes (gz, bz2, zst, xz by suffix; else as stored)."""
    suffix = os.path.splitext(uri.lower())[1]
    raw = open_file(uri)
    if suffix in _XZ:
        return lzma.LZMAFile(raw)
    if suffix in _CODECS:
        return pa.CompressedInputStream(raw, _CODECS[suffix])
    return raw


class Expansion(Exception):
    """An archive unpacked to more than its allowance."""


class Unpacked:
    """A forward stream of unpacked bytes that raises Expansion past `allowance` bytes."""

    def __init__(self, uri: str, allowance: int) -> None:
        self._stream = open_unpacked(uri)
        self._left = allowance
        self._permitted = allowance

    def permit(self, size: int) -> None:
        """From here to the next call, at most `size` bytes are to be read."""
        self._permitted = size

    def read(self, size: int) -> bytes:
        block = self._stream.read(size)
        self._left -= len(block)
        self._permitted -= len(block)
        if self._left < 0 or self._permitted < 0:
            raise Expansion
        return block

    def close(self) -> None:
        self._stream.close()


def allowance(size: int, max_expansion: int) -> int:
    """How many bytes a stored file of `size` may unpack to. Small files get that of 1 MiB."""
    return max(size, 1 << 20) * max_expansion


@contextmanager
def damage(uri: str) -> Iterator[None]:
    """Turn what the codecs raise for a truncated or damaged file into a UserError that names it."""
    try:
        yield
    except (OSError, EOFError, lzma.LZMAError, pa.ArrowInvalid) as error:
        what = " ".join(str(error).split())
        raise UserError(f"{uri}: truncated or damaged ({what}); fetch it again or leave it out") from error
