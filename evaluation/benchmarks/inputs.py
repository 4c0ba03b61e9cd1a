"""Tasks that are judged by inputs and a reference solution: HumanEval+, MBPP+ and EvoEval.

MBPP+ is published as JSON, which has neither tuples nor sets nor complex numbers: the authors' harness turns the
lists of some tasks into those, and so must everyone. EvoEval's inputs are Python expressions. Sources: EvalPlus (Liu et
al. 2023, arXiv 2305.01210), EvoEval (Xia et al. 2024, arXiv 2403.19114).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from evaluation import parsing
from evaluation.benchmarks import benchmark
from evaluation.benchmarks.files import read
from snowcoder.base import UserError

Family = Literal["humaneval", "mbpp", "evoeval"]
Arguments = tuple[Any, ...]


@dataclass(frozen=True)
class InputTask:
    """One task with its inputs, each the arguments of one call."""

    benchmark: str
    task_id: str
    family: Family
    entry_point: str
    reference: str  # a whole program
    base: tuple[Arguments, ...]  # the original benchmark's
    plus: tuple[Arguments, ...]  # added by EvalPlus; () for EvoEval
    atol: float  # absolute tolerance for floats; 0: exact, unless the expected value is of floats

    @property
    def groups(self) -> dict[str, tuple[Arguments, ...]]:
        """What one candidate process is given; every process sees one group from its start."""
        return {"base": self.base, "plus": self.plus} if self.plus else {"base": self.base}


def has_inputs(name: str) -> bool:
    """Whether the benchmark is judged by inputs."""
    return name in ("humaneval+", "mbpp+") or name.startswith("evoeval_")


def load_inputs(name: str, data_dir: Path | None = None) -> dict[str, InputTask]:
    """The tasks of one benchmark by id, in the published order. UserError as for `benchmarks.load`."""
    if not has_inputs(name):
        raise UserError(f"benchmark {name!r} has no inputs: it is judged by its tests")
    parse = {"humaneval+": _humaneval, "mbpp+": _mbpp}.get(name, _evoeval)
    rows = [json.loads(line) for line in read(benchmark(name).file, data_dir).splitlines()]
    tasks = [parse(name, row) for row in rows]
    return {task.task_id: task for task in tasks}


def _humaneval(name: str, row: dict[str, Any]) -> InputTask:
    return InputTask(
        benchmark=name,
        task_id=row["task_id"],
        family="humaneval",
        entry_point=row["entry_point"],
        reference=row["prompt"] + row["canonical_solution"],
        base=tuple(map(tuple, row["base_input"])),
        plus=tuple(map(tuple, row["plus_input"])),
        atol=row["atol"],
    )


def _mbpp(name: str, row: dict[str, Any]) -> InputTask:
    convert = _conversion(int(row["task_id"].rpartition("/")[2]))
    return InputTask(
        benchmark=name,
        task_id=row["task_id"],
        family="mbpp",
        entry_point=row["entry_point"],
        reference=row["prompt"] + row["canonical_solution"],
        base=tuple(tuple(convert(given)) for given in row["base_input"]),
        plus=tuple(tuple(convert(given)) for given in row["plus_input"]),
        atol=row["atol"],
    )


def _evoeval(name: str, row: dict[str, Any]) -> InputTask:
    given = row["inputs"]
    texts = parsing.literal(given) if isinstance(given, str) else given
    return InputTask(
        benchmark=name,
        task_id=row["task_id"],
        family="evoeval",
        entry_point=row["entry_point"],
        reference=row["prompt"].rstrip("\n") + "\n" + row["canonical_solution"],  # as `parse_solutions`
        base=tuple(map(_arguments, texts)),
        plus=(),
        atol=0,
    )


# EvoEval's inputs are expressions, such as `[1] * 10_000, list(range(9))`: of a file whose hash is known, and with
# these names alone.
_NAMES = {
    kind.__name__: kind
    for kind in (
        range,
        list,
        tuple,
        set,
        frozenset,
        dict,
        str,
        int,
        float,
        complex,
        bool,
        reversed,
        chr,
        ord,
        bytes,
    )
}


def _arguments(text: str) -> Arguments:
    if not text.strip():
        return ()
    try:
        return parsing.literal(f"({text},)")
    except ValueError:
        return eval(f"({text},)", {"__builtins__": {}, **_NAMES})


Convert = Callable[[list[Any]], Iterable[Any]]


def _each(given: list[Any]) -> Iterable[Any]:
    return [tuple(argument) for argument in given]


def _items_of_each(given: list[Any]) -> Iterable[Any]:
    return [[tuple(item) for item in argument] for argument in given]


def _first(given: list[Any]) -> Iterable[Any]:
    return [tuple(given[0]), *given[1:]]


def _items_of_first(given: list[Any]) -> Iterable[Any]:
    return [[tuple(item) for item in given[0]], given[1]]


def _second(given: list[Any]) -> Iterable[Any]:
    return [given[0], tuple(given[1])]


def _tuple_of_tuples(given: list[Any]) -> Iterable[Any]:
    return [tuple(tuple(item) for item in argument) for argument in given]


def _list_items_of_first(given: list[Any]) -> Iterable[Any]:
    return [tuple(tuple(item) if isinstance(item, list) else item for item in given[0])]


def _sets_in_first(given: list[Any]) -> Iterable[Any]:
    return [[set(item) if isinstance(item, list) and item else {} for item in given[0]]]


def _values_of_first(given: list[Any]) -> Iterable[Any]:
    return [{key: tuple(value) for key, value in given[0].items()}, *given[1:]]


def _float_and_complex(given: list[Any]) -> Iterable[Any]:
    return [float(given[0]), complex(given[1])]


def _complex(given: list[Any]) -> Iterable[Any]:
    return [complex(given[0])]


def _all_the_way_down(given: Any) -> Any:
    return tuple(map(_all_the_way_down, given)) if isinstance(given, list) else given


_CONVERSIONS: tuple[tuple[Convert, str], ...] = (
    (_each, "2 116 132 143 222 261 273 394 399 421 424 429 470 560 579 596 616 630 726 740 744 809"),
    (_items_of_each, "63 64 70 94 120 237 272 299 400 409 417 438 473 614 780"),
    (_items_of_first, "75 413 444 753"),
    (_second, "106 750"),
    (_sets_in_first, "115"),
    (_float_and_complex, "124"),
    (_first, "250 307 405 446 617 720 763 808"),
    (_tuple_of_tuples, "259 401 445"),
    (_list_items_of_first, "278"),
    (_values_of_first, "722"),
    (_complex, "252"),
    (_all_the_way_down, "580 615 791"),
)
"""MBPP task numbers by what their lists become."""


def _conversion(number: int) -> Convert:
    for convert, numbers in _CONVERSIONS:
        if str(number) in numbers.split():
            return convert
    return iter
