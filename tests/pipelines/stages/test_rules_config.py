"""Presets as recipes, what a language needs measured, and when a verdict may be judged again without its text."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipelines.stages.limits import LANGUAGE_LIMITS, Limits
from pipelines.stages.rules import MEASURES, THRESHOLDS
from pipelines.stages.rules_config import RulesConfig
from pipelines.stages.rules_reference import PRESETS, preset, reference
from pipelines.stages.rules_table import ALWAYS, GROUP_OF, MEASURE_TABLE, RULE_TABLE, RULES
from snowcoder.base import UserError
from snowcoder.config import load_config

NAMES = [path.stem for path in sorted(PRESETS.glob("*.yaml"))]
ROOT = PRESETS.parents[1]


def test_there_are_presets() -> None:
    assert {"starcoder2", "opencoder", "deepseek", "snowcoder"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_is_a_recipe_and_a_base_of_one(name: str, tmp_path: Path) -> None:
    assert load_config(PRESETS / f"{name}.yaml").curation.rules == preset(name)
    recipe = {"base": str(PRESETS / f"{name}.yaml"), "curation": {"rules": {"limits": {"max_line": 777}}}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(recipe))
    mine = load_config(tmp_path / "mine.yaml").curation.rules
    assert mine.limits == preset(name).limits.model_copy(update={"max_line": 777})
    assert mine.languages == preset(name).languages


@pytest.mark.parametrize("name", NAMES)
def test_a_limit_of_a_preset_is_one_override_away(name: str) -> None:
    rules = load_config(
        PRESETS / f"{name}.yaml",
        ["curation.rules.limits.max_prompts=0.5", "curation.rules.languages.Go.drop_tests=null"],
    ).curation.rules
    assert rules.limits.max_prompts == 0.5
    assert rules.limits_of("Go").drop_tests is None


def test_without_a_preset_the_rules_are_those_of_starcoder2() -> None:
    assert preset("starcoder2") == RulesConfig()


def test_the_reference_is_current() -> None:
    assert (ROOT / "docs" / "rules.md").read_text() == reference(), (
        "run: python -m pipelines.stages.rules_reference > docs/rules.md"
    )


def test_the_tables_fit_together() -> None:
    assert len(RULES) <= 64
    assert len(set(RULES)) == len(RULES)
    assert len(set(MEASURES)) == len(MEASURES)
    assert all(rule.meaning and rule.sources for rule in RULE_TABLE)
    assert {threshold.measure for threshold in THRESHOLDS} | {"draw"} == {*MEASURES, "size"}
    limits = {t.limit for t in THRESHOLDS} | {t.draw for t in THRESHOLDS if t.draw}
    assert limits == set(Limits.model_fields)


def test_only_what_a_limit_needs_is_measured() -> None:
    cfg = RulesConfig()
    assert cfg.groups_of("Python") == ALWAYS
    assert cfg.groups_of("HTML") == ALWAYS | {"markup"}
    more = RulesConfig(
        limits=Limits(min_words=10),
        languages={"Go": {"max_no_logic": 0.5, "drop_no_logic": 0.8, "min_words": None}},
    )
    assert more.groups_of("Python") == ALWAYS | {"words"}
    assert more.groups_of("Go") == ALWAYS | {"lexical", "draw"}
    assert RulesConfig(measure=("repetition",)).groups_of("C") == ALWAYS | {"repetition"}


def keys(*changes: dict[str, object]) -> set[str]:
    return {RulesConfig.model_validate(change).text_key for change in ({}, *changes)}


def test_the_text_key_stays_while_recorded_measurements_are_enough() -> None:
    found = keys(
        {"limits": {"max_line": 5, "min_alphabetic": None, "max_digits": 0.1}},
        {"languages": LANGUAGE_LIMITS | {"Go": {"max_line": 80}}},
        {"languages": LANGUAGE_LIMITS | {"HTML": {"min_visible": 7}}},
        {"measure": ["characters"]},
    )
    assert len(found) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"limits": {"min_words": 10}},
        {"limits": {"max_duplicate_lines": 0.9}},
        {"languages": LANGUAGE_LIMITS | {"Go": {"max_comments": 0.5}}},
        {"languages": {}},
        {"measure": ["lexical"]},
        {"generated_lines": 4},
        {"generated_marks": []},
        {"xml_characters": 1},
        {"test_paths": "x"},
    ],
)
def test_the_text_key_changes_with_what_is_read(change: dict[str, object]) -> None:
    assert len(keys(change)) == 2


def test_drawing_a_share_needs_the_draw_but_not_which_share() -> None:
    def go(**limits: float) -> str:
        return RulesConfig(languages={"Go": {"max_no_logic": 0.5, **limits}}).text_key

    assert go(drop_no_logic=0.8) == go(drop_no_logic=0.2) != go() == go(drop_no_logic=1.0)


def test_a_typo_in_a_language_table_is_an_error() -> None:
    with pytest.raises(ValueError, match="max_lin"):
        RulesConfig(languages={"Go": {"max_lin": 3}})


def test_tokens_need_a_tokenizer_and_its_content_counts(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"tokenizer\.json"):
        RulesConfig(languages={"Go": {"min_characters_per_token": 2.5}})
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    cfg = RulesConfig(tokenizer=str(path), limits=Limits(min_characters_per_token=2.5))
    before = cfg.text_key
    path.write_text("[]")
    assert cfg.text_key != before
    path.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        _ = cfg.text_key


def test_every_measure_has_a_group_that_can_be_asked_for() -> None:
    for group in {measure.group for measure in MEASURE_TABLE}:
        RulesConfig(measure=(group,))
    assert set(GROUP_OF) == {*MEASURES, "size"}
