"""Answers of a chunk that is not complete yet: the reason why a restart asks nothing twice.

One file per chunk beside the ledger, one JSON line per answer, flushed to disk before anyone counts it. The unit of
what is never asked again is thus the request. What a crash can cost is the requests under way at that moment, which
nobody can know the answers of.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipelines.synthesis.engine import Answer

_FILE = re.compile(r"(\d{8})-(.+)\.jsonl")


class Journal:
    """The incomplete chunks of one ledger. One writer at a time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "incomplete"

    def chunks(self) -> Iterator[tuple[int, str]]:
        """(chunk, key) of what is there."""
        if self._directory.is_dir():
            for name in sorted(os.listdir(self._directory)):
                if match := _FILE.fullmatch(name):
                    yield int(match[1]), match[2]

    def read(self, chunk: int, key: str) -> dict[int, Answer]:
        """Recorded answers by ordinal. A line that a crash cut off is taken away, so that the next one starts anew."""
        path = self._path(chunk, key)
        if not path.exists():
            return {}
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)
        return {int(ordinal): answer for ordinal, answer in map(json.loads, content[:whole].splitlines())}

    def add(self, chunk: int, key: str, answers: Mapping[int, Answer]) -> None:
        """Record answers; they are on disk when this returns."""
        self._directory.mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps([ordinal, answer]) + "\n" for ordinal, answer in answers.items())
        with open(self._path(chunk, key), "ab") as file:
            file.write(lines.encode())
            file.flush()
            os.fsync(file.fileno())

    def drop(self, chunk: int, key: str) -> None:
        """The chunk is committed."""
        self._path(chunk, key).unlink(missing_ok=True)

    def _path(self, chunk: int, key: str) -> Path:
        return self._directory / f"{chunk:08d}-{key}.jsonl"
