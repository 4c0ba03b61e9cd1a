"""Members of tar archives, read as a forward stream whatever packs them."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager

from pipelines.sources.files import Expansion, Unpacked, damage
from pipelines.sources.licenses import MAX_METADATA_BYTES, of_package, states_license
from pipelines.sources.members import Archive, Member
from pipelines.sources.text import printable
from snowcoder.base import UserError

SUFFIXES = (
    ".tar", ".tar.gz", ".tgz", ".crate", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst",
)  # fmt: skip

_HEADER_BYTES = 1 << 20
"""What the headers of one member may take: `tarfile` holds the extended ones in memory at any size."""
_LICENSE_BYTES = 16 << 20
"""How far into a package its metadata is looked for before the documents are read."""


class _Header(tarfile.TarInfo):
    """`tarfile` takes a broken header behind the first for the end of the archive: here it is an error."""

    @classmethod
    def fromtarfile(cls, opened: tarfile.TarFile) -> _Header:
        try:
            return super().fromtarfile(opened)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error} at byte {opened.offset}") from error


@contextmanager
def _open(archive: Archive, allowance: int) -> Iterator[tuple[tarfile.TarFile, Unpacked]]:
    with damage(archive.uri), closing(Unpacked(archive.uri, allowance)) as stream:
        try:
            stream.permit(_HEADER_BYTES)
            with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header) as opened:  # type: ignore[call-overload]
                yield opened, stream
        except tarfile.TarError as error:
            raise UserError(
                f"{archive.uri}: truncated or not a tar archive ({error}); fetch it again"
            ) from error


def _files(opened: tarfile.TarFile, stream: Unpacked) -> Iterator[tarfile.TarInfo]:
    """The headers of regular files. What is to be read of one is read before the next is asked for."""
    while (header := opened.next()) is not None:
        stream.permit(header.size + _HEADER_BYTES)
        if header.isreg():
            yield header
        opened.members.clear()  # type: ignore[attr-defined]  # else it keeps every header


def _content(opened: tarfile.TarFile, header: tarfile.TarInfo) -> bytes:
    stream = opened.extractfile(header)
    return stream.read() if stream else b""


def license(archive: Archive) -> str:
    """What a Python, npm or Rust source package says of itself; other archives are not looked through: ""."""
    if not archive.uri.lower().endswith((".tar.gz", ".tgz", ".crate")):
        return ""
    try:
        with _open(archive, min(archive.allowance, _LICENSE_BYTES)) as (opened, stream):
            for header in _files(opened, stream):
                if not states_license(header.name) or header.size > MAX_METADATA_BYTES:
                    continue
                if stated := of_package(header.name, _content(opened, header)):
                    return stated
    except Expansion:
        return ""
    return ""


def members(archive: Archive) -> Iterator[Member]:
    """The documents, in the archive's order. Raises Expansion past the archive's allowance."""
    with _open(archive, archive.allowance) as (opened, stream):
        for header in _files(opened, stream):
            name = printable(header.name)
            if not archive.is_document(name):
                continue
            if header.size > archive.max_document_bytes:
                yield Member(name, header.size, None, "too_large")
            else:
                yield Member(name, header.size, _content(opened, header), None)
