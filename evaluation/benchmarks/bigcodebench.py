"""BigCodeBench (Zhuo et al. 2024, arXiv 2406.15877): use libraries, from a docstring or from an instruction.

One file holds both forms. "Complete" goes on after the imports and the docstring; "Instruct" is asked in
words and answers with a whole program.
"""

from __future__ import annotations

from typing import Any

from evaluation.benchmarks.task import Task


def parse(benchmark: str, rows: list[dict[str, Any]]) -> list[Task]:
    """Rows of the full set (1140) or the hard one (148); `test` is a `unittest` module without its start."""
    return [
        Task(
            benchmark=benchmark,
            task_id=row["task_id"],
            prompt=row["complete_prompt"],
            entry_point=row["entry_point"],
            canonical_solution=row["canonical_solution"],
            test=row["test"],
            instruction=row["instruct_prompt"],
        )
        for row in rows
    ]
