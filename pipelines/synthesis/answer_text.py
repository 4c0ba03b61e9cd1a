"""The file inside an answer."""

from __future__ import annotations

import re
from typing import NamedTuple

from pipelines.language import canonical
from pipelines.synthesis import python_source

_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})([^\n`]*)$", re.MULTILINE)


class Found(NamedTuple):
    """The file of an answer, or why there is none."""

    code: str | None
    reason: str = ""  # "several_blocks", "no_code", "unfinished"
    evidence: str = ""
    truncated: bool = False


def find_file(answer: str, finish: str, language: str, allow_truncated: bool = False) -> Found:
    """The one whole file of an answer. `finish`: "stop" or "length". `allow_truncated`: a cut Python file is trimmed to
    its last complete definition."""
    code, shape = extract_code(answer)
    python = language == "Python"
    if code is None and python:
        # Docstrings show examples in fences of their own. Blocks with prose between them do not parse as one.
        code, shape = _outermost(answer), "block"
    if code is None:
        return Found(None, "several_blocks")
    if not code.strip():
        return Found(None, "no_code")
    truncated = False
    # A fence that was never closed is a cut file even when the model stopped by itself. A closed one is whole
    # even when the model went on talking until its limit.
    if shape == "open_block" or (shape == "bare" and finish == "length"):
        whole = python_source.complete_prefix(code) if python and allow_truncated else None
        if whole is None:
            return Found(None, "unfinished", code[-200:])
        code, truncated = whole, True
    # Without a fence only a parser tells code from prose. Other languages have none here, so they need the
    # fence.
    if shape == "bare" and not (
        python and python_source.syntax_problem(code) is None and python_source.defines_something(code)
    ):
        return Found(None, "no_code", code)
    return Found(code.strip("\n") + "\n", truncated=truncated)


def extract_code(answer: str) -> tuple[str | None, str]:
    """(code, shape) of an answer. Shapes: "block", "open_block" (never closed), "bare" (no fence),
    "several_blocks".

    Only "several_blocks" has no code: which of them would be the file, nobody can say.
    """
    fences = list(_FENCE.finditer(answer))
    if not fences:
        return answer.strip("\n"), "bare"
    start, blocks = None, []
    mark = ""
    for fence in fences:
        if start is None:
            start, mark = fence.end() + 1, fence[1]
        elif fence[1].startswith(mark) and not fence[2].strip():
            blocks.append(answer[start : fence.start()])
            start = None
    if start is not None:
        return (None, "several_blocks") if blocks else (answer[start:], "open_block")
    return (blocks[0], "block") if len(blocks) == 1 else (None, "several_blocks")


def _outermost(answer: str) -> str | None:
    """What stands between the first and the last fence, if that is Python."""
    fences = list(_FENCE.finditer(answer))
    code = answer[fences[0].end() + 1 : fences[-1].start()]
    if not fences[-1][2].strip() and python_source.syntax_problem(code) is None:
        return code if code.strip() and python_source.defines_something(code) else None
    return None


def said_language(answer: str) -> str:
    """The language that the first fence names, "" when it names none of ours."""
    fence = _FENCE.search(answer)
    words = fence[2].split() if fence else []
    return canonical(words[0].strip("{}.").lower()) if words else ""
