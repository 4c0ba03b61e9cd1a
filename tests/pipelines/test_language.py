from __future__ import annotations

import pytest

from pipelines.language import (
    _AMBIGUOUS,
    _LEXERS,
    LANGUAGES,
    PAPER_LANGUAGES,
    _names,
    _pygments,
    candidates,
    canonical,
    detect,
    training_languages,
)


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("a/b.py", "Python"),
        ("A.java", "Java"),
        ("a.cpp", "C++"),
        ("a.c", "C"),
        ("a.min.js", "JavaScript"),
        ("a.jsx", "JavaScript"),
        ("a.php5", "PHP"),
        ("a.cs", "C#"),
        ("a.go", "Go"),
        ("a.d.ts", "TypeScript"),
        ("a.tsx", "TypeScript"),
        ("a.sql", "SQL"),
        ("Rakefile", "Ruby"),
        ("a.rs", "Rust"),
        ("a.ipynb", "Jupyter Notebook"),
        ("a.scala", "Scala"),
        ("a.kt", "Kotlin"),
        ("a.sh", "Shell"),
        ("a.dart", "Dart"),
        ("a.swift", "Swift"),
        ("a.CU", "CUDA"),
        ("a.pyx", "Cython"),
        ("a.proto", "Protocol Buffer"),
        ("a.R", "R"),
        ("a.r", "R"),
        ("src/CMakeLists.txt", "CMake"),
        ("Dockerfile", "Dockerfile"),
        ("a.lua", "Lua"),
        ("a.hs", "Haskell"),
        ("README.md", "Markdown"),
        ("icon.xpm", ""),
        ("notes.txt", ""),
        ("a.dir/LICENSE", ""),
        ("py", ""),
        ("", ""),
    ],
)
def test_language_is_told_from_the_name(path: str, language: str) -> None:
    assert detect(path) == language


@pytest.mark.parametrize(
    ("path", "content", "language"),
    [
        ("a.h", b"#include <stdint.h>\nint f(void);\n", "C"),
        (
            "a.h",
            b"/* a class of std::vector */\nstruct s { int private; };\n",
            "C++",
        ),  # std:: decides anywhere
        ("a.h", b"/* the class of things; a namespace too */\nint f(void);\n", "C"),
        ("a.h", b"#pragma once\n#include <vector>\n", "C++"),
        ("a.h", b"namespace a {\n}\n", "C++"),
        ("a.h", b"  template <typename T>\nT f();\n", "C++"),
        ("a.H", b"", "C++"),
        ("a.h", b"#import <Foundation/Foundation.h>\n@interface A\n@end\n", "Objective-C"),
        ("a.inc", b"<?php echo 1;", "PHP"),
        ("a.inc", b"#define X 1\n", "C"),
        ("a.inc", b"hello", ""),
        ("a.m", b"% octave\nfunction y = f(x)\n", "MATLAB"),
        ("a.m", b"@implementation A\n@end", "Objective-C"),
        ("a.pl", b"parent(a, b) :- child(b, a).\n", "Prolog"),
        ("a.pl", b"use strict;\nmy $x = 1;\n", "Perl"),
        ("a.ts", b"<?xml version='1.0'?>\n<TS>", ""),
        ("a.ts", b"export const a = 1", "TypeScript"),
        ("a.v", b"module a;\nendmodule\n", "Verilog"),
        ("a.v", b"Theorem a : True.\n", ""),
    ],
)
def test_content_settles_ambiguous_names(path: str, content: bytes, language: str) -> None:
    assert detect(path, content) == language


def test_only_ambiguous_names_have_several_candidates() -> None:
    _, suffixes = _names()
    assert {suffix for suffix, langs in suffixes.items() if len(langs) > 1} == set(_AMBIGUOUS)
    assert candidates("x/a.h") == ("Objective-C", "C++", "C")
    assert candidates("x/a.unknown") == ()


def test_every_language_is_reachable_and_no_other_is_named() -> None:
    names, suffixes = _names()
    told = set(names.values()) | {lang for langs in suffixes.values() for lang in langs}
    assert told - {""} == set(LANGUAGES)
    assert len(LANGUAGES) == len(set(LANGUAGES))
    assert len(PAPER_LANGUAGES) == 18


def test_every_lexer_that_is_named_exists() -> None:
    """A Pygments that renames a lexer must be noticed here, not as a language that goes missing."""
    known = {name for name, _, _ in _pygments()}
    assert {lexer for lang in LANGUAGES for lexer in _LEXERS.get(lang, (lang,))} <= known


@pytest.mark.parametrize(
    ("said", "language"),
    [
        ("Python", "Python"),
        ("c-sharp", "C#"),
        ("cpp", "C++"),
        ("jupyter-notebook", "Jupyter Notebook"),
        ("bash", "Shell"),
        ("protocol_buffer", "Protocol Buffer"),
        ("Brainfuck", ""),
        ("", ""),
    ],
)
def test_names_of_other_sources_are_understood(said: str, language: str) -> None:
    assert canonical(said) == language


def test_each_language_is_its_own_name() -> None:
    assert [canonical(lang) for lang in LANGUAGES] == list(LANGUAGES)


def test_training_languages_default_to_the_paper() -> None:
    assert training_languages(()) == PAPER_LANGUAGES
    assert training_languages(("Lua",)) == ("Lua",)
