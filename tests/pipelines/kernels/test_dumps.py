"""Rows of database dumps against the same definition as a regular expression."""

from __future__ import annotations

import re
import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.kernels.dumps import dumped_bytes

INSERT = rb"(?:insert|replace)(?=[ \t-\r]|\Z)(?:[^;']|'(?:[^'\\]|\\[\s\S]|\\\Z)*(?:'|\Z))*(?:;|\Z)"
COPY = rb"copy(?=[ \t-\r])[\s\S]*?[\n\r]\\\."
STATEMENT = re.compile(rb"(?im)(?<![^\n\r])[ \t]*(" + INSERT + rb"|" + COPY + rb")")


def oracle(text: str | None) -> int:
    return sum(match.end() - match.start(1) for match in STATEMENT.finditer((text or "").encode()))


PIECES = [
    *("INSERT INTO t VALUES (1, 'a');", "insert into t values", "REPLACE INTO t (a) VALUES ('x;y');", "replace(a)"),
    *("(1, 'it''s; ok'),", "'\\';", "'", "\\", ";", "\n", "\r\n", " ", "\t", "é", "INSERTED", "INSERT"),
    *("COPY t (a, b) FROM stdin;", "copy t to 'file';", "1\t2", "\n\\.", "\\.", "CREATE TABLE t (a int);", "-- x"),
]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.lists(st.sampled_from(PIECES), max_size=16).map("".join)), max_size=4)
)
def test_bytes_equal_the_oracle(texts: list[str | None]) -> None:
    assert dumped_bytes(pa.array(texts, pa.large_string())).tolist() == [oracle(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "dumped"),
    [
        ("", 0),
        ("SELECT 1;\nINSERT INTO t VALUES (1);\n", 25),
        ("  INSERT INTO t VALUES ('a;b')\n, (2); SELECT 1;", 35),
        ("x INSERT INTO t VALUES (1);", 0),
        ("INSERT INTO t VALUES ('never ends;", 34),
        ("COPY t FROM stdin;\n1\n\\.\nSELECT 1;", 23),
        ("COPY t TO 'file';\nSELECT 1;", 0),
        ("SELECT REPLACE(a, 'b');\nREPLACE(a);", 0),
    ],
)
def test_statements(text: str, dumped: int) -> None:
    assert dumped_bytes(pa.array([text, None])).tolist() == [dumped, 0]


def test_rows_that_nobody_wants_count_nothing() -> None:
    array = pa.array(["INSERT INTO t VALUES (1);"] * 3, pa.large_string())
    chunks = pa.chunked_array([array[:1], array[1:]])
    assert dumped_bytes(chunks, np.array([False, True, False])).tolist() == [0, 25, 0]


def test_time_is_linear_whatever_the_text() -> None:
    texts = ["COPY \n" * 1_600_000, "INSERT '" * 1_200_000, "i\n" * 5_000_000, "INSERT ;\n" * 1_000_000]
    dumped_bytes(pa.array(["a"]))
    for text in texts:
        start = time.thread_time()
        dumped_bytes(pa.array([text], pa.large_string()))
        assert time.thread_time() - start < 1, text[:10]
