"""What every benchmark is reduced to: a task that can be prompted, scored and judged."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BenchmarkText:
    """The texts of one task that must not occur in training data."""

    benchmark: str
    task: str
    prompt: str
    solution: str
    tests: str = ""
    language: str = "Python"


class Solution(str):
    """A sample that is a whole program; a plain `str` is what follows the task's prompt."""

    __slots__ = ()


@dataclass(frozen=True)
class Task:
    """One task: `prompt + canonical_solution`, then `test`, run in one namespace without an exception."""

    benchmark: str
    task_id: str
    prompt: str
    entry_point: str  # "" where the benchmark names none
    canonical_solution: str
    test: str  # source that raises on a wrong answer, its call included
    statement: str = ""  # the problem as published, where `prompt` is a format we chose around it
    language: str = "Python"
    instruction: str = ""  # the problem as the publisher words it for a chat, where it does
    stops: tuple[str, ...] = ()  # of this task alone; () for the benchmark's

    def program(self, sample: str) -> str:
        """What is judged: the prompt and the completion, or the whole program that the sample is."""
        return str(sample) if isinstance(sample, Solution) else self.prompt + sample

    def text(self) -> BenchmarkText:
        """The task as decontamination wants it."""
        return BenchmarkText(
            benchmark=self.benchmark,
            task=self.task_id,
            prompt=self.statement or self.prompt,
            solution=self.canonical_solution,
            tests=self.test,
            language=self.language,
        )
