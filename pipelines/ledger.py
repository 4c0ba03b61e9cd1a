"""The verdict ledger: what every stage said of every shard, one small object per (stage, shard).

Text is never stored here. An object's path holds the key of what produced it, so a changed configuration finds
nothing under its new key and judges again, while everything else is replayed. A commit is one file written
beside its place and moved into it: a reader sees all of it or nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.schema import stable_hash
from snowcoder.base import UserError
from snowcoder.files import write_atomically

META = b"snowcoder"


@dataclass(frozen=True)
class Stage:
    """A stage as the ledger knows it: its key is hash(config, kernel version, key of the stage before).

    `basis` hashes what the verdict on a single document depends on, which is less: not on which documents the
    stages before let through. Verdicts of another key with the same basis can be reused document by document.
    """

    name: str
    version: int
    config: Mapping[str, Any] = field(hash=False)
    after: Stage | None = None
    basis: str = field(default="", compare=False)

    @property
    def key(self) -> str:
        upstream = self.after.key if self.after else ""
        return stable_hash([self.name, self.version, self.config, upstream])[:16]

    @property
    def folder(self) -> str:
        return f"{self.name}-{self.key}"

    def chain(self) -> list[Stage]:
        """This stage and all before it, first judged first."""
        return [*(self.after.chain() if self.after else []), self]


class Ledger:
    """Verdicts under one directory. Objects are small; nothing here ever holds more than one of them."""

    def __init__(self, root: str | Path):
        self.root = Path(root)
        self._known_siblings: dict[str, list[str]] = {}

    def path(self, stage: Stage, shard: int) -> Path:
        return self._path(stage.folder, shard)

    def _path(self, folder: str, shard: int) -> Path:
        return self.root / folder / f"{shard:08d}.arrow"

    def meta(self, stage: Stage, shard: int, identity: str | None = None) -> dict[str, Any] | None:
        """What was recorded beside the verdicts (counts, seconds), without reading them.

        None when absent, or when `identity` is given and the verdicts are of another shard of that number (the
        source has changed since). Raises UserError when the object is damaged.
        """
        found = self._open(stage.folder, shard)
        return found[0] if found and identity in (None, found[0].get("identity")) else None

    def read(self, stage: Stage, shard: int, identity: str | None = None) -> pa.Table | None:
        """The verdicts of one shard; None and UserError as for `meta`."""
        return self._read(stage.folder, shard, identity)

    def _read(self, folder: str, shard: int, identity: str | None) -> pa.Table | None:
        found = self._open(folder, shard)
        if not found or identity not in (None, found[0].get("identity")):
            return None
        try:
            return found[1].read_all().replace_schema_metadata(None)
        except (pa.ArrowInvalid, OSError) as error:
            raise self._damaged(folder, shard, error) from error

    def reusable(self, stage: Stage, shard: int, identity: str) -> pa.Table | None:
        """Verdicts on the same content under another configuration with the same basis; perhaps of other rows."""
        for key in self._siblings(stage):
            found = self._read(f"{stage.name}-{key}", shard, identity)
            if found is not None:
                return found
        return None

    def _siblings(self, stage: Stage) -> list[str]:
        if stage.folder not in self._known_siblings:
            found = []
            for path in sorted(self.root.glob(f"{stage.name}-*/stage.json")) if stage.basis else ():
                recorded = json.loads(path.read_text())
                key = path.parent.name.removeprefix(f"{stage.name}-")
                if recorded.get("basis") == stage.basis and key != stage.key:
                    found.append(key)
            self._known_siblings[stage.folder] = found
        return self._known_siblings[stage.folder]

    def _open(self, folder: str, shard: int) -> tuple[dict[str, Any], pa.ipc.RecordBatchFileReader] | None:
        try:
            reader = pa.ipc.open_file(pa.OSFile(str(self._path(folder, shard)), "rb"))
        except FileNotFoundError:
            return None
        except (pa.ArrowInvalid, OSError) as error:
            raise self._damaged(folder, shard, error) from error
        return json.loads((reader.schema.metadata or {}).get(META, b"{}")), reader

    def _damaged(self, folder: str, shard: int, error: Exception) -> UserError:
        return UserError(
            f"{self._path(folder, shard)}: damaged verdicts ({error}); delete the file and run again"
        )

    def commit(self, stage: Stage, shard: int, table: pa.Table, identity: str = "", **meta: Any) -> None:
        """Record the verdicts of one shard. Committing the same shard twice is harmless: verdicts are functions."""
        record = {
            "stage": stage.name,
            "key": stage.key,
            "shard": shard,
            "identity": identity,
            "rows": table.num_rows,
        }
        table = table.replace_schema_metadata({META: json.dumps({**record, **meta}).encode()})
        sink = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression="zstd", unify_dictionaries=True)
        with pa.ipc.new_file(sink, table.schema, options=options) as writer:
            writer.write_table(table.combine_chunks())
        write_atomically(self.path(stage, shard), sink.getvalue())

    def open(self, stages: Iterable[Stage]) -> list[str]:
        """Make these stages the current ones; says for each whether it replays, and if not, what changed.

        Writes stages.json (name -> key), and beside each stage's verdicts the configuration that made them.
        """
        current = self.current()
        lines = []
        for stage in stages:
            done = len(list((self.root / stage.folder).glob("*.arrow")))
            before = current.get(stage.name)
            if done:
                lines.append(f"{stage.name}: replay of {done} shards recorded under {stage.key}")
            elif before in (None, stage.key):
                lines.append(f"{stage.name}: nothing recorded yet")
            else:
                lines.append(f"{stage.name}: re-judge, {self._difference(stage, before)}")
            config = {
                "version": stage.version,
                "config": stage.config,
                "after": stage.after and stage.after.key,
                "basis": stage.basis,
            }
            write_atomically(self.root / stage.folder / "stage.json", json.dumps(config, indent=1).encode())
            current[stage.name] = stage.key
        write_atomically(self.root / "stages.json", json.dumps(current, indent=1).encode())
        return lines

    def current(self) -> dict[str, str]:
        path = self.root / "stages.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def _difference(self, stage: Stage, before: str) -> str:
        path = self.root / f"{stage.name}-{before}" / "stage.json"
        if not path.exists():
            return "its configuration changed"
        old = json.loads(path.read_text())
        changed = [
            f"{name} {old['config'].get(name)!r} -> {stage.config.get(name)!r}"
            for name in sorted({*old["config"], *stage.config})
            if json.dumps(old["config"].get(name)) != json.dumps(stage.config.get(name))
        ]
        if old["version"] != stage.version:
            changed.append(f"version {old['version']} -> {stage.version}")
        return ", ".join(changed) or "the stage before it changed"
