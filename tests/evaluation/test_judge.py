from __future__ import annotations

from pathlib import Path

import pytest

from evaluation.benchmarks import Task, load
from evaluation.config import EvaluationConfig, Limits
from evaluation.judge import evaluate_functional, failing_references
from evaluation.judging.asserts import plan
from evaluation.sandbox.inside.tester import free_names
from snowcoder.base import UserError

DATA = Path(__file__).parents[3] / "shared" / "data" / "benchmarks"
CFG = EvaluationConfig(limits=Limits(cpu_seconds=1, wall_seconds=60))


def test_every_reference_solution_passes(humaneval: list[Task]) -> None:
    assert failing_references(humaneval, EvaluationConfig()) == []


def test_wrong_and_cheating_candidates_fail_with_their_reason(humaneval: list[Task]) -> None:
    task = humaneval[0]
    candidates = {
        "passed": task.canonical_solution,
        "wrong_output": "    return True\n",
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


def test_a_helper_of_the_prompt_cannot_be_replaced(humaneval: list[Task]) -> None:
    (task,) = (task for task in humaneval if task.task_id == "HumanEval/32")
    cheat = "    return 0.0\ndef poly(xs, x):\n    return 0.0\n"
    right, wrong = evaluate_functional([task], [[task.canonical_solution, cheat]], CFG).verdicts
    assert (right.reason, wrong.reason) == ("passed", "wrong_output")


def task_of(test: str, solution: str) -> Task:
    return Task("mbpp", "Mbpp/0", "", "", solution, test)


def test_tests_reach_the_candidate_through_values_and_handles() -> None:
    solution = (
        "import sys\nclass Pair:\n    def __init__(self, a): self.a = a\n"
        "def sum(pairs): return pairs[0].a\ndef kinds(x, kind): return isinstance(x, kind)\n"
    )
    test = (
        "first = Pair(5)\nassert sum([Pair(5), Pair(6)]) == 5\nassert sum([first]) == 5\nassert kinds(1, int)\n"
        "assert kinds('a', str) and sys.maxsize > 0\n"
    )
    task = task_of(test, solution)
    wrong = solution.replace("pairs[0].a", "7")
    same = solution.replace("pairs[0].a", "type('Same', (), {'__eq__': lambda *a: True})()")
    verdicts = evaluate_functional([task], [[solution, wrong, same]], CFG).verdicts
    assert [verdict.reason for verdict in verdicts] == ["passed", "wrong_output", "wrong_output"]
    assert plan(task).setup == "import sys\nfirst = Pair(5)"


def test_free_names() -> None:
    import ast

    tree = ast.parse("import math\nx = [y for y in f(z)]\ndef g(a, *b, **c): return a + b + c + d\n")
    assert free_names(tree) == {"f", "z", "d"}


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
    assert results.reasons == {"passed": 4, "wrong_output": 2}


def test_sleepers_are_run_again_alone_and_counted(humaneval: list[Task]) -> None:
    cfg = CFG.model_copy(update={"limits": Limits(cpu_seconds=1, wall_seconds=1)})
    results = evaluate_functional(humaneval[:1], [["    import time; time.sleep(60)\n"]], cfg)
    (verdict,) = results.verdicts
    assert (verdict.reason, verdict.retried, results.retried) == ("wall_limit", True, 1)


def test_samples_are_refused_without_a_temperature() -> None:
    with pytest.raises(ValueError, match="equal samples"):
        EvaluationConfig(samples=2)


def test_mbpp_of_which_names_are_hard() -> None:
    hard = {"Mbpp/126", "Mbpp/367", "Mbpp/533", "Mbpp/596", "Mbpp/601", "Mbpp/927"}
    try:
        tasks = [task for task in load("mbpp", DATA) if task.task_id in hard]
    except UserError as error:  # neither a file nor a network: the message is tested elsewhere
        pytest.skip(str(error))
    assert failing_references(tasks, CFG) == []
