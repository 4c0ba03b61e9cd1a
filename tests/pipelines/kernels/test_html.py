from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pipelines.kernels.html import visible_characters


@pytest.mark.parametrize(
    ("html", "visible"),
    [
        ("", ""),
        ("plain", "plain"),
        ("<p>one  two</p>", "one two"),
        ("<ul>\n    <li>a</li>\n    <li>b</li>\n</ul>", "a b "),
        ("a<script>if (x < y) { z }</script>b", "ab"),
        ("a<SCRIPT src='x'>1</Script >b", "ab"),
        ("a<style media=print>p { }</style>b", "ab"),
        ("a<scripted>b</scripted>", "ab"),
        ("a<!-- <p>hidden</p> -->b", "ab"),
        ("<!DOCTYPE html><?xml?>a", "a"),
        ("a < b and c<d", "a < b and c"),
        ("a<script>never closed", "a"),
        ("a<!-- never closed", "a"),
        ("héllo 漢字", "héllo 漢字"),
        ("<", "<"),
    ],
)
def test_visible(html: str, visible: str) -> None:
    assert visible_characters(pa.array([html], pa.large_string())).tolist() == [len(visible)]


def test_rows_stay_in_place() -> None:
    text = pa.chunked_array([["<b>ab</b>", None], ["<i>", "abc"]], pa.large_string())
    assert visible_characters(text[1:]).tolist() == [0, 0, 3]


def test_rows_that_nobody_wants_count_nothing() -> None:
    array = pa.array(["<p>a</p>", "bc", None, "d"], pa.large_string())
    chunks, wanted = pa.chunked_array([array[:1], array[1:]]), np.array([True, False, True, True])
    assert visible_characters(chunks, wanted).tolist() == [1, 0, 0, 1]
