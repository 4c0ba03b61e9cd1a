"""What is right: EvalPlus's rules, each with a case on both sides of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.benchmarks.inputs import load_inputs
from evaluation.judging.compare import Comparison
from evaluation.judging.prepared import Group, Prepared
from evaluation.sandbox.inside.tagged import encode

DATA = Path(__file__).parents[3] / "shared" / "data" / "benchmarks"


def right(
    output: Any,
    expected: Any,
    *,
    atol: float = 0,
    entry_point: str = "f",
    family: str = "mbpp",
    given: tuple[Any, ...] = (),
) -> bool:
    group = Group("base", encode([list(given)]).encode(), False, (encode(expected).encode(),), (0.0,))
    task = Prepared("Mbpp/0", family, entry_point, atol, (group,))
    return Comparison(task, group).accepts(0, encode(output).encode())


@pytest.mark.parametrize(
    ("output", "expected", "verdict"),
    [
        (1, 1, True),
        (1, 2, False),
        (True, 1, True),
        (1.0, 1, True),
        ([1], (1,), False),
        ({1: 2}, {1: 2}, True),
        ({3, 1, 2}, {1, 2, 3}, True),
        ("a", "a", True),
        (None, False, False),
        (1.0 + 1e-7, 1.0, True),  # an expected float has a tolerance
        (1.0 + 1e-5, 1.0, False),
        ([1.0, 2.0 + 1e-7], [1.0, 2.0], True),
        ((1.0, 2.0), [1.0, 2.0], False),
        ([1.0], [1.0, 2.0], False),
        (1, 1.0 + 1e-9, False),  # the type must be the same where a tolerance is needed
        ([1.0, "a"], [1.0, "a"], True),
        ([1.0 + 1e-9, "a"], [1.0, "a"], False),  # not of floats alone: exact
        (float("nan"), float("nan"), False),
        ([[5.0, 5.0], [5.0, 5.0]], [5.0, 5.0], True),  # numpy's broadcasting, as there
    ],
)
def test_comparison(output: Any, expected: Any, verdict: bool) -> None:
    assert right(output, expected) is verdict


@settings(deadline=None)
@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=10),
    st.integers(),
)
def test_a_value_is_right_for_itself_alone(value: Any, other: int) -> None:
    assert right(value, value)
    assert right([value, other], [value, other + 1]) is False


def test_the_first_floats_set_the_tolerance_of_the_rest() -> None:
    expected = (b"1000000000", b"1.5", b"1000000000")
    group = Group("base", b"[[],[],[]]", True, expected, (0.0,) * 3)
    comparison = Comparison(Prepared("T", "humaneval", "f", 0, (group,)), group)
    assert not comparison.accepts(0, b"1000000001")
    assert comparison.accepts(1, b"1.5")
    assert comparison.accepts(2, b"1000000001")  # within a relative 1e-7


def test_special_oracles() -> None:
    assert right([3, 2, 2], (2, 3), entry_point="similar_elements")
    assert not right([3], (2, 3), entry_point="similar_elements")
    assert not right([[1]], [[1]], entry_point="similar_elements")  # cannot be a set
    assert right("a match", True, entry_point="check_str")
    assert not right(None, True, entry_point="check_str")
    assert right(False, False, entry_point="check_str")
    assert right("anything", False, entry_point="are_equivalent")
    assert right(0, True, entry_point="sum_div")
    assert right(21, 0, entry_point="digit_distance_nums", given=(90, 21)) is False
    assert right(8, 0, entry_point="digit_distance_nums", given=(90, 21))
    assert right(33, 0, entry_point="surface_Area", given=(3, 4), atol=2)
    assert right(1.0, 5.0, entry_point="find_zero", family="humaneval", given=([-1.0, 1.0],), atol=1e-4)
    assert not right(1.1, 1.1, entry_point="find_zero", family="humaneval", given=([-1.0, 1.0],), atol=1e-4)


@pytest.mark.skipif(not DATA.is_dir(), reason="the benchmarks' files are not here")
def test_inputs_have_the_types_that_the_tasks_want() -> None:
    tasks = load_inputs("mbpp+", DATA)
    assert tasks["Mbpp/2"].base[0] == ((3, 4, 5, 6), (5, 7, 4, 10))
    assert isinstance(tasks["Mbpp/124"].base[0][1], complex)
    assert isinstance(tasks["Mbpp/63"].base[0][0][0], tuple)
    assert isinstance(tasks["Mbpp/722"].base[0][0], dict)
    assert len(tasks) == 378
    assert sum(len(task.plus) for task in load_inputs("humaneval+", DATA).values()) == 122_683
    assert load_inputs("evoeval_difficult", DATA)["EvoEval/0"].base[0] == (
        [(1.0, 2.0), (2.0, 3.0), (3.0, 4.0)],
        0.5,
    )
