"""Members of tar archives, read as a forward stream whatever packs them."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import closing

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


def license(archive: Archive) -> str:
    """What a Python, npm or Rust source package says of itself; other archives are not looked through: ""."""
    if not archive.uri.lower().endswith((".tar.gz", ".tgz", ".crate")):
        return ""
    try:
        for name, size, read in _headers(archive, min(archive.allowance, _LICENSE_BYTES)):
            if states_license(name) and size <= MAX_METADATA_BYTES and (stated := of_package(name, read())):
                return stated
    except Expansion:
        return ""
    return ""


def members(archive: Archive) -> Iterator[Member]:
    """The documents, in the archive's order. Raises Expansion past the archive's allowance."""
    for name, size, read in _headers(archive, archive.allowance):
        if not archive.is_document(name):
            continue
        if size > archive.max_document_bytes:
            yield Member(name, size, None, "too_large")
        else:
            yield Member(name, size, read(), None)


class _Content:
    """Reads one member's content; valid until the next header is read."""

    def __init__(self, opened: tarfile.TarFile, header: tarfile.TarInfo) -> None:
        self._opened, self._header = opened, header

    def __call__(self) -> bytes:
        stream = self._opened.extractfile(self._header)
        return stream.read() if stream else b""


def _headers(archive: Archive, allowance: int) -> Iterator[tuple[str, int, _Content]]:
    """(name, size, content) of each regular file."""
    with damage(archive.uri), closing(Unpacked(archive.uri, allowance)) as stream:
        try:
            stream.permit(_HEADER_BYTES)
            with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header) as opened:  # type: ignore[call-overload]
                while (header := opened.next()) is not None:
                    stream.permit(header.size + _HEADER_BYTES)
                    if header.isreg():
                        yield printable(header.name), header.size, _Content(opened, header)
                    opened.members.clear()  # else it keeps every header
        except tarfile.TarError as error:
            raise UserError(
                f"{archive.uri}: truncated or not a tar archive ({error}); fetch it again"
            ) from error
