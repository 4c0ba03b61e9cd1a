"""The encoding: every value comes back equal and of the same types, and nothing else gets through."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, defaultdict, deque
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from typing import Any, NamedTuple

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.sandbox.inside.tagged import (
    LONG,
    SLICE,
    Malformed,
    Unserialisable,
    decode,
    encode,
    encode_or_sum,
)

HASHABLE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters())
    | st.binary()
    | st.complex_numbers(allow_nan=False)
    | st.fractions()
    | st.decimals(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.frozensets(inner, max_size=4),
    max_leaves=8,
)
VALUES = st.recursive(
    HASHABLE,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.lists(inner, max_size=5).map(deque)
        | st.dictionaries(HASHABLE, inner, max_size=4)
        | st.sets(HASHABLE, max_size=4)
        | st.dictionaries(HASHABLE, inner, max_size=3).map(OrderedDict)
    ),
    max_leaves=15,
)


def same(left: Any, right: Any) -> bool:
    """Equal, with equal types all the way down."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list | tuple | deque):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return all(map(same, left, right)) and all(same(left[key], right[key]) for key in left)
    return bool(left == right)


@settings(deadline=None)
@given(VALUES)
def test_what_goes_in_comes_out(value: Any) -> None:
    text = encode(value)
    assert "\n" not in text
    assert text.isascii()
    assert same(decode(text), value)


@pytest.mark.parametrize(
    "value",
    [
        10**5000,
        -(2**2049),
        [1 << 70, 2],
        float("inf"),
        -float("inf"),
        range(3, 10, 2),
        bytearray(b"\0\xff"),
        Counter("aab"),
        Decimal("1.10"),
        Fraction(1, 3),
        -0.0,
        5e-324,
        "\ud800\0",
        [()] * 10_000,
        [(1, 2.5), (3, None)] * 5000,
        list(range(SLICE * 3 + 1)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_at_the_edges(value: Any) -> None:
    assert same(decode(encode(value)), value)
    assert repr(decode(encode(-0.0))) == "-0.0"


def test_nan_and_defaultdict_and_numpy() -> None:
    assert math.isnan(decode(encode([float("nan")]))[0])
    back = decode(encode(defaultdict(list, {1: [2]})))
    assert (type(back), back) == (defaultdict, {1: [2]})
    for value in (numpy.int64(5), numpy.float32(0.1), numpy.bool_(True)):
        assert (type(decode(encode(value))), decode(encode(value))) == (type(value), value)
    array = numpy.arange(6.0).reshape(2, 3)
    assert numpy.array_equal(decode(encode(array)), array)


class Int(int):
    pass


class Colour(IntEnum):
    RED = 1


class Point(NamedTuple):
    x: int


@pytest.mark.parametrize(
    "value",
    [object(), Int(5), Colour.RED, Point(1), [Int(5)], {Int(1): 2}, (x for x in []), print, int, {1}.__iter__(),
     numpy.array([object()]), type("list", (list,), {})()],
)  # fmt: skip
def test_objects_with_a_behaviour_of_their_own_stay_inside(value: Any) -> None:
    with pytest.raises(Unserialisable):
        encode(value)


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet='[]{}":,tsfdbc01.eNaN \\u', max_size=60))
def test_noise_is_malformed_or_data(noise: bytes | str) -> None:
    try:
        value = decode(noise)
    except Malformed:
        return
    encode(value)  # nothing but values of our types can come out


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", '{"t":1}', '{"t":[],"s":[]}', '{"s":[[1]]}', '{"d":[[1]]}', '{"i":"zz"}', '{"numpy":["O",null,[1]]}',
        '{"py/object":"os.system"}', '{"range":[1,2,0]}', '{"b":"xyz"}', "[" * 100_000, '{"Fraction":[1,0]}',
        '{"c":[[],1]}', '{"f":[{"d":[]}]}',
    ],
)  # fmt: skip
def test_forged_text_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        decode(text)


def test_colliding_keys_are_refused() -> None:
    text = encode({number * (2**61 - 1): None for number in range(1000)})
    with pytest.raises(Malformed, match="colliding"):
        decode(text)


def test_long_values_have_summaries_that_tell_them_apart() -> None:
    short = encode_or_sum([1, 2])
    assert short == ("[1,2]", "")
    first, second = list(range(LONG)), [*range(LONG - 1), 0]
    (text, summary), (_, other) = encode_or_sum(first), encode_or_sum(second)
    assert decode(text) == first
    assert summary == encode_or_sum(list(first))[1] != other
    assert encode_or_sum([float("nan")] * LONG)[1].endswith(" NaN")
