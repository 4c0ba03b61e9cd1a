"""The whole evaluation of a real model through real vLLM, which is started once."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from evaluation.benchmarks import Task
from evaluation.config import EvaluationConfig, Limits
from evaluation.generate import _shorten, generate, truncate
from evaluation.run import compare, evaluate_model
from snowcoder.base import UserError

SMALL = EvaluationConfig(max_tasks=4, max_new_tokens=24, limits=Limits(cpu_seconds=1))


def test_truncate_takes_the_first_stop() -> None:
    assert truncate("    return 1\n\ndef g():\n# x", ("\n#", "\ndef")) == "    return 1\n"
    assert truncate("    return 1", ("\ndef",)) == "    return 1"
    assert truncate("\nclass", ("\nclass",)) == ""


@pytest.mark.parametrize(("length", "positions", "new"), [(10, 64, 24), (100, 64, 24), (100, 64, 500)])
def test_prompt_and_answer_fit_together(length: int, positions: int, new: int) -> None:
    ids, granted = _shorten(list(range(length)), positions, new)
    assert ids == list(range(length))[-len(ids) :]
    assert len(ids) + granted <= positions
    assert len(ids) == min(length, positions - granted)
    assert granted == min(new, positions // 2)


def test_a_missing_model_is_named_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent: no model here \(config\.json is missing\)"):
        generate(tmp_path / "absent", ["x"], SMALL, ())
    with pytest.raises(UserError, match="no model here"):
        evaluate_model(tmp_path / "absent", SMALL, tmp_path / "out.json")


def test_a_failing_engine_shows_the_end_of_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "torch.py").write_text("raise ImportError('libgomp.so.1: cannot open')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(
        RuntimeError, match=r"(?s)ended with code 1; the end of .*log:\n.*libgomp.so.1: cannot"
    ):
        generate(tmp_path, ["x"], SMALL, ())


def test_a_hanging_engine_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "torch.py").write_text("import time; print('loading', flush=True); time.sleep(600)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    cfg = SMALL.model_copy(update={"generation_seconds": 2.0})
    with pytest.raises(RuntimeError, match=r"went over generation_seconds=2; the end of"):
        generate(tmp_path, ["x"], cfg, ())


def test_a_model_is_evaluated_and_replayed(tiny_model: Path, tmp_path: Path, humaneval: list[Task]) -> None:
    out = tmp_path / "eval" / "general.json"
    result = evaluate_model(tiny_model, SMALL, out)
    assert "vllm" not in sys.modules
    assert json.loads(out.read_text()) == result
    found = result["humaneval"]
    assert (found["passed"], found["total"], found["pass@1"]) == (0, 4, 0.0)
    assert found["failing_references"] == []
    assert [verdict["task"] for verdict in found["verdicts"]] == [task.task_id for task in humaneval[:4]]
    assert 2 < result["bits_per_byte"]["humaneval"] < 20
    stored = json.loads((tmp_path / "eval" / "general.parts" / "generation-humaneval.json").read_text())[
        "part"
    ]
    assert all(len(texts) == 1 and texts[0] for texts in stored["raw"])
    assert stored["completions"] == [
        [truncate(text, ("\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif", "\n```")) for text in texts]
        for texts in stored["raw"]
    ]

    # The greedy continuation, from transformers: the first token, where no rounding has added up yet.
    import torch

    from evaluation.model import load_model

    model, tokenizer = load_model(tiny_model)
    for task, (text,) in zip(humaneval, stored["raw"], strict=False):
        ids = tokenizer(task.prompt.rstrip("\n"))["input_ids"][-(512 - 24) :]
        with torch.no_grad():
            token = int(model(torch.tensor([ids])).logits[0, -1].argmax())
        assert text.startswith(tokenizer.decode([token]).rstrip("\N{REPLACEMENT CHARACTER}"))

    # Replayed, not generated again: the second run reads what we wrote into the part.
    path = tmp_path / "eval" / "general.parts" / "generation-humaneval.json"
    part = json.loads(path.read_text())
    part["part"]["completions"][0] = [humaneval[0].canonical_solution]
    path.write_text(json.dumps(part))
    again = evaluate_model(tiny_model, SMALL, out)
    assert again["humaneval"]["passed"] == 1
    assert again["bits_per_byte"] == result["bits_per_byte"]


def test_compare_is_paired_by_task_and_refuses_other_tasks() -> None:
    model = {"bits_per_byte_tasks": {"humaneval": {"a": [10.0, 10], "b": [40.0, 20]}}}
    control = {"bits_per_byte_tasks": {"humaneval": {"b": [46.0, 20], "a": [13.0, 10]}, "mbpp": {}}}
    found = compare(model, control)
    assert found == {
        "humaneval": {"value": pytest.approx(-0.3), "low": pytest.approx(-0.3), "high": pytest.approx(-0.3)}
    }
    with pytest.raises(UserError, match="other tasks"):
        compare(model, {"bits_per_byte_tasks": {"humaneval": {"a": [1.0, 10]}}})
