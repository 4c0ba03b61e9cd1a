"""Python source to syntax trees, one thread at a time.

CPython 3.11 counts the depth of a tree under construction per interpreter, not per thread: where two threads parse at
once, one of them may get `SystemError: AST constructor recursion depth mismatch`.
"""

from __future__ import annotations

import ast
import threading
from typing import Any

_ONE = threading.Lock()


def parse(source: str) -> ast.Module:
    """`ast.parse`."""
    with _ONE:
        return ast.parse(source)


def literal(source: str) -> Any:
    """`ast.literal_eval` of a text."""
    with _ONE:
        return ast.literal_eval(source)
