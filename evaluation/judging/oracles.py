"""Tasks of EvalPlus whose outputs are not simply compared with the expected ones.

Which tasks those are, and what is right there, is EvalPlus 0.3.1's decision; scores can only be compared if it is the
same everywhere. The formulas follow from the tasks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

# Any object will do, only None is wrong: the expected value is whether the reference gives one.
NOT_NONE = frozenset({"check_str", "text_match_three", "text_starta_endb"})
# Order and repetition do not matter.
AS_SETS = frozenset(
    {
        "similar_elements",
        "find_char_long",
        "common_in_nested_lists",
        "extract_singly",
        "larg_nnum",
        "intersection_array",
        "find_dissimilar",
        "Diff",
    }
)

Oracle = Callable[[Any, tuple[Any, ...], float], bool]
"""(output, arguments, atol) -> is it right, although it is not the expected one?"""


def root_of_polynomial(output: Any, arguments: tuple[Any, ...], atol: float) -> bool:
    """HumanEval/32: any root will do. Decides alone."""
    (coefficients,) = arguments
    value = sum(factor * math.pow(output, power) for power, factor in enumerate(coefficients))
    return abs(value) <= atol


def _pyramid(output: Any, arguments: tuple[Any, ...], atol: float) -> bool:
    """Mbpp/581: the height may also be meant from the base to the apex."""
    edge, height = arguments
    slant = math.sqrt((edge / 2) ** 2 + height**2)
    return bool(abs(output - round(edge**2 + 4 * (edge * slant) / 2)) <= atol)


def _digit_distance(output: Any, arguments: tuple[Any, ...], atol: float) -> bool:
    """Mbpp/558: the distance may also be meant digit by digit."""
    left, right = map(str, arguments)
    width = max(len(left), len(right))
    distance = sum(abs(int(a) - int(b)) for a, b in zip(left.zfill(width), right.zfill(width), strict=True))
    return bool(output == distance)


ALSO_RIGHT: dict[str, Oracle] = {
    "are_equivalent": lambda output, arguments, atol: True,  # Mbpp/164: its reference is wrong
    "sum_div": lambda output, arguments, atol: bool(output == 0),  # Mbpp/295
    "surface_Area": _pyramid,
    "digit_distance_nums": _digit_distance,
}
"""MBPP's, by entry point."""
