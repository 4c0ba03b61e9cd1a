"""Imported files come first; circles and unknown names stop nobody."""

from __future__ import annotations

from itertools import permutations

import pytest

from pipelines.sequences.dependency import dependency_order, file_of, imports


def edges(sources: dict[str, tuple[str, str]]) -> dict[str, set[str]]:
    files = [file_of(path, lang, text) for path, (lang, text) in sources.items()]
    names = list(sources)
    found = imports(files)
    return {name: {names[n] for n in found[i]} for i, name in enumerate(names) if found[i]}


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (
            {
                "src/app/main.py": (
                    "Python",
                    "import os, app.util as u\nfrom .model import Net\nfrom . import data\n",
                ),
                "src/app/util.py": ("Python", "from app import model\n"),
                "src/app/model.py": ("Python", "import torch\n"),
                "src/app/data.py": ("Python", "from ..lib import (\n  io, net)\n"),
                "src/lib/__init__.py": ("Python", ""),
                "src/lib/io.py": ("Python", ""),
            },
            {
                "src/app/main.py": {"src/app/util.py", "src/app/model.py", "src/app/data.py"},
                "src/app/util.py": {"src/app/model.py"},
                "src/app/data.py": {"src/lib/__init__.py"},
            },
        ),
        (
            {
                "a/index.js": (
                    "JavaScript",
                    "const x = require('./b'); import y from \"../c/d.js\"\nimport 'react'",
                ),
                "a/b.js": ("JavaScript", "export * from './deep'"),
                "a/deep/index.js": ("JavaScript", ""),
                "c/d.js": ("JavaScript", "import z from '../a'"),
            },
            {
                "a/index.js": {"a/b.js", "c/d.js"},
                "a/b.js": {"a/deep/index.js"},
                "c/d.js": {"a/index.js"},
            },
        ),
        (
            {
                "src/org/x/A.java": ("Java", "package org.x;\nimport org.x.B;\nimport java.util.List;\n"),
                "src/org/x/B.java": ("Java", ""),
            },
            {"src/org/x/A.java": {"src/org/x/B.java"}},
        ),
        (
            {
                "src/a.c": ("C", '#include "a.h"\n#include <stdio.h>\n#  include <net/io.h>\n'),
                "src/a.h": ("C", ""),
                "include/net/io.h": ("C", ""),
                "other/a.h": ("C", ""),
            },
            {"src/a.c": {"src/a.h", "include/net/io.h"}},
        ),
    ],
)
def test_imports_are_found_inside_the_repository(sources, expected) -> None:
    assert edges(sources) == expected


def test_imported_files_first_whatever_order_they_came_in() -> None:
    texts = {"a.py": "import b, c", "b.py": "import d", "c.py": "import d", "d.py": ""}
    for names in permutations(texts):
        order = [names[i] for i in dependency_order([file_of(n, "Python", texts[n]) for n in names])]
        assert order.index("d.py") < order.index("b.py") < order.index("a.py")
        assert order.index("d.py") < order.index("c.py") < order.index("a.py")
    files = [file_of(f"{n}.py", "Python", "") for n in "xyz"]
    assert dependency_order(files) == [0, 1, 2]  # without imports, the order given


def test_circles_are_entered_at_the_same_file() -> None:
    texts = {
        "a.py": "import b",
        "b.py": "import c",
        "c.py": "import a",
        "d.py": "import a, b",
        "e.py": "import d",
    }
    orders = set()
    for names in permutations(texts):
        orders.add(tuple(names[i] for i in dependency_order([file_of(n, "Python", texts[n]) for n in names])))
    assert orders == {("a.py", "c.py", "b.py", "d.py", "e.py")}
