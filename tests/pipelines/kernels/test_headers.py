from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.kernels.headers import (
    DASH,
    DASH_BLOCK,
    HASH,
    HASKELL,
    MARKUP,
    SLASH,
    head_words,
    headers,
)
from pipelines.kernels.text import text_buffers


def column(*texts: str | None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(texts, pa.large_string())])


def stripped(text: str, style: int) -> str:
    found = headers(column(text), np.array([style]), 4096)
    raw = text.encode()
    return (raw[: found.begin[0]] + raw[found.end[0] :]).decode()


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(alphabet="aZ09+ /*#\n\ré\u0301\x00", max_size=40), min_size=1), st.integers(1, 50))
def test_words_equal_a_regular_expression(texts: list[str], head: int) -> None:
    view = next(text_buffers(pa.array(texts, pa.large_string())))
    words, starts = head_words(view, np.arange(len(texts)), head)
    for i, text in enumerate(texts):
        # Latin-1 makes bytes characters, none of which beyond ASCII is a word's.
        raw = text.encode()[:head].decode("latin-1")
        expected = re.findall(r"(?:[A-Za-z0-9]|(?<=[0-9])\+)+", raw)
        got = words[starts[i] : starts[i + 1]].tobytes()
        assert got == b"\xff " + b"".join(word.lower().encode() + b" " for word in expected)


CODE = "import os\n"
CASES = {
    "line comments": (HASH, "# Copyright 2020 A\n# Licensed under MIT\n\n", CODE, ""),
    "shebang and coding stay": (HASH, "# Copyright 2020\n", CODE, "#!/usr/bin/python\n# -*- coding: utf-8 -*-\n"),
    "a magic comment stays": (HASH, "# Copyright 2020\n\n", CODE, "# frozen_string_literal: true\n"),
    "a block": (SLASH, "/*\n * Copyright (c) 2020\n */\n\n", "int x;\n", ""),
    "two blocks": (SLASH, "// Copyright 2020\n\n// Licensed under MIT.\n", "package a\n", ""),
    "a build tag stays": (SLASH, "// Copyright 2020\n\n", "//go:build linux\n\npackage a\n", ""),
    "an old build tag stays": (SLASH, "// Copyright 2020\n", "// +build linux\n\npackage a\n", ""),
    "documentation stays": (SLASH, "// Copyright 2020\n", "//! What it does.\nfn x() {}\n", ""),
    "PHP": (SLASH | HASH, "/**\n * (c) 2020 A\n */\n", "$a = 1;\n", "<?php\n"),
    "HTML": (MARKUP, "<!-- Copyright 2020 -->\n", "<p>a</p>\n", "<!DOCTYPE html>\n"),
    "a pragma stays": (HASKELL | DASH, "-- Copyright 2020\n", "{-# LANGUAGE X #-}\nmodule A\n", ""),
    "Lua": (DASH | DASH_BLOCK, "--[[ Copyright 2020 ]]\n", "local a\n", ""),
    "not at the end of a line": (SLASH, "/* Copyright 2020 */", " int x;\n", ""),
    "CRLF": (SLASH, "// Copyright 2020\r\n\r\n", "int x;\r\n", ""),
    "behind a remark": (SLASH, "// Copyright 2020\n", "int x;\n", "/* vim: set ts=4: */\n"),
    "to the end of the file": (HASH, "# Copyright 2020", "", ""),
}  # fmt: skip


@pytest.mark.parametrize(("style", "header", "after", "before"), CASES.values(), ids=CASES)
def test_the_header_is_found_and_nothing_else(style: int, header: str, after: str, before: str) -> None:
    assert stripped(before + header + after, style) == before + after


@pytest.mark.parametrize(
    ("style", "text"),
    [
        (SLASH, "/** Checks license keys of users. */\nint x;\n"),
        (SLASH, "int x;\n// Copyright 2020\n"),
        (SLASH, '#include "copyright.h"\n// Copyright 2020\n'),
        (SLASH, "/* Copyright 2020\nint x;\n"),  # never closed
        (0, "# Copyright 2020\n"),
        (HASH, "#!/bin/sh copyright\necho\n"),
        (HASH, ""),
        (SLASH, "/* Copyright */" * 2000 + "/* x" + "y" * 20_000),
    ],
)
def test_what_is_no_header_stays(style: int, text: str) -> None:
    result = stripped(text, style)
    assert result == text or len(text) > 20_000


def test_an_endless_comment_is_no_header_and_bounded() -> None:
    text = "// copyright\n" * 100_000
    assert stripped(text, SLASH) == text


def test_legal_looks_at_the_head_only_and_at_any_case() -> None:
    found = headers(column("x LiCeNsE", " " * 5000 + "license", None, ""), np.zeros(4, np.int64), 4096)
    assert found.legal.tolist() == [True, False, False, False]
    assert found.end.tolist() == [0, 0, 0, 0]
