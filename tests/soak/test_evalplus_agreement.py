"""All references, and the same verdicts as EvalPlus on mutants of every solution.

SNOWCODER_EVALPLUS_PYTHON names the Python of an environment with evalplus==0.3.1. Without it only the references run.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from benchmarks.evaluation import ours, peers, samples
from evaluation.benchmarks import load
from evaluation.config import EvaluationConfig
from evaluation.judge import failing_references

pytestmark = pytest.mark.soak
DATA = Path(__file__).parents[3] / "shared" / "data" / "benchmarks"
PEER = os.environ.get("SNOWCODER_EVALPLUS_PYTHON", "")
PER_TASK = 10  # times 542 tasks


@pytest.mark.skipif(not DATA.is_dir(), reason="the benchmarks' files are not here")
@pytest.mark.parametrize("name", ["humaneval+", "mbpp+", "mbpp"])
def test_every_reference_passes(name: str) -> None:
    assert failing_references(load(name, DATA), EvaluationConfig(data_dir=DATA)) == []


@pytest.mark.skipif(not DATA.is_dir(), reason="the benchmarks' files are not here")
def test_evoeval_references_agree_with_themselves() -> None:
    """Those that do not are printed: their outputs cannot be expected of anybody."""
    failing = failing_references(load("evoeval", DATA)[:100], EvaluationConfig(data_dir=DATA))
    print([(verdict.task, verdict.reason, verdict.detail) for verdict in failing])
    assert len(failing) < 10


@pytest.mark.skipif(not (PEER and DATA.is_dir()), reason="SNOWCODER_EVALPLUS_PYTHON is not set")
@pytest.mark.parametrize("name", ["humaneval+", "mbpp+"])
def test_mutants_get_the_same_verdict(name: str, tmp_path: Path) -> None:
    given = samples(name, DATA, every=1, count=PER_TASK)
    passed, reasons, _ = ours(given, DATA)
    theirs, states, _ = peers(name, given, DATA, PEER, tmp_path)
    differences = [
        {"task": row["task_id"], "ours": reason, "evalplus": state, "program": row["solution"]}
        for row, mine, other, reason, state in zip(given.rows, passed, theirs, reasons, states, strict=True)
        if mine != other
    ]
    (tmp_path / "differences.json").write_text(json.dumps(differences, indent=1))
    assert not differences, f"{len(differences)} of {len(passed)}: {tmp_path / 'differences.json'}"
