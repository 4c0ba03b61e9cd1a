"""Wrong, and almost right, variants of a solution: to compare two judges where they may differ.

Mutations of the syntax tree: operators, comparisons, constants off by one, negated conditions, dropped statements,
results of another type (list for tuple, a float for an integer), and floats with a little noise.
"""

from __future__ import annotations

import ast
import copy
import random
from collections.abc import Callable, Iterator
from functools import partial

_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.FloorDiv,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitXor,
    ast.BitXor: ast.BitAnd,
}
_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_RESULTS = (
    "list({})",
    "tuple({})",
    "set({})",
    "sorted({})",
    "float({})",
    "int({})",
    "str({})",
    "bool({})",
    "[{}]",
    "({}, None)",
    "({}) * (1 + 1e-9)",
    "({}) + 1e-7",
    "({}) * (1 + 1e-5)",
    "__import__('collections').Counter({})",
    "__import__('collections').deque({})",
    "__import__('fractions').Fraction({})",
    "__import__('numpy').array({})",
    "__import__('numpy').float64({})",
    "iter({})",
    "None if ({}) is None else ({})",
)
Mutation = Callable[[], object]


def mutants(source: str, entry_point: str, seed: int = 0) -> Iterator[str]:
    """Different programs in a seeded order, as many as there are mutations."""
    tree = ast.parse(source)
    found = [*_by_syntax(tree), *_by_result(tree, entry_point)]
    random.Random(f"{seed} {source}").shuffle(found)
    seen = {ast.unparse(tree)}
    for text in found:
        if text not in seen:
            seen.add(text)
            yield text


def _by_syntax(tree: ast.Module) -> list[str]:
    count = sum(1 for _ in _mutations(tree))
    texts = []
    for index in range(count):
        changed = copy.deepcopy(tree)
        list(_mutations(changed))[index]()
        texts.append(ast.unparse(ast.fix_missing_locations(changed)))
    return texts


def _mutations(tree: ast.Module) -> Iterator[Mutation]:
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in _OPERATORS:
            yield partial(setattr, node, "op", _OPERATORS[type(node.op)]())
        elif isinstance(node, ast.Compare):
            for i, operator in enumerate(node.ops):
                if type(operator) in _COMPARISONS:
                    yield partial(node.ops.__setitem__, i, _COMPARISONS[type(operator)]())
        elif isinstance(node, ast.Constant):
            yield from (partial(setattr, node, "value", value) for value in _near(node.value))
        elif isinstance(node, ast.If | ast.While | ast.IfExp):
            yield partial(setattr, node, "test", ast.UnaryOp(ast.Not(), node.test))
        elif isinstance(node, ast.BoolOp):
            yield partial(setattr, node, "op", ast.Or() if isinstance(node.op, ast.And) else ast.And())
        if isinstance(node, ast.FunctionDef | ast.For | ast.If | ast.While):
            for i in range(len(node.body)):
                yield partial(node.body.__setitem__, i, ast.Pass())


def _near(value: object) -> list[object]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1]
    if isinstance(value, float):
        return [value * (1 + 1e-9), value * (1 + 1e-4)]
    return []


def _by_result(tree: ast.Module, entry_point: str) -> list[str]:
    base = ast.unparse(tree)
    return [
        f"{base}\n_right = {entry_point}\ndef {entry_point}(*arguments):\n"
        f"    result = _right(*arguments)\n    return {form.replace('{}', 'result')}\n"
        for form in _RESULTS
    ]
