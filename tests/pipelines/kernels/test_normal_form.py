"""The normal form against a regular expression."""

from __future__ import annotations

import re

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.kernels.normal_form import normal_form

pieces = st.sampled_from(
    [
        "a",
        "Z",
        "é",
        "İ",
        "名",
        "\0",
        "e\u0301",
        " ",
        "\t",
        "\n",
        "\r\n",
        "\v",
        "\f",
        "\x85",
        "\xa0",
        "\ufeff",
        "x" * 300,
    ]
)
text = st.one_of(st.text(max_size=20), st.lists(pieces, max_size=20).map("".join))


def plain(text: str, fold_case: bool) -> str:
    squeezed = re.sub(r"[ \t\n\r\v\f]+", " ", text.removeprefix("\ufeff")).strip(" ")
    return re.sub("[A-Z]", lambda m: m[0].lower(), squeezed) if fold_case else squeezed


@settings(deadline=None, max_examples=200)
@given(st.lists(text, max_size=5), st.booleans(), st.data())
def test_equals_the_regular_expression(texts, fold_case, data):
    array = pa.array(texts, pa.large_string())
    cut = data.draw(st.integers(0, len(texts)))
    found = normal_form(pa.chunked_array([array[:cut], array[cut:]]), fold_case=fold_case)
    found.validate(full=True)
    assert found.to_pylist() == [plain(text, fold_case) for text in texts]


@settings(deadline=None, max_examples=50)
@given(text, st.booleans())
def test_the_form_of_the_form_is_itself(text, fold_case):
    once = normal_form(pa.array([text], pa.large_string()), fold_case=fold_case)
    if not once[0].as_py().startswith("\ufeff"):  # a second mark, after white space, is text the first time
        assert normal_form(once, fold_case=fold_case).equals(once)


def test_a_null_is_empty():
    assert normal_form(pa.array([None, " a "], pa.large_string()), fold_case=True).to_pylist() == ["", "a"]
