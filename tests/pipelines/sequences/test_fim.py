"""Fill in the middle: nothing is lost, each text alone, and the draws belong to the text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sequences.fim import draws, fill_in_the_middle
from pipelines.sequences.join import Ragged

PREFIX, MIDDLE, SUFFIX = 1000, 1001, 1002


def rearranged(lengths: list[int], **changes) -> tuple[list[list[int]], list[list[int]]]:
    texts = [list(range(10 * i, 10 * i + n)) for i, n in enumerate(lengths)]
    ragged = Ragged.of([np.array(text, np.int32) for text in texts])
    asked = {"rate": 1.0, "spm_rate": 0.5, "seed": [3], "epoch": 0, "longest": 1000} | changes
    ids = asked.pop("ids", np.arange(len(lengths)))
    tokens, offsets = fill_in_the_middle(
        ragged.tokens, ragged.offsets, ids, sentinels=(PREFIX, MIDDLE, SUFFIX), **asked
    )
    return texts, [part.tolist() for part in np.split(tokens, offsets[1:-1])]


def put_back(found: list[int]) -> list[int]:
    """The text of a rearranged one, by its sentinels alone."""
    if PREFIX not in found:
        return found
    assert found[0] == PREFIX
    suffix, middle = found.index(SUFFIX), found.index(MIDDLE)
    before, after, rest = found[1:suffix], found[suffix + 1 : middle], found[middle + 1 :]
    if suffix > 1:
        return before + rest + after
    # Suffix first: the prefix runs into the middle, which is how a model reads it too.
    return rest + after


@settings(deadline=None)  # the first call compiles
@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=12), spm=st.sampled_from([0.0, 0.5, 1.0]))
def test_every_text_can_be_put_back(lengths: list[int], spm: float) -> None:
    texts, found = rearranged(lengths, spm_rate=spm)
    assert [put_back(one) for one in found] == texts
    assert [len(one) - len(text) for one, text in zip(found, texts, strict=True)] == [
        3 if n >= 2 else 0 for n in lengths
    ]


def test_order_of_the_parts() -> None:
    _, suffix_first = rearranged([9] * 400, spm_rate=1.0)
    assert all(one[1] == SUFFIX for one in suffix_first)
    _, prefix_first = rearranged([9] * 400, spm_rate=0.0)
    # Only where the prefix is empty: 19 of 100 pairs of cuts among ten places have one at the front.
    assert 0.13 < np.mean([one[1] == SUFFIX for one in prefix_first]) < 0.25
    _, both = rearranged([9] * 4000, spm_rate=0.25)
    assert np.mean([one[1] == SUFFIX for one in both]) == pytest.approx(0.25 + 0.75 * 0.19, abs=0.03)


def test_rates_are_met() -> None:
    _, found = rearranged([9] * 4000, rate=0.5, spm_rate=0.25)
    chosen = [one for one in found if PREFIX in one]
    assert len(chosen) / 4000 == pytest.approx(0.5, abs=0.03)


def test_who_is_rearranged_does_not_change_and_where_does() -> None:
    lengths = [9] * 50
    _, first = rearranged(lengths, rate=0.5)
    _, second = rearranged(lengths, rate=0.5, epoch=1)
    _, again = rearranged(lengths, rate=0.5)
    assert first == again
    assert first != second
    assert [PREFIX in one for one in first] == [PREFIX in one for one in second]
    # A text's draws are its own: beside other texts, at another place, it comes out the same.
    shifted = [len(one) - 9 for one in rearranged(lengths, rate=0.5, ids=np.arange(1, 51))[1]]
    assert shifted[:-1] == [len(one) - 9 for one in first][1:]


def test_a_text_that_would_not_fit_a_row_stays_whole() -> None:
    texts, found = rearranged([5, 6, 7], longest=9)
    assert [PREFIX in one for one in found] == [True, True, False]
    assert found[2] == texts[2]


def test_draws_are_even() -> None:
    found = draws([1, 2], np.arange(20_000))
    counts = np.stack([np.histogram(found[:, k], bins=10, range=(0, 1))[0] for k in range(3)])
    assert abs(counts - 2000).max() < 200  # 4.7 standard deviations
    assert abs(np.corrcoef(found.T) - np.eye(3)).max() < 0.03
