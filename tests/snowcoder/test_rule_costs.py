"""What every rule does, counted over bitmaps, against a count document by document."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.ledger import Ledger, Stage
from pipelines.stages.rules import RULES, RULES_VERSION
from pipelines.stages.rules_config import RulesConfig
from snowcoder.funnel import Count
from snowcoder.rule_costs import ALWAYS_TOGETHER, rule_costs
from tests.snowcoder.example_run import commit, later_table, shards, survivors

Document = tuple[int, str, int]  # bitmap, language, bytes

BITMAPS = st.sets(st.integers(0, len(RULES) - 1), max_size=4).map(lambda bits: sum(1 << bit for bit in bits))
DOCUMENTS = st.lists(
    st.tuples(st.one_of(st.just(0), BITMAPS), st.sampled_from(["Python", "Go", ""]), st.integers(0, 5000)),
    max_size=30,
)


def rules_stage(version: int = RULES_VERSION) -> Stage:
    return Stage("rules", version, RulesConfig().model_dump(mode="json"))


def lowest(bitmap: int) -> int:
    return (bitmap & -bitmap).bit_length() - 1


def rules_table(documents: list[Document]) -> pa.Table:
    reasons = [RULES[lowest(hits)] if hits else None for hits, _, _ in documents]
    reasons = ["error:no_text" if reason == "error" else reason for reason in reasons]
    return pa.table(
        {
            "row": pa.array(range(len(documents)), pa.int32()),
            "reason": pa.array(reasons, pa.string()).dictionary_encode(),
            "lang": pa.array([lang for _, lang, _ in documents], pa.string()).dictionary_encode(),
            "size": pa.array([size for _, _, size in documents], pa.int64()),
            "hits": pa.array([hits for hits, _, _ in documents], pa.uint64()),
        }
    )


def write(root: Path, made: list[list[Document]], stage: Stage | None = None, **meta: object) -> None:
    stage = stage or rules_stage()
    Ledger(root / "ledger").open([stage])
    for shard, documents in zip(shards(len(made)), made, strict=True):
        commit(root, stage, shard, rules_table(documents), **meta)


def count(documents: list[Document]) -> Count:
    return Count(len(documents), sum(size for _, _, size in documents))


@settings(max_examples=40, deadline=None)
@given(made=st.lists(DOCUMENTS, min_size=1, max_size=3), language=st.sampled_from([None, "Python", ""]))
def test_counts_equal_those_of_single_documents(
    tmp_path_factory: pytest.TempPathFactory, made: list[list[Document]], language: str | None
) -> None:
    root = tmp_path_factory.mktemp("run")
    write(root, made)
    found = rule_costs(root, language)
    documents = [d for shard in made for d in shard if language is None or d[1] == language]
    assert found.read == count(documents)
    assert found.kept == count([d for d in documents if not d[0]])
    rejected = [("error:no_text" if lowest(d[0]) == 0 else RULES[lowest(d[0])], d) for d in documents if d[0]]
    assert {reason: number for _, reason, number in found.reasons} == {
        reason: count([d for other, d in rejected if other == reason]) for reason, _ in rejected
    }
    assert [row.rule for row in found.rules] == list(RULES)
    for place, row in enumerate(found.rules):
        assert row.hits == count([d for d in documents if d[0] >> place & 1])
        assert row.first == count([d for d in documents if d[0] and lowest(d[0]) == place])
        assert row.alone == count([d for d in documents if d[0] == 1 << place])
    hit = [{i for i, d in enumerate(documents) if d[0] >> place & 1} for place in range(len(RULES))]
    expected = {
        (RULES[a], RULES[b]): (len(hit[a] & hit[b]), len(hit[a] | hit[b]))
        for a, b in combinations(range(len(RULES)), 2)
        if hit[a] and len(hit[a] & hit[b]) >= ALWAYS_TOGETHER * len(hit[a] | hit[b])
    }
    assert {pair.rules: (pair.both, pair.either) for pair in found.together} == expected
    assert all(0.95 <= pair.jaccard <= 1 for pair in found.together)


def test_a_rule_that_never_fires_is_told_from_one_that_is_off(tmp_path: Path) -> None:
    write(tmp_path, [[(1 << RULES.index("empty"), "Go", 1)]])
    found = rule_costs(tmp_path)
    assert [row.rule for row in found.fired] == ["empty"]
    never = {rule for _, rule in found.never}
    assert {"long_line", "generated", "error"} <= never  # hidden_text has a limit in HTML alone
    assert "hidden_text" in never
    assert {"deep_nesting", "few_comments"} <= set(found.off)
    assert not never & set(found.off)


def test_costs_are_summed_over_shards_and_groups(tmp_path: Path) -> None:
    write(
        tmp_path,
        [[(0, "Go", 3000)], [(0, "Go", 1000)]],
        seconds=0.5,
        rule_seconds={"characters": 0.2, "facts": 0.1},
    )
    found = rule_costs(tmp_path, "Python")
    (cost,) = found.costs
    assert (cost.stage, cost.judged, cost.seconds) == ("rules", Count(2, 4000), 1.0)
    assert cost.groups == {"characters": pytest.approx(0.4), "facts": pytest.approx(0.2)}
    assert found.speed("rules") == 4000
    assert found.speed("rules", "characters") == pytest.approx(10_000)
    assert found.speed("rules", "lexical") == found.speed("claim") == 0.0
    groups = {row.rule: row.group for row in found.rules}
    assert (groups["long_line"], groups["few_words"], groups["generated"]) == ("characters", "words", "facts")


def test_bits_of_another_version_are_not_named(tmp_path: Path) -> None:
    write(tmp_path, [[(3, "Go", 10), (0, "Go", 10)]], rules_stage(RULES_VERSION + 1))
    found = rule_costs(tmp_path)
    assert found.unnamed == ["rules"]
    assert [(row.rule, row.first.documents) for row in found.rules] == [("error", 1)]
    assert found.together == []


def test_later_stages_count_their_reasons_and_a_stage_switched_off_is_left_out(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    table = rules_table([(0, "Go", 10)] * 50)
    rules = rules_stage()
    licence = Stage("licence", 1, {}, rules)
    syntax = Stage("syntax", 1, {}, licence)
    claim = Stage("claim", 1, {}, syntax)
    ledger = Ledger(tmp_path / "ledger")
    (shard,) = shards(1)
    commit(tmp_path, rules, shard, table)
    ledger.open(claim.chain())
    shorter = Stage(
        "claim", 1, {}, rules
    )  # licence and syntax are off, though stages.json still has their keys
    ledger.open(shorter.chain())
    duplicates = later_table(survivors(table), "claim", random, 0.4)
    ledger.commit(shorter, 0, duplicates, shard.identity(), seconds=2.0)
    found = rule_costs(tmp_path)
    assert [cost.stage for cost in found.costs] == ["rules", "claim"]
    gone = duplicates["reason"].drop_null().to_pylist()
    for row in found.rules[len(RULES) :]:
        assert row.hits == row.first == row.alone == Count(gone.count(row.rule), 10 * gone.count(row.rule))
    assert sum(row.hits.documents for row in found.rules) == len(gone) > 0


def test_what_the_language_stage_rejects_is_counted_though_the_rules_never_see_it(tmp_path: Path) -> None:
    language = Stage("language", 1, {})
    rules = Stage("rules", RULES_VERSION, {}, language)
    hit = 1 << RULES.index("long_line")
    first = pa.table(
        {
            "row": pa.array(range(4), pa.int32()),
            "reason": pa.array([None, "language_disagreement", None, None]).dictionary_encode(),
            "lang": pa.array(["Go", "Python", "Python", "Go"]).dictionary_encode(),
            "size": pa.array([1, 10, 100, 1000], pa.int64()),
        }
    )
    second = rules_table([(0, "Go", 1), (hit, "Python", 100), (0, "Go", 1000)])
    second = second.set_column(0, "row", pa.array([0, 2, 3], pa.int32()))
    Ledger(tmp_path / "ledger").open(rules.chain())
    (shard,) = shards(1)
    commit(tmp_path, language, shard, first)
    commit(tmp_path, rules, shard, second)
    found = rule_costs(tmp_path)
    assert (found.read, found.kept) == (Count(4, 1111), Count(2, 1001))
    assert found.languages == {"Go": 2, "Python": 2}
    assert found.reasons == [
        ("language", "language_disagreement", Count(1, 10)),
        ("rules", "long_line", Count(1, 100)),
    ]
    assert rule_costs(tmp_path, "Python").read == Count(2, 110)
    assert rule_costs(tmp_path, "Python").kept == Count()


def test_a_breach_of_the_accounting_is_named_and_the_rest_counted(tmp_path: Path) -> None:
    write(tmp_path, [[(0, "Go", 10)], [(0, "Go", 20)]])
    broken = Ledger(tmp_path / "ledger").path(rules_stage(), 0)
    broken.write_bytes(broken.read_bytes()[:-40])
    found = rule_costs(tmp_path)
    assert found.read == Count(1, 20)
    assert [violation.shard for violation in found.violations] == [0]


def test_a_run_without_verdicts_has_no_rules(tmp_path: Path) -> None:
    found = rule_costs(tmp_path)
    assert (found.read, found.rules, found.costs) == (Count(), [], [])
