"""The current verdicts of a run, one shard at a time, checked against each other.

Only the columns that are asked for are read, and nothing of one shard is kept for the next: a run of any size
is looked through in the memory of one shard's verdicts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.ledger import META, Ledger
from snowcoder.verdicts import ShardVerdicts, Verdicts

STAGES = ("language", "rules", "licence", "syntax", "decontaminate", "secrets", "claim")
"""The stages that may judge documents, in the order a document meets them."""

Columns = Mapping[str, tuple[str, ...] | None]
"""Stage -> the columns to read; None: all that it has."""

# The rules record what is known of each document; of what the language stage rejects, that stage has to.
_KNOWN = ("row", "reason", "lang", "size")
_KNOWING = ("language", "rules")
_READ_WHOLE = 128 << 10  # bytes


class Violation(NamedTuple):
    """One breach of the accounting: each row read is judged until its first reason, and counted once."""

    shard: int
    stage: str
    problem: str

    def __str__(self) -> str:
        return f"shard {self.shard}, {self.stage}: {self.problem}"


class Breach(Exception):
    """(stage, problem): why a shard cannot be counted."""


class RunVerdicts:
    """The current verdict objects of a run directory.

    Raises UserError when the manifest is damaged.
    """

    def __init__(self, run_dir: str | Path):
        self.run_dir = Path(run_dir)
        root = self.run_dir / "ledger"
        current = Ledger(root).current()
        self.folders = {stage: root / f"{stage}-{current[stage]}" for stage in _chain(root, current)}
        self._identities, self._prefixes = _identities(self.run_dir / "manifest.jsonl")
        self._names: dict[tuple[str, tuple[str, ...]], list[int]] = {}

    @property
    def stages(self) -> tuple[str, ...]:
        return tuple(self.folders)

    def recorded(self, stage: str) -> dict[str, Any]:
        """stage.json: the `version` and `config` that the verdicts were made by; {} when it is not there."""
        path = self.folders[stage] / "stage.json" if stage in self.folders else None
        return json.loads(path.read_text()) if path and path.exists() else {}

    def shards(self) -> list[int]:
        """Shards that any stage has judged, and that the manifest lists if there is one."""
        found = {int(path.stem) for folder in self.folders.values() for path in folder.glob("[0-9]*.arrow")}
        return sorted(found & self._identities.keys() if self._identities else found)

    def each(
        self,
        columns: Columns | None = None,
        violations: list[Violation] | None = None,
    ) -> Iterator[ShardVerdicts]:
        """Every shard with verdicts, in order. Those that breach the accounting are passed over and named."""
        for shard in self.shards():
            try:
                found = self.of(shard, columns)
            except Breach as breach:
                if violations is not None:
                    violations.append(Violation(shard, *breach.args))
                continue
            if found.stage(
                "rules"
            ):  # else it is not judged yet, or all objects are of an earlier content of it
                yield found

    def of(self, shard: int, columns: Columns | None = None) -> ShardVerdicts:
        """One shard's verdicts with the `columns` named for each stage, and row and reason; None: with all.

        Raises Breach when they do not fit each other.
        """
        result: list[Verdicts] = []
        survivors = np.empty(0, np.int32)
        absent = ""
        for stage in self.folders:
            wanted = None if columns is None else columns.get(stage, ())
            found = self._read(stage, shard, wanted)
            if found is None:
                absent = absent or stage
                continue
            if absent:
                raise Breach(stage, f"judged without the verdicts of {absent}, which comes before")
            rows = found.rows
            if not result and not np.array_equal(rows, np.arange(len(rows))):
                raise Breach(stage, f"rows are not 0..{len(rows) - 1} in order, each once")
            if result and not np.array_equal(rows, survivors):
                raise Breach(stage, _misjudged(rows, survivors))
            code, reasons = found.reason
            if "" in reasons and (code == reasons.index("")).any():
                raise Breach(stage, "a rejected row has no reason")
            survivors = rows[found.passed]
            result.append(found)
        return ShardVerdicts(shard, result, len(result) == len(self.folders))

    def _read(self, stage: str, shard: int, columns: tuple[str, ...] | None) -> Verdicts | None:
        """None when the object is absent or is of an earlier content of the shard."""
        path = self.folders[stage] / f"{shard:08d}.arrow"
        if columns is not None:
            columns = (*columns, *(_KNOWN if stage in _KNOWING else ("row", "reason")))
        try:
            with _file(path) as source:
                reader = self._open(source, stage, columns)
                meta = json.loads((reader.schema.metadata or {}).get(META, b"{}"))
                # A claim depends on all shards before its own, so it is filed under the hash of the whole prefix.
                known = self._prefixes if stage == "claim" else self._identities
                if known and meta.get("identity") != known[shard]:
                    return None
                table = reader.read_all()
        except FileNotFoundError:
            return None
        except (pa.ArrowInvalid, OSError, ValueError) as error:
            raise Breach(stage, f"damaged verdicts ({error}); delete {path} and run again") from error
        missing = {"row", *(_KNOWN if stage == "rules" else ())} - set(table.column_names)
        if missing:
            raise Breach(stage, f"no column {', '.join(sorted(missing))}")
        recorded = (meta.get("shard"), f"{meta.get('stage')}-{meta.get('key')}", meta.get("rows"))
        expected = (shard, self.folders[stage].name, table.num_rows)
        if recorded != expected:
            raise Breach(stage, f"recorded as (shard, stage, rows) {recorded}, found as {expected}")
        if any(column.num_chunks != 1 for column in table.columns):
            table = table.unify_dictionaries().combine_chunks()
        if "reason" not in table.column_names:  # a stage that only finds something out
            table = table.append_column("reason", pa.nulls(table.num_rows, pa.string()))
        return Verdicts(stage, meta, table)

    def _open(
        self, source: pa.NativeFile, stage: str, columns: tuple[str, ...] | None
    ) -> pa.ipc.RecordBatchFileReader:
        """A reader of just these columns. Objects of one stage have one schema: its places are looked up once."""
        if columns is None:
            return pa.ipc.open_file(source)
        options = pa.ipc.IpcReadOptions(use_threads=False)  # for so little they cost more than they give
        names = set(columns)
        places = self._names.get((stage, columns))
        if places is not None:
            try:
                options.included_fields = places
                reader = pa.ipc.open_file(source, options=options)
                if set(reader.schema.names) <= names:
                    return reader
            except pa.ArrowInvalid:
                pass  # fewer columns than in the shard before: looked up again
            source.seek(0)
        schema = pa.ipc.open_file(source).schema
        places = [place for place, name in enumerate(schema.names) if name in names]
        self._names[stage, columns] = places
        source.seek(0)
        options.included_fields = places
        return pa.ipc.open_file(source, options=options)


def _file(path: Path) -> pa.NativeFile:
    """The file, or what is in it where that is little: one read is faster than a seek for each of its parts."""
    if path.stat().st_size > _READ_WHOLE:
        return pa.OSFile(str(path), "rb")
    return pa.BufferReader(path.read_bytes())


def _chain(root: Path, current: Mapping[str, str]) -> list[str]:
    """The current stages that judge documents, in order.

    `stages.json` goes on naming a stage that was switched off since; the recorded keys tell which came before
    the last one.
    """
    names = [stage for stage in STAGES if stage in current]
    chain = names[-1:]
    while chain:
        path = root / f"{chain[-1]}-{current[chain[-1]]}" / "stage.json"
        if not path.exists():
            return names
        after = json.loads(path.read_text())["after"]
        before = [stage for stage in names if current[stage] == after]
        if not before:
            break
        chain += before
    return chain[::-1]


def _identities(manifest: Path) -> tuple[dict[int, str], dict[int, str]]:
    """Shard number -> identity, and -> hash of the order up to and with it; {} when there is no manifest.

    Some 200 bytes a shard, all that grows here.
    """
    if not manifest.exists():
        return {}, {}
    from pipelines.manifest import Manifest  # here, because it loads every kind of source

    found = Manifest.read(manifest)
    identities = {shard.shard: shard.identity() for shard in found.shards}
    return identities, {number: found.prefix(number + 1) for number in identities}


def _misjudged(rows: np.ndarray, survivors: np.ndarray) -> str:
    """How the rows judged differ from those that passed the stage before."""
    missing, extra = np.setdiff1d(survivors, rows), np.setdiff1d(rows, survivors)
    if missing.size:
        return f"{missing.size} rows that passed before have no verdict, first {missing[0]}"
    if extra.size:
        return f"{extra.size} rows that did not pass before are judged, first {extra[0]}"
    if len(rows) != len(survivors):
        return f"{len(rows) - len(survivors)} rows are judged twice"
    return "the rows are not in order"
