from __future__ import annotations

import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.kernels.nesting import extent


def slow(text: str | None) -> int:
    depth = angles = deepest = 0
    for character in text or "":
        depth = max(0, depth + (character in "([{") - (character in ")]}"))
        angles = 0 if character in ";{}" else max(0, angles + (character == "<") - (character == ">"))
        deepest = max(deepest, depth, angles)
    return max(deepest, *map(len, re.findall("#+", text or "")), 0)


@settings(deadline=None)  # compiling is the first call's
@given(st.lists(st.one_of(st.none(), st.text(alphabet="([{)]}<>;#aé\n\0", max_size=30)), max_size=10))
def test_equals_counting_by_hand(texts: list[str | None]) -> None:
    got = extent(pa.array(texts, pa.large_string()))
    assert got.depth.tolist() == [slow(text) for text in texts]
    lines = [max(len(line.encode()) for line in (text or "").split("\n")) for text in texts]
    assert got.longest_line.tolist() == lines


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        ("", 0),
        ("a(b[c{d}])", 3),
        (")))(", 1),
        ("()" * 99, 1),
        ('r###"x"###', 3),
        ("a<b<c>", 2),
        ("a<b; c<d", 1),
    ],
)
def test_depths(text: str, depth: int) -> None:
    assert extent(pa.array([text])).depth.tolist() == [depth]
