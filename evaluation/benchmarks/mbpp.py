"""MBPP (Austin et al. 2021, arXiv 2108.07732): write a function from one sentence and an assertion.

The prompt is a docstring with the sentence and the first assertion, the form that EvalPlus ships with MBPP+,
so that one format serves all variants. The original data have Windows line ends in the solutions; a model
of code is not asked to predict carriage returns, so they become newlines.
"""

from __future__ import annotations

from typing import Any

from evaluation.benchmarks.task import Task


def parse(benchmark: str, rows: list[dict[str, Any]]) -> list[Task]:
    """Rows of the full set (974) or of the hand-verified subset (427)."""
    tasks = []
    for row in rows:
        statement = row.get("text") or row["prompt"]
        setup = [row["test_setup_code"]] if "test_setup_code" in row else row["test_imports"]
        tests = [*setup, *row["test_list"], *row.get("challenge_test_list", [])]
        tasks.append(
            Task(
                benchmark=benchmark,
                task_id=f"Mbpp/{row['task_id']}",
                prompt=f'"""\n{statement}\n{row["test_list"][0].strip()}\n"""\n',
                entry_point="",
                canonical_solution=_newlines(row["code"]),
                test=_newlines("\n".join(filter(None, tests)) + "\n"),
                statement=statement,
            )
        )
    return tasks


def parse_plus(benchmark: str, rows: list[dict[str, Any]]) -> list[Task]:
    """MBPP+ rows; `test` holds the original assertions, not the added inputs."""
    return [
        Task(
            benchmark=benchmark,
            task_id=row["task_id"],
            prompt=row["prompt"],
            entry_point=row["entry_point"],
            canonical_solution=row["canonical_solution"],
            test=row["assertion"],
        )
        for row in rows
    ]


def _newlines(text: str) -> str:
    return text.replace("\r\n", "\n")
