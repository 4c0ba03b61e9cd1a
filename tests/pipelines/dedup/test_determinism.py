"""The stream's verdicts do not depend on how many tasks judge, how long they take, or which of them die."""

from __future__ import annotations

import os
import random
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines import operators, stream
from pipelines.dedup.config import DedupConfig
from pipelines.ledger import Ledger
from pipelines.phases.corpus import Corpus, curate
from pipelines.schema import Shard
from pipelines.stages.chain import StagesConfig
from tests.corpora import corpus, write_repositories

SLOTS = 4  # CPUs of the test session


def curation_corpus(source: Path, run: Path) -> Corpus:
    """Shards that repeat each other's files, through the rules and two partitions."""
    made = corpus(source, run, shard_bytes=400_000)
    stages = StagesConfig(language=None, licence=None, syntax=None, secrets=None)
    dedup = DedupConfig(partitions=2, expected_documents=10_000)
    return replace(made, curation=replace(made.curation, stages=stages, dedup=dedup))


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return write_repositories(tmp_path_factory.mktemp("source"), copies=2)


def ledger_of(made: Corpus) -> dict[str, list[pa.Table]]:
    """Every verdict of every stage, shard by shard."""
    ledger = Ledger(made.curation.ledger_root)
    return {
        stage.name: [plain(ledger.read(stage, shard.shard)) for shard in made.shards]
        for stage in made.curation.chain()
    }


def plain(table: pa.Table) -> list:
    return [
        {name: None if value != value else value for name, value in row.items()} for row in table.to_pylist()
    ]


def run(made: Corpus, tasks: int, judge: type, monkeypatch) -> dict[str, list]:
    """Curate with at most so many tasks at a time, each of them a `judge`; the ledger that results."""
    from ray.data import DataContext, ExecutionResources

    context = DataContext.get_current()
    before = context.execution_options.resource_limits
    context.execution_options.resource_limits = ExecutionResources(cpu=tasks)
    monkeypatch.setattr(stream, "Judge", judge)
    try:
        assert list(curate(made)) == [shard.shard for shard in made.shards]
    finally:
        context.execution_options.resource_limits = before
    return ledger_of(made)


@pytest.fixture(scope="module")
def quiet(source, tmp_path_factory, ray_session):
    made = curation_corpus(source, tmp_path_factory.mktemp("quiet"))
    assert len(made.shards) > SLOTS + 2
    with pytest.MonkeyPatch.context() as patch:
        found = run(made, 1, operators.Judge, patch)
    reasons = {row["reason"] for rows in found["claim"] for row in rows}
    assert {None, "exact_duplicate"} <= reasons
    return found


@pytest.mark.parametrize("tasks", [2, 4])
def test_random_delays_and_deaths(tasks, quiet, source, tmp_path, monkeypatch, ray_session):
    """Every third task dies once: by turns before it started, and with its stages committed and its keys unsent."""
    folder = str(tmp_path / "deaths")
    os.mkdir(folder)

    class Disturbed(operators.Judge):
        def __call__(self, batch: pa.Table) -> pa.Table:
            shard = Shard.from_json(batch["descriptor"][0].as_py()).shard
            time.sleep(random.Random(shard * 10 + tasks).uniform(0, 0.5))
            mark = Path(folder) / str(shard)
            if shard % 3 == 1 and not mark.exists():
                if shard % 2:
                    super().__call__(batch)
                mark.touch()
                os._exit(1)
            return super().__call__(batch)

    made = curation_corpus(source, tmp_path / "run")
    assert run(made, tasks, Disturbed, monkeypatch) == quiet
    assert sorted(map(int, os.listdir(folder))) == list(range(1, len(made.shards), 3))


def test_the_lowest_shards_task_dies_while_every_slot_is_taken(
    quiet, source, tmp_path, monkeypatch, ray_session
):
    """Nothing that waits for its turn may hold what the retry needs."""
    folder = str(tmp_path / "started")
    os.mkdir(folder)

    class LowestDies(operators.Judge):
        def __call__(self, batch: pa.Table) -> pa.Table:
            shard = Shard.from_json(batch["descriptor"][0].as_py()).shard
            attempts = len([name for name in os.listdir(folder) if name.startswith(f"{shard}-")])
            (Path(folder) / f"{shard}-{attempts}").touch()
            deadline = time.monotonic() + 60
            if shard == 0 and attempts == 0:
                while len(os.listdir(folder)) < SLOTS and time.monotonic() < deadline:
                    time.sleep(0.05)
                (Path(folder) / f"full-{len(os.listdir(folder)) >= SLOTS}").touch()
                os._exit(1)
            while not (Path(folder) / "0-1").exists() and time.monotonic() < deadline:
                time.sleep(0.05)  # holds its slot until the retry has started
            return super().__call__(batch)

    found = run(curation_corpus(source, tmp_path / "run"), SLOTS, LowestDies, monkeypatch)
    assert found == quiet
    assert {"full-True", "0-1"} <= set(os.listdir(folder))
