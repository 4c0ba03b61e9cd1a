from __future__ import annotations

import pytest

from evaluation.benchmarks import Task
from evaluation.config import EvaluationConfig, Limits
from evaluation.judge import evaluate_functional, failing_references

CFG = EvaluationConfig(limits=Limits(cpu_seconds=1, wall_seconds=10))


def test_every_reference_solution_passes(humaneval: list[Task]) -> None:
    assert failing_references(humaneval, EvaluationConfig()) == []


def test_wrong_and_cheating_candidates_fail_with_their_reason(humaneval: list[Task]) -> None:
    task = humaneval[0]
    candidates = {
        "passed": task.canonical_solution,
        "failed": "    return True\n",
        "error:NameError": "    return undefined\n",
        "exited_early": "    import sys; sys.exit(0)\n",
        "cpu_limit": "    while True: pass\n",
        # Its own check, and an open string to swallow the real one: each source is compiled alone.
        "error:SyntaxError": '    return 1\ndef check(f): pass\nx = """',
        "error:NotImplementedError": "    pass\ndef check(f): pass\nraise NotImplementedError",
    }
    for reason, completion in candidates.items():
        (verdict,) = evaluate_functional([task], [[completion]], CFG).verdicts
        assert (verdict.reason, verdict.passed) == (reason, reason == "passed"), verdict


def test_counts_and_pass_at_k_over_samples(humaneval: list[Task]) -> None:
    right, wrong = [task.canonical_solution for task in humaneval[:2]], "    return None\n"
    cfg = CFG.model_copy(update={"samples": 3, "pass_at": (1, 2), "temperature": 1.0})
    results = evaluate_functional(
        humaneval[:2], [[right[0], wrong, wrong], [right[1], right[1], right[1]]], cfg
    )
    assert (results.passed, results.total, results.tasks) == (4, 6, 2)
    assert results.pass_at == pytest.approx({1: 2 / 3, 2: (2 / 3 + 1) / 2})
    assert results.low == pytest.approx(1 / 3)
    assert results.high == pytest.approx(1)
    summary = results.summary()
    assert (summary["passed"], summary["total"], summary["pass@1"]) == (4, 6, pytest.approx(2 / 3))
    assert results.reasons == {"passed": 4, "failed": 2}


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'humaneval\+' cannot be judged"):
        EvaluationConfig(benchmarks=("humaneval+",))
    with pytest.raises(ValueError, match="equal samples"):
        EvaluationConfig(samples=2)
