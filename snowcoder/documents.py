"""Single documents of a run, read again from its source as a stage met them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.manifest import Manifest
from pipelines.schema import SHARD_BITS, Shard
from pipelines.sources import read_shard
from pipelines.stages.text_stage import TextStage
from snowcoder.base import UserError
from snowcoder.config import RunConfig, load_config
from snowcoder.run_verdicts import Breach, Columns, RunVerdicts
from snowcoder.verdicts import ShardVerdicts


class Place(NamedTuple):
    """Where a document lies: a shard's number and its row there."""

    shard: int
    row: int

    @classmethod
    def of(cls, ordinal: int) -> Place:
        return cls(ordinal >> SHARD_BITS, ordinal & ((1 << SHARD_BITS) - 1))

    @classmethod
    def parse(cls, text: str) -> Place | None:
        """ "12:345" is row 345 of shard 12; None for anything else."""
        shard, colon, row = text.partition(":")
        return cls(int(shard), int(row)) if colon and shard.isdecimal() and row.isdecimal() else None

    def __str__(self) -> str:
        return f"{self.shard}:{self.row}"


class Documents:
    """The documents behind a run's verdicts. A shard is read anew for each call.

    Raises UserError when the manifest or config.yaml is damaged or missing.
    """

    def __init__(self, run_dir: str | Path):
        self.run_dir = Path(run_dir)
        self.config: RunConfig = load_config(self.run_dir / "config.yaml")
        self.shards: list[Shard] = Manifest.read(self.run_dir / "manifest.jsonl").shards
        self.verdicts = RunVerdicts(run_dir)

    def read(self, shard: int, rows: Collection[int], stage: str = "") -> dict[int, dict[str, Any]]:
        """Row -> the fields of DOCUMENT, as `stage` met the document; "": as it lies in the source.

        Earlier stages may have changed it: its language, a header or a secret taken out. Rows that are not
        there are left out.
        """
        if not 0 <= shard < len(self.shards):
            return {}
        amending = [each for each in self._stages if each.amend is not None and self._is_before(each, stage)]
        recorded = self.recorded(shard, {each.stage.name: None for each in amending}) if amending else None
        found: dict[int, dict[str, Any]] = {}
        for table in read_shard(self.shards[shard], self.config.source):
            table = table.filter(pa.array(np.isin(np.asarray(table["row"]), list(rows))))
            for each in amending if table.num_rows else ():
                table = _amended(table, each, recorded)
            found |= {record["row"]: record for record in table.to_pylist()}
            if len(found) == len(rows):
                break
        return found

    def recorded(self, shard: int, columns: Columns | None = None) -> ShardVerdicts:
        """The verdicts of one shard, as `RunVerdicts.of` reads them. UserError when they do not fit each other."""
        try:
            return self.verdicts.of(shard, columns)
        except Breach as breach:
            raise UserError(f"shard {shard}, {breach.args[0]}: {breach.args[1]}") from breach

    def find(self, repo: str, path: str) -> Iterator[Place]:
        """Where the file `path` of the repository `repo` lies; shards that name other repositories are not read."""
        for shard in self.shards:
            if shard.repos and repo and repo not in shard.repos:
                continue
            for table in read_shard(shard, self.config.source):
                found = table.filter(pa.compute.equal(table["path"], path))
                found = found.filter(pa.compute.equal(found["repo"].fill_null(""), repo))
                for row in found["row"].to_pylist():
                    yield Place(shard.shard, row)

    def locate(self, text: str) -> Place:
        """The document that `text` names as SHARD:ROW or REPO:PATH. UserError when there is none."""
        if place := Place.parse(text):
            return place
        repo, colon, path = text.partition(":")
        if not colon:
            raise UserError(f"{text}: name a document as REPO:PATH or SHARD:ROW")
        place = next(self.find(repo, path), None)
        if place is None:
            raise UserError(
                f"{text}: no such file among the {len(self.shards)} shards of {self.run_dir}/manifest.jsonl; it was "
                "never read: the source's own settings (languages, exclude, sizes) leave it out, or it is spelled "
                "otherwise"
            )
        return place

    @cached_property
    def _stages(self) -> list[TextStage]:
        from pipelines.stages.chain import text_stages
        from pipelines.stages.stored_index import StoredIndex

        return text_stages(self.config.curation, StoredIndex("", ""))  # what amends needs no benchmarks

    def _is_before(self, each: TextStage, stage: str) -> bool:
        stages = self.verdicts.stages
        name = each.stage.name
        return name in stages and stage in stages and stages.index(name) < stages.index(stage)


def _amended(table: pa.Table, stage: TextStage, recorded: ShardVerdicts | None) -> pa.Table:
    """The documents that the stage judged, as it left them; it amends those that passed it."""
    verdicts = recorded.stage(stage.stage.name) if recorded else None
    if verdicts is None:
        return table
    passed = np.isin(np.asarray(table["row"]), verdicts.rows[verdicts.passed])
    changed = stage.amended(table.filter(pa.array(passed)), verdicts.table)
    return pa.concat_tables([changed, table.filter(pa.array(~passed))])
