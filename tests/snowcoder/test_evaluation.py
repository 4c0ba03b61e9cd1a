"""`snowcoder evaluate` without a recipe, its page, and `evaluate compare`, from the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from evaluation.benchmarks import load
from evaluation.paper_table import COLUMNS, TABLE_2, beside
from snowcoder.base import UserError
from snowcoder.cli import cli
from snowcoder.evaluation import doubts, final_line, parse_settings, print_result

HOSTILE = '    return "</pre><script>alert(1)</script>\u202e"  # <img src=x onerror=alert(2)>\n'


def command(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["evaluate", *map(str, arguments)])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """Three right samples, and one that is wrong and hostile to a page, out of five tasks."""
    folder = tmp_path_factory.mktemp("evaluate")
    rows = [
        {"task_id": task.task_id, "completion": task.canonical_solution} for task in load("humaneval")[:4]
    ]
    rows[2]["completion"] = HOSTILE
    (folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = command(
        "--benchmark", "humaneval", "--samples", folder / "samples.jsonl", "--out", folder, "--name", "a",
        "--set", "max_tasks=5", "--set", "workers=2",
    )  # fmt: skip
    return folder, done


def test_the_last_line_is_the_figure(run: tuple[Path, Result]) -> None:
    folder, done = run
    assert done.exit_code == 0, done.output
    lines = done.stdout.rstrip().splitlines()
    assert lines[-1] == "humaneval 3/5 pass@1 0.600 (95 % 0.231 to 0.882)"
    assert lines[-2] == "humaneval: 1 of 5 tasks have no sample and count as failed"
    found = json.loads((folder / "eval" / "a.json").read_text())["humaneval"]
    assert (found["passed"], found["total"], found["references"]) == (3, 5, "5/5")


def test_the_page_shows_hostile_text_as_text(run: tuple[Path, Result]) -> None:
    page = (run[0] / "eval" / "a.html").read_text()
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;/pre&gt;&lt;script&gt;alert(1)" in page
    assert "\u202e" not in page
    assert page.count('<details class="task"') == 5
    assert "HumanEval/2" in page
    assert "Check if in given list of numbers" in page  # the prompt
    assert not re.search(r'(src|href)="(?!#)', page)  # no request goes out


def test_two_results_are_compared(run: tuple[Path, Result]) -> None:
    result = str(run[0] / "eval" / "a.json")
    done = command("compare", result, result)
    assert done.exit_code == 0, done.output
    assert (
        done.stdout.rstrip().splitlines()[-1].startswith("humaneval: no difference that is more than chance")
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--benchmark", "humaneval"), "give --model DIR or --samples FILE"),
        (("--samples", "x.jsonl"), "name a --benchmark"),
        (
            ("--samples", "x", "--model", "y", "--benchmark", "humaneval"),
            "give --model DIR or --samples FILE",
        ),
        (("--config", "c.yaml", "--model", "y", "--benchmark", "humaneval"), "leave the others out"),
        (("--samples", "absent.jsonl", "--benchmark", "humaneval"), r"absent\.jsonl: no such file"),
        (("--samples", "x", "--benchmark", "humanevil"), "'humanevil' cannot be judged"),
        (("--samples", "x", "--benchmark", "humaneval", "--set", "limit.cpu=1"), "limit: Extra inputs"),
        (("--samples", "x", "--benchmark", "humaneval", "-n"), None),
    ],
)
def test_what_is_wrong_is_said(arguments: tuple[str, ...], message: str | None) -> None:
    done = command(*arguments)
    assert done.exit_code != 0
    if message is not None:
        assert isinstance(done.exception, UserError)
        assert re.search(message, str(done.exception)), done.exception


def test_settings_are_nested() -> None:
    assert parse_settings(["limits.cpu_seconds=5", "seed=3", "evaluation.limits.open_files=64"]) == {
        "limits": {"cpu_seconds": 5, "open_files": 64},
        "seed": 3,
    }
    with pytest.raises(UserError, match="write key=value"):
        parse_settings(["seed"])


def test_the_papers_table_is_beside_ours(capsys: pytest.CaptureFixture[str]) -> None:
    assert beside("humaneval+")["Phi-1.5-1.3B"] == 31.7
    assert beside("bigcodebench")["Arctic-SnowCoder-1.3B"] == 19.4
    assert beside("mbpp") == {}
    assert all(len(row) == len(COLUMNS) for row in TABLE_2.values())
    summary = {"passed": 41, "total": 164, "pass@1": 0.25, "pass@1_interval": [0.19, 0.32], "pass@10": 0.5}
    print_result({"humaneval+": summary, "evoeval": {**summary, "pass@1": 0.125}})
    printed = capsys.readouterr().out.rstrip().splitlines()
    assert any("this one" in line and "25.0" in line and "12.5" in line for line in printed)
    assert any("Qwen2-1.5B" in line and "31.1" in line and "17.2" in line for line in printed)
    assert printed[-2] == "humaneval+ 41/164 pass@1 0.250 (95 % 0.190 to 0.320) pass@10 0.500"
    assert printed[-2] == final_line("humaneval+", summary)


def test_doubts_about_a_figure_are_told() -> None:
    part = {
        "passed": 1, "total": 4, "tasks": 4, "pass@1": 0.25, "pass@1_valid": 0.333, "missing_tasks": 0,
        "references": "3/4", "failing_references": [{"task": "T/9"}], "sandbox": "unsafe",
        "reasons": {"cpu_limit": 1, "failed": 2}, "verdicts": [{"retried": True}],
    }  # fmt: skip
    said = " | ".join(doubts(part))
    for piece in ("3/4 reference", "not T/9", "pass@1 is 0.333", "1 of 4 programs ended at a time limit",
                  "run once more", "without a sandbox"):  # fmt: skip
        assert piece in said
