from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.kernels.excerpts import head, last_line


def oracle(text: str | None, lines: int, characters: int) -> str:
    kept, ends = "", 0
    for place, character in enumerate(text or ""):
        if len(kept) == characters or ends == lines:
            break
        kept += character
        ends += character == "\n" or (character == "\r" and text[place + 1 : place + 2] != "\n")
    return kept


texts = st.one_of(st.none(), st.lists(st.sampled_from(["a", "é", "漢", "\n", "\r", "\r\n"])).map("".join))


@settings(max_examples=300, deadline=None)
@given(st.lists(texts, min_size=1, max_size=5), st.integers(1, 5), st.integers(1, 9))
def test_head(rows: list[str | None], lines: int, characters: int) -> None:
    array = pa.array(["before", *rows], pa.large_string())[1:]
    heads = head(array, lines=lines, characters=characters)
    heads.validate(full=True)
    assert heads.to_pylist() == [oracle(row, lines, characters) for row in rows]


@settings(max_examples=300, deadline=None)
@given(st.lists(texts, min_size=1, max_size=5), st.integers(1, 9))
def test_last_line(rows: list[str | None], characters: int) -> None:
    array = pa.array(["before", *rows, "after"], pa.large_string())[1:-1]
    lines = last_line(array, characters=characters)
    lines.validate(full=True)
    wanted = [re.split(r"[\r\n]", (row or "").rstrip("\r\n"))[-1][:characters] for row in rows]
    assert lines.to_pylist() == wanted


def test_rows_that_nobody_wants_are_empty() -> None:
    array = pa.array(["a\nb", "c\nd", None], pa.large_string())
    chunks, wanted = pa.chunked_array([array[:1], array[1:]]), np.array([False, True, True])
    assert head(chunks, lines=1, characters=9, wanted=wanted).to_pylist() == ["", "c\n", ""]
    assert last_line(chunks, characters=9, wanted=wanted).to_pylist() == ["", "d", ""]
