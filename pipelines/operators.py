"""What the stream's operators do with a block: judge, claim, score, pack, deal. One row is one shard, or one entry."""

from __future__ import annotations

import json
import logging
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipelines.curation import Curation, claim, is_claimed, judge, rehash
from pipelines.dedup.claim import rebuild
from pipelines.dedup.index import Index, LocalPartitions, PartitionLost, create_partitions
from pipelines.dedup.keys import DocumentKeys
from pipelines.dedup.snapshot import load_index
from pipelines.packing import Packing, pack_shard
from pipelines.schema import Shard, sequence_schema
from pipelines.sequences.deal import Dealer, Dealing
from pipelines.sequences.order import Seek
from snowcoder.files import write_atomically

if TYPE_CHECKING:
    from pipelines.scoring import Scoring

_LOST_PARTITIONS = 3  # index partitions that one shard's claim may lose and build again

log = logging.getLogger(__name__)


class Judge:
    """One shard a row; adds the column `keys` (Arrow IPC of rows and keys), null when nothing is left to claim."""

    def __init__(self, curation: Curation):
        self.curation = curation

    def __call__(self, batch: pa.Table) -> pa.Table:
        found = [judge(shard, self.curation) for shard in _shards(batch)]
        cells = [
            _cell(None if one is None else one[1].to_table().append_column("row", pa.array(one[0])))
            for one in found
        ]
        return batch.append_column("keys", pa.chunked_array(cells, pa.large_binary()))


class Claim:
    """Alone and in shard order. Its index is built when the first undecided shard comes, and lost with its process;
    a new process builds it again from the verdicts of the shards before."""

    def __init__(self, curation: Curation, shards: tuple[Shard, ...], labels: dict[str, str]):
        self.curation, self.shards, self.labels = curation, shards, labels
        self.index: Index | None = None
        self.upto = 0  # the index holds the shards before this one

    def __call__(self, batch: pa.Table) -> pa.Table:
        for shard, cell in zip(_shards(batch), batch["keys"], strict=True):
            if cell.is_valid and not is_claimed(shard, self.curation):
                if shard.shard > 0 and not is_claimed(self.shards[shard.shard - 1], self.curation):
                    raise RuntimeError(f"shard {shard.shard} came before shard {shard.shard - 1} was claimed")
                table = from_ipc(cell)
                self._claim(shard, table["row"].to_numpy(), DocumentKeys.from_table(table))
        return batch.drop_columns(["keys"])

    def _claim(self, shard: Shard, rows: np.ndarray, keys: DocumentKeys) -> None:
        """Claim, again after a partition was lost: a claim that was half entered is entered again, to no effect."""
        index = self._index_before(shard)
        for left in reversed(range(_LOST_PARTITIONS + 1)):
            try:
                return claim(shard, rows, keys, index, self.curation)
            except PartitionLost as lost:
                if not left:
                    raise
                log.warning("%s; building it again from %d shards", lost, shard.shard)
                index.partitions.replace(lost.number, self.curation.dedup)
                before = rehash_all(list(self.shards[: shard.shard]), self.curation, self.labels)
                rebuild(index, before, self.curation.dedup, only={lost.number})
        return None

    def _index_before(self, shard: Shard) -> Index:
        """The index with all shards before this one, those included whose claims were replayed and not made here."""
        dedup = self.curation.dedup
        if self.index is None:
            # One partition needs no process of its own. Actors end with this one: nobody meets a stale index.
            name = f"index-{uuid.uuid4().hex[:8]}"
            partitions = (
                LocalPartitions(dedup)
                if dedup.partitions == 1
                else create_partitions(dedup, name, self.labels)
            )
            below = [
                load_index(folder, dedup, name_prefix=f"{name}-below-{number}")
                for number, folder in enumerate(dedup.against)
            ]
            self.index = Index(partitions, below)
        between = list(self.shards[self.upto : shard.shard])
        rebuild(self.index, rehash_all(between, self.curation, self.labels), dedup)
        self.upto = (
            shard.shard + 1
        )  # its own keys enter with its claim; a retry enters them again, to no effect
        return self.index


def rehash_all(
    shards: list[Shard], curation: Curation, labels: dict[str, str] | None = None
) -> Iterator[tuple[int, np.ndarray, DocumentKeys]]:
    """Keys of kept documents of many shards, in order, computed by tasks with a bounded number under way."""
    import ray

    @ray.remote(num_cpus=1, label_selector=labels or None)
    def task(shard: Shard, curation: Curation) -> tuple[np.ndarray, DocumentKeys]:
        return rehash(shard, curation)

    shared = ray.put(curation)
    waiting: list[tuple[int, Any]] = []
    for shard in shards:
        waiting.append((shard.shard, task.remote(shard, shared)))
        if len(waiting) >= 8:
            number, reference = waiting.pop(0)
            yield number, *ray.get(reference)
    for number, reference in waiting:
        yield number, *ray.get(reference)


class Score:
    """Scores, and where thresholds are set selects and tees; the model is loaded once per actor."""

    def __init__(self, scoring: Scoring):
        self.scoring = scoring
        self.scorer: Any = None

    def __call__(self, batch: pa.Table) -> pa.Table:
        for shard in _shards(batch):
            self.scorer = self.scoring.run(shard, self.scorer)
        return batch


class Pack:
    """One row an entry, whose cell holds all its sequences: also an entry without any keeps its place in the order."""

    def __init__(self, packing: Packing):
        self.packing = packing

    def __call__(self, batch: pa.Table) -> pa.Table:
        # A task has one CPU; with a thread for each of the node's, tasks side by side would fight over them.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        epochs = batch["epoch"].to_pylist()
        cells = [
            _cell(pack_shard(shard, epoch, self.packing))
            for epoch, shard in zip(epochs, _shards(batch), strict=True)
        ]
        return batch.select(["entry"]).append_column("rows", pa.chunked_array(cells, pa.large_binary()))


def _cell(table: pa.Table | None) -> pa.Array:
    """A table as a large_binary array of length one (Arrow IPC), null for None; its bytes are written once."""
    if table is None:
        return pa.nulls(1, pa.large_binary())
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    data = sink.getvalue()
    offsets = pa.py_buffer(np.array([0, data.size], np.int64))
    return pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, data])


def from_ipc(cell: pa.Scalar) -> pa.Table:
    with pa.ipc.open_stream(cell.as_buffer()) as reader:
        return reader.read_all()


class Deal:
    """Alone and in order: interleaves the entries and gives out dealt groups of rows."""

    def __init__(self, dealing: Dealing, found: Seek, stop: int, tail: Path):
        self.dealer, self.tail = Dealer(dealing, found, stop), tail
        self.empty = sequence_schema(dealing.seq_len).empty_table()

    def __call__(self, batch: pa.Table) -> pa.Table:
        groups = [self.empty]
        for entry, cell in zip(batch["entry"].to_pylist(), batch["rows"], strict=True):
            groups += self.dealer.push(entry, from_ipc(cell))
        if self.dealer.ended:
            record = {"global_batch": self.dealer.dealing.global_batch, "sequences": self.dealer.tail()}
            write_atomically(self.tail, json.dumps(record).encode())
        return pa.concat_tables(groups)


def _shards(batch: pa.Table) -> list[Shard]:
    return [Shard.from_json(text) for text in batch["descriptor"].to_pylist()]
