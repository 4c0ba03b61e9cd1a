"""Every rule of every preset, on texts just below, at and just above its limit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from pipelines.stages.rules import RULES, THRESHOLDS, judge_rules, rules_hit
from pipelines.stages.rules_config import RulesConfig
from pipelines.stages.rules_reference import COLUMNS, preset
from pipelines.stages.rules_table import Threshold
from tests.pipelines.stages.documents import documents
from tests.pipelines.stages.rule_examples import FAMILIES

PRESETS = {name: preset(name) for name in (*COLUMNS, "starcoder2_pull_requests")}
LANGUAGES = (
    "Python",
    "C",
    "Java",
    "Go",
    "JavaScript",
    "SQL",
    "HTML",
    "JSON",
    "YAML",
    "XML",
    "Markdown",
    "Text",
    "CSS",
)
LEXED = ("Python", "C", "Java", "Go", "JavaScript")
LEXICAL = {
    *("comments", "strings", "long_strings", "prompts", "assertions", "definitions", "declarations", "passes"),
    *("imports", "prints", "trivial_functions", "no_logic", "preprocessor", "mains", "assignments", "depth"),
}  # fmt: skip


def cases() -> Iterator[tuple[str, Threshold, str, float]]:
    """One language for each different limit of each threshold of each preset."""
    for name, cfg in PRESETS.items():
        for threshold in THRESHOLDS:
            seen = set()
            for lang in LEXED if threshold.measure in LEXICAL else LANGUAGES:
                limit = getattr(cfg.limits_of(lang), threshold.limit)
                family = FAMILIES.get(threshold.measure)
                if family and limit is not None and limit not in seen and list(family(limit, lang)):
                    seen.add(limit)
                    yield name, threshold, lang, limit


CASES = list(cases())


def same(case: tuple[str, Threshold, str, float]) -> str:
    name, threshold, lang, limit = case
    return f"{name}-{threshold.rule}-{threshold.measure}-{lang}-{limit}"


@pytest.mark.parametrize(("name", "threshold", "lang", "limit"), CASES, ids=map(same, CASES))
def test_rule(name: str, threshold: Threshold, lang: str, limit: float) -> None:
    examples = list(FAMILIES[threshold.measure](limit, lang))
    # Only this threshold, so that no other decides; a draw would leave some of them.
    cfg = PRESETS[name]
    limits = {field: None for field in type(cfg.limits).model_fields if not field.startswith("drop_no")}
    alone = cfg.model_copy(
        update={"languages": {lang: limits | {threshold.limit: limit, "drop_no_logic": 1.0}}}
    )
    alone = RulesConfig.model_validate(alone.model_dump())
    verdicts = judge_rules(documents([text for text, _ in examples], lang), alone)
    measured = verdicts[threshold.measure].to_numpy()
    wanted = np.array(
        [value for _, value in examples], np.float32 if threshold.measure != "size" else np.int64
    )
    assert measured.tolist() == pytest.approx(wanted.tolist(), rel=1e-6)
    beyond = wanted > np.float32(limit) if threshold.side == "max" else wanted < np.float32(limit)
    hits = [threshold.rule in rules_hit(bits) for bits in verdicts["hits"].to_pylist()]
    assert hits == beyond.tolist()
    assert any(hits)
    assert not all(hits)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_tested_on_every_rule_it_has(name: str) -> None:
    cfg = PRESETS[name]
    tables = [cfg.limits, *map(cfg.limits_of, cfg.languages)]
    on = {t.rule for t in THRESHOLDS if any(getattr(limits, t.limit) is not None for limits in tables)}
    tested = {threshold.rule for preset, threshold, _, _ in CASES if preset == name}
    assert on - {"test_file"} == tested


def test_every_rule_is_in_some_preset_or_is_an_option() -> None:
    tested = {threshold.rule for _, threshold, _, _ in CASES} | {"test_file"}
    facts = {"error", "unknown_language", "empty", "generated", "xml_header", "text_name"}
    assert set(RULES) - tested - facts == {"few_comments", "dense_tokens"}
