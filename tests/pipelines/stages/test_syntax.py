from __future__ import annotations

import json
import sysconfig
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.language import PAPER_LANGUAGES
from pipelines.sources.notebooks import to_script
from pipelines.stages import grammars, syntax
from pipelines.stages.grammars import GRAMMARS, Grammar, parser
from pipelines.stages.syntax import VERDICT, SyntaxConfig, judge_syntax, rejudge
from snowcoder.base import UserError
from tests.pipelines.stages.documents import documents

# A piece of each language, repeated so that a mistake is a small share, and a mistake in it.
GOOD = {
    "Python": "def f(x):\n    return x + 1\n",
    "Java": "class A { int f(int x) { return x + 1; } }\n",
    "C++": "template <class T> struct A { T f(T x) { return x + 1; } };\n",
    "C": "static int f(int x)\n{\n    return x + 1;\n}\n",
    "JavaScript": "const f = (x) => { return x + 1; };\n",
    "PHP": "<?php\nfunction f($x) { return $x + 1; }\n?>\n",
    "C#": "class A { int F(int x) { return x + 1; } }\n",
    "Go": "func f(x int) int {\n\treturn x + 1\n}\n",
    "TypeScript": "const f = (x: number): number => { return x + 1; };\n",
    "SQL": "SELECT a, b FROM c WHERE d = 1;\n",
    "Ruby": "def f(x)\n  x + 1\nend\n",
    "Rust": "fn f(x: u32) -> u32 { x + 1 }\n",
    "Scala": "object A { def f(x: Int): Int = { x + 1 } }\n",
    "Kotlin": "fun f(x: Int): Int {\n    return x + 1\n}\n",
    "Shell": 'if [ -n "$1" ]; then\n  echo "$1"\nfi\n',
    "Dart": "int f(int x) { return x + 1; }\n",
    "Swift": "func f(x: Int) -> Int {\n    return x + 1\n}\n",
}
PROSE = "The clocks were striking thirteen, and nobody (not even the porter) knew why; it was a Tuesday.\n"


def judge(texts, lang, path="file", **fields) -> list[dict]:
    table = judge_syntax(documents(texts, lang=lang, path=path), SyntaxConfig(**fields))
    assert table.schema == VERDICT
    return table.to_pylist()


def wrapped(text: str) -> str:
    """In lines that are not too long."""
    return "\n".join(text[start : start + 1000] for start in range(0, len(text), 1000))


def test_the_languages_of_the_paper_have_grammars() -> None:
    assert set(GRAMMARS) == set(PAPER_LANGUAGES) - {"Jupyter Notebook"} == set(GOOD)


@pytest.mark.parametrize("lang", GOOD)
def test_good_code_passes_and_other_text_does_not(lang: str) -> None:
    opening = "<?php\n" if lang == "PHP" else ""  # without it, all of a PHP file is what it prints
    noise = "]) => end {{ '\n" * 200
    good, prose, other = judge([GOOD[lang] * 20, PROSE * 20, opening + noise], lang)
    assert (good["reason"], good["error_share"], good["errors"], good["outcome"]) == (None, 0, 0, "parsed")
    assert good["nodes"] > 100
    assert other["error_share"] > 0.05
    # Where a word may stand alone, sentences are code: calls in Ruby and Scala, commands in a shell.
    takes_prose = lang in ("PHP", "Ruby", "SQL", "Scala", "Shell")
    assert prose["reason"] == (None if takes_prose else "syntax")


@pytest.mark.parametrize("lang", sorted(set(GOOD) - {"PHP"}))
def test_one_mistake_in_a_long_file_is_let_pass(lang: str) -> None:
    (verdict,) = judge([GOOD[lang] * 30 + "\n)\n" + GOOD[lang] * 30], lang)
    assert verdict["errors"] > 0
    assert 0 < verdict["error_share"] < 0.01
    assert verdict["reason"] is None


def test_python_2_passes() -> None:
    text = 'print "a", 1\nprint >> sys.stderr, "b"\nexec "c" in {}\ntry:\n    f()\nexcept E, e:\n    raise\n'
    assert judge([text], "Python")[0]["error_share"] < 0.05


def test_another_grammar_may_fit_better() -> None:
    typed = "type A = { b: string };\nfunction f(a: A, c?: number): string { return a.b; }\n" * 5
    markup = "const a = <B c={1}>text {d as string}</B>;\n" * 5
    cpp = "namespace a { template <class T> class B : public C<T> { std::vector<T> d; }; }\n" * 5
    verdicts = judge([typed, cpp, markup], ["JavaScript", "C", "TypeScript"], ["a.js", "a.h", "a.tsx"])
    assert [verdict["reason"] for verdict in verdicts] == [None] * 3
    assert [verdicts[0]["error_share"], verdicts[2]["error_share"]] == [0, 0]


def test_a_notebook_is_parsed_as_what_its_cells_are_in() -> None:
    cells = [
        {"cell_type": "markdown", "source": "# T"},
        {"cell_type": "code", "source": "%time\n" + GOOD["Python"] * 9},
    ]
    script = to_script(json.dumps({"cells": cells}).encode()).decode()
    broken = script.replace("def f(x):", "def f(x")
    r = "# %%\nlibrary(dplyr)\nf <- function(x) {\n  paste0(x, NULL, TRUE)\n}\n" * 5
    verdicts = judge([script, broken, r], "Jupyter Notebook")
    assert [verdict["lang"] for verdict in verdicts] == ["Python", "Python", "R"]
    assert [verdict["outcome"] for verdict in verdicts] == ["parsed", "parsed", "no_grammar"]
    assert [verdict["reason"] for verdict in verdicts] == [None, "syntax", None]


def test_what_cannot_be_parsed_within_the_caps_says_so() -> None:
    text = GOOD["Python"] * 50
    size = len(text)
    for fields, outcome in (
        ({"max_bytes": size - 1}, "too_large"),
        ({"max_bytes": size}, "parsed"),
        ({"max_depth": 1}, "parsed"),
        ({"max_line": 10}, "long_line"),
        ({"max_nodes": 10}, "too_many_nodes"),
        ({"languages": ("Go",)}, "no_grammar"),
    ):
        (verdict,) = judge([text], "Python", **fields)
        assert (verdict["outcome"], verdict["reason"]) == (outcome, None)
    assert judge(["f((1))"], "Python", max_depth=1)[0]["outcome"] == "too_deep"
    assert judge([None, "x"], ["Python", "Brainfuck"])[0]["outcome"] is None


def test_a_parser_that_gives_up_rejects_and_starts_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syntax, "_FREE_STEPS", 0)
    good = GOOD["Python"] * 50
    for fields, outcome in (
        ({"max_steps_per_byte": 0.01}, "too_many_steps"),
        ({"max_seconds": 1e-9}, "too_slow"),
    ):
        (verdict,) = judge([good * 5], "Python", **fields)
        assert (verdict["outcome"], verdict["reason"]) == (outcome, "syntax")
        assert judge([good * 5], "Python", reject_lost=False, **fields)[0]["reason"] is None
        assert judge([good], "Python")[0]["error_share"] == 0


@pytest.mark.parametrize("lang", GOOD)
def test_nesting_of_100_000_is_safe(lang: str) -> None:
    deep = [bracket * 100_000 for bracket in ("(", "[", "{", "<", "- ", "({[", "()")]
    verdicts = judge(
        [*(text + "\n" for text in map(wrapped, deep)), wrapped("(" * 100_000 + ")" * 100_000)],
        lang,
        max_seconds=0.2,
    )
    assert [verdicts[index]["outcome"] for index in (0, 1, 2, 5, 7)] == ["too_deep"] * 5


def test_the_library_has_no_stack_to_overflow() -> None:
    """Without the cap on depth: the parser, the walk over errors and freeing the tree take no recursion."""
    texts = [wrapped("(" * 100_000 + ")" * 100_000), wrapped("(" * 100_000)]
    for lang in ("Python", "JavaScript", "C++"):
        deep, broken = judge(texts, lang, max_depth=10**6, max_seconds=20)
        assert deep["nodes"] is not None or deep["outcome"] == "too_many_steps"
        assert broken["outcome"] in ("parsed", "too_many_steps", "too_slow")


def test_limits_can_be_changed_without_the_text() -> None:
    docs = documents([GOOD["C"] * 5 + "} else ] x\n" * 2, GOOD["Go"], PROSE * 9], lang=["C", "Go", "Go"])
    strict = SyntaxConfig(max_error_share=0, languages_max_error_share={})
    assert strict.text_key == SyntaxConfig().text_key != SyntaxConfig(max_depth=7).text_key
    for first, second in ((SyntaxConfig(), strict), (strict, SyntaxConfig())):
        assert rejudge(judge_syntax(docs, first), second).equals(judge_syntax(docs, second))
    assert judge_syntax(docs, strict)["reason"].to_pylist() == ["syntax", None, "syntax"]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(sorted(GOOD)), st.text(max_size=60)), max_size=4))
def test_verdicts_are_in_range_and_independent_of_the_batch(pairs: list[tuple[str, str]]) -> None:
    langs, texts = [lang for lang, _ in pairs], [text for _, text in pairs]
    together = judge(texts, langs)
    alone = [judge([text], lang)[0] for lang, text in pairs]
    assert [{**verdict, "row": 100} for verdict in together] == alone
    for verdict, text in zip(together, texts, strict=True):
        assert verdict["outcome"] == "parsed"
        assert 0 <= verdict["error_share"] <= 1
        if not text:
            assert verdict["error_share"] == 0


def test_a_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(grammars.GRAMMARS, "Go", (Grammar("tree_sitter_no_such"),))
    with pytest.raises(UserError, match="tree-sitter-no-such"):
        parser(GRAMMARS["Go"][0])


def test_the_standard_library_parses() -> None:
    library = Path(sysconfig.get_paths()["stdlib"])
    texts = [file.read_text("utf-8") for file in sorted(library.glob("*.py"))]
    verdicts = judge(texts, "Python")
    assert [verdict for verdict in verdicts if verdict["reason"]] == []
    cut = judge(
        [text[: len(text) // 2] + "\n" + PROSE * 60 for text in texts if len(text) < 20_000], "Python"
    )
    assert sum(verdict["reason"] == "syntax" for verdict in cut) > 0.8 * len(cut)
    assert pa.compute.all(pa.compute.less(pa.array([v["error_share"] for v in verdicts]), 0.01)).as_py()
