from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from evaluation.benchmarks import Task
from evaluation.bits_per_byte import bits_per_byte, windows
from evaluation.model import load_model


@pytest.fixture(autouse=True)
def one_thread():
    """The matrices are tiny: threads cost more than they bring, and on a busy machine they cost minutes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def by_hand(model: torch.nn.Module, tokenizer, task: Task) -> float:
    """One token at a time, from the definition; the context cut to what the model sees."""
    positions = model.config.max_position_embeddings
    prompt = tokenizer(task.prompt)["input_ids"]
    solution = tokenizer(task.canonical_solution)["input_ids"]
    ids, bits = prompt + solution, 0.0
    begin = max(0, len(ids) - positions)
    for place in range(len(prompt), len(ids)):
        with torch.no_grad():
            logits = model(torch.tensor([ids[begin:place]])).logits[0, -1]
        bits -= float(torch.log_softmax(logits.double(), 0)[ids[place]]) / math.log(2)
    return bits


def test_batches_equal_one_token_at_a_time(tiny_model: Path, humaneval: list[Task]) -> None:
    model, tokenizer = load_model(tiny_model)
    tasks = humaneval[:10]
    found = bits_per_byte(model, tokenizer, tasks)
    assert [task.task for task in found.tasks] == [task.task_id for task in tasks]
    for task, scored in zip(tasks[:3], found.tasks, strict=False):
        assert scored.bits == pytest.approx(by_hand(model, tokenizer, task), rel=1e-4)
        assert scored.bytes == len(task.canonical_solution.encode())
    assert found.value == pytest.approx(sum(t.bits for t in found.tasks) / found.bytes)


def test_the_batch_size_does_not_change_a_task(
    tiny_model: Path, humaneval: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = load_model(tiny_model)
    tasks = humaneval[:30]
    wide = bits_per_byte(model, tokenizer, tasks)
    monkeypatch.setattr("evaluation.bits_per_byte.LOGIT_BYTES", 1)
    single = bits_per_byte(model, tokenizer, tasks)
    assert [t.bits for t in wide.tasks] == pytest.approx([t.bits for t in single.tasks], rel=1e-4)


def test_a_prompt_that_does_not_fit_loses_its_left_end(
    short_sighted_model: Path, humaneval: list[Task]
) -> None:
    model, tokenizer = load_model(short_sighted_model)
    task = next(t for t in humaneval if len(tokenizer(t.canonical_solution)["input_ids"]) < 64)
    assert len(tokenizer(task.prompt)["input_ids"]) > 64
    (scored,) = bits_per_byte(model, tokenizer, [task]).tasks
    assert scored.bits == pytest.approx(by_hand(model, tokenizer, task), rel=1e-4)


@pytest.mark.parametrize("positions", [2, 5, 8, 64])
@pytest.mark.parametrize("prompt", [1, 7, 40])
@pytest.mark.parametrize("solution", [1, 6, 8, 33])
def test_windows_predict_each_solution_token_once(positions: int, prompt: int, solution: int) -> None:
    ids = list(range(prompt + solution))
    cut = windows(0, ids[:prompt], ids[prompt:], positions)
    assert [token for window in cut for token in window.ids[window.first :]] == ids[prompt:]
    assert all(window.first >= 1 and len(window.ids) <= positions for window in cut)
