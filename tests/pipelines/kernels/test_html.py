from __future__ import annotations

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
