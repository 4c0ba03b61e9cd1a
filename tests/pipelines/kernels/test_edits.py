from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.kernels.edits import EDITS, apply_edits

WORDS = ("", "<EMAIL>", "é→", "x")
Edits = list[tuple[int, int, int]]


def oracle(text: str, edits: Edits) -> str:
    raw = text.encode()
    for begin, end, kind in reversed(edits):
        raw = raw[:begin] + WORDS[kind].encode() + raw[end:]
    return raw.decode()


@st.composite
def edited_documents(draw: st.DrawFn) -> tuple[str | None, Edits | None]:
    text = draw(st.none() | st.text(alphabet="ab é\u0301\ud55c\U0001f600\x00\ufeff\r\n", max_size=30))
    if text is None:
        return None, draw(st.none() | st.just([]))
    ends = [len(text[:i].encode()) for i in range(len(text) + 1)]
    points = sorted(draw(st.lists(st.sampled_from(ends), max_size=8)))
    pairs = zip(points[::2], points[1::2], strict=False)
    return text, [(begin, end, draw(st.integers(0, 3))) for begin, end in pairs]


@settings(max_examples=150, deadline=None)
@given(st.lists(edited_documents(), max_size=8), st.integers(0, 8))
def test_equals_slices_in_a_column_of_two_chunks(
    documents: list[tuple[str | None, Edits | None]], cut: int
) -> None:
    texts = pa.array([text for text, _ in documents], pa.large_string())
    column = pa.chunked_array([texts[:cut], texts[cut:]])
    edits = pa.array([spans for _, spans in documents], EDITS)
    result = apply_edits(column, edits, WORDS)
    result.validate(full=True)
    assert result.to_pylist() == [
        text if text is None else oracle(text, spans or []) for text, spans in documents
    ]


def test_without_edits_the_column_itself_comes_back() -> None:
    column = pa.chunked_array([pa.array(["a", None], pa.large_string())])
    assert apply_edits(column, pa.array([None, []], EDITS), WORDS) is column


def test_a_slice_of_a_column_and_of_its_edits() -> None:
    texts = pa.array(["zero", "one", "two"], pa.large_string())[1:]
    edits = pa.array([[(0, 4, 1)], [(0, 3, 1)], [(1, 1, 3)]], EDITS)[1:]
    assert apply_edits(texts, edits, WORDS).to_pylist() == ["<EMAIL>", "txwo"]


@pytest.mark.parametrize(
    ("text", "edits"),
    [
        ("abc", [(2, 4, 0)]),
        ("abc", [(-1, 1, 0)]),
        ("abc", [(2, 1, 0)]),
        ("abc", [(1, 3, 0), (0, 1, 0)]),
        ("abc", [(0, 2, 0), (1, 3, 0)]),
        ("é", [(1, 2, 0)]),
        ("é", [(0, 1, 0)]),
        ("abc", [(0, 1, 4)]),
        ("abc", [(0, 1, -1)]),
        (None, [(0, 0, 0)]),
    ],
)
def test_edits_of_another_text_are_refused(text: str | None, edits: Edits) -> None:
    texts, spans = pa.array(["fine", text], pa.large_string()), pa.array([[(0, 1, 0)], edits], EDITS)
    with pytest.raises(ValueError, match="document 1 are not of this text"):
        apply_edits(texts, spans, WORDS)


def test_as_many_edits_as_documents() -> None:
    with pytest.raises(ValueError, match="2 documents need as many"):
        apply_edits(pa.array(["a", "b"], pa.large_string()), pa.array([[]], EDITS), WORDS)
