"""HumanEval in other languages: MultiPL-E (arXiv 2208.08227) and HumanEval-X (CodeGeeX, arXiv 2303.17568)."""

from __future__ import annotations

from typing import Any

from evaluation.benchmarks.task import Task

LANGUAGES = {
    "cpp": "C++",
    "go": "Go",
    "java": "Java",
    "js": "JavaScript",
    "php": "PHP",
    "python": "Python",
    "rs": "Rust",
    "rust": "Rust",
    "ts": "TypeScript",
}
"""What the files call a language -> its name in this project."""


def parse_multipl_e(benchmark: str, rows: list[dict[str, Any]], language: str) -> list[Task]:
    """Rows of MultiPL-E, which has prompts and tests of all languages and solutions of none."""
    return [
        Task(
            benchmark=benchmark,
            task_id=row["task_id"],
            prompt=row["prompt"],
            entry_point="",
            canonical_solution="",
            test=row["test"],
            language=language,
            stops=tuple(row["stop_tokens"]),
        )
        for row in rows
    ]


def parse_humaneval_x(benchmark: str, rows: list[dict[str, Any]], language: str) -> list[Task]:
    """Rows of HumanEval-X, with solutions; Rust's prompt is a comment alone, so its declaration is added."""
    return [
        Task(
            benchmark=benchmark,
            task_id=row["task_id"],
            prompt=row["prompt"] + (row["declaration"] if language == "Rust" else ""),
            entry_point="",
            canonical_solution=row["canonical_solution"],
            test=row["test"],
            language=language,
        )
        for row in rows
    ]
