"""Repetition against RedPajama's definitions, written down with Python's Counter."""

from __future__ import annotations

import random
import time
from collections import Counter
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.kernels import repetition
from pipelines.kernels.repetition import DUPLICATE, MAX_WORDS, TOP, RepetitionStats, repetition_stats
from pipelines.kernels.words import word_stats
from tests.pipelines.kernels.test_words import documents as any_text


def folded(text: str) -> str:
    return "".join(c.lower() if c.isascii() else c for c in text)


def words_of(text: str) -> list[str]:
    return ["".join(run) for solid, run in groupby(folded(text), str.isalnum) if solid]


def lines_of(text: str) -> list[list[str]]:
    """Words and other characters of each line that is not blank."""
    lines = []
    for line in folded(text).replace("\r", "\n").split("\n"):
        pieces = []
        for solid, run in groupby(line, str.isalnum):
            characters = "".join(run)
            pieces += [characters] if solid else [c for c in characters if c not in " \t\v\f"]
        if pieces:
            lines.append(pieces)
    return lines


def oracle(text: str | None) -> dict[str, object]:
    words, lines = words_of(text or ""), lines_of(text or "")
    top, duplicate = [], []
    for n in (*TOP, *DUPLICATE):
        ngrams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
        counts = Counter(ngrams)
        if n in TOP:
            best, times = counts.most_common(1)[0] if counts else ((), 0)
            top.append(len("".join(best)) * times if times > 1 else 0)
        else:
            covered = {i + k for i, ngram in enumerate(ngrams) if counts[ngram] > 1 for k in range(n)}
            duplicate.append(sum(len(words[i]) for i in covered))
    kinds = Counter(map(tuple, lines))
    copies = sum(times for line, times in kinds.items() if times > 1 and len("".join(line)) > 2)
    return {
        "lines": len(lines),
        "compared_lines": len(lines),
        "duplicate_lines": copies,
        "compared": len("".join(words)),
        "top": top,
        "duplicate": duplicate,
    }


def check(stats: RepetitionStats, texts: list[str | None]) -> None:
    wanted = [oracle(text) for text in texts]
    for name in oracle(""):
        assert getattr(stats, name).tolist() == [row[name] for row in wanted], name


# Few words, so that long n-grams repeat; words that differ in case only; pieces that fall apart in two words.
words = st.sampled_from(
    ["a", "B", "b", "cc", "Été", "漢", "snake_case", "0x1", "}", "{", "()", "\ufffd", "é"]
)
blanks = st.sampled_from([" ", " ", " ", "\t", "\n", "\r\n", "\r", "  ", "\v"])
repeated = st.lists(st.tuples(words, blanks).map("".join), max_size=60).map("".join)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.one_of(st.none(), repeated, any_text), max_size=4))
def test_counts_equal_the_oracle(texts: list[str | None]) -> None:
    array = pa.array(texts, pa.large_string())
    stats = repetition_stats(array)
    check(stats, texts)
    alone = word_stats(array)
    for name in ("words", "characters", "hexadecimal", "replacements"):
        assert getattr(stats.words, name).tolist() == getattr(alone, name).tolist()


@pytest.mark.parametrize("pieces", [1, 2, 3, 4])
def test_one_text_again_and_again(pieces: int) -> None:
    text = "import os\nimport sys\n\ndef main(argv):\n    return os.path.join(*argv)\n" * pieces
    check(repetition_stats(pa.array([text, None, text + "tail"])), [text, None, text + "tail"])


def test_real_code() -> None:
    texts = [Path(file).read_text() for file in (repetition.__file__, __file__)]
    check(repetition_stats(pa.array(texts, pa.large_string())), texts)


def test_rows_that_nobody_wants_count_nothing_whatever_the_chunks() -> None:
    texts = ["a b c a b c", None, "a b a b", "x y x y x y"]
    wanted = np.array([True, True, False, True])
    array = pa.array(texts, pa.large_string())
    for cut in range(5):
        stats = repetition_stats(pa.chunked_array([array[:cut], array[cut:]]), wanted)
        check(stats, ["a b c a b c", None, None, "x y x y x y"])
    check(repetition_stats(pa.chunked_array([], pa.large_string())), [])


def test_only_so_many_words_and_lines_are_compared() -> None:
    # What repeats lies behind the last word that is compared.
    unique = "".join(f"w{i}\n" for i in range(MAX_WORDS))
    stats = repetition_stats(pa.array([unique + "again and\n" * 1000, unique], pa.large_string()))
    assert stats.words.words.tolist() == [MAX_WORDS + 2000, MAX_WORDS]
    assert stats.lines.tolist() == [MAX_WORDS + 1000, MAX_WORDS]
    assert stats.compared_lines.tolist() == [MAX_WORDS, MAX_WORDS]
    assert stats.duplicate_lines.tolist() == [0, 0]
    assert not stats.top.any()
    assert not stats.duplicate.any()


def test_time_is_linear_whatever_the_text() -> None:
    """Ten megabytes of each kind: bound generously, at a twentieth of the speed on ordinary code."""
    shuffled = [f"{i:06x}" for i in range(130_000)]
    random.Random(1).shuffle(shuffled)
    once = " ".join(shuffled)
    texts = {
        "one word": "a" * 10_000_000,
        "one word again": "a " * 5_000_000,
        "two words": "ab ba " * 1_600_000,
        "each n-gram exactly twice": (once + " " + once + "\n") * 5,
        "brackets": "{" * 10_000_000,
        "line ends": "\n" * 10_000_000,
        "wide": "漢 " * 2_500_000,
    }
    repetition_stats(pa.array(["a"], pa.large_string()))
    for name, text in texts.items():
        array = pa.array([text], pa.large_string())
        start = time.thread_time()
        repetition_stats(array)
        assert time.thread_time() - start < 10 / 6, name


def test_words_whose_hashes_crowd_one_place_are_given_up_not_searched_for() -> None:
    # Values that all start at the same place of the table: only the first _MAX_PROBES find room.
    count, bits = 500, 10
    with np.errstate(over="ignore"):
        values = np.arange(1, 1 << 20, dtype=np.uint64)
        places = ((values ^ (values >> np.uint64(29))) * repetition._K) >> np.uint64(64 - bits)
    crowd = values[places == 0][:count]
    assert len(crowd) == count
    keys, counts = np.empty(1 << bits, np.uint64), np.empty(1 << bits, np.int32)
    ids = np.empty(count, np.int32)
    repetition._assign(crowd, count, keys, counts, ids)
    assert len(set(ids[ids >= 0].tolist())) == (ids >= 0).sum() == repetition._MAX_PROBES
    assert (ids[repetition._MAX_PROBES :] == -1).all()
