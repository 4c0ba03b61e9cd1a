"""The statistics against an oracle that is slow and obvious, and the expressions of StarCoder2 themselves."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.kernels.line_stats import LineStats, line_stats

ENCODED = (
    rb"[a-zA-Z0-9+/\n=]{64,}",
    rb"(?:\b(?:0x|\\x)?[0-9a-fA-F]{2}(?:,|\b\s*)){8,}",
    rb"(?:\\u[0-9a-fA-F]{4}){8,}",
)


def oracle(text: str | None) -> dict[str, float]:
    text = text or ""
    lines = re.split(r"\r\n|\n|\r", text)
    if lines[-1] == "":
        lines.pop()
    runs = [len(run[0]) for expression in ENCODED for run in re.finditer(expression, text.encode())]
    return {
        "bytes": len(text.encode()),
        "characters": len(text),
        "lines": len(lines),
        "longest_line": max(map(len, lines), default=0),
        "line_characters": sum(map(len, lines)),
        "letters": sum(map(str.isalpha, text)),
        "alphanumerics": sum(map(str.isalnum, text)),
        "blanks": sum(character in " \t\n\r\v\f" for character in text),
        "encoded": sum(runs),
        "longest_encoded": max(runs, default=0),
        "mean_line": sum(map(len, lines)) / max(len(lines), 1),
    }


def check(stats: LineStats, texts: list[str | None]) -> None:
    wanted = [oracle(text) for text in texts]
    for name in oracle(""):
        assert getattr(stats, name).tolist() == [row[name] for row in wanted], name


# What the kernel's states are about: items and near-items of encoded data, line ends, every width of UTF-8.
PIECES = [
    *("48", "0x4f", "\\x4a", "x", "0", "\\", "fe", "g", "_", ",", ", ", " ", "\t", "\v", ";"),
    *("\n", "\r", "\r\n", "\u2028", "\x1c", "\0", "\ufeff"),
    *("\\u00e9", "\\u12", "\\u", "\\U0001", "QUJD" * 16, "Q" * 63, "=", "+"),
    *("é", "e\u0301", "漢字", "𝕏", "👍", "٣", "²", "a"),
]
documents = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(PIECES), max_size=60).map("".join),
    st.lists(st.sampled_from(["48", "0x4f", "\\x4a", ",", " ", "\n", "_", "é"]), max_size=60).map("".join),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.none(), documents), max_size=6))
def test_counts_equal_the_oracle(texts: list[str | None]) -> None:
    check(line_stats(pa.array(texts, pa.large_string())), texts)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "\0",
        "\ufeff",
        "\n",
        "\r\n",
        "a\r\nb\r\n",
        "a\rb",
        "\n\r",
        "no end",
        "x" * 100_000 + "\n",
        "48 " * 8,
        "48 " * 7,
        "48," * 8,
        "48, " * 8,  # the paper's expression allows no space behind a comma
        "0x48 0x49\n" * 4,
        "\\x48" * 8,  # and drops the first escape, which no word precedes
        "\\x48" * 9,
        "é" + "48 " * 8,
        "deadbeef" * 8,
        "\\u00e9" * 8,
        "\\u00e9" * 7 + "\\u00g9",
        "QUJD\n" * 13,
        "Q" * 64 + " " + "Q" * 63,
    ],
)
def test_edges(text: str) -> None:
    check(line_stats(pa.array([text], pa.large_string())), [text])


def test_every_character_python_calls_a_letter() -> None:
    text = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    check(line_stats(pa.array([text], pa.large_string())), [text])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), documents), min_size=3, max_size=12), st.data())
def test_slices_and_chunks_read_their_own_rows(texts: list[str | None], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(texts)))
    stop = data.draw(st.integers(cut, len(texts)))
    array = pa.array(texts, pa.large_string())
    check(line_stats(array[cut:stop]), texts[cut:stop])
    chunks = pa.chunked_array([array[:cut], array[cut:stop], array[stop:]])
    check(line_stats(chunks), texts)


def test_accepts_string_and_no_rows_at_all() -> None:
    check(line_stats(pa.array(["a b", None, "é"], pa.string())), ["a b", None, "é"])
    check(line_stats(pa.chunked_array([], pa.large_string())), [])
    with pytest.raises(TypeError, match="int64"):
        line_stats(pa.array([1]))


def test_a_null_that_spans_bytes_counts_as_nothing() -> None:
    # Arrow allows it, and slices of other libraries' arrays have it.
    offsets = pa.py_buffer(np.array([0, 3, 6], np.int64))
    array = pa.LargeStringArray.from_buffers(2, offsets, pa.py_buffer(b"abcdef"), pa.py_buffer(b"\x02"), 1)
    assert array.to_pylist() == [None, "def"]
    check(line_stats(array), [None, "def"])


def test_invalid_utf8_is_counted_not_followed() -> None:
    # A lead byte at the very end announces bytes that are not there.
    for tail in (b"\xc3", b"\xe6\xbc", b"\xf0\x9d\x95", b"\xff", b"\x80"):
        data = b"ab" + tail
        offsets = pa.py_buffer(np.array([0, len(data)], np.int64))
        stats = line_stats(pa.LargeStringArray.from_buffers(1, offsets, pa.py_buffer(data)))
        assert stats.bytes[0] == len(data)
        assert stats.letters[0] in (2, 3)
