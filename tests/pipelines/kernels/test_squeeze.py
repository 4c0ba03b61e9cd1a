from __future__ import annotations

import json
import re

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipelines.kernels.squeeze import KEPT, original_span, squeeze

texts = st.one_of(
    st.text(max_size=40),
    st.lists(st.sampled_from(["\\", "\\n", "n", "t", "\n", '"', "A", "é", "#", "x", ","])).map("".join),
)


def oracle(text: str) -> bytes:
    text = re.sub(r"\\+[nrt]", "", text)
    text = re.sub(r"[\x00-\x20\x7f\"'`,\\#/*]", "", text)
    return re.sub("[A-Z]", lambda letter: letter[0].lower(), text).encode()


@settings(max_examples=500, deadline=None)
@given(texts)
def test_squeeze(text: str) -> None:
    assert squeeze(text) == oracle(text)


@settings(max_examples=200, deadline=None)
@given(texts)
def test_a_json_string_of_printable_code_squeezes_to_the_same(text: str) -> None:
    code = "".join(character for character in text if character.isprintable() or character in "\n\t")
    assert squeeze(json.dumps(code, ensure_ascii=False)) == squeeze(code)


@settings(max_examples=200, deadline=None)
@given(texts.filter(str.isascii), st.data())
def test_original_span_squeezes_to_the_match(text: str, data: st.DataObject) -> None:
    squeezed = squeeze(text)
    assume(squeezed)
    first = data.draw(st.integers(0, len(squeezed) - 1))
    last = data.draw(st.integers(first, len(squeezed) - 1))
    begin, end = original_span(np.frombuffer(text.encode(), np.uint8), 0, len(text), first, last, KEPT)
    assert squeeze(text[begin:end]) == squeezed[first : last + 1]
    assert KEPT[ord(text[begin])] == squeezed[first]
    assert KEPT[ord(text[end - 1])] == squeezed[last]
