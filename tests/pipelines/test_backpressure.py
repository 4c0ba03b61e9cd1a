"""The stream never outruns training: what is on the way to a slow consumer is bounded, however long it waits."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.ledger import Stage
from pipelines.packing import Documents
from pipelines.phases.corpus import curate, make_tokenizer
from pipelines.phases.general import general
from pipelines.schema import Shard
from pipelines.sequences.config import TokenizerConfig
from pipelines.sequences.deal import Dealing
from pipelines.stream import training_stream
from tests.corpora import corpus, write_repositories

LIMIT = 6 << 20  # bytes of the object store that the stream may use
EPOCHS = 25
SETTLED_SECONDS = 2.0  # nothing was opened for so long: the stream waits


@dataclass(frozen=True)
class Counted:
    """Documents that leave a file for each time a shard of them is opened."""

    documents: Documents
    folder: Path

    @property
    def stage(self) -> Stage:
        return self.documents.stage

    def of(self, shard: Shard) -> Iterator[pa.Table]:
        (self.folder / uuid.uuid4().hex).touch()
        return self.documents.of(shard)

    @property
    def opened(self) -> int:
        return sum(1 for _ in self.folder.iterdir())


def settled(counted: Counted) -> int:
    """Shards opened, once no more of them are."""
    last, since = counted.opened, time.monotonic()
    while time.monotonic() - since < SETTLED_SECONDS:
        time.sleep(0.1)
        if counted.opened != last:
            last, since = counted.opened, time.monotonic()
    return last


@pytest.mark.timeout(240)
def test_a_slow_consumer_holds_the_stream_back(tmp_path, ray_session):
    from ray.data import ExecutionResources

    made = corpus(write_repositories(tmp_path / "source"), tmp_path / "run", seq_len=1024)
    make_tokenizer(made, TokenizerConfig(vocab_size=600, sample_bytes=70_000))
    list(curate(made))
    plan = general(made, EPOCHS)
    (tmp_path / "opened").mkdir()
    counted = Counted(plan.packing.documents, tmp_path / "opened")
    plan = replace(plan, packing=replace(plan.packing, documents=counted))
    total = len(plan.order)
    dealing = Dealing(global_batch=8, world_size=1, batches=4, seq_len=1024)
    dataset = training_stream(plan, dealing, 0, 1 << 40)
    options = dataset.context.execution_options
    options.preserve_order = True
    options.resource_limits = ExecutionResources.for_limits(object_store_memory=LIMIT)

    blocks = iter(dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0))
    size = next(blocks).nbytes
    at_first = settled(counted)
    assert at_first < total / 2, "the stream ran ahead of a consumer that took one block"
    taken, ahead = 1, [at_first]
    for block in blocks:
        taken += 1
        assert block.nbytes <= 2 * size
        if taken % 40 == 0 and len(ahead) < 3:
            ahead.append(settled(counted))
    assert counted.opened == total  # held back, not stopped
    # It went on by about what was taken, and no further: the lead did not grow with the waiting.
    per_block = total / taken
    leads = [opened - (40 * number or 1) * per_block for number, opened in enumerate(ahead)]
    print(f"{total} entries, {taken} blocks of {size >> 10} KiB, entries ahead of the consumer: {leads}")
    assert max(leads) < total / 2
