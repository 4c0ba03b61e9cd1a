"""Is this output right? EvalPlus's answer (0.3.1), on decoded data, outside of the candidate's process."""

from __future__ import annotations

import functools
from typing import Any

from evaluation.benchmarks.inputs import Arguments
from evaluation.judging.oracles import ALSO_RIGHT, NOT_NONE, root_of_polynomial
from evaluation.judging.prepared import Group, Prepared
from evaluation.sandbox.inside.tagged import Malformed, decode

RTOL = 1e-7
FLOAT_ATOL = 1e-6  # where the task names none and an expected output is of floats
# A text so much longer than the expected one cannot be equal: a number takes at least 2 characters of a list, and at
# most 30. It is not even decoded.
LONGER, LONGER_BYTES = 16, 1 << 12


class Opaque:
    """Stands for an output that could not leave the candidate's process: not None, and equal to nothing."""


OPAQUE = Opaque()


class Comparison:
    """The outputs of one group of inputs, to be checked in order.

    In EvalPlus the first expected output of floats sets the tolerance of the whole rest of its group; so here.
    """

    def __init__(self, task: Prepared, group: Group) -> None:
        self._group, self._expected, self._inputs = group, group.expected, group.inputs
        self._task_atol = task.atol
        mbpp = task.family == "mbpp"
        self._as_sets = task.as_sets
        self._not_none = mbpp and task.entry_point in NOT_NONE
        self._also = ALSO_RIGHT.get(task.entry_point) if mbpp else None
        self._root = task.family == "humaneval" and task.entry_point == "find_zero"
        self._plain = not (self._as_sets or self._not_none or self._also or self._root)
        self._atol = task.atol
        self._looked_at = 0  # expected outputs that have had their say about the tolerance
        self.checked = 0  # inputs that were right

    @functools.cached_property
    def _arguments(self) -> list[Arguments]:
        return [tuple(given) for given in decode(self._inputs)]

    def accepts(self, index: int, text: bytes) -> bool:
        """Whether the encoded output `text` is right for the input `index`. Malformed if nobody encoded it."""
        expected = self._expected[index]
        if self._plain and text == expected and b"NaN" not in text:
            return True  # equal to the last bit, and nothing in it differs from itself
        whole = self._group.whole(index)
        if whole[:1] == b"#":
            return False  # what is only kept as a summary is compared by it
        if self._plain and text == whole and b"NaN" not in text:
            return True
        if len(text) > LONGER * len(whole) + LONGER_BYTES:
            return False
        return self._right(index, decode(text))

    def accepts_summary(self, index: int, line: bytes) -> bool | None:
        """The same for a summary; None if the output itself is needed to tell."""
        return True if self._plain and line == self._expected[index] and b"NaN" not in line else None

    def accepts_opaque(self, index: int) -> bool:
        """The same for an output that was refused inside."""
        return not self._plain and self._right(index, OPAQUE)

    def _right(self, index: int, output: Any) -> bool:
        try:
            return self._judge(index, output, decode(self._group.whole(index)))
        except Exception:  # whatever comparing these two values raises: they are not equal
            return False

    def _judge(self, index: int, output: Any, expected: Any) -> bool:
        import numpy

        exact = output == expected
        if self._as_sets:
            exact = set(output) == set(expected)
        elif self._not_none:
            exact = output == expected if isinstance(output, bool) else expected == (output is not None)
        elif self._also is not None:
            exact = exact or self._also(output, self._arguments[index], self._atol_at(index - 1))
        elif self._root:
            return root_of_polynomial(output, self._arguments[index], self._task_atol)
        atol = self._atol_at(index)
        if exact or atol == 0:
            return bool(exact)
        if type(output) is not type(expected):
            return False
        if isinstance(expected, list | tuple) and len(output) != len(expected):
            return False
        return bool(numpy.allclose(output, expected, rtol=RTOL, atol=atol))

    def _atol_at(self, index: int) -> float:
        while self._atol == 0 and self._looked_at <= index:
            if _of_floats(decode(self._group.whole(self._looked_at))):
                self._atol = FLOAT_ATOL
            self._looked_at += 1
        return self._atol


def _of_floats(value: Any) -> bool:
    """A float, a non-empty list or tuple of floats, or a numpy array of them."""
    if isinstance(value, float):
        return True
    if isinstance(value, list | tuple) and value:
        return all(isinstance(item, float) for item in value)
    return getattr(getattr(value, "dtype", None), "name", "") in ("float64", "float32")


__all__ = ["FLOAT_ATOL", "OPAQUE", "RTOL", "Comparison", "Malformed"]
