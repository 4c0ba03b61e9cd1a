"""Nothing is materialised: a corpus of any size goes through a small object store, and few bytes are written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.curation import judge
from pipelines.ledger import Ledger
from pipelines.packing import pack_shard
from pipelines.phases.corpus import curate, make_tokenizer
from pipelines.phases.general import general
from pipelines.sequences.config import TokenizerConfig
from tests.corpora import corpus, write_repositories

PROGRAM = Path(__file__).parents[1] / "programs" / "stream_large.py"


@pytest.mark.timeout(600)
def test_a_corpus_five_times_the_object_store_streams_into_training(tmp_path):
    found = subprocess.run(
        [sys.executable, str(PROGRAM), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=580,
    )
    assert found.returncode == 0, found.stderr[-3000:]
    measured = json.loads(found.stdout.splitlines()[-1])
    print(measured)
    assert measured["streamed"] >= 5 * measured["store"]
    assert measured["steps"] == 4_915_200 // (64 * 256)
    assert measured["spilled"] == 0
    assert measured["written"] <= 0.02 * measured["raw"]


def test_a_task_opens_only_its_own_shards_verdicts(tmp_path, ray_session, monkeypatch):
    made = corpus(write_repositories(tmp_path / "source"), tmp_path / "run")
    make_tokenizer(made, TokenizerConfig(vocab_size=600, sample_bytes=70_000))
    list(curate(made))
    assert len(made.shards) > 5
    plan = general(made, epochs=1)
    opened: list[str] = []
    real = Ledger._open

    def recorded(self, folder, shard):
        opened.append(f"{folder} {shard}")
        return real(self, folder, shard)

    monkeypatch.setattr(Ledger, "_open", recorded)
    judge(made.shards[3], made.curation)
    pack_shard(made.shards[3], 0, plan.packing)
    assert opened
    assert {line.split()[1] for line in opened} == {"3"}
