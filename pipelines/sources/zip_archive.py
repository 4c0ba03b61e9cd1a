"""Members of zip archives and wheels, by their central directory."""

from __future__ import annotations

import lzma
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.sources.files import Expansion, damage, open_file
from pipelines.sources.licenses import MAX_METADATA_BYTES, of_package, states_license
from pipelines.sources.members import Archive, Member
from pipelines.sources.text import printable
from snowcoder.base import UserError

SUFFIXES = (".zip", ".whl")

_ENCRYPTED = 1  # bit of `flag_bits`


@contextmanager
def _open(uri: str) -> Iterator[zipfile.ZipFile]:
    with damage(uri):
        try:
            opened = zipfile.ZipFile(open_file(uri))
        except (zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError) as error:
            raise UserError(f"{uri}: truncated or not a zip archive ({error}); fetch it again") from error
        with opened:
            yield opened


def document_bytes(archive: Archive) -> int:
    """Unpacked size of the members that are documents, from the central directory alone."""
    with _open(archive.uri) as opened:
        return sum(info.file_size for info in _documents(opened, archive))


def license(archive: Archive) -> str:
    with _open(archive.uri) as opened:
        for info in opened.infolist():
            if states_license(info.filename) and info.file_size <= MAX_METADATA_BYTES:
                member = _read(opened, info, MAX_METADATA_BYTES)
                if stated := of_package(info.filename, member.content or b""):
                    return stated
    return ""


def members(archive: Archive) -> Iterator[Member]:
    """The documents, in the archive's order. Raises Expansion past the archive's allowance."""
    left = archive.allowance
    with _open(archive.uri) as opened:
        for info in _documents(opened, archive):
            if info.file_size <= archive.max_document_bytes:
                left -= info.file_size
            if left < 0:
                raise Expansion
            yield _read(opened, info, archive.max_document_bytes)


def _documents(opened: zipfile.ZipFile, archive: Archive) -> Iterator[zipfile.ZipInfo]:
    for info in opened.infolist():
        link = stat.S_ISLNK(info.external_attr >> 16)
        if not info.is_dir() and not link and archive.is_document(info.filename):
            yield info


def _read(opened: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int) -> Member:
    """`zipfile` stops at the size that the directory states, so a lie about it costs no memory."""
    content, fault = None, None
    if info.file_size > limit:
        fault = "too_large"
    elif info.flag_bits & _ENCRYPTED:
        fault = "encrypted"
    else:
        try:
            content = opened.read(info)
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError):
            fault = "corrupt"
        except NotImplementedError:
            fault = "unknown_compression"
    return Member(printable(info.filename), info.file_size, content, fault)
