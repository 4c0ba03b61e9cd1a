from __future__ import annotations

import random
import sysconfig
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.stages import language, language_model
from pipelines.stages.language import VERDICT, LanguageConfig, amend_language, judge_language
from pipelines.stages.language_model import Guess, guess
from tests.pipelines.stages.documents import documents

PYTHON = "import os\n\n\ndef f(self, x=None):\n    if x is None:\n        return os.getcwd()\n    return x\n"
GO = 'package main\n\nimport "fmt"\n\nfunc main() {\n\tx := 1\n\tfmt.Println(x)\n}\n'
RUST = 'use std::fmt;\n\npub fn f(x: &str) -> u32 {\n    let mut n = 0;\n    println!("{}", x);\n    n\n}\n'
PROSE = "It was a bright cold day in April, and the clocks were striking thirteen. " * 5


def judge(texts, lang="", path="file", **fields) -> list[dict]:
    table = judge_language(documents(texts, lang=lang, path=path), LanguageConfig(**fields))
    assert table.schema == VERDICT
    return table.to_pylist()


@pytest.mark.parametrize(
    ("text", "lang"),
    [
        (PYTHON, "Python"),
        (GO, "Go"),
        (RUST, "Rust"),
        ("<?php\n\nnamespace A;\n\nclass B\n{\n    public function c() { return $this->d; }\n}\n", "PHP"),
        ("#include <stdio.h>\n\nint main(void)\n{\n    printf(\"x\");\n    return 0;\n}\n", "C"),
        ("#include <vector>\nnamespace a {\ntemplate <typename T> class B { std::vector<T> x; };\n}\n", "C++"),
        ("CREATE TABLE a (\n  id INTEGER PRIMARY KEY,\n  b VARCHAR(10)\n);\nINSERT INTO a VALUES (1);\n", "SQL"),
        ("import java.util.List;\n\npublic class A {\n    private final int b;\n}\n", "Java"),
        ("using System;\n\nnamespace A\n{\n    public class B { public string C { get; set; } }\n}\n", "C#"),
        ("const a = require('b');\n\nmodule.exports = function (c) {\n  return c === undefined;\n};\n", "JavaScript"),
        ("export interface A {\n  b: string;\n  readonly c?: number;\n}\n", "TypeScript"),
        ("require 'a'\n\nmodule B\n  class C\n    attr_reader :d\n    def e\n    end\n  end\nend\n", "Ruby"),
        ("package a.b\n\nimport kotlin.math\n\nclass A(val b: Int) {\n    override fun c() = null\n}\n", "Kotlin"),
        ("package a\n\nimport scala.util._\n\nsealed trait A\ncase class B(c: Int) extends A\n", "Scala"),
        ("import Foundation\n\nfunc a(b: String?) -> Int {\n    guard let c = b else { return 0 }\n}\n", "Swift"),
        ("import 'dart:io';\nimport 'package:a/b.dart';\n\nvoid main() {\n  final String c = '';\n}\n", "Dart"),
        ("set -e\nif [ -n \"$1\" ]; then\n  echo \"$1\"\nfi\nfor i in a b; do\n  local x=$(ls)\ndone\n", "Shell"),
    ],
)  # fmt: skip
def test_the_languages_of_the_paper_are_told_from_a_few_lines(text: str, lang: str) -> None:
    (verdict,) = judge([text], model="never")
    assert (verdict["lang"], verdict["by"], verdict["named"]) == (lang, "content", "")
    assert 0 < verdict["confidence"] <= 1


@pytest.mark.parametrize(
    ("line", "lang"),
    [
        ("#!/bin/sh", "Shell"),
        ("#! /usr/bin/env python3.11", "Python"),
        ("#!/usr/bin/env -S node --harmony", "JavaScript"),
        ("#!/usr/bin/perl -w", "Perl"),
        ("#!/opt/a b/ruby", ""),
        ("#!", ""),
    ],
)
def test_an_interpreter_is_a_name(line: str, lang: str) -> None:
    (verdict,) = judge([line + "\nx\n"], model="never")
    assert verdict["lang"] == lang
    assert (verdict["by"] == "shebang") == (lang != "")


def test_a_name_stands_where_the_content_agrees_or_is_silent() -> None:
    verdicts = judge([PYTHON, "", "x", PROSE], lang=["Python", "Go", "Rust", "C"])
    assert [verdict["lang"] for verdict in verdicts] == ["Python", "Go", "Rust", "C"]
    assert verdicts[0]["content"] == "Python"
    assert [verdict["confidence"] for verdict in verdicts[:2]] == [1, 1]


def test_content_wins_over_the_name_only_when_the_model_is_sure() -> None:
    (won,) = judge([GO * 5], lang="Python")
    assert (won["lang"], won["named"], won["content"], won["by"]) == ("Go", "Python", "Go", "model")
    (lost,) = judge([GO * 5], lang="Python", override_confidence=1)
    assert (lost["lang"], lost["content"]) == ("Python", "Go")  # the disagreement is on record
    assert 0 <= lost["confidence"] < 0.5


def test_without_the_model_the_cheap_evidence_may_win() -> None:
    assert judge([GO * 5], lang="Python", model="never")[0]["lang"] == "Python"
    (verdict,) = judge([GO * 5], lang="Python", model="never", override_confidence=0.7)
    assert (verdict["lang"], verdict["by"]) == ("Go", "content")


def test_dialects_do_not_contradict_each_other() -> None:
    cpp = "#include <vector>\nnamespace a {\nclass B : public C { std::string d; };\n}\n"
    assert judge([cpp], lang="C", model="never", override_confidence=0)[0]["lang"] == "C"


def test_prose_and_notebooks_may_quote_any_language() -> None:
    verdicts = judge([GO * 5] * 2, lang=["Markdown", "Jupyter Notebook"], override_confidence=0)
    assert [verdict["lang"] for verdict in verdicts] == ["Markdown", "Jupyter Notebook"]
    assert {verdict["by"] for verdict in verdicts} == {"name"}


def test_prose_without_a_name_is_no_language() -> None:
    assert judge([PROSE])[0]["lang"] in ("", "Markdown")
    assert judge([""])[0]["lang"] == ""


def test_the_path_names_what_the_source_does_not() -> None:
    (verdict,) = judge(["x = 1\n"], path="a/b.rs")
    assert (verdict["named"], verdict["lang"]) == ("Rust", "Rust")


def test_a_disagreement_can_be_rejected() -> None:
    docs = [GO * 5, GO, PYTHON]
    verdicts = judge(docs, lang=["Python", "Go", ""], reject_disagreement=True)
    assert [verdict["reason"] for verdict in verdicts] == ["language_disagreement", None, None]
    assert [verdict["reason"] for verdict in judge(docs, lang=["Python", "Go", ""])] == [None] * 3


def test_a_fault_is_not_decided_here() -> None:
    docs = documents([None, "x"], lang=["Python", None], path="", fault=["too_large", None])
    verdicts = judge_language(docs, LanguageConfig()).to_pylist()
    assert [(v["reason"], v["lang"], v["by"]) for v in verdicts] == [
        (None, "Python", "name"),
        (None, "", "model"),
    ]


def test_amending_sets_the_language_and_nothing_else() -> None:
    docs = documents([GO * 5, PYTHON], lang=["Python", "Python"])
    amended = amend_language(docs, judge_language(docs, LanguageConfig()))
    assert amended.schema == docs.schema
    assert amended["lang"].to_pylist() == ["Go", "Python"]
    assert amended.drop_columns(["lang"]) == docs.drop_columns(["lang"])


def test_a_verdict_does_not_depend_on_the_batch(library: list[tuple[str, str]]) -> None:
    some = library[:60]
    docs = documents([text for text, _ in some], lang=["", "Haskell", "Python"] * 20, path="")
    cfg = LanguageConfig(contradiction=0.3, min_confidence=0.5, max_model_share=0.3)
    whole = judge_language(docs, cfg)
    assert 0 < Counter(whole["by"].to_pylist())["model"] < 40
    order = list(range(len(some)))
    random.Random(3).shuffle(order)
    parts = [judge_language(docs.take(order[i : i + 7]), cfg) for i in range(0, len(order), 7)]
    shuffled = pa.concat_tables(parts).to_pylist()
    assert [shuffled[order.index(row)] for row in range(len(some))] == whole.to_pylist()


def test_the_cap_on_the_model_lets_in_by_the_text_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(language, "guess", lambda text: asked.append(text) or Guess("", 0.0))
    texts = [f"value {i}: thing\n" for i in range(400)]
    for share, low, high in ((0, 0, 0), (0.25, 60, 140), (1, 400, 400)):
        asked.clear()
        judge(texts, min_confidence=1, max_model_share=share)
        assert low <= len(asked) <= high


def test_the_model_answers_as_magika_does(library: list[tuple[str, str]]) -> None:
    from magika import Magika
    from magika.types import OverwriteReason

    theirs = Magika()
    texts = [text.encode() for text, _ in library[:30]] + [b"", b"abc", b" " * 5000 + b"def f(): pass\n" * 99]
    for text in texts:
        answer = theirs.identify_bytes(text).prediction
        ours = guess(text)
        assert ours.lang == language_model._language(str(answer.dl.label))
        if answer.dl.label == "undefined" or answer.overwrite_reason == OverwriteReason.LOW_CONFIDENCE:
            assert ours.confidence == 0
        else:
            assert ours.confidence == pytest.approx(answer.score, abs=1e-5)


@pytest.fixture(scope="module")
def library() -> list[tuple[str, str]]:
    """(text, suffix) of files of the installed packages, at most 60 a suffix, in an order that mixes them."""
    packages = Path(sysconfig.get_paths()["purelib"])
    chosen = random.Random(5)
    files: dict[str, list[Path]] = {}
    for package in ("numpy", "torch", "ray", "scipy", "sympy", "vllm", "pyarrow", "matplotlib"):
        for file in (packages / package).rglob("*"):
            if file.suffix in TRUTH and 300 < file.stat().st_size < 200_000:
                files.setdefault(file.suffix, []).append(file)
    picked = [
        (file, suffix)
        for suffix in sorted(files)
        for file in chosen.sample(sorted(files[suffix]), min(60, len(files[suffix])))
    ]
    chosen.shuffle(picked)
    texts = ((file.read_bytes().decode("utf-8", "replace"), suffix) for file, suffix in picked)
    return list(texts)


# Suffixes that stand for one language, and what is as right as that: the evidence for a dialect may be missing.
TRUTH = {
    ".py": {"Python"},
    ".pyx": {"Cython", "Python"},
    ".c": {"C"},
    ".h": {"C", "C++", "CUDA"},
    ".cpp": {"C++", "C"},
    ".js": {"JavaScript", "TypeScript"},
    ".css": {"CSS"},
    ".html": {"HTML"},
    ".json": {"JSON"},
    ".cmake": {"CMake"},
    ".proto": {"Protocol Buffer"},
    ".sh": {"Shell"},
}
FLOORS = {".py": 0.95, ".h": 0.95, ".c": 0.9, ".json": 0.95}  # of those with 40 files and more


def test_languages_of_packages_with_their_names_hidden(library: list[tuple[str, str]]) -> None:
    docs = documents([text for text, _ in library], lang="", path="")
    told = judge_language(docs, LanguageConfig())["lang"].to_pylist()
    found, right = Counter(suffix for _, suffix in library), Counter()
    for lang, (_, suffix) in zip(told, library, strict=True):
        right[suffix] += lang in TRUTH[suffix]
    recall = {suffix: right[suffix] / found[suffix] for suffix in found}
    assert {suffix: recall[suffix] for suffix, floor in FLOORS.items() if recall[suffix] < floor} == {}
    right_of_told = sum(right.values()) / sum(lang != "" for lang in told)
    assert right_of_told > 0.95
