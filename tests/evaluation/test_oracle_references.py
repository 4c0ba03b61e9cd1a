"""The published solutions pass: a sample here, all of them in tests/soak."""

from __future__ import annotations

from pathlib import Path

import pytest

from evaluation.benchmarks import load
from evaluation.config import EvaluationConfig
from evaluation.judge import failing_references

DATA = Path(__file__).parents[3] / "shared" / "data" / "benchmarks"


@pytest.mark.skipif(not DATA.is_dir(), reason="the benchmarks' files are not here")
@pytest.mark.parametrize(("name", "every"), [("humaneval+", 12), ("mbpp+", 25), ("evoeval_tool_use", 10)])
def test_references_pass(name: str, every: int) -> None:
    tasks = load(name, DATA)[::every]
    assert failing_references(tasks, EvaluationConfig(data_dir=DATA)) == []
