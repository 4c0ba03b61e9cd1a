"""The funnel against a row-by-row oracle, and the accounting check against every way to break it."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import snowcoder.funnel as module
from pipelines.ledger import Ledger, Stage
from pipelines.schema import Shard
from snowcoder.base import UserError
from snowcoder.funnel import Count, check_accounting, funnel, rejected, total
from tests.snowcoder.example_run import (
    CLAIM,
    DECONTAMINATE,
    RULES,
    commit,
    later_table,
    rules_table,
    shards,
    survivors,
    write_verdicts,
)


def tables(root: Path, stage: Stage, made: list[Shard]) -> list[list[dict]]:
    found = [Ledger(root / "ledger").read(stage, shard.shard) for shard in made]
    return [table.to_pylist() if table is not None else [] for table in found]


def oracle(root: Path, made: list[Shard]) -> tuple[dict, dict, dict, dict]:
    """(read, kept, pending, rejected) with plain Python, a document at a time."""
    read, kept, pending, gone = (defaultdict(lambda: [0, 0]) for _ in range(4))
    stages = [tables(root, stage, made) for stage in (RULES, DECONTAMINATE, CLAIM)]
    for by_stage in zip(*stages, strict=True):
        verdicts = [{record["row"]: record["reason"] for record in table} for table in by_stage]
        for document in by_stage[0]:
            lang, size, row = document["lang"], document["size"], document["row"]
            cells = [read[lang]]
            first = next(
                (
                    (s, v[row])
                    for s, v in zip(("rules", "decontaminate", "claim"), verdicts, strict=True)
                    if v.get(row)
                ),
                None,
            )
            if first:
                cells.append(gone[(*first, lang)])
            else:
                cells.append(kept[lang] if row in verdicts[2] else pending[lang])
            for cell in cells:
                cell[0] += 1
                cell[1] += size
    return read, kept, pending, gone


def plain(counts: dict) -> dict:
    return {key: tuple(value) for key, value in counts.items()}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Shard]]:
    root = tmp_path_factory.mktemp("run")
    return root, write_verdicts(root, count=5, rows=700)


def test_counts_equal_the_oracles(run: tuple[Path, list[Shard]]) -> None:
    root, made = run
    found = funnel(root)
    read, kept, pending, gone = oracle(root, made)
    assert plain(found.read) == plain(read)
    assert plain(found.kept) == plain(kept)
    assert plain(found.pending) == plain(pending)
    assert pending, "the last shard was not claimed"
    flat = {(*key, lang): tuple(n) for key, counts in found.rejected.items() for lang, n in counts.items()}
    assert flat == plain(gone)


def test_read_is_kept_and_rejected_and_pending(run: tuple[Path, list[Shard]]) -> None:
    found = funnel(run[0])
    assert found.violations == []
    assert found.shards == 5
    for lang, read in found.read.items():
        parts = [found.kept.get(lang, Count()), found.pending.get(lang, Count())]
        parts += [counts.get(lang, Count()) for counts in found.rejected.values()]
        assert (sum(p.documents for p in parts), sum(p.bytes for p in parts)) == read


@settings(max_examples=12, deadline=None)
@given(
    rows=st.lists(st.integers(0, 40), min_size=1, max_size=4),
    dropped=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_it_adds_up_for_any_shards(
    tmp_path_factory: pytest.TempPathFactory, rows: list[int], dropped: float, seed: int
) -> None:
    root, random = tmp_path_factory.mktemp("any"), np.random.default_rng(seed)
    Ledger(root / "ledger").open(CLAIM.chain())
    for shard, count in zip(shards(len(rows)), rows, strict=True):
        table = rules_table(count, random, dropped)
        commit(root, RULES, shard, table)
        for stage in (DECONTAMINATE, CLAIM):
            table = later_table(survivors(table), stage.name, random, dropped)
            commit(root, stage, shard, table)
    found = funnel(root)
    assert found.violations == []
    gone = sum(total(counts).documents for counts in found.rejected.values())
    assert sum(rows) == total(found.read).documents == total(found.kept).documents + gone


def test_a_run_without_verdicts_is_an_empty_funnel(tmp_path: Path) -> None:
    found = funnel(tmp_path)
    assert (found.shards, found.read, found.violations) == (0, {}, [])
    assert list(rejected(tmp_path)) == []


def broken_run(tmp_path: Path) -> tuple[list[Shard], pa.Table, pa.Table]:
    """Three shards; verdicts of rules and decontamination of shard 1, to be committed again, changed."""
    made = write_verdicts(tmp_path, count=4, rows=50)
    ledger = Ledger(tmp_path / "ledger")
    return made, ledger.read(RULES, 1), ledger.read(DECONTAMINATE, 1)


def violation_of(tmp_path: Path) -> str:
    (violation,) = check_accounting(tmp_path)
    assert violation.shard == 1
    assert funnel(tmp_path).shards == 3, "the other shards are still counted"
    assert all(found.shard != 1 for found in rejected(tmp_path))
    return str(violation)


def test_a_survivor_without_a_verdict_is_a_violation(tmp_path: Path) -> None:
    made, _, clean = broken_run(tmp_path)
    commit(tmp_path, DECONTAMINATE, made[1], clean.slice(1))
    row = clean["row"][0].as_py()
    assert (
        violation_of(tmp_path)
        == f"shard 1, decontaminate: 1 rows that passed before have no verdict, first {row}"
    )


def test_a_second_reason_is_a_violation(tmp_path: Path) -> None:
    made, rules, clean = broken_run(tmp_path)
    gone = rules.filter(rules["reason"].is_valid())["row"][0].as_py()
    again = pa.table({"row": pa.array([gone], pa.int32()), "reason": ["benchmark:mbpp"], "match": ["x"]})
    again = again.set_column(
        1, "reason", again["reason"].dictionary_encode().cast(clean.schema.field("reason").type)
    )
    commit(tmp_path, DECONTAMINATE, made[1], pa.concat_tables([clean, again.cast(clean.schema)]))
    assert f"1 rows that did not pass before are judged, first {gone}" in violation_of(tmp_path)


def test_a_row_judged_twice_is_a_violation(tmp_path: Path) -> None:
    made, _, clean = broken_run(tmp_path)
    commit(tmp_path, DECONTAMINATE, made[1], pa.concat_tables([clean, clean.slice(0, 2)]))
    assert "2 rows are judged twice" in violation_of(tmp_path)


def test_a_row_that_was_never_judged_is_a_violation(tmp_path: Path) -> None:
    made, rules, _ = broken_run(tmp_path)
    commit(tmp_path, RULES, made[1], pa.concat_tables([rules.slice(0, 10), rules.slice(11)]))
    assert "rows are not 0..48 in order" in violation_of(tmp_path)


def test_an_empty_reason_is_a_violation(tmp_path: Path) -> None:
    made, rules, _ = broken_run(tmp_path)
    reason = pa.array(["" if value else None for value in rules["reason"].to_pylist()])
    commit(tmp_path, RULES, made[1], rules.set_column(1, "reason", reason.dictionary_encode()))
    assert "a rejected row has no reason" in violation_of(tmp_path)


def test_a_later_verdict_without_the_earlier_one_is_a_violation(tmp_path: Path) -> None:
    broken_run(tmp_path)
    Ledger(tmp_path / "ledger").path(DECONTAMINATE, 1).unlink()
    assert "claim: judged without the verdicts of decontaminate" in violation_of(tmp_path)


def test_a_damaged_object_is_a_violation_with_a_remedy(tmp_path: Path) -> None:
    broken_run(tmp_path)
    path = Ledger(tmp_path / "ledger").path(CLAIM, 1)
    path.write_bytes(path.read_bytes()[:-40])
    message = violation_of(tmp_path)
    assert "damaged verdicts" in message
    assert f"delete {path}" in message


def test_an_object_in_anothers_place_is_a_violation(tmp_path: Path) -> None:
    made, _, _ = broken_run(tmp_path)
    ledger = Ledger(tmp_path / "ledger")
    table = ledger.read(CLAIM, 1)
    ledger.commit(CLAIM, 2, table, made[1].prefix)
    ledger.path(CLAIM, 1).write_bytes(ledger.path(CLAIM, 2).read_bytes())
    commit(
        tmp_path,
        CLAIM,
        made[2],
        later_table(survivors(ledger.read(DECONTAMINATE, 2)), "claim", np.random.default_rng(0), 0.3),
    )
    assert "recorded as (shard, stage, rows) (2," in violation_of(tmp_path)


def test_verdicts_of_an_earlier_content_or_of_no_shard_do_not_count(tmp_path: Path) -> None:
    """The ledger outlives a change of the source: the manifest says which verdicts are of this run."""
    from pipelines.manifest import Manifest

    made = write_verdicts(tmp_path, count=4, rows=50)
    changed = [*made[:2], Shard(shard=2, reader="parquet", uri="other.parquet")]
    Manifest(changed, 0).write(tmp_path / "manifest.jsonl")
    found = funnel(tmp_path)
    assert (found.shards, found.violations) == (2, [])
    assert total(found.read).documents == 100
    assert {record.shard for record in rejected(tmp_path)} == {0, 1}


def test_a_damaged_manifest_is_the_users_to_know(tmp_path: Path) -> None:
    write_verdicts(tmp_path, count=2, rows=5)
    (tmp_path / "manifest.jsonl").write_text("{")
    with pytest.raises(UserError, match=r"manifest\.jsonl"):
        funnel(tmp_path)


def test_rejected_gives_the_evidence_of_the_stage(run: tuple[Path, list[Shard]]) -> None:
    root, made = run
    found = list(rejected(root, "near_duplicate"))
    assert len(found) == total(funnel(root).rejected["claim", "near_duplicate"]).documents
    assert {record.stage for record in found} == {"claim"}
    documents = tables(root, RULES, made)
    for record in found:
        document = documents[record.shard][record.row]
        assert document["row"] == record.row
        assert (record.evidence["lang"], record.evidence["size"]) == (document["lang"], document["size"])
        assert record.evidence["jaccard"] == pytest.approx(0.91)


def test_rejected_without_a_reason_gives_each_rejected_document_once(run: tuple[Path, list[Shard]]) -> None:
    found = [(record.shard, record.row) for record in rejected(run[0])]
    assert len(found) == len(set(found)) == sum(total(c).documents for c in funnel(run[0]).rejected.values())
    assert list(rejected(run[0], "no_such_reason")) == []


def test_one_shard_is_in_memory_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrow memory in use while each of 20 shards is counted: the last as the first."""
    write_verdicts(tmp_path, count=20, rows=2000)
    before, fold, used = pa.total_allocated_bytes(), module.add_shard, []

    def measured(*args: object) -> None:
        fold(*args)
        used.append(pa.total_allocated_bytes() - before)

    monkeypatch.setattr(module, "add_shard", measured)
    assert funnel(tmp_path).shards == len(used) == 20
    assert used[0] > 2000 * 12, "nothing was measured"
    assert max(used) < 1.5 * used[0]


def test_reasons_are_in_stage_order_most_frequent_first(run: tuple[Path, list[Shard]]) -> None:
    rows = funnel(run[0]).reasons()
    keys = [(("rules", "decontaminate", "claim").index(stage), -count.documents) for stage, _, count in rows]
    assert keys == sorted(keys)
