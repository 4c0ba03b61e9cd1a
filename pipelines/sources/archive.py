"""Source archives: tar (plain, gz, bz2, xz, zst), zip, wheel, npm .tgz, .crate. Each archive is a repository.

Nothing is ever extracted to disk: members are read in place and their names are only names, whatever they
say. Archives are read whole, small ones together in a shard. A member that cannot be read is a row with a
fault; an archive that is truncated is a UserError; one that unpacks to more than `max_expansion` allows ends
with a row whose fault is "expansion".
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pyarrow as pa

from pipelines.language import detect
from pipelines.schema import Shard
from pipelines.sources import tar_archive, zip_archive
from pipelines.sources.config import SourceConfig
from pipelines.sources.files import Expansion, StoredFile, allowance, is_compressed, list_files, stored_file
from pipelines.sources.members import Archive
from pipelines.sources.packing import Piece, check_unchanged, pack, seeded_order, take_within
from pipelines.sources.text import Documents

SUFFIXES = zip_archive.SUFFIXES + tar_archive.SUFFIXES
TEXT_PER_STORED_BYTE = 4
"""Estimate for a packed tar, which has no directory; only the sizing of shards depends on it."""


def shards(cfg: SourceConfig, seed: int) -> list[Shard]:
    pieces = [_piece(file, cfg) for file in list_files(cfg.paths, SUFFIXES)]
    ordered = seeded_order(pieces, seed, lambda piece: f"{piece.uri}/{piece.part}")
    return pack(take_within(ordered, cfg.max_bytes, lambda piece: piece.bytes), cfg, "archive")


def _piece(file: StoredFile, cfg: SourceConfig) -> Piece:
    if _is_zip(file.name):
        size = zip_archive.document_bytes(_archive(file, cfg))
    else:
        size = file.size * (TEXT_PER_STORED_BYTE if is_compressed(file.name) else 1)
    return Piece(file.root, part=file.name, repo=repository_name(file.name), bytes=size, state=file.state)


def _archive(file: StoredFile, cfg: SourceConfig) -> Archive:
    room = allowance(file.size, cfg.max_expansion)
    return Archive(file.uri, file.size, room, cfg.max_document_bytes, cfg.languages)


def _is_zip(name: str) -> bool:
    return name.lower().endswith(zip_archive.SUFFIXES)


def repository_name(name: str) -> str:
    """The name without suffix and tags: foo_1.2.orig.tar.xz is foo_1.2, a-1.0-py3-none-any.whl is a-1.0."""
    base = os.path.basename(name)
    suffix = max((s for s in SUFFIXES if base.lower().endswith(s)), key=len, default="")
    stem = base[: len(base) - len(suffix)].removesuffix(".orig")
    return "-".join(stem.split("-")[:2]) if suffix == ".whl" else stem


def read(shard: Shard, cfg: SourceConfig) -> Iterator[pa.Table]:
    files = [stored_file(shard.uri, name) for name in json.loads(shard.part)]
    check_unchanged(shard, cfg, [file.state for file in files])
    documents = Documents(cfg.notebooks)
    for file in files:
        archive = _archive(file, cfg)
        reader = zip_archive if _is_zip(file.name) else tar_archive
        about = {"repo": repository_name(file.name), "license": reader.license(archive)}
        try:
            for member in reader.members(archive):
                lang = detect(member.name, member.content or b"")
                yield from documents.add(
                    member.content, path=member.name, lang=lang, size=member.size, fault=member.fault, **about
                )
        except Expansion:
            yield from documents.add(None, path="", size=file.size, fault="expansion", **about)
    yield from documents.finish()
