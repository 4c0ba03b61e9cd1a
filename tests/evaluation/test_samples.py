from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from evaluation.benchmarks import Solution, Task
from evaluation.samples import read_samples
from snowcoder.base import UserError

TASKS = [
    Task("humaneval", f"HumanEval/{i}", f"def f{i}():\n", f"f{i}", "    return 1\n", "") for i in range(3)
]


def write(path: Path, rows: list[dict]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["samples.jsonl", "samples.jsonl.gz"])
def test_solutions_are_programs_and_completions_follow_the_prompt(tmp_path: Path, name: str) -> None:
    rows = [
        {"task_id": "HumanEval/1", "completion": "    return 2\n", "_identifier": "x"},
        {"task_id": "HumanEval/0", "solution": "def f0(): return 0"},
        {"task_id": "HumanEval/1", "solution": "whole", "completion": "part"},
    ]
    found = read_samples(write(tmp_path / name, rows), TASKS)
    assert found.texts == [["def f0(): return 0"], ["    return 2\n", "whole"], []]
    assert found.missing == ("HumanEval/2",)
    assert TASKS[0].program(found.texts[0][0]) == "def f0(): return 0"
    assert [TASKS[1].program(text) for text in found.texts[1]] == ["def f1():\n    return 2\n", "whole"]


def test_a_folder_of_programs(tmp_path: Path) -> None:
    for number in range(11):
        file = tmp_path / "HumanEval_0" / f"{number}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(str(number))
    found = read_samples(tmp_path, TASKS)
    assert found.texts[0] == [str(number) for number in range(11)]  # 10 after 9, not after 1
    assert all(isinstance(text, Solution) for text in found.texts[0])


def test_the_hash_is_of_content_and_kind(tmp_path: Path) -> None:
    def sha(name: str, row: dict) -> str:
        return read_samples(write(tmp_path / name, [row]), TASKS).sha256

    solution = {"task_id": "HumanEval/0", "solution": "x"}
    assert sha("a.jsonl", solution) == sha("b.jsonl.gz", {**solution, "extra": 1})
    assert sha("a.jsonl", solution) != sha("a.jsonl", {"task_id": "HumanEval/0", "completion": "x"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", r"samples\.jsonl, line 1: not JSON"),
        (b'{"solution": "x"}', "line 1: task_id is missing"),
        (b'\n{"task_id": "HumanEval/0"}', "line 2: HumanEval/0 has neither solution nor completion"),
        (b'{"task_id": "HumanEval/0", "solution": 3}', "neither solution nor completion, as text"),
        (
            b'{"task_id": "Mbpp/2", "solution": "x"}',
            r"'Mbpp/2' is not in humaneval \(HumanEval/0 … HumanEval/2\)",
        ),
        (b"", "no sample in it"),
        (b"\xff\xfe", "cannot be read"),
        (b"\x1f\x8bbroken", "cannot be read"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "samples.jsonl").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_samples(tmp_path / "samples.jsonl", TASKS)


def test_an_absent_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_samples(tmp_path / "absent.jsonl", TASKS)
