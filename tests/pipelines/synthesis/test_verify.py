from __future__ import annotations

import ast

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.schema import DOCUMENT
from pipelines.synthesis import python_source
from pipelines.synthesis.answer_text import extract_code, said_language
from pipelines.synthesis.config import VerifyConfig
from pipelines.synthesis.requests import REQUEST, RESPONSE
from pipelines.synthesis.verify import VERDICT, Outcome, documents, verify, with_reasons

CONFIG = VerifyConfig()
SEED = "def parse(line):\n    key, _, value = line.partition('=')\n    return key.strip(), value.strip()\n"
GOOD = '''"""Problem: sum the even numbers of a list. Example: [1, 2, 4] -> 6."""


def sum_even(numbers):
    # keep the even ones
    total = 0
    for number in numbers:
        if number % 2 == 0:
            total += number
    return total


assert sum_even([1, 2, 4]) == 6
'''
BENCHMARK = "def has_close_elements(numbers, threshold):\n" + "".join(
    f"    for distance_{i} in numbers: yield distance_{i} < threshold\n" for i in range(6)
)


def fenced(code, language="python"):
    return f"Here is the file:\n```{language}\n{code}```\nIt works."


def contaminated(texts, languages):
    return ["humaneval/0: has_close_elements" if "has_close_elements" in text else None for text in texts]


def judge(*answers, config=CONFIG, lang="Python", first=40, snippet=SEED, **options):
    """Verdicts of answers; each a text, or a dict of changed columns."""
    asked, answered = [], []
    for row, answer in enumerate(answers):
        changed = answer if isinstance(answer, dict) else {"text": answer}
        common = {
            "ordinal": first + row,
            "seed": row,
            "recipe": "problem_file",
            "sample": 0,
            "lang": lang,
            "step": 0,
        }
        common |= {"prompt_hash": "p", "sampling": "{}"}
        asked.append(common | {"snippet": snippet, "error": None})
        told = {
            "model": "m",
            "model_hash": "h",
            "prompt_tokens": 9,
            "output_tokens": 9,
            "finish": "stop",
            "error": None,
        }
        answered.append(common | told | changed)
    requests = pa.Table.from_pylist(asked, schema=REQUEST)
    responses = pa.Table.from_pylist(answered, schema=RESPONSE)
    return responses, verify(responses, requests, config, contaminated, **options)


def reasons(*answers, **options):
    return judge(*answers, **options)[1]["reason"].to_pylist()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (fenced(GOOD), None),
        (GOOD, None),  # a bare file is as good
        ({"text": fenced(GOOD), "finish": "length"}, None),  # the file was closed, the model talked on
        ({"text": None, "finish": None, "error": "prompt_too_long: 9000 tokens"}, "prompt_too_long"),
        ({"text": None, "finish": None, "error": "inference: ValueError: bad"}, "inference"),
        ("", "no_code"),
        ("```python\n```", "no_code"),
        ("I am sorry, but as a language model I cannot write this file.", "no_code"),
        ("hello", "no_code"),  # parses, defines nothing
        (fenced(GOOD) + "\n```\nprint(1)\n```", "several_blocks"),
        ("```python\n" + GOOD, "unfinished"),
        ({"text": GOOD, "finish": "length"}, "unfinished"),
        (fenced("def f():\n    return 1\n# a\n# b\n# c\n# d\n"), "too_short"),
        (fenced(GOOD.replace("for number", "for for number")), "syntax_error"),
        (fenced(GOOD + "\0\n"), "syntax_error"),
        (fenced("(" * 3000 + "\n" * 6 + "x = 1\n" * 6), "syntax_error"),
        (fenced("# copied\n" + SEED + SEED), "seed_copy"),
        (fenced(BENCHMARK), "contaminated"),
    ],
)
def test_each_fault_has_its_reason(answer, reason):
    assert reasons(answer) == [reason]


def test_every_output_gets_one_row_in_order_and_only_accepted_ones_keep_text():
    _, verdicts = judge(fenced(GOOD), "", fenced(BENCHMARK), fenced(GOOD.replace("even", "odd")))
    assert verdicts.schema == VERDICT
    assert verdicts["row"].to_pylist() == [0, 1, 2, 3]
    assert [text is not None for text in verdicts["text"].to_pylist()] == [True, False, False, True]
    assert verdicts["evidence"].to_pylist()[2] == "humaneval/0: has_close_elements"


JAVA = "class A {\n" + "".join(f"  int f{i}() {{ return {i}; }}\n" for i in range(6)) + "}\n"


def test_other_languages_need_a_fence_and_are_judged_by_tree_sitter():
    broken = JAVA.replace("return 3;", "return return ) ;")
    cut = {"text": "```java\n" + JAVA, "finish": "length"}
    _, verdicts = judge(fenced(JAVA, "java"), JAVA, cut, fenced(broken, "java"), lang="Java")
    assert verdicts["reason"].to_pylist() == [None, "no_code", "unfinished", "syntax_error"]
    assert verdicts["parsed"].to_pylist() == [True, False, False, True]
    assert "tree-sitter Java" in verdicts["evidence"].to_pylist()[3]


def test_the_language_is_the_one_that_was_asked_for():
    assert reasons(fenced(JAVA, "java")) == ["wrong_language"]
    assert reasons(fenced(GOOD), lang="Java") == ["wrong_language"]
    assert reasons(fenced(GOOD, "py3")) == [None]
    assert reasons(fenced(GOOD, "text")) == [None]
    believed = CONFIG.model_copy(update={"language": None})
    assert reasons(fenced(JAVA, "java"), config=believed) == ["syntax_error"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("total += number", "total += nunber"), "lint"),
        (("total += number", "total += number  # noqa"), None),
        (("total = 0", "import os\n    total = 0"), None),  # untidy is not wrong
    ],
)
def test_lint_finds_names_that_are_not_there(change, reason):
    _, verdicts = judge(fenced(GOOD.replace(*change)))
    assert verdicts["reason"].to_pylist() == [reason]
    if reason:
        assert "F821 Undefined name `nunber`" in verdicts["evidence"].to_pylist()[0]
        assert verdicts["lint"].to_pylist()[0] < 7
    assert reasons(fenced(GOOD.replace(*change)), config=CONFIG.model_copy(update={"lint": None})) == [None]


def test_secrets_are_rejected_by_place_and_addresses_written_over():
    key = "AKIA" + "Q7XLMZP3RT5VWYKD"
    leaky = GOOD.replace("total = 0", f'total = 0\n    aws_access_key_id = "{key}"')
    _, verdicts = judge(
        fenced(leaky), fenced(GOOD.replace("Problem", "Mail jo.smith@acme-corp.com. Problem"))
    )
    assert verdicts["reason"].to_pylist() == ["secret:key", None]
    assert key not in verdicts["evidence"].to_pylist()[0]
    text = verdicts["text"].to_pylist()[1]
    assert "<EMAIL>" in text
    assert "acme-corp" not in text


def test_a_copy_is_seen_in_whichever_way_it_is_one():
    seed = GOOD.replace("even", "odd").replace("% 2 == 0", "% 2")
    piece = "\n".join(seed.splitlines()[3:10]) + "\n"
    around = "\n".join(f"def helper_{i}(a, b):\n    return a * {i} + b // {i + 1}\n" for i in range(40))
    _, verdicts = judge(fenced(seed), fenced(seed + around), fenced(piece), snippet=seed)
    assert verdicts["reason"].to_pylist() == ["seed_copy", None, "seed_copy"]
    overlap, jaccard, estimate = (
        verdicts[name].to_pylist() for name in ("seed_overlap", "seed_jaccard", "seed_jaccard_estimated")
    )
    assert overlap[0] == jaccard[0] == 1.0
    assert estimate == pytest.approx(jaccard, abs=0.15)
    assert jaccard[2] < overlap[2] == 1.0
    # A recipe that rewrites may keep much of the seed, but not be it.
    half = seed.replace("odd", "uneven").replace("numbers", "values")
    assert judge(fenced(half), snippet=seed)[1]["seed_overlap"].to_pylist()[0] > 0
    strict = CONFIG.model_copy(update={"max_seed_overlap": 0.05})
    assert reasons(fenced(half), snippet=seed, config=strict) == ["seed_copy"]
    assert reasons(fenced(half), snippet=seed, config=strict, overlaps={"problem_file": 0.9}) == [None]


def test_programs_are_run_only_when_all_else_is_well_and_need_tests():
    asked = []

    def run(sources):
        asked.extend(sources)
        return [Outcome("odd" not in source, "exited: AssertionError") for source in sources]

    config = CONFIG.model_copy(update={"run": True})
    untested = GOOD[: GOOD.index("assert")]
    answers = (fenced(GOOD), fenced(GOOD.replace("even", "odd")), fenced(untested), fenced(BENCHMARK))
    _, verdicts = judge(*answers, config=config, run=run)
    assert verdicts["reason"].to_pylist() == [None, "fails", "no_tests", "contaminated"]
    assert verdicts["evidence"].to_pylist()[1] == "exited: AssertionError"
    assert asked == [GOOD, GOOD.replace("even", "odd")]
    with pytest.raises(ValueError, match="no sandbox"):
        judge(fenced(GOOD), config=config)


def test_later_reasons_take_the_text_away():
    _, verdicts = judge(fenced(GOOD), fenced(GOOD.replace("even", "odd")))
    later = with_reasons(verdicts, {1: ("duplicate_output", "of another")})
    assert later.schema == VERDICT
    assert later["reason"].to_pylist() == [None, "duplicate_output"]
    assert [text is None for text in later["text"].to_pylist()] == [False, True]


def test_accepted_files_become_documents_that_name_their_request():
    responses, verdicts = judge("", fenced(GOOD))
    found = documents(responses, verdicts)
    assert found.schema == DOCUMENT
    [document] = found.to_pylist()
    assert document["row"] == 1
    assert document["repo"] == "synthetic/problem_file"
    assert document["path"] == "0000000000000001-problem_file-0"
    assert (document["lang"], document["size"]) == ("Python", len(GOOD.encode()))
    assert document["text"] == GOOD


def test_rows_of_different_chunks_are_refused():
    responses, _ = judge("a", "b")
    requests = pa.Table.from_pylist([{"ordinal": 40}, {"ordinal": 99}], schema=REQUEST)
    with pytest.raises(ValueError, match="not rows of the same chunk"):
        verify(responses, requests, CONFIG, contaminated)


def test_truncated_files_are_trimmed_to_their_last_whole_definition():
    lenient = VerifyConfig(allow_truncated=True)
    cut = "```python\n" + GOOD + "\n\ndef product(numbers):\n    result = 1\n    for number in nu"
    _, verdicts = judge({"text": cut, "finish": "length"}, config=lenient)
    assert verdicts["reason"].to_pylist() == [None]
    assert verdicts["truncated"].to_pylist() == [True]
    [text] = verdicts["text"].to_pylist()
    assert text == GOOD[: GOOD.index("\n\n\nassert")] + "\n"
    nothing_whole = {"text": "```python\nimport sys\n\ndef f(:", "finish": "length"}
    assert reasons(nothing_whole, config=lenient) == ["unfinished"]


@given(st.integers(0, len(GOOD)))
def test_a_prefix_is_complete_or_nothing(length):
    prefix = python_source.complete_prefix(GOOD[:length])
    whole = GOOD[: GOOD.index("\n\n\nassert") + 1]
    assert prefix in (None, whole)
    assert (prefix is None) == (length <= GOOD.index("assert"))
    if prefix is not None:
        assert isinstance(ast.parse(prefix).body[-1], ast.FunctionDef)


@pytest.mark.parametrize(
    ("answer", "code", "shape"),
    [
        ("x = 1", "x = 1", "bare"),
        ("```py\nx = 1\n```", "x = 1\n", "block"),
        ("a\n~~~~\nx = '```'\n~~~~\nb", "x = '```'\n", "block"),
        ("```\nx = 1\n", "x = 1\n", "open_block"),
        ("use `x` and ``y``", "use `x` and ``y``", "bare"),
        ("```\na\n```\n```\nb\n```", None, "several_blocks"),
        ("```\na\n```\n```\nb", None, "several_blocks"),
    ],
)
def test_extracting_code(answer, code, shape):
    assert extract_code(answer) == (code, shape)


@pytest.mark.parametrize(
    ("first_line", "language"),
    [("```python", "Python"), ("```c++", "C++"), ("```{.js}", "JavaScript"), ("```", ""), ("```output", "")],
)
def test_the_fence_may_name_the_language(first_line, language):
    assert said_language(f"Look:\n{first_line}\nx = 1\n```\n") == language


def test_trimming_counts_lines_as_the_parser_does():
    code = 'x = "\x0c\u2028"\r\ndef f():\r\n    return 1\r\n\r\ndef g(a,'
    assert python_source.complete_prefix(code) == 'x = "\x0c\u2028"\ndef f():\n    return 1\n'
