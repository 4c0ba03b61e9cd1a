"""The trusted test of an assert-style task, in a process of its own: the candidate's names are calls to elsewhere.

Lines out: ["call", name, arguments, keyword arguments] or ["end", exception or ""]; a line in answers a call.
"""

import ast
import builtins
import json
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from evaluation.sandbox.inside.tagged import decode, encode

NAME, OBJECT = "\0name", "\0object"  # ("\\0name", x): the global x there


class Lines(Protocol):
    """A channel of lines."""

    def __iter__(self) -> Iterator[bytes]: ...
    def send(self, text: str) -> None: ...


class CandidateError(Exception):
    """The candidate's function has raised, and no built-in exception has that name."""


class Opaque:
    """A result of a type that may not leave the candidate's process: it is something, and equals nothing."""

    def __init__(self, number: int) -> None:
        self._number = number  # under which the candidate's process keeps it


class Remote:
    """A name of the candidate's. Called, it runs there; as an argument, it stands for the object there."""

    def __init__(self, name: str, lines: Lines, feed: Iterator[bytes]) -> None:
        self._name, self._lines, self._feed = name, lines, feed

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        call = ["call", self._name, encode(_named(arguments)), encode(_named(keywords))]
        self._lines.send(json.dumps(call))
        answer = next(self._feed)
        kind, text = answer[:1], answer[1:]
        if kind == b"=":
            return decode(text)
        if kind == b"?":
            return Opaque(int(text))
        raised = getattr(builtins, text.decode(), None)
        if isinstance(raised, type) and issubclass(raised, Exception):
            raise raised("in the candidate")
        raise CandidateError(text.decode())


def _named(value: Any) -> Any:
    kind = type(value)
    if kind is Remote:
        return (NAME, value._name)
    if kind is Opaque:
        return (OBJECT, value._number)
    if kind is type and value.__module__ == "builtins":
        return (NAME, value.__name__)
    if kind in (list, tuple):
        return kind(_named(item) for item in value)
    if kind is dict:
        return {key: _named(item) for key, item in value.items()}
    return value


def resolved(value: Any, names: dict[str, Any], objects: list[Any]) -> Any:
    """The other end of `_named`, in the candidate's process."""
    kind = type(value)
    if kind is tuple and len(value) == 2 and value[0] == NAME:
        return names[value[1]] if value[1] in names else getattr(builtins, value[1])
    if kind is tuple and len(value) == 2 and value[0] == OBJECT:
        return objects[value[1]]
    if kind in (list, tuple):
        return kind(resolved(item, names, objects) for item in value)
    if kind is dict:
        return {key: resolved(item, names, objects) for key, item in value.items()}
    return value


def free_names(tree: ast.Module) -> set[str]:
    """Names that a test uses and does not make; names of builtins too."""
    used = {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    return used - made(ast.walk(tree))


def made_by(statements: Iterable[ast.AST]) -> set[str]:
    """Names that these statements bind, without what is bound inside of functions."""
    return made(each for node in statements for each in (node, *ast.iter_child_nodes(node)))


def made(nodes: Iterable[ast.AST]) -> set[str]:
    """Names that are bound anywhere in these nodes."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            found.add(node.name)
    return found


def run(lines: Lines, names: dict[str, Any]) -> int:
    """First line: [prelude, test, names that are the candidate's, whatever the prelude defines]."""
    feed = iter(lines)
    prelude, test, remote = json.loads(next(feed))
    try:
        if prelude:
            exec(compile(prelude, "prompt.py", "exec", dont_inherit=True), names)
        for name in remote:
            names[name] = Remote(name, lines, feed)
        exec(compile(test, "test.py", "exec", dont_inherit=True), names)
    except BaseException as error:
        lines.send(json.dumps(["end", type(error).__name__]))
        return 1
    lines.send(json.dumps(["end", ""]))
    return 0
