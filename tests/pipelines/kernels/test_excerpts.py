from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.kernels.excerpts import head


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
