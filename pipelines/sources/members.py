"""What the archive readers take and give: one archive to read, and its members."""

from __future__ import annotations

from typing import NamedTuple

from pipelines.sources.repositories import is_document


class Archive(NamedTuple):
    uri: str
    size: int  # as stored, bytes
    allowance: int  # bytes that may be unpacked from it
    max_document_bytes: int
    languages: tuple[str, ...]

    def is_document(self, name: str) -> bool:
        return is_document(name, self.languages)


class Member(NamedTuple):
    name: str  # as the archive has it: never used as a path
    size: int  # unpacked, bytes
    content: bytes | None
    fault: str | None  # set exactly when `content` is None
