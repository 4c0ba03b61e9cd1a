"""Scores as verdicts: several annotators side by side, and a scoring run that is really killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.annotator.config import SelectionConfig
from pipelines.annotator.exact import select_exact
from pipelines.curation import claim, judge
from pipelines.dedup.index import Index, LocalPartitions
from pipelines.phases.corpus import Corpus
from pipelines.scoring import RandomAnnotator, Scoring, scored_documents
from tests.corpora import corpus, write_repositories

RATIOS = {"": 3.5}


@dataclass(frozen=True)
class Slow:
    """Scores by length, at a rate that leaves time to be killed; logs every call."""

    log: str
    seconds: float
    name: str = "slow"
    fingerprint: str = "slow-1"

    def open(self) -> Slow:
        return self

    def score(self, text: pa.ChunkedArray, lang: pa.ChunkedArray | None = None) -> np.ndarray:
        with open(self.log, "a") as file:
            file.write(f"{len(text)}\n")
        time.sleep(self.seconds)
        return (pa.compute.binary_length(text).to_numpy() % 997 / 997).astype(np.float32)


def curated(source: Path, run: Path) -> Corpus:
    """Judged and claimed in this process."""
    made = corpus(source, run, shard_bytes=60_000)
    index = Index(LocalPartitions(made.curation.dedup))
    for shard in made.shards:
        found = judge(shard, made.curation)
        if found is not None:
            claim(shard, *found, index, made.curation)
    return made


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Corpus:
    source = write_repositories(tmp_path_factory.mktemp("source"))
    return curated(source, tmp_path_factory.mktemp("run"))


def score_all(made: Corpus, annotator, **settings) -> Scoring:
    scoring = Scoring(made.curation, annotator, phase="", **settings)
    scorer = None
    for shard in made.shards:
        scorer = scoring.run(shard, scorer)
    return scoring


def committed(scoring: Scoring, made: Corpus) -> dict[int, bytes]:
    paths = {shard.shard: scoring.ledger.path(scoring.stage, shard.shard) for shard in made.shards}
    return {number: path.read_bytes() for number, path in paths.items() if path.exists()}


def test_annotators_stand_side_by_side(made):
    first, second = (RandomAnnotator(seed, f"random-{seed}") for seed in (1, 2))
    one = score_all(made, first)
    before = committed(one, made)
    other = score_all(made, second)
    assert len(before) == len(made.shards) == len(committed(other, made))
    assert committed(one, made) == before
    tables = [list(scored_documents(scoring, made.shards, RATIOS)) for scoring in (one, other)]
    for ours, theirs in zip(*tables, strict=True):
        assert ours["ordinal"].equals(theirs["ordinal"])
        assert not ours["score"].equals(theirs["score"])


def test_the_tee_holds_what_the_exact_cuts_select(made, tmp_path):
    scoring = score_all(made, RandomAnnotator(1))
    cfg = SelectionConfig(fraction=0.3, repository_share=0.2)
    found = select_exact(lambda: scored_documents(scoring, made.shards, RATIOS), cfg, "random")
    assert found.languages["Python"].repositories
    teeing = score_all(made, RandomAnnotator(1), thresholds=found.thresholds, tee_root=str(tmp_path / "tee"))
    taken = {}
    for shard in made.shards:
        table = pq.read_table(teeing.tee_path(shard))
        taken |= {
            (shard.shard << 32) | row: repo
            for row, repo in zip(*(table[c].to_pylist() for c in ("row", "repo")), strict=True)
        }
    documents = pa.concat_tables(scored_documents(scoring, made.shards, RATIOS))
    chosen = found.selects(
        documents["lang"], documents["score"].to_numpy(), documents["ordinal"].to_numpy(), documents["repo"]
    )
    assert set(taken) == set(documents["ordinal"].to_numpy()[chosen].tolist())
    tokens = documents["tokens"].to_numpy()
    assert tokens[chosen].sum() == found.realised_tokens
    for repo in set(taken.values()):
        own = chosen & (np.asarray(documents["repo"].to_pylist()) == repo)
        assert tokens[own].sum() <= 0.2 * found.languages["Python"].budget_tokens
    # Other cuts are another selection of the same scores.
    whole = replace(teeing, thresholds={"Python": 0.0})
    assert whole.select_stage.key != teeing.select_stage.key
    assert whole.stage.key == teeing.stage.key


def test_a_killed_scoring_run_scores_no_committed_shard_again(made, tmp_path):
    log = tmp_path / "calls"
    code = (
        "import pickle, sys; made, slow = pickle.load(open(sys.argv[1], 'rb'));"
        "from tests.pipelines.test_scoring import score_all; score_all(made, slow)"
    )
    import pickle

    slow = Slow(str(log), 0.4)
    (tmp_path / "job").write_bytes(pickle.dumps((made, slow)))
    scoring = Scoring(made.curation, slow, phase="")
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "job")], cwd=os.getcwd())
    try:
        while len(committed(scoring, made)) < 2:
            assert process.poll() is None, "ended before it could be killed"
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    before = committed(scoring, made)
    assert 2 <= len(before) < len(made.shards)
    log.unlink()
    again = Slow(str(tmp_path / "second"), 0.0)
    score_all(made, again)
    after = committed(scoring, made)
    assert {number: after[number] for number in before} == before
    assert len(after) == len(made.shards)
    scored = sum(int(line) for line in (tmp_path / "second").read_text().split())
    rest = [
        t
        for s, t in zip(made.shards, scored_documents(scoring, made.shards, RATIOS), strict=True)
        if s.shard not in before
    ]
    assert scored == sum(len(table) for table in rest)
    # What was killed and continued is what a run in one piece gives.
    whole = score_all(made, replace(again, fingerprint="slow-2"))
    for ours, theirs in zip(
        scored_documents(scoring, made.shards, RATIOS),
        scored_documents(whole, made.shards, RATIOS),
        strict=True,
    ):
        assert ours.equals(theirs)
