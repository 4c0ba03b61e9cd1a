"""The whole evaluation of a real model through real vLLM, which is started once."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from evaluation.benchmarks import Task
from evaluation.config import EvaluationConfig, Limits
from evaluation.generate import _shorten, generate, has_chat_template
from evaluation.prompts import Prompt, truncate
from evaluation.run import compare, evaluate_model
from snowcoder.base import UserError

SMALL = EvaluationConfig(max_tasks=4, max_new_tokens=24, limits=Limits(cpu_seconds=1))


@pytest.mark.parametrize(("length", "positions", "new"), [(10, 64, 24), (100, 64, 24), (100, 64, 500)])
def test_prompt_and_answer_fit_together(length: int, positions: int, new: int) -> None:
    ids, granted = _shorten(list(range(length)), positions, new)
    assert ids == list(range(length))[-len(ids) :]
    assert len(ids) + granted <= positions
    assert len(ids) == min(length, positions - granted)
    assert granted == min(new, positions // 2)


def test_a_missing_model_is_named_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent: no model here \(config\.json is missing\)"):
        generate(tmp_path / "absent", [Prompt("x", ())], SMALL)
    with pytest.raises(UserError, match="no model here"):
        evaluate_model(tmp_path / "absent", SMALL, tmp_path / "out.json")


def test_a_failing_engine_shows_the_end_of_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "torch.py").write_text("raise ImportError('libgomp.so.1: cannot open')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(
        RuntimeError, match=r"(?s)ended with code 1; the end of .*log:\n.*libgomp.so.1: cannot"
    ):
        generate(tmp_path, [Prompt("x", ())], SMALL)


def test_a_hanging_engine_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "torch.py").write_text("import time; print('loading', flush=True); time.sleep(600)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    cfg = SMALL.model_copy(update={"generation_seconds": 2.0})
    with pytest.raises(RuntimeError, match=r"went over generation_seconds=2; the end of"):
        generate(tmp_path, [Prompt("x", ())], cfg)


STOPS = ("\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif", "\n```")


def test_a_model_is_evaluated_and_gone_on_with(
    tiny_model: Path, tmp_path: Path, humaneval: list[Task]
) -> None:
    out = tmp_path / "eval" / "general.json"
    result = evaluate_model(tiny_model, SMALL, out)
    assert "vllm" not in sys.modules
    assert json.loads(out.read_text()) == result
    found = result["humaneval"]
    assert (found["passed"], found["total"], found["pass@1"]) == (0, 4, 0.0)
    assert (found["failing_references"], found["references"]) == ([], "4/4")
    assert [verdict["task"] for verdict in found["verdicts"]] == [task.task_id for task in humaneval[:4]]
    assert found["key"]["model"] == result["model"]
    assert found["key"]["prompt"] == "base"
    assert found["key"]["decoding"]["temperature"] == 0
    assert 2 < result["bits_per_byte"]["humaneval"] < 20
    parts = tmp_path / "eval" / "general.parts"
    kept = [json.loads(line) for line in (parts / "samples-humaneval.jsonl").read_text().splitlines()]
    assert [line["completion"] for line in kept] == [truncate(line["raw"], STOPS) for line in kept]
    assert all(line["raw"] for line in kept)

    # The greedy continuation, from transformers: the first token, where no rounding has added up yet.
    import torch

    from evaluation.model import load_model

    model, tokenizer = load_model(tiny_model)
    for task, line in zip(humaneval, kept, strict=False):
        ids = tokenizer(task.prompt.rstrip("\n"))["input_ids"][-(512 - 24) :]
        with torch.no_grad():
            token = int(model(torch.tensor([ids])).logits[0, -1].argmax())
        assert line["raw"].startswith(tokenizer.decode([token]).rstrip("\N{REPLACEMENT CHARACTER}"))

    # Not generated again: the second run reads what we wrote into the answers; the last line was cut by a kill
    # and its prompt is asked again, with the same greedy answer.
    (answers,) = parts.glob("answers-humaneval/*/answers.jsonl")
    lines = answers.read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    changed = next(row for row in rows if row["texts"] == [kept[0]["raw"]])
    changed["texts"] = [humaneval[0].canonical_solution]
    others = [row for row in rows if row is not changed]
    whole = "".join(json.dumps(row) + "\n" for row in [changed, *others[:-1]])
    answers.write_text(whole + json.dumps(others[-1])[:40])
    again = evaluate_model(tiny_model, SMALL, out)
    assert again["humaneval"]["passed"] == 1
    assert again["bits_per_byte"] == result["bits_per_byte"]
    now = [json.loads(line) for line in (parts / "samples-humaneval.jsonl").read_text().splitlines()]
    assert [line["raw"] for line in now[1:]] == [line["raw"] for line in kept[1:]]


def test_a_chat_model_is_asked_by_its_template_and_samples_differ(tiny_model: Path, tmp_path: Path) -> None:
    model = shutil.copytree(tiny_model, tmp_path / "chat")
    assert not has_chat_template(model)
    cfg = SMALL.model_copy(update={"samples": 3, "temperature": 1.0, "max_new_tokens": 8})
    prompts = [Prompt("Add two numbers.", (), chat=True), Prompt("def f(x):", ())]
    with pytest.raises(UserError, match=r"chat: its tokenizer has no chat template: ask with prompt=base"):
        generate(model, prompts, cfg)
    (model / "chat_template.jinja").write_text("{% for m in messages %}<{{ m.content }}>{% endfor %}answer:")
    found = generate(model, prompts, cfg, tmp_path / "answers")
    assert [len(texts) for texts in found.raw] == [3, 3]
    assert all(len(set(texts)) > 1 for texts in found.raw)
    assert generate(model, prompts[::-1], cfg, tmp_path / "answers").raw == found.raw[::-1]


def test_compare_is_paired_by_task_and_refuses_other_tasks() -> None:
    model = {"bits_per_byte_tasks": {"humaneval": {"a": [10.0, 10], "b": [40.0, 20]}}}
    control = {"bits_per_byte_tasks": {"humaneval": {"b": [46.0, 20], "a": [13.0, 10]}, "mbpp": {}}}
    found = compare(model, control)
    assert found == {
        "humaneval": {"value": pytest.approx(-0.3), "low": pytest.approx(-0.3), "high": pytest.approx(-0.3)}
    }
    with pytest.raises(UserError, match="other tasks"):
        compare(model, {"bits_per_byte_tasks": {"humaneval": {"a": [1.0, 10]}}})
