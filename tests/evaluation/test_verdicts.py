"""The ledger of verdicts: judged once, gone on with after a kill, the same from threads and from Ray."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evaluation import verdicts as module
from evaluation.benchmarks import Solution, Task
from evaluation.config import EvaluationConfig, Limits
from evaluation.run import evaluate_samples
from evaluation.scores import summarise
from evaluation.verdicts import judge
from snowcoder.base import UserError

CFG = EvaluationConfig(limits=Limits(cpu_seconds=2, wall_seconds=30), workers=2)


@pytest.fixture(scope="module")
def tasks(humaneval: list[Task]) -> list[Task]:
    return humaneval[:6]


def right(task: Task) -> str:
    return task.canonical_solution


WRONG = "    return None\n"


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every program that is really judged, in this process also where other tests have started Ray."""
    seen: list[str] = []
    real = module.evaluate_tasks

    def counting(tasks, samples, cfg):
        seen.extend(text for texts in samples for text in texts)
        return real(tasks, samples, cfg)

    monkeypatch.setattr(module, "evaluate_tasks", counting)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    return seen


def test_each_text_of_a_task_is_judged_once(tasks: list[Task], tmp_path: Path, counted: list[str]) -> None:
    samples = [[right(task), WRONG, right(task)] for task in tasks[:2]]
    found = judge(tasks[:2], samples, CFG, tmp_path / "ledger.jsonl")
    assert [[(v.task, v.sample, v.passed) for v in row] for row in found.verdicts] == [
        [(task.task_id, 0, True), (task.task_id, 1, False), (task.task_id, 2, True)] for task in tasks[:2]
    ]
    assert len(counted) == 4
    assert judge(tasks[:2], samples, CFG, tmp_path / "ledger.jsonl") == found
    assert len(counted) == 4


def test_other_limits_and_whole_programs_are_judged_anew(
    tasks: list[Task], tmp_path: Path, counted: list[str]
) -> None:
    task, ledger = tasks[0], tmp_path / "ledger.jsonl"
    judge([task], [[WRONG]], CFG, ledger)
    judge([task], [[Solution(WRONG)]], CFG, ledger)
    other = CFG.model_copy(update={"limits": Limits(cpu_seconds=1, wall_seconds=30)})
    judge([task], [[WRONG]], other, ledger)
    judge([task], [[WRONG]], CFG.model_copy(update={"workers": 1, "seed": 7}), ledger)  # these decide nothing
    assert len(counted) == 3


def test_a_line_cut_by_a_kill_is_judged_again(tasks: list[Task], tmp_path: Path, counted: list[str]) -> None:
    ledger, samples = tmp_path / "ledger.jsonl", [[right(task)] for task in tasks[:3]]
    found = judge(tasks[:3], samples, CFG, ledger)
    ledger.write_bytes(ledger.read_bytes()[:-25])
    assert judge(tasks[:3], samples, CFG, ledger).tiers == found.tiers
    assert len(counted) == 4
    assert len([json.loads(line) for line in ledger.read_text().splitlines()]) == 3
    ledger.write_text('{"key": 1}\nnot a ledger\n')
    with pytest.raises(UserError, match="not a ledger of verdicts"):
        judge(tasks[:3], samples, CFG, ledger)


def test_ray_gives_the_same_verdicts(
    ray_session, tasks: list[Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 2)  # several Ray tasks
    samples = [[right(task), WRONG] for task in tasks]
    shown: list[tuple[int, str]] = []

    def watch(items, total, what):
        for item in items:
            shown.append((total, what))
            yield item

    found = judge(tasks, samples, CFG, tmp_path / "ray.jsonl", watch, "mine")
    assert shown == [(12, "mine")] * 12
    assert [[verdict.passed for verdict in row] for row in found.verdicts] == [[True, False]] * 6
    assert [[verdict.sample for verdict in row] for row in found.verdicts] == [[0, 1]] * 6


def test_a_killed_evaluation_goes_on(tasks: list[Task], tmp_path: Path, counted: list[str]) -> None:
    """A process of its own is killed with SIGKILL half way; a second run judges only the rest."""
    ledger = tmp_path / "ledger.jsonl"
    program = (
        "import sys\nfrom pathlib import Path\nfrom evaluation import verdicts\n"
        "from evaluation.benchmarks import load\nfrom evaluation.config import EvaluationConfig, Limits\n"
        "verdicts.CHUNK = 1\n"
        "cfg = EvaluationConfig(limits=Limits(cpu_seconds=2, wall_seconds=30), workers=2)\n"
        "tasks = load('humaneval')[:6]\n"
        "samples = [[task.canonical_solution] for task in tasks]\n"
        "samples[3] = ['    while True: pass\\n']\n"  # two CPU seconds: time to be killed in
        "verdicts.judge(tasks, samples, cfg, Path(sys.argv[1]))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    run = subprocess.Popen([sys.executable, "-c", program, str(ledger)], env=environment)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and (not ledger.exists() or ledger.read_bytes().count(b"\n") < 3):
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()
    before = ledger.read_bytes().count(b"\n")
    assert 3 <= before < 6
    samples = [[right(task)] for task in tasks]
    samples[3] = ["    while True: pass\n"]
    found = judge(tasks, samples, CFG, ledger)
    assert [row[0].passed for row in found.verdicts] == [True, True, True, False, True, True]
    assert len(counted) == 6 - before


def test_missing_samples_fail_and_large_k_needs_samples(tasks: list[Task], tmp_path: Path) -> None:
    samples = [[right(tasks[0]), WRONG], [right(tasks[1]), right(tasks[1])], []]
    cfg = CFG.model_copy(update={"pass_at": (1, 2, 10)})
    judged = judge(tasks[:3], samples, cfg, tmp_path / "ledger.jsonl")
    summary = summarise(tasks[:3], judged, cfg, failing=[judged.verdicts[0][1]])
    assert (summary["passed"], summary["total"], summary["tasks"], summary["missing_tasks"]) == (3, 5, 3, 1)
    assert summary["pass@1"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert summary["pass@2"] == pytest.approx((1 + 1 + 0) / 3)
    assert "pass@10" not in summary
    assert summary["reasons"]["no_sample"] == 1
    assert summary["references"] == "2/3"
    assert summary["pass@1_valid"] == pytest.approx(0.5)


def test_samples_are_evaluated_with_a_key_that_says_what_they_are(tasks: list[Task], tmp_path: Path) -> None:
    rows = [{"task_id": task.task_id, "solution": task.prompt + right(task)} for task in tasks[:4]]
    rows[1]["solution"] = "def broken(:"
    path = tmp_path / "samples.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    cfg = CFG.model_copy(update={"max_tasks": 4, "bits_per_byte_benchmarks": ()})
    result = evaluate_samples(path, cfg, tmp_path / "eval" / "mine.json")
    found = result["humaneval"]
    assert (found["passed"], found["total"], found["references"]) == (3, 4, "4/4")
    assert found["key"].keys() == {"model", "prompt", "decoding", "dataset", "sandbox", "references"}
    assert found["key"]["model"].startswith("samples ")
    assert found["key"]["sandbox"] == found["sandbox"]
    assert json.loads((tmp_path / "eval" / "mine.json").read_text()) == result
    kept = (tmp_path / "eval" / "mine.parts" / "samples-humaneval.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in kept] == rows


def test_a_group_needs_a_folder(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("")
    cfg = EvaluationConfig(benchmarks=("evoeval",), bits_per_byte_benchmarks=())
    with pytest.raises(UserError, match=r"need a folder with one file each: evoeval_difficult\.jsonl"):
        evaluate_samples(tmp_path / "x.jsonl", cfg, tmp_path / "out.json")
