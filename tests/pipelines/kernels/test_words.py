"""Words against an oracle that is slow and obvious."""

from __future__ import annotations

import re
from itertools import groupby

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.kernels.words import WordStats, word_stats

PIECES = [
    *("foo", "Bar", "snake_case", "x1", "0", "0x", "0x1F", "0XDEADbeef", "0x_1", "0xG", "a0x1", "0x1é"),
    *(" ", "\t", "\n", "\r\n", "\v", "_", "-", "()", "\0", "\ufeff", "\ufffd", "\ufffdx", "\uffff"),
    *("é", "É", "e\u0301", "漢字", "𝕏", "👍", "٣", "²", "½", "ﬁ"),
]
documents = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(PIECES), max_size=40).map("".join),
)


def words_of(text: str | None) -> list[str]:
    return ["".join(run) for solid, run in groupby(text or "", str.isalnum) if solid]


def oracle(text: str | None) -> list[float]:
    words = words_of(text)
    characters = sum(map(len, words))
    hexadecimal = sum(len(word) for word in words if re.fullmatch("0[xX][0-9a-fA-F]+", word))
    return [
        len(words),
        characters,
        hexadecimal,
        (text or "").count("\ufffd"),
        characters / max(len(words), 1),
    ]


def rows(stats: WordStats) -> list[list[float]]:
    columns = [stats.words, stats.characters, stats.hexadecimal, stats.replacements, stats.mean_word]
    return np.stack(columns, axis=1).tolist()


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.none(), documents), max_size=6))
def test_counts_equal_the_oracle(texts: list[str | None]) -> None:
    assert rows(word_stats(pa.array(texts, pa.large_string()))) == [oracle(text) for text in texts]


def test_every_character() -> None:
    text = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    assert rows(word_stats(pa.array([text]))) == [oracle(text)]


def test_rows_that_nobody_wants_count_nothing_whatever_the_chunks() -> None:
    texts = ["a b", None, "c", "d e f"]
    wanted = np.array([True, True, False, True])
    array = pa.array(texts, pa.large_string())
    for cut in range(5):
        stats = word_stats(pa.chunked_array([array[:cut], array[cut:]]), wanted)
        assert stats.words.tolist() == [2, 0, 0, 3]


@pytest.mark.parametrize("tail", [b"\xc3", b"\xe6\xbc", b"\xf0\x9d\x95", b"\xff", b"\x80", b"\xef\xbf"])
def test_invalid_utf8_ends_where_the_document_does(tail: bytes) -> None:
    data = b"ab " + tail
    offsets = pa.py_buffer(np.array([0, len(data)], np.int64))
    stats = word_stats(pa.LargeStringArray.from_buffers(1, offsets, pa.py_buffer(data)))
    assert stats.words.tolist() in ([1], [2])
    assert stats.replacements.tolist() == [0]
