"""An index on disk: to deduplicate another corpus against it without touching it, or reading its source again.

A folder of one set of array files per partition, on a file system that all nodes see, and `index.json`, which is
written last: a folder without it holds nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.dedup.config import DedupConfig
from pipelines.dedup.index import Index, LocalPartitions, PartitionLost, Partitions, RayPartitions
from pipelines.dedup.keys import KEYS_VERSION
from pipelines.schema import stable_hash
from snowcoder.base import UserError
from snowcoder.files import write_atomically

_HEADER = "index.json"


def save_index(index: Index, folder: str | Path, cfg: DedupConfig, **about: Any) -> None:
    """Write the index to an absent or empty folder. `about`: whatever should be recorded beside it (JSON).

    Raises UserError when the folder holds something.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder}: is not empty; remove it or choose another place for the index")
    folder.mkdir(parents=True, exist_ok=True)
    count = len(index.partitions)
    checksums = index.partitions.call("save", dict.fromkeys(range(count), (str(folder.absolute()),)))
    header = {
        "keys": _key_fields(cfg),
        "config": cfg.model_dump(mode="json"),
        "corpus": index.number,
        "checksums": [checksums[number] for number in range(count)],
        "about": about,
    }
    write_atomically(folder / _HEADER, json.dumps(header, indent=1))


def index_fingerprint(folder: str | Path) -> str:
    """Hash of what a stored index holds; verdicts against it are void when it changes. UserError as `load_index`."""
    header = _header(Path(folder))
    return stable_hash([header["keys"], header["corpus"], header["checksums"]])


def load_index(folder: str | Path, cfg: DedupConfig, *, name_prefix: str | None = None) -> Index:
    """A stored index, for `Index.below`. Its partitions are mapped from their files, in this process or, with a
    `name_prefix`, in Ray actors (keep the index as long as it is used).

    Raises UserError where there is none, where its keys were made in another way than `cfg` makes them, and where a
    file is damaged.
    """
    folder = Path(folder).absolute()
    header = _header(folder)
    ours, theirs = _key_fields(cfg), header["keys"]
    for name in ours:
        if ours[name] != theirs.get(name):
            raise UserError(
                f"{folder}: its keys were made with dedup.{name} = {theirs.get(name)}, here it is {ours[name]}; "
                "use the same value or build that index again"
            )
    if header["corpus"] and header["config"]["link"] == "chain":
        raise UserError(
            f"{folder}: a chain against other corpora has roots outside it; build it with link: direct"
        )
    theirs_cfg = DedupConfig(**header["config"])
    theirs_partitions: Partitions
    try:
        if name_prefix is None:
            theirs_partitions = LocalPartitions(theirs_cfg)
        else:
            theirs_partitions = StoredPartitions(name_prefix, theirs_cfg, str(folder))
        found = theirs_partitions.call("load", dict.fromkeys(range(len(theirs_partitions)), (str(folder),)))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: stored index cannot be read ({error}); build it again") from error
    damaged = [number for number, checksum in found.items() if checksum != header["checksums"][number]]
    if damaged:
        raise UserError(f"{folder}: partition {damaged[0]} of the stored index is damaged; build it again")
    return Index(theirs_partitions, number=header["corpus"])


class StoredPartitions(RayPartitions):
    """Actors that have their contents from files, and get them again when one is lost."""

    def __init__(self, name_prefix: str, cfg: DedupConfig, folder: str) -> None:
        super().__init__(name_prefix, cfg.partitions)
        self._prefix, self._cfg, self._folder = name_prefix, cfg, folder

    def __reduce__(self) -> tuple:
        return StoredPartitions, (self._prefix, self._cfg, self._folder)

    def call(self, method: str, arguments: Mapping[int, tuple]) -> dict[int, Any]:
        for _ in range(len(self)):
            try:
                return super().call(method, arguments)
            except PartitionLost as lost:
                self.replace(lost.number, self._cfg)
                super().call("load", {lost.number: (self._folder,)})
        return super().call(method, arguments)


def _key_fields(cfg: DedupConfig) -> dict[str, Any]:
    return {**cfg.key_fields(), "version": KEYS_VERSION}


def _header(folder: Path) -> dict[str, Any]:
    try:
        header: dict[str, Any] = json.loads((folder / _HEADER).read_text(encoding="utf-8"))
        header["keys"], header["corpus"], header["checksums"], header["config"]
    except OSError as error:
        raise UserError(
            f"{folder}: no stored index ({error.strerror}); name a folder that holds {_HEADER}"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / _HEADER}: damaged ({error}); build the stored index again") from error
    return header
