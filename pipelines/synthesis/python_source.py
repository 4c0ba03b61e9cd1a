"""What Python's own parser says of a generated file."""

from __future__ import annotations

import ast
import warnings

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_CUTS = 64  # top-level borders tried from the end, before a truncated file is given up


def syntax_problem(code: str) -> str | None:
    """None when the code parses, else what the parser says and the line."""
    try:
        _parse(code)
    except SyntaxError as error:
        return f"line {error.lineno}: {error.msg}"
    except (ValueError, MemoryError, RecursionError) as error:
        # A null byte, or nesting beyond the parser's stack.
        return f"{type(error).__name__}: {error}"
    return None


def defines_something(code: str) -> bool:
    """Whether code that parses has a top-level function or class; a line of prose may parse, but defines
    nothing."""
    return any(isinstance(node, _DEFINITIONS) for node in _parse(code).body)


def complete_prefix(code: str) -> str | None:
    """The code up to its last complete top-level definition; None when there is none.

    The last top-level statement is always dropped, also where it parses: nobody knows what was still to come.
    """
    # Lines as the parser counts them; str.splitlines also breaks at form feeds and U+2028.
    lines = [line + "\n" for line in code.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    borders = [i for i, line in enumerate(lines) if _starts_statement(line)]
    for border in reversed(borders[-_CUTS:]):
        prefix = "".join(lines[:border])
        if syntax_problem(prefix) is not None:
            continue
        # What stands between the last definition and the border (calls, half a test) is left out as well.
        ends = [node.end_lineno or 0 for node in _parse(prefix).body if isinstance(node, _DEFINITIONS)]
        return "".join(lines[: max(ends)]) if ends else None
    return None


def _starts_statement(line: str) -> bool:
    return bool(line.strip()) and not line[0].isspace() and line[0] not in "#)]}\"'"


def _parse(code: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "invalid escape sequence" is the generator's affair, not the log's
        return ast.parse(code)


def tests_something(code: str) -> bool:
    """Whether code that parses has an assertion, a `test...` function or a `test...` method."""
    for node in ast.walk(_parse(code)):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test"):
            return True
    return False
