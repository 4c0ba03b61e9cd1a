"""HumanEval (Chen et al. 2021, arXiv 2107.03374): complete a function from its signature and docstring.

EvoEval (Xia et al. 2024, arXiv 2403.19114) evolves its tasks and has the same form.
"""

from __future__ import annotations

from typing import Any

from evaluation.benchmarks.task import Task


def parse(benchmark: str, rows: list[dict[str, Any]]) -> list[Task]:
    """Rows of HumanEval, or of HumanEval+, whose `test` holds the original tests, not the added inputs."""
    return [
        Task(
            benchmark=benchmark,
            task_id=row["task_id"],
            prompt=row["prompt"],
            entry_point=row["entry_point"],
            canonical_solution=row["canonical_solution"],
            test=f"{row['test']}\ncheck({row['entry_point']})\n",
        )
        for row in rows
    ]


def parse_solutions(benchmark: str, rows: list[dict[str, Any]]) -> list[Task]:
    """Rows of EvoEval, whose inputs are judged by running the solution: `test` is empty."""
    return [
        Task(
            benchmark=benchmark,
            task_id=row["task_id"],
            prompt=row["prompt"].rstrip("\n")
            + "\n",  # some end with their docstring, and the solution goes on below
            entry_point=row["entry_point"],
            canonical_solution=row["canonical_solution"],
            test="",
        )
        for row in rows
    ]
