"""JSON Lines: one document a line. Plain files are cut by byte ranges; a compressed file is one shard.

A line belongs to the shard in which it starts. Blank lines are not rows. A line longer than `LINE_FACTOR`
times `max_document_bytes` is never held in memory: it is a row with the fault "too_large" and no other field.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from typing import IO, Any, NamedTuple

import pyarrow as pa

from pipelines.language import HEAD_BYTES, candidates, canonical, detect
from pipelines.schema import Shard
from pipelines.sources.config import COLUMN_FIELDS, SourceConfig
from pipelines.sources.files import (
    Expansion,
    StoredFile,
    Unpacked,
    allowance,
    damage,
    is_compressed,
    list_files,
    open_file,
    open_unpacked,
    stored_file,
)
from pipelines.sources.packing import UNNUMBERED, check_unchanged, place_name, seeded_order, take_within
from pipelines.sources.text import Documents
from snowcoder.base import UserError

SUFFIXES = tuple(
    stem + packed for stem in (".jsonl", ".ndjson", ".json") for packed in ("", ".gz", ".bz2", ".zst", ".xz")
)
LINE_FACTOR = 2
"""JSON escapes make code about 1.1 times longer; a factor of two leaves room for the other fields."""
TEXT_PER_STORED_BYTE = 4
"""Estimate of how much code compresses; only the sizing of shards depends on it."""

_BLOCK = 1 << 20


def shards(cfg: SourceConfig, seed: int) -> list[Shard]:
    files = list_files(cfg.paths, SUFFIXES)
    _check_columns(files[0].uri, cfg)
    planned = [shard for file in files for shard in _plan(file, cfg)]
    return take_within(seeded_order(planned, seed, place_name), cfg.max_bytes, lambda shard: shard.bytes)


def _plan(file: StoredFile, cfg: SourceConfig) -> Iterator[Shard]:
    state = cfg.fingerprint(file.state)
    if is_compressed(file.name):
        size = file.size * TEXT_PER_STORED_BYTE
        yield Shard(shard=UNNUMBERED, reader="jsonl", uri=file.uri, bytes=size, fingerprint=state)
        return
    count = -(-file.size // cfg.shard_bytes)
    edges = [file.size * index // count for index in range(count + 1)]
    for start, stop in pairwise(edges):
        part = json.dumps({"bytes": [start, stop]}, separators=(",", ":"))
        yield Shard(
            shard=UNNUMBERED, reader="jsonl", uri=file.uri, part=part, bytes=stop - start, fingerprint=state
        )


def _check_columns(uri: str, cfg: SourceConfig) -> None:
    """Each column must occur in the lines at the start of the file; lines that are no objects say nothing."""
    with damage(uri), closing(open_unpacked(uri)) as stream:
        head = stream.read(_BLOCK)
    whole = head if len(head) < _BLOCK else head[: head.rfind(b"\n") + 1]
    names: dict[str, None] = {}
    for line in whole.splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        names |= dict.fromkeys(record) if isinstance(record, dict) else {}
    for field, column in cfg.columns.items():
        if names and column not in names:
            raise UserError(
                f"{uri}: no {column!r} for {field!r} in its first lines; there are {', '.join(names)}: "
                f"correct source.columns.{field}"
            )


def read(shard: Shard, cfg: SourceConfig) -> Iterator[pa.Table]:
    file = stored_file(*shard.uri.rsplit("/", 1))
    check_unchanged(shard, cfg, file.state)
    documents = Documents(cfg.notebooks)
    limit = cfg.max_document_bytes * LINE_FACTOR
    with damage(shard.uri):
        try:
            for line in _lines(shard, limit, allowance(file.size, cfg.max_expansion)):
                if line.content is not None and not line.content.strip():
                    continue
                fields, content, fault = _parse(line, cfg)
                size = line.size if content is None else len(content)
                yield from documents.add(content, size=size, fault=fault, **fields)
        except Expansion:
            yield from documents.add(None, path="", fault="expansion")
        yield from documents.finish()


class Line(NamedTuple):
    content: bytes | None  # without its newline; None when it is longer than the limit
    size: int


def _lines(shard: Shard, limit: int, room: int) -> Iterator[Line]:
    if not shard.part:
        with closing(Unpacked(shard.uri, room)) as unpacked:
            for line, _ in split_lines(unpacked, limit):
                yield line
        return
    start, stop = json.loads(shard.part)["bytes"]
    position = max(0, start - 1)
    with open_file(shard.uri) as stream:
        # From one byte before: what comes up to its newline started in the shard before, be it nothing.
        stream.seek(position)
        for line, used in split_lines(stream, limit):
            if position >= start:
                yield line
            position += used
            if position >= stop:
                return


def split_lines(stream: IO[bytes] | Any, limit: int) -> Iterator[tuple[Line, int]]:
    """(line, bytes used with its newline), in memory of about `limit` whatever the lines are."""
    pending: list[bytes] = []
    size = 0
    while block := stream.read(_BLOCK):
        *ended, rest = block.split(b"\n")
        for piece in ended:
            size += len(piece)
            content = b"".join((*pending, piece)) if size <= limit else None
            yield Line(content, size), size + 1
            pending, size = [], 0
        size += len(rest)
        pending = [*pending, rest] if size <= limit else []
    if size:
        yield Line(b"".join(pending) if size <= limit else None, size), size


def _parse(line: Line, cfg: SourceConfig) -> tuple[dict[str, str], bytes | None, str | None]:
    """(fields, text as bytes, fault) of one line."""
    fields = dict.fromkeys(("path", "repo", "lang", "license"), "")
    if line.content is None:
        return fields, None, "too_large"
    try:
        record = json.loads(line.content)
    except UnicodeDecodeError:
        return fields, None, "invalid_utf8"
    except (ValueError, RecursionError):
        return fields, None, "bad_json"
    if not isinstance(record, dict):
        return fields, None, "bad_json"
    for field in COLUMN_FIELDS[1:]:
        if column := cfg.columns.get(field):
            fields[field] = _string(record.get(column))
    text = record.get(cfg.columns["text"])
    if not isinstance(text, str):
        return fields, None, "no_text"
    try:
        content = text.encode()
    except UnicodeEncodeError:  # an escaped half of a surrogate pair
        return fields, None, "invalid_utf8"
    if fields["lang"]:
        fields["lang"] = canonical(fields["lang"])
    else:
        head = content[:HEAD_BYTES] if len(candidates(fields["path"])) > 1 else b""
        fields["lang"] = detect(fields["path"], head)
    if len(content) > cfg.max_document_bytes:
        return fields, None, "too_large"
    return fields, content, None


def _string(value: object) -> str:
    """A field besides the text: a string, or a list of them joined by ", " (licences), else ""."""
    if isinstance(value, list):
        return ", ".join(_string(item) for item in value)
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""
