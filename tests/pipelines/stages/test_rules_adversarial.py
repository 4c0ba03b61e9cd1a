"""Files made to hang or crash a rule engine: each is a verdict, in time and memory that are bounded by its size."""

from __future__ import annotations

import time

import pytest

from pipelines.stages.rules import judge_rules
from pipelines.stages.rules_config import RulesConfig
from pipelines.stages.rules_reference import preset
from tests.pipelines.stages.documents import documents, peak_bytes

MEGABYTE = 1_000_000
EVERYTHING = RulesConfig(
    limits=preset("opencoder").limits,
    languages=preset("opencoder").languages,
    measure=("markup", "words", "repetition", "lexical", "dump", "draw"),
)

TEXTS = {
    "nesting": "(" * 100_000 + ")" * 100_000,
    "nesting of blocks": "{\n" * 100_000,
    "nested tags": "<div>" * 100_000,
    "comments that nest": "/*" * 500_000,
    "one endless line": "x = " + "1234, " * (10 * MEGABYTE // 6),
    "quotes that never close": "'" * 999_999,
    "triple quotes": '"""' * 333_333,
    "escapes": "\\" * MEGABYTE,
    "regex bomb": "a" * 50_000 + "!" + "a" * 50_000 + "=" * 100_000,
    "hexadecimal that never comes to eight": "48 49 4a 4b 4c 4d 4e zz " * 40_000,
    "escapes that never come to eight": "\\u00e9" * 7 + "\\u00g9" * 150_000,
    "statements that never end": "INSERT INTO t VALUES ('" * 40_000,
    "rows that never end": "COPY t FROM stdin;\n" * 50_000,
    "markers of here-documents": "cat <<A\n" * 100_000,
    "raw strings": 'R"x(' * 200_000,
    "empty lines": "\n" * MEGABYTE,
    "carriage returns": "\r" * MEGABYTE,
    "NUL": "\0" * MEGABYTE,
    "replacement characters": "\ufffd" * 300_000,
    "wide": "漢字かな" * 80_000,
    "marks that combine": "a" + "\u0301" * 400_000,
    "generated, almost": "generated " * 100_000,
    "xml": "<?xml versio" * 80_000,
    "templates": "`${" * 300_000,
    "brackets that do not fit": ")]}" * 300_000,
}
LANGUAGES = ("Python", "C++", "JavaScript", "Ruby", "Shell", "HTML", "SQL", "Rust")


@pytest.mark.parametrize("name", TEXTS)
def test_a_verdict_in_bounded_time(name: str) -> None:
    text = TEXTS[name]
    judge_rules(documents(["x", "y"]), EVERYTHING)
    docs = documents([text] * len(LANGUAGES), LANGUAGES, [f"a.{i}" for i in range(len(LANGUAGES))])
    start = time.thread_time()
    verdicts = judge_rules(docs, EVERYTHING)
    seconds = time.thread_time() - start
    reasons = verdicts["reason"].to_pylist()
    assert not any((reason or "").startswith("error:") for reason in reasons), reasons
    # Ordinary code takes 1 s for 50 MB or so; a square of 100,000 would take minutes.
    assert seconds < 0.5 + len(text.encode()) * len(LANGUAGES) / (4 * MEGABYTE), seconds


def test_memory_does_not_follow_the_text() -> None:
    docs = documents(["f(x, " + "12345, " * (10 * MEGABYTE // 7) + ")"])
    judge_rules(documents(["x"]), EVERYTHING)
    _, peak = peak_bytes(lambda: judge_rules(docs, EVERYTHING))
    assert 0 < peak < 16 * MEGABYTE  # what `repetition` holds for the longest document it compares
