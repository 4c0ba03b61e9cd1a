"""The classes of bytes against Python's own tokenizer and marked examples, and on any input."""

from __future__ import annotations

import importlib.util
import io
import time
import tokenize
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.kernels.lexical import LexicalStats, lexical_stats
from pipelines.kernels.lexical_languages import LANGUAGES
from pipelines.language import LANGUAGES as DETECTED
from pipelines.language import PAPER_LANGUAGES
from tests.pipelines.kernels.lexical_classes import CODE, COMMENT, DOCSTRING, STRING, classes, stats

# --- Python's own tokenizer ---

MODULES = (
    *(
        "argparse",
        "ast",
        "asyncio.base_events",
        "bdb",
        "cgitb",
        "dataclasses",
        "decimal",
        "difflib",
        "email.message",
    ),
    *(
        "enum",
        "functools",
        "heapq",
        "http.client",
        "inspect",
        "json.decoder",
        "logging",
        "mailbox",
        "optparse",
    ),
    *(
        "pathlib",
        "pickletools",
        "shutil",
        "statistics",
        "tarfile",
        "textwrap",
        "typing",
        "unittest.mock",
        "zipfile",
    ),
)


def tokenized(source: str) -> tuple[int, int, int]:
    """Characters in comments (docstrings included), docstrings and other strings, as Python sees them."""
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    comments = sum(len(token.string) for token in tokens if token.type == tokenize.COMMENT)
    tokens = [token for token in tokens if token.type not in (tokenize.COMMENT, tokenize.NL)]
    docstrings = strings = 0
    for before, token, after in zip([tokens[-1], *tokens], tokens, [*tokens[1:], tokens[-1]], strict=False):
        if token.type == tokenize.STRING:
            starts = before.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
            if starts and (after.type in (tokenize.NEWLINE, tokenize.ENDMARKER) or after.string == ";"):
                docstrings += len(token.string)
            else:
                strings += len(token.string)
    return comments + docstrings, docstrings, strings


def module_source(name: str) -> str:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).read_text("utf-8")


def test_python_equals_the_tokenizer() -> None:
    sources = [module_source(name) for name in MODULES]
    found = stats(sources, ["Python"] * len(sources))
    columns = (found.comment_characters, found.docstring_characters, found.string_characters)
    for i, (name, source) in enumerate(zip(MODULES, sources, strict=True)):
        assert tuple(int(column[i]) for column in columns) == tokenized(source), name


# --- marked examples: ⟦comment⟧, ⟪string⟫ ---

EXAMPLES = {
    "Python": ["x = ⟪rb'\\''⟫; y = f(⟪'''a\n#'''⟫)  ⟦# c'⟧\n", "⟪'unclosed # no⟫\nx ⟦# c⟧\n"],
    "Jupyter Notebook": ["⟦# %% [markdown]⟧\nx = ⟪'a'⟫\n"],
    "Java": ["char c = ⟪'\"'⟫; ⟦/** // */⟧ s = ⟪\"/*\"⟫; t = ⟪\"\"\"\n \"a\" // \\\"\"\"\n\"\"\"⟫; ⟦// '⟧\n"],
    "C++": [
        'auto s = ⟪R"x(a)" \\)x"⟫ + ⟪u8"b\\""⟫; int n = 1\'000\'000; ⟦// c \\\n still⟧\n',
        "char q = ⟪L'\\''⟫; ⟦/* /* */⟧ x",
    ],
    "C": ["#include <a.h> ⟦// '⟧\n#define S ⟪\"/*\"⟫\nchar c = ⟪'\\\\'⟫;⟦/* \" */⟧"],
    "JavaScript": [
        "x = ⟪/[/'\"]/⟫g.test(⟪'//'⟫); y = a / b / c; ⟦// '⟧\n",
        "t = ⟪`a ${b ? `c ${'}'}` : '`'} // no`⟫; ⟦/* c */⟧\nreturn ⟪/x'/⟫\nz = f(1) / 2 / g[3] / 4 ⟦// d⟧\n",
        "w = ⟦/* ' */⟧ ⟪/[a-z]'/⟫",
        "⟦#!/usr/bin/env node⟧\nlet el = <div>a</div>; ⟦// c⟧",
    ],
    "TypeScript": ["const a: Record<string, ⟪'b'⟫> = ⟪`x`⟫ ⟦/* ` */⟧ as any; ⟦// c⟧\n"],
    "PHP": [
        "It's <b>text</b> // text\n<?php ⟦# one ?⟧\n$a = ⟪'it\\'s'⟫; ⟦// two ⟧?> don't <?= $a ⟦/* c */⟧ ?>\n",
        "<?php\n$x = <<<EOT\n⟪ # text\n  EOT⟫;\n#[Attribute]\n⟦# c⟧\n",
    ],
    "C#": [
        'var a = ⟪@"c:\\ ""b"" \n // no"⟫; ⟦// c⟧\nvar r = ⟪$"""\n "x" // \\\n"""⟫; ⟦/* \' */⟧\n',
        "char q = ⟪'\"'⟫;",
    ],
    "Go": ["s := ⟪`a \\`⟫ + ⟪\"`\\\"\"⟫ + string(⟪'\\''⟫) ⟦// `⟧\n⟦/* \n */⟧ x"],
    "SQL": ["SELECT ⟪'it''s --'⟫ ⟦-- don't⟧\n⟦/* a /* b */ c */⟧ FROM ⟪\"t\"⟫;\n"],
    "Ruby": [
        "a = ⟪\"#{b(\"#\")} #\"⟫ ⟦# c'⟧\n⟦=begin\nit's\n=end⟧\nx = ⟪%w[a' b]⟫\n",
        "puts <<~EOS, 1\n⟪  it's # text\n  EOS⟫\ny = a / b / c ⟦# d⟧\nz =~ ⟪/[#'\"]/⟫\nq << CONST\n",
    ],
    "Rust": [
        "let a: &'a str = ⟪r##\"a\"# \\\"##⟫; let c = ⟪'\\''⟫; let d = ⟪b'x'⟫; let e = ⟪'漢'⟫;\n",
        "⟦/* /* ' */ \" */⟧ fn f<'b>() {} ⟦//! '⟧\n",
        '#![allow(x)] let s = ⟪"a\n// \\" b"⟫;',
    ],
    "Scala": ["val a = 's; val c = ⟪'\"'⟫; val t = ⟪\"\"\"a \\\"\"\"\"⟫ ⟦/* /* */ \" */⟧ ⟦// '⟧\n"],
    "Kotlin": [
        "val a = ⟪\"b ${c(\"}\")} //\"⟫; val t = ⟪\"\"\"a \\ ${d[\"\"\"e\"\"\"]}\n\"\"\"\"⟫ ⟦/* /* */ */⟧\n",
        "val c = ⟪'\"'⟫ ⟦// '⟧\n",
    ],
    "Shell": [
        "⟦#!/bin/bash⟧\necho ⟪\"a # $(b \"c\" | d) \\\" \"⟫ x#y ${#v} $# ⟦# it's⟧\n",
        "cat <<⟪'EOF'⟫ | sed ⟪'s/\\'⟫\n⟪it's # text\nEOF⟫\n",
        "grep ⟪$'\\''⟫ <<< ⟪\"x\"⟫ ⟦# c⟧\necho \\\" \\# ⟦# d⟧\n",
    ],
    "Dart": ["var a = ⟪r'\\'⟫; var b = ⟪'${c['}']} //'⟫; var t = ⟪'''\n'a' '''⟫; ⟦/* /* */ ' */⟧ ⟦/// '⟧\n"],
    "Swift": [
        'let a = ⟪"b \\(c("d")) //"⟫; let r = ⟪#"\\" //"#⟫; let t = ⟪"""\n"a" //\n"""⟫ ⟦/* /* */ " */⟧\n',
        'x ⟦// "⟧\n',
    ],
    "HTML": ["<p>don't ⟦<!-- \" -- > -->⟧ \"x\" // </p>\n⟦<!-- open⟧"],
    "XML": ["<a b=\"c\">⟦<!-- ' -->⟧</a>"],
    "CSS": ["a { b: url(//x); c: ⟪'/*'⟫ } ⟦/* ' */⟧\n"],
    "YAML": ["a: don't ⟦# x⟧\nb: ⟪'it''s #'⟫ ⟦# c⟧\nc: [⟪\"\\\"#\"⟫, d#e]\n"],
    "TOML": ["a = ⟪'\\'⟫ ⟦# '⟧\nb = ⟪\"\"\"\n\\\"\"\" #\n\"\"\"⟫\n"],
    "Lua": ["a = ⟪[==[ ]] -- ]==]⟫ ⟦--[[ '\n]]⟧ b ⟦-- [[ c⟧\nt[ [1] ] = ⟪'\\''⟫\n"],
    "Haskell": ["f' x = ⟪'\"'⟫ : g' ⟪\"--\"⟫ ⟦{- {- -} ' -}⟧ --> y ⟦-- '⟧\n"],
    "R": ["x <- ⟪'#'⟫ ⟦# '⟧\ny <- ⟪\"a\n#\"⟫\n"],
    "Perl": ["my $a = ⟪'#'⟫; ⟦# '⟧\n⟦=pod\n\nit's\n\n=cut⟧\n$#a; $b =~ ⟪/[#'\"]/⟫;\n"],
    "Elixir": ["x = ⟪\"#{a(\"}\")} #\"⟫ ⟦# '⟧\n@doc ⟪\"\"\"\n # it's\n\"\"\"⟫\n"],
    "Julia": ["x = a' * b'; c = ⟪'\"'⟫ ⟦#= #= ' =# =#⟧ s = ⟪\"#\"⟫ ⟦# '⟧\n"],
    "Makefile": ["a: b ⟦# don't⟧\n\techo 'x' \\# y\n"],
    "Dockerfile": ["FROM a\n⟦# don't⟧\nRUN b # not one\n"],
    "TeX": ["a \\% b ⟦% c⟧\n"],
    "CMake": ["set(A ⟪\"#\"⟫) ⟦#[[ \" ]]⟧ ⟦# \"⟧\n"],
    "OCaml": ["let f (x : 'a) = ⟪'\"'⟫ ⟦(* (* *) \" *)⟧ ⟪\"(*\"⟫\n"],
    "Pascal": ["x := ⟪'it''s {'⟫; ⟦{ ' }⟧ ⟦(* ' *)⟧ ⟦// '⟧\n"],
    "PowerShell": ["$a = ⟪\"`\"#\"⟫ ⟦# '⟧\n⟦<# ' #>⟧ $b = ⟪@\"\nit's \" #\n\"@⟫\n"],
    "Clojure": ["(def a-b' ⟪\"; \\\"\"⟫) ⟦; \"⟧\n"],
    "Fortran": ["x = ⟪'it''s !'⟫ ⟦! '⟧\ncall f()\n"],
    "Vim Script": ["⟦\" it's⟧\nlet a = ⟪\"b\"⟫ . ⟪'c''\"'⟫\n"],
    "Batchfile": ["⟦REM it's⟧\n⟦:: \"⟧\necho ⟪\"a\"⟫ rem\n"],
}  # fmt: skip


def unmark(marked: str) -> tuple[str, list[int]]:
    text, wanted, span_class = "", [], CODE
    for character in marked:
        if character in "⟦⟪⟧⟫":
            span_class = {"⟦": COMMENT, "⟪": STRING}.get(character, CODE)
        else:
            text += character
            wanted.append(span_class)
    return text, wanted


@pytest.mark.parametrize("lang", EXAMPLES)
def test_marked_examples(lang: str) -> None:
    for marked in EXAMPLES[lang]:
        text, wanted = unmark(marked)
        found = classes(text, lang)
        assert mark(text, found.tolist()) == mark(text, wanted)
        row = stats([text], [lang])
        assert row.comment_characters[0] == np.isin(found, (COMMENT, DOCSTRING)).sum()
        assert row.string_characters[0] == (found == STRING).sum()


def mark(text: str, known: list[int]) -> str:
    return "".join(f"{text[i]}{' cs'[min(each, 2)]}" for i, each in enumerate(known))


# --- any input ---


def test_every_language_of_the_paper_is_known() -> None:
    assert set(PAPER_LANGUAGES) <= set(LANGUAGES)
    assert set(LANGUAGES) <= set(DETECTED)  # a name that no document can have would be a slip
    assert stats(["x", "x", "x"], ["Python", "Klingon", None]).known.tolist() == [True, False, False]


def test_unknown_language_is_all_code() -> None:
    row = stats(["# a\n\n'b' (\n"], ["Klingon"])
    assert (row.lines[0], row.code_lines[0], row.comment_characters[0], row.string_characters[0]) == (
        2,
        2,
        0,
        0,
    )


def binary(data: bytes) -> pa.Array:
    offsets = pa.py_buffer(np.array([0, len(data)], np.int64))
    return pa.LargeStringArray.from_buffers(1, offsets, pa.py_buffer(data))


NASTY = [
    b"'",
    b'"',
    b"`",
    b"/",
    b"*",
    b"#",
    b"-",
    b"[",
    b"]",
    b"{",
    b"}",
    b"(",
    b")",
    b"=",
    b"<",
    b"?",
    b"%",
    b"$",
]
NASTY += [
    b"\\",
    b"\n",
    b"\r",
    b"R",
    b"r",
    b"@",
    b"!",
    b":",
    b";",
    b" ",
    b"\0",
    b"\xff",
    b"\xe6",
    b"E",
    b"def ",
    b"return ",
]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(NASTY), max_size=60).map(b"".join), st.binary(max_size=12))
def test_any_bytes_in_every_language(data: bytes, tail: bytes) -> None:
    data += tail
    n = len(LANGUAGES)
    offsets = np.arange(n + 1, dtype=np.int64) * len(data)
    column = pa.LargeStringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(data * n))
    found = lexical_stats(column, pa.array(list(LANGUAGES)))
    characters = sum((byte & 0xC0) != 0x80 for byte in data)
    assert (found.lines == found.code_lines + found.comment_lines).all()
    assert (found.comment_characters + found.string_characters <= characters).all()
    assert (found.docstring_characters <= found.comment_characters).all()
    assert (found.logic_lines <= found.code_lines).all()
    assert (found.trivial_functions <= found.functions).all()
    for name in LexicalStats.__slots__:
        assert (getattr(found, name) >= 0).all(), name


HOSTILE = {
    "nesting": b"([{" * 100_000,
    "closers": b")]}" * 100_000,
    "open strings": b"'\"`" * 100_000,
    "heredocs": b"x <<A\n" * 50_000,
    "regexes": b"= /[" * 75_000,
    "raw strings": b'r#####"' * 40_000 + b"#" * 20_000,
    "delimiters": b'R"aaaaaaaaaaaaaaa(' * 17_000,
    "comments": b"/*{-(*#=<!--" * 25_000,
    "interpolation": b'"${`${"#{' * 33_000,
    "blanks": b"/" + b" /" * 75_000 + b" " * 150_000,
    "long brackets": b"--[" + b"=" * 150_000 + b"[" + b"]=" * 75_000,
    "one word": b"a" * 300_000,
    "heads": b"int f(" * 50_000,
    "comment runs": b"/**/ " * 60_000 + b"/x/",
    "lines": b"\r\n" * 150_000,
    "percents": b" %(" * 100_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_time_is_linear_on_hostile_input(name: str) -> None:
    column = binary(HOSTILE[name])
    lexical_stats(column[:0], pa.array([], pa.string()))
    for lang in ("Python", "C++", "JavaScript", "Ruby", "Rust", "Shell", "Lua", "PHP", "C#", "Haskell"):
        start = time.process_time()
        lexical_stats(column, pa.array([lang]))
        # 300 KB take some milliseconds; what is quadratic takes minutes.
        assert time.process_time() - start < 1, lang
