"""Verdicts under other limits from the recorded measurements; which seconds went where; errors inside a rule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines.stages.limits import Limits
from pipelines.stages.rules import MEASURES, VERDICT, judge_rules, rejudge, rules_hit
from pipelines.stages.rules_config import RulesConfig
from pipelines.stages.rules_reference import COLUMNS, preset
from tests.pipelines.stages.documents import documents
from tests.pipelines.stages.rule_examples import FAMILIES

EVERYTHING = ("markup", "words", "repetition", "lexical", "dump", "draw")
LANGUAGES = ("Python", "C", "Java", "Go", "JavaScript", "HTML", "JSON", "SQL", "Markdown", "")


def all_kinds() -> pa.Table:
    """Texts near some limit of every measurement, each in a language that has it, and a fault."""
    texts: list[str | None] = [None, "", "x"]
    langs = ["C", "Go", "Python"]
    for measure, family in FAMILIES.items():
        for place, lang in enumerate(("Python", "C", "Java", "Go", "JavaScript")):
            if measure == "assignments" and lang in ("Python", "C"):
                continue
            found = [example.text for example in family(0.5 if "line" not in measure else 3, lang)]
            texts += found
            langs += [lang if place else LANGUAGES[len(texts) % len(LANGUAGES)]] * len(found)
    paths = ["a_test.go" if i % 3 else "a.h" for i in range(len(texts))]
    return documents(texts, langs, paths)


@pytest.fixture(scope="module")
def docs() -> pa.Table:
    return all_kinds()


def same_facts(name: str) -> RulesConfig:
    cfg = preset(name)
    return RulesConfig(limits=cfg.limits, languages=cfg.languages, measure=EVERYTHING)


@pytest.mark.parametrize("name", COLUMNS)
def test_rejudging_equals_judging_when_everything_was_measured(name: str, docs: pa.Table) -> None:
    recorded = judge_rules(docs, RulesConfig(measure=EVERYTHING))
    cfg = same_facts(name)
    assert cfg.text_key == RulesConfig(measure=EVERYTHING).text_key
    again = rejudge(recorded, cfg)
    assert again.schema == VERDICT
    assert again.to_pylist() == judge_rules(docs, cfg).to_pylist()


@pytest.mark.parametrize("name", COLUMNS)
def test_a_tighter_and_a_looser_limit_are_judged_from_the_record(name: str, docs: pa.Table) -> None:
    cfg = preset(name)
    recorded = judge_rules(docs, cfg)
    assert rejudge(recorded, cfg).to_pylist() == recorded.to_pylist()
    for factor in (0.5, 2):
        moved = cfg.limits.model_dump()
        for field, limit in moved.items():
            if limit is not None and not field.startswith("drop"):
                moved[field] = type(limit)(limit * factor)
        other = cfg.model_copy(update={"limits": Limits(**moved)})
        assert other.text_key == cfg.text_key
        assert rejudge(recorded, other).to_pylist() == judge_rules(docs, other).to_pylist()
    # Two shards of the ledger, each with dictionaries of its own.
    halves = pa.concat_tables([judge_rules(docs[:100], cfg), judge_rules(docs[100:], cfg)])
    assert rejudge(halves, cfg).to_pylist() == recorded.to_pylist()


def test_limits_are_compared_in_float32_as_recorded() -> None:
    docs = documents(["1a" + "b" * 8, "12" + "b" * 8], "Python")
    recorded = judge_rules(docs, RulesConfig())
    assert recorded["digits"].to_pylist() == [float(np.float32(0.1)), float(np.float32(0.2))]
    below = float(np.nextafter(np.float32(0.2), np.float32(0)))
    for limit, hit in ((0.2, False), (below, True), (0.2 - 1e-10, False), (0.2 + 1e-10, False)):
        verdict = rejudge(recorded, RulesConfig(limits=Limits(max_digits=limit)))
        assert ("many_digits" in rules_hit(verdict["hits"][1].as_py())) is hit, limit
        assert "many_digits" not in rules_hit(verdict["hits"][0].as_py())


def test_a_share_of_the_files_is_drawn_by_their_content() -> None:
    texts = [f"import a{i}\n" * 3 for i in range(1000)]
    docs = documents(texts, "Python")
    cfg = RulesConfig(limits=Limits(max_no_logic=0.5, drop_no_logic=0.8))
    verdicts = judge_rules(docs, cfg)
    draws = verdicts["draw"].to_numpy()
    hits = np.array(["no_logic" in rules_hit(bits) for bits in verdicts["hits"].to_pylist()])
    assert (hits == (draws < np.float32(0.8))).all()
    assert hits.mean() == pytest.approx(0.8, abs=0.04)  # three standard deviations
    assert draws.min() >= 0
    assert draws.max() < 1
    # Wherever a file is, whatever else is judged with it.
    assert judge_rules(docs[500:], cfg)["draw"].to_pylist() == draws[500:].tolist()
    fewer = rejudge(verdicts, RulesConfig(limits=Limits(max_no_logic=0.5, drop_no_logic=0.3)))
    assert verdicts["reason"].null_count < fewer["reason"].null_count < 1000


def test_go_tests_are_drawn_too_and_only_they() -> None:
    texts = [f"package a\n\nfunc f{i}() int {{ return {i} }}\n" for i in range(300)]
    cfg = RulesConfig(languages={"Go": {"drop_tests": 0.8}})
    paths = ["a/b_test.go" if i % 2 else "a/test_b.go" for i in range(300)]
    verdicts = judge_rules(documents(texts, "Go", paths), cfg)
    hits = np.array(["test_file" in rules_hit(bits) for bits in verdicts["hits"].to_pylist()])
    assert not hits[::2].any()
    assert hits[1::2].mean() == pytest.approx(0.8, abs=0.1)
    assert verdicts["test_draw"].null_count == 150
    everything = rejudge(verdicts, RulesConfig(languages={"Go": {"drop_tests": 1.0}}))
    assert [reason for reason in everything["reason"].to_pylist() if reason] == ["test_file"] * 150


def test_only_what_is_needed_is_measured_and_the_clock_says_what_it_took(docs: pa.Table) -> None:
    clock: dict[str, float] = {}
    verdicts = judge_rules(docs, RulesConfig(), clock)
    assert set(clock) == {"characters", "markup", "facts", "limits"}
    assert verdicts["words"].null_count == docs.num_rows
    before = dict(clock)
    judge_rules(docs, preset("opencoder"), clock)
    assert set(clock) == {*before, "repetition", "lexical", "draw"}
    assert all(clock[name] > before.get(name, 0) for name in clock)
    everything = judge_rules(docs, RulesConfig(measure=EVERYTHING))
    unmeasured = {name for name in MEASURES if everything[name].null_count == docs.num_rows}
    assert unmeasured == {"characters_per_token"}


def test_words_are_the_same_alone_and_with_repetition(docs: pa.Table) -> None:
    alone = judge_rules(docs, RulesConfig(measure=("words",)))
    both = judge_rules(docs, RulesConfig(languages={"C": {"max_top_2grams": 0.1}}, measure=("words",)))
    for name in ("words", "mean_word", "hexadecimal", "replacements"):
        assert alone[name].to_pylist() == both[name].to_pylist()
    langs = docs["lang"].to_pylist()
    assert [value is None for value in both["top_2grams"].to_pylist()] == [lang != "C" for lang in langs]


def tokenizer(path: Path) -> str:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.save(str(path))
    return str(path)


def test_santacoders_options(tmp_path: Path) -> None:
    cfg = RulesConfig(
        tokenizer=tokenizer(tmp_path / "tokenizer.json"),
        languages={"Python": {"min_characters_per_token": 2.5, "min_comments": 0.01, "max_comments": 0.8}},
    )
    texts = ["a1 b2 #", "a12 b3 #x", "aaaa = bbbbbb", "# " + "c " * 40 + "\nx = 1\n", None]
    verdicts = judge_rules(documents([*texts, "a b"], ["Python"] * 5 + ["C"]), cfg)
    assert verdicts["characters_per_token"].to_pylist() == pytest.approx([7 / 3, 3, 13 / 3, 89 / 44, 0, None])
    hits = [rules_hit(bits) for bits in verdicts["hits"].to_pylist()]
    assert hits == [["dense_tokens"], [], ["few_comments"], ["many_comments", "dense_tokens"], ["error"], []]


def test_an_error_inside_a_rule_is_a_verdict(tmp_path: Path) -> None:
    """A tokenizer takes str, and there is none for invalid UTF-8, which Arrow lets through."""
    cfg = RulesConfig(tokenizer=tokenizer(tmp_path / "t.json"), limits=Limits(min_characters_per_token=1))
    docs = documents(["good text", "xx bad xx", "more text"])
    data = b"good text" + b"xx \xc3\x28\xa0 xx" + b"more text"
    offsets = pa.py_buffer(np.array([0, 9, 18, 27], np.int64))
    text = pa.LargeStringArray.from_buffers(3, offsets, pa.py_buffer(data))
    docs = docs.set_column(docs.schema.get_field_index("text"), docs.schema.field("text"), text)
    verdicts = judge_rules(docs, cfg)
    assert verdicts["reason"].to_pylist() == [None, "error:UnicodeDecodeError", None]
    assert verdicts["words"].null_count == 3
    assert rejudge(verdicts, cfg).to_pylist() == verdicts.to_pylist()
