"""The stream through real Ray: one order, live or replayed, from any position, for any number of workers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines.ledger import Ledger
from pipelines.phases.continued import choose, continued, score
from pipelines.phases.corpus import bytes_per_token, curate, make_tokenizer
from pipelines.phases.general import general
from pipelines.scoring import RandomAnnotator, Scoring, scores_of, tokens_of
from pipelines.sequences.config import TokenizerConfig
from pipelines.sequences.deal import Dealing
from pipelines.stages.chain import StagesConfig
from pipelines.stages.rules_config import RulesConfig
from pipelines.stream import TAIL, Plan, training_stream
from snowcoder.choosing import write_realised
from snowcoder.funnel import check_accounting, funnel, total
from tests.corpora import corpus, write_repositories

BATCH = 6


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return write_repositories(tmp_path_factory.mktemp("source"), copies=2)


@pytest.fixture(scope="module")
def live(source, tmp_path_factory, ray_session):
    """A corpus whose general phase was streamed once, live: (corpus, plan, rows by step)."""
    made = corpus(source, tmp_path_factory.mktemp("live"))
    make_tokenizer(made, TokenizerConfig(vocab_size=600, sample_bytes=100_000))
    plan = general(made, epochs=2)
    return made, plan, read(plan, world_size=2)


def read(plan: Plan, *, world_size: int, position: int = 0, stop: int = 10**6) -> dict[int, list]:
    """Rows of each step in global order, put together from the blocks that the ranks would get."""
    dealing = Dealing(
        global_batch=BATCH, world_size=world_size, batches=2, seq_len=plan.packing.sequences.seq_len
    )
    dataset = training_stream(plan, dealing, position, stop)
    dataset.context.execution_options.preserve_order = True
    share = BATCH // world_size
    steps: dict[int, list] = {}
    for number, block in enumerate(dataset.iter_batches(batch_size=None, batch_format="pyarrow")):
        assert block.num_rows == dealing.block_rows
        rank = number % world_size
        rows = zip(
            *(block[c].to_pylist() for c in ("step", "epoch", "shard", "index", "tokens")), strict=True
        )
        for j, (step, *row) in enumerate(rows):
            if step >= 0:
                steps.setdefault(step, [None] * BATCH)[rank * share + j % share] = row
    return steps


def test_replay_at_another_number_of_workers_gives_the_same_order(live):
    _, plan, rows = live
    assert len(rows) > 20
    assert read(plan, world_size=3) == rows


def test_any_position_continues_the_same_order(live):
    _, plan, rows = live
    for position in (1, len(rows) // 2, len(rows) - 1):
        rest = read(plan, world_size=2, position=position)
        assert rest == {step: rows[step] for step in range(position, len(rows))}


@pytest.mark.timeout(120)
def test_the_last_step_does_not_wait_for_the_rest_of_the_order(live):
    made, _, _ = live
    dealing = Dealing(
        global_batch=BATCH, world_size=1, batches=2, seq_len=made.sequences.seq_len, held_back=2
    )
    dataset = training_stream(general(made, epochs=100), dealing, 0, 4)  # to pack these takes minutes
    dataset.context.execution_options.preserve_order = True
    batches = iter(dataset.iter_batches(batch_size=BATCH, batch_format="pyarrow", prefetch_batches=2))
    assert [next(batches)["step"][0].as_py() for _ in range(4)] == [0, 1, 2, 3]


def test_each_sequence_once_per_epoch(live):
    _, plan, rows = live
    seen = [(epoch, shard, index) for batch in rows.values() for epoch, shard, index, _ in batch]
    assert len(seen) == len(set(seen))
    packed = sum(plan.packing.count(shard) for shard in plan.shards)
    assert len(seen) == 2 * packed // BATCH * BATCH
    tail = json.loads((plan.packing.ledger.root / plan.packing.stage.folder / TAIL).read_text())
    assert tail["global_batch"] == BATCH
    assert len(tail["sequences"]) == 2 * packed % BATCH
    assert not {tuple(name) for name in tail["sequences"]} & set(seen)


def test_accounting_and_duplicates(live):
    made, _, _ = live
    Ledger(made.ledger_root).open(made.curation.chain())
    assert check_accounting(made.root) == []
    found = funnel(made.root)
    read_, kept = total(found.read).documents, total(found.kept).documents
    rejected = sum(count.documents for _, _, count in found.reasons())
    assert read_ == kept + rejected
    exact = {reason: count.documents for _, reason, count in found.reasons()}["exact_duplicate"]
    assert exact >= read_ * 0.4  # the corpus is there twice


def test_one_changed_rule_is_judged_again_and_equals_a_fresh_run(live, source, tmp_path, ray_session):
    made, _, _ = live
    rules = RulesConfig()
    stricter = rules.model_copy(update={"limits": rules.limits.model_copy(update={"max_line": 90})})
    changed = replace(made, curation=replace(made.curation, stages=StagesConfig(rules=stricter)))
    ledger = Ledger(made.ledger_root)
    ledger.open(made.curation.chain())
    lines = ledger.open(changed.curation.chain())
    assert "rules: re-judge" in lines[1]
    assert "max_line" in lines[1]
    assert lines[-1] == "claim: re-judge, the stage before it changed"
    list(curate(changed))
    fresh = corpus(source, tmp_path, rules=stricter)
    list(curate(fresh))
    for stage, again in zip(changed.curation.chain(), fresh.curation.chain(), strict=True):
        assert stage.key == again.key
        for shard in fresh.shards:
            ours = ledger.read(stage, shard.shard, None).replace_schema_metadata(None)
            theirs = Ledger(fresh.ledger_root).read(again, shard.shard, None).replace_schema_metadata(None)
            assert plain(ours) == plain(theirs)
    kept = total(funnel(made.root).kept).documents
    ledger.open(made.curation.chain())
    assert kept < total(funnel(made.root).kept).documents
    assert ledger.open(made.curation.chain())[1].startswith("rules: replay")


def test_claims_that_are_missing_in_the_middle_come_back_the_same(source, tmp_path, ray_session):
    made = corpus(source, tmp_path)
    list(curate(made))
    ledger, stage = Ledger(made.ledger_root), made.curation.claim_stage
    before = [plain(ledger.read(stage, shard.shard)) for shard in made.shards]
    for number in (1, len(made.shards) - 2, len(made.shards) - 1):
        ledger.path(stage, number).unlink()
    list(curate(made))
    assert [plain(ledger.read(stage, shard.shard)) for shard in made.shards] == before


def plain(table: pa.Table) -> list:
    return [
        {name: None if isinstance(v, float) and np.isnan(v) else v for name, v in row.items()}
        for row in table.to_pylist()
    ]


def test_what_a_cut_from_a_sample_gave_in_the_whole_stream_is_recorded(live):
    made, _, _ = live
    annotator = RandomAnnotator(seed=2)
    list(score(made, annotator))
    selection = choose(made, annotator, unique_tokens=20_000, shards=3)
    write_realised(made, annotator, selection)
    found = json.loads((made.root / "selection-realised.json").read_text())["Python"]
    ratios = bytes_per_token(made)
    given = 0
    for table in scores_of(Scoring(made.curation, annotator, phase=""), made.shards):
        chosen = table["score"].to_numpy() >= selection.languages["Python"].threshold
        given += int(tokens_of(table, ratios)[chosen].sum())
    assert found["tokens"] == given
    write_realised(made, annotator, choose(made, annotator, unique_tokens=20_000))
    assert not (made.root / "selection-realised.json").exists()  # exact: what was selected is what is given
    assert (found["filled_after"] is None) == (given < found["target_tokens"]) == (found["status"] == "short")


def test_selection_tees_and_repeats(live):
    made, _, _ = live
    annotator = RandomAnnotator(seed=1)
    assert sorted(score(made, annotator)) == [shard.shard for shard in made.shards]
    selection = choose(made, annotator, unique_tokens=20_000)
    scoring = Scoring(made.curation, annotator, phase="")
    sizes = [tokens_of(table, bytes_per_token(made)) for table in scores_of(scoring, made.shards)]
    assert set(selection.languages) == {
        "Python"
    }  # so that one document decides how near the budget can be met
    assert abs(selection.realised_tokens - 20_000) <= max(part.max() for part in sizes if len(part)) / 2 + 1
    assert selection.realised_tokens > 0
    plan = continued(made, annotator, selection.thresholds, repeats=3)
    rows = read(plan, world_size=2)
    # Which epoch the tail is cut from depends on which shard's turn is last: counted, not assumed.
    seen = [(epoch, shard, index) for batch in rows.values() for epoch, shard, index, _ in batch]
    packed = sum(plan.packing.count(shard) for shard in plan.shards)
    assert len(seen) == len(set(seen)) == 3 * packed // BATCH * BATCH
    assert {epoch for epoch, _, _ in seen} == {0, 1, 2}
    chosen = {
        (shard.shard, row)
        for shard in made.shards
        for row in pa.parquet.read_table(plan.scoring.tee_path(shard))["row"].to_pylist()
    }
    wanted = {
        (shard.shard, row)
        for shard in made.shards
        for row, lang, value in zip(
            *(
                plan.scoring.ledger.read(plan.scoring.stage, shard.shard)[c].to_pylist()
                for c in ("row", "lang", "score")
            ),
            strict=True,
        )
        if value >= selection.thresholds[lang]
    }
    assert chosen == wanted
