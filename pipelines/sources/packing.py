"""From the pieces of a source to its shards: which pieces are taken, and which share a shard."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pipelines.schema import Shard, stable_hash
from pipelines.sources.config import SourceConfig
from snowcoder.base import UserError

UNNUMBERED = -1
"""`Shard.shard` before the manifest puts the shards in order."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Piece:
    """What is never cut further: a repository, a run of a large repository's files, an archive."""

    uri: str  # pieces share a shard only under one
    part: Any  # the reader's words for it; JSON-able
    repo: str
    bytes: int
    state: Any  # changes when the content may have changed; JSON-able


def seeded_order(items: Iterable[Item], seed: int, name: Callable[[Item], str]) -> list[Item]:
    """A permutation that depends on (seed, name) of each item alone, not on the order or number of the
    others."""
    return sorted(items, key=lambda item: (stable_hash([seed, name(item)]), name(item)))


def place_name(shard: Shard) -> str:
    """Where a shard's text lies: what orders it, whatever becomes of the content."""
    return f"{shard.uri}#{shard.part}"


def take_within(items: Sequence[Item], cap: int | None, size: Callable[[Item], int]) -> list[Item]:
    """The items that fit under `cap` together, tried in their order; one that does not fit is passed over."""
    if cap is None:
        return list(items)
    taken, left = [], cap
    for item in items:
        if size(item) <= left:
            taken.append(item)
            left -= size(item)
    return taken


def runs(sizes: Sequence[int], limit: int) -> list[tuple[int, int, int]]:
    """Cut consecutive items into runs of at most `limit` bytes, a larger item alone: (start, stop, bytes)."""
    cut: list[tuple[int, int, int]] = []
    start = total = 0
    for index, size in enumerate(sizes):
        if index > start and total + size > limit:
            cut.append((start, index, total))
            start, total = index, 0
        total += size
    if len(sizes) > start:
        cut.append((start, len(sizes), total))
    return cut


def pack(pieces: Sequence[Piece], cfg: SourceConfig, reader: str) -> list[Shard]:
    """Fill shards of about `cfg.shard_bytes` with pieces, in their order."""
    packed: list[Shard] = []
    for uri in dict.fromkeys(piece.uri for piece in pieces):
        mine = [piece for piece in pieces if piece.uri == uri]
        for start, stop, total in runs([piece.bytes for piece in mine], cfg.shard_bytes):
            packed.append(
                Shard(
                    shard=UNNUMBERED,
                    reader=reader,
                    uri=uri,
                    part=json.dumps([piece.part for piece in mine[start:stop]], separators=(",", ":")),
                    repos=tuple(dict.fromkeys(piece.repo for piece in mine[start:stop])),
                    bytes=total,
                    fingerprint=cfg.fingerprint([piece.state for piece in mine[start:stop]]),
                )
            )
    return packed


def check_unchanged(shard: Shard, cfg: SourceConfig, content: object) -> None:
    """Raises UserError when a shard's content, or the way it is read, is not what the manifest saw."""
    if cfg.fingerprint(content) != shard.fingerprint:
        which = ", ".join((*shard.repos[:3], "…")) if shard.repos else "the file"
        raise UserError(
            f"{shard.uri}: {which} or the source's configuration changed after the manifest; rebuild it"
        )
