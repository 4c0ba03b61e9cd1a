"""The manifest: the shards of a source, in the order in which they are judged.

Made from metadata alone (Parquet footers, zip directories, file sizes). The order is a permutation that
depends on the seed and on each shard's place, so adding a file to the source does not reorder the rest.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pipelines.schema import SHARD_BITS, Shard, stable_hash
from pipelines.sources import LISTERS, SourceConfig
from pipelines.sources.packing import place_name, seeded_order
from snowcoder.base import UserError

FORMAT = 1


class Manifest:
    """The ordered shards. `shards[i].shard == i`."""

    def __init__(self, shards: list[Shard], seed: int) -> None:
        self.shards = shards
        self.seed = seed

    @cached_property
    def _chain(self) -> list[str]:
        chain = [stable_hash(FORMAT)]
        for shard in self.shards:
            chain.append(stable_hash([chain[-1], shard.identity()]))
        return chain

    def prefix(self, count: int) -> str:
        """Hash that chains over the identities of shards [0, count): what a verdict on shard `count` may
        depend on."""
        return self._chain[count]

    @property
    def fingerprint(self) -> str:
        """Hash over the identities of all shards, in order."""
        return self._chain[-1]

    def summary(self) -> dict[str, Any]:
        """Counts for people: shards, bytes (expected text), distinct repositories, and the same per
        reader."""
        readers = sorted({shard.reader for shard in self.shards})
        by_reader = {name: [shard for shard in self.shards if shard.reader == name] for name in readers}
        return _count(self.shards) | {"readers": {name: _count(shards) for name, shards in by_reader.items()}}

    def write(self, path: str | Path) -> None:
        """JSON lines: a header, then one line a shard. A file cut short is told by its header when it is
        read."""
        header = {
            "format": FORMAT,
            "seed": self.seed,
            "shards": len(self.shards),
            "bytes": sum(shard.bytes for shard in self.shards),
            "fingerprint": self.fingerprint,
        }
        lines = [json.dumps(header, separators=(",", ":")), *(shard.to_json() for shard in self.shards)]
        Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: str | Path) -> Manifest:
        """Raises UserError when the file is missing, damaged or of another format."""
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
            header = json.loads(lines[0])
            if header["format"] != FORMAT:
                raise UserError(
                    f"{path}: manifest of format {header['format']}, this version reads {FORMAT}: rebuild it"
                )
            manifest = cls([Shard.from_json(line) for line in lines[1:]], header["seed"])
            whole = manifest.fingerprint == header["fingerprint"]
        except OSError as error:
            raise UserError(f"{path}: manifest cannot be read ({error.strerror}); build it first") from error
        except (ValueError, LookupError, TypeError):
            whole = False
        if not whole:
            raise UserError(f"{path}: manifest is cut short or was edited; rebuild it")
        return manifest


def _count(shards: list[Shard]) -> dict[str, int]:
    repositories = {repo for shard in shards for repo in shard.repos}
    return {
        "shards": len(shards),
        "bytes": sum(shard.bytes for shard in shards),
        "repositories": len(repositories),
    }


def build_manifest(
    cfg: SourceConfig, seed: int, order: Callable[[list[Shard]], list[Shard]] | None = None
) -> Manifest:
    """List a source and put its shards in seeded order, and then in that of `order`.

    Raises UserError when the source is missing, damaged or empty.
    """
    listed = LISTERS[cfg.kind](cfg, seed)
    if not listed:
        where = ", ".join(cfg.paths) or "the installed distributions"
        raise UserError(
            f"source {cfg.kind}: no document in {where}; check its paths, languages and max_bytes"
        )
    if len(listed) >> (63 - SHARD_BITS):
        raise UserError(f"source {cfg.kind}: {len(listed)} shards are too many; raise source.shard_bytes")
    ordered = seeded_order(listed, seed, place_name)
    ordered = order(ordered) if order else ordered
    return Manifest([replace(shard, shard=place) for place, shard in enumerate(ordered)], seed)
