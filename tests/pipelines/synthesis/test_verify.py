from __future__ import annotations

import ast

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.schema import DOCUMENT
from pipelines.synthesis import python_source
from pipelines.synthesis.config import VerifyConfig
from pipelines.synthesis.requests import REQUEST, RESPONSE
from pipelines.synthesis.verify import (
    VERDICT,
    Seen,
    accepted_documents,
    extract_code,
    shared_shingles,
    verify,
)

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


def contaminated(texts):
    return ["humaneval/0: has_close_elements" if "has_close_elements" in text else None for text in texts]


def judge(*answers, config=CONFIG, seen=None, lang="Python", first=40):
    """Verdicts of answers; each a text, or a dict of changed columns."""
    asked, answered = [], []
    for row, answer in enumerate(answers):
        changed = answer if isinstance(answer, dict) else {"text": answer}
        common = {"ordinal": first + row, "seed": row, "recipe": "problem_file", "sample": 0, "lang": lang}
        common |= {"prompt_hash": "p", "sampling": "{}"}
        asked.append(common | {"snippet": SEED, "error": None})
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
    return responses, verify(responses, requests, config, contaminated, seen or Seen())


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


def test_duplicates_keep_the_first_across_chunks_and_name_it():
    seen = Seen()
    assert reasons(fenced(GOOD), fenced(GOOD), seen=seen) == [None, "duplicate"]
    _, verdicts = judge(fenced("\n" + GOOD.replace("\n", "  \n")), seen=seen, first=50)
    assert verdicts["reason"].to_pylist() == ["duplicate"]
    assert verdicts["evidence"].to_pylist() == ["of request 40"]


def test_a_contaminated_file_owns_no_text():
    seen = Seen()
    assert reasons(fenced(BENCHMARK), seen=seen) == ["contaminated"]
    assert seen.ordinals == {}


def test_other_languages_need_a_fence_and_are_recorded_as_unparsed():
    java = "class A {\n" + "".join(f"  int f{i}() {{ return {i}; }}\n" for i in range(6)) + "}\n"
    _, verdicts = judge(
        fenced(java, "java"), java, {"text": "```java\n" + java, "finish": "length"}, lang="Java"
    )
    assert verdicts["reason"].to_pylist() == [None, "no_code", "unfinished"]
    assert verdicts["parsed"].to_pylist() == [False, False, False]
    assert judge(fenced(GOOD))[1]["parsed"].to_pylist() == [True]


def test_accepted_files_become_documents_that_name_their_request():
    responses, verdicts = judge("", fenced(GOOD))
    documents = accepted_documents(responses, verdicts)
    assert documents.schema == DOCUMENT
    [document] = documents.to_pylist()
    assert document["row"] == 1
    assert document["repo"] == "synthetic/problem_file"
    assert document["path"] == "0000000000000001-problem_file-0"
    assert (document["lang"], document["size"]) == ("Python", len(GOOD.encode()))
    assert document["text"] == GOOD


def test_rows_of_different_chunks_are_refused():
    responses, _ = judge("a", "b")
    requests = pa.Table.from_pylist([{"ordinal": 40}, {"ordinal": 99}], schema=REQUEST)
    with pytest.raises(ValueError, match="not rows of the same chunk"):
        verify(responses, requests, CONFIG, contaminated, Seen())


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


def test_shared_shingles_is_containment():
    words = [f"w{i}" for i in range(100)]
    assert shared_shingles(" ".join(words[:30]), " ".join(words), 5) == 1.0
    assert shared_shingles(" ".join(words), " ".join(words[:30]), 5) == pytest.approx(26 / 96)
    assert shared_shingles("a b", "a b", 5) == 0.0


def test_trimming_counts_lines_as_the_parser_does():
    code = 'x = "\x0c\u2028"\r\ndef f():\r\n    return 1\r\n\r\ndef g(a,'
    assert python_source.complete_prefix(code) == 'x = "\x0c\u2028"\ndef f():\n    return 1\n'
