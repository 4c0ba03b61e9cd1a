"""Exact Jaccard against Python sets."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.dedup.config import DedupConfig
from pipelines.dedup.exact import exact_jaccard, shingle_sets, similar_pairs

word = st.sampled_from(["a", "b", "if", "x1", "_", "é", "A"])
code = st.lists(word, max_size=30).map(" ".join)


def plain_set(text: str, size: int) -> set[tuple[str, ...]]:
    tokens = re.findall("[A-Za-z0-9_]+", text)
    return {tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)}


def plain_jaccard(left: str, right: str, size: int) -> float:
    a, b = plain_set(left, size), plain_set(right, size)
    return len(a & b) / len(a | b) if a | b else float(left == right)


@settings(deadline=None, max_examples=200)
@given(code, code, st.integers(1, 4))
def test_equals_python_sets(left, right, size):
    cfg = DedupConfig(shingle=size)
    assert exact_jaccard(left, right, cfg) == pytest.approx(plain_jaccard(left, right, size))
    assert exact_jaccard(left, left, cfg) == 1


def test_normal_form_counts():
    texts = "IF a: b c d", "if a: b  c d"
    assert exact_jaccard(*texts, DedupConfig()) == 0
    assert exact_jaccard(*texts, DedupConfig(normalise="case")) == 1
    assert exact_jaccard("X =1", "x = 1", DedupConfig()) == 0  # short: no shingles to compare
    assert exact_jaccard("x  = 1", "x = 1", DedupConfig(normalise="whitespace")) == 1


@settings(deadline=None, max_examples=60)
@given(st.lists(code, max_size=8), st.sampled_from([0.05, 0.3, 0.7, 1.0]))
def test_all_pairs(texts, least):
    sets = shingle_sets(pa.array(texts, pa.large_string()), DedupConfig(shingle=2))
    assert len(sets) == len(texts)
    found = [(int(i), int(j), s) for i, j, s in zip(*similar_pairs(sets, least), strict=True)]
    want = [
        (i, j, plain_jaccard(texts[i], texts[j], 2))
        for i in range(len(texts))
        for j in range(i + 1, len(texts))
        if plain_set(texts[i], 2) | plain_set(texts[j], 2)
    ]
    want = [pair for pair in want if pair[2] >= least]
    assert [pair[:2] for pair in found] == [pair[:2] for pair in want]
    assert np.allclose([s for *_, s in found], [s for *_, s in want])
