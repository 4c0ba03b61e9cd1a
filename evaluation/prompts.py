"""How a model is asked, and what of its answer is judged.

base: the model goes on after the task's prompt; the answer ends at the first stop string. instruct: the task
is put in words, through the tokenizer's chat template; the program is taken out of the answer's code block.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from evaluation import parsing
from evaluation.benchmarks import Benchmark, Solution, Task

Form = Literal["base", "instruct"]

_BLOCK = re.compile(r"^[ \t]*```[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Prompt:
    """One question. `chat`: `text` is a user's message, else the text to go on from."""

    text: str
    stops: tuple[str, ...]
    chat: bool = False


def prompt_of(
    task: Task, known: Benchmark, form: Form, strip: bool, stops: tuple[str, ...] | None = None
) -> Prompt:
    """`strip` takes the trailing newlines off a base prompt (paper, table 2); `stops` replace the benchmark's."""
    if form == "instruct" or known.instruct:
        return Prompt(task.instruction if known.instruct else _in_words(task), stops or (), chat=True)
    own = task.stops or known.stops
    return Prompt(task.prompt.rstrip("\n") if strip else task.prompt, own if stops is None else stops)


def answer_of(task: Task, prompt: Prompt, text: str) -> str:
    """What is judged of the model's text: a completion, or a `Solution` where it was asked in words."""
    if not prompt.chat:
        return truncate(text, prompt.stops)
    program = code_in(truncate(text, prompt.stops), task.entry_point)
    return Solution(parseable(program) if task.language == "Python" else program)


def truncate(text: str, stops: Sequence[str]) -> str:
    """The text before the first stop string."""
    return text[: min((text.find(stop) for stop in stops if stop in text), default=len(text))]


def code_in(text: str, entry_point: str) -> str:
    """The first code block that names the entry point, else the longest one, else the whole text.

    A block that was never closed goes to the end: the model ran out of tokens.
    """
    blocks = _BLOCK.findall(text)
    named = [block for block in blocks if entry_point and re.search(rf"\b{re.escape(entry_point)}\b", block)]
    return named[0] if named else max(blocks, key=len, default=text)


def parseable(program: str) -> str:
    """The longest run of lines from the start that is Python; the program itself where there is none.

    A cut-off last function goes, and so does chat after the code.
    """
    lines = program.split("\n")
    for end in range(len(lines), 0, -1):
        candidate = "\n".join(lines[:end])
        try:
            tree = parsing.parse(candidate)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        return candidate if tree.body else program
    return program


def _in_words(task: Task) -> str:
    language = task.language
    tag = language.lower().replace("++", "pp")
    return (
        f"Complete the following {language} code. Answer with the whole program in one code block: "
        "keep the given signature, add the imports that it needs, and write no tests or examples.\n\n"
        f"```{tag}\n{task.prompt.rstrip()}\n```\n"
    )
