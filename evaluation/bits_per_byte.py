"""Bits per byte of reference solutions: what is left to measure when a model is too small to pass a test.

    bits per byte = sum over tasks of -log2 p(solution tokens | prompt) / sum of the solutions' UTF-8 bytes

The byte, not the token, is the unit, so that models with other tokenizers can be compared. Prompt and
solution are tokenised separately and then joined: a token over the border would hold bytes of both, and the
sum would not be that of the solution alone. It costs every model the same choice; the figure is an upper
bound of what the model, summed over all tokenisations, would need. A tokenizer that puts a space before
every text codes that one more byte.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evaluation.benchmarks import Task

# What one batch may hold. The first bounds the logits in fp32, with a large vocabulary the largest tensor.
# The second keeps the activations in the cache: HumanEval with a 7M model takes 7 s of CPU, at 16,384 11 s.
LOGIT_BYTES = 256 << 20
BATCH_TOKENS = 2048


@dataclass(frozen=True)
class TaskBits:
    """One solution's information under the model, and its size in bytes."""

    task: str
    bits: float
    bytes: int


@dataclass(frozen=True)
class BitsPerByte:
    """The value and, for paired comparisons, what each task gave to it."""

    benchmark: str
    value: float
    bytes: int
    tasks: tuple[TaskBits, ...]


@dataclass(frozen=True)
class Window:
    """One forward pass: `ids`, of which those from `first` on are predicted. Its bits belong to a task."""

    task: int
    ids: tuple[int, ...]
    first: int


def windows(task: int, prompt: Sequence[int], solution: Sequence[int], positions: int) -> list[Window]:
    """Cut prompt + solution into windows of at most `positions` tokens that predict each solution token once.

    Usually one window; a long prompt loses its left end. A solution longer than the model sees is predicted
    half a window at a time, so that each token has at least half a window of context.
    """
    ids = (*prompt, *solution)
    start, end = len(prompt), len(ids)
    if len(solution) < positions:
        begin = max(0, end - positions)
        return [Window(task, ids[begin:], start - begin)]
    found = []
    for first in range(start, end, positions // 2):
        last = min(end, first + positions // 2)
        begin = max(0, last - positions)
        found.append(Window(task, ids[begin:last], first - begin))
    return found


def bits_per_byte(model: Any, tokenizer: Any, tasks: Sequence[Task]) -> BitsPerByte:
    """Score the reference solutions of one benchmark's tasks, given their prompts."""
    positions = int(getattr(model.config, "max_position_embeddings", None) or 2048)
    cut: list[Window] = []
    for number, task in enumerate(tasks):
        prompt, solution = encode(tokenizer, task.prompt, task.canonical_solution)
        cut += windows(number, prompt, solution, positions)
    bits = [0.0] * len(tasks)
    for batch in _batches(cut, min(BATCH_TOKENS, LOGIT_BYTES // (4 * model.config.vocab_size))):
        for window, value in zip(batch, _score(model, batch), strict=True):
            bits[window.task] += value
    found = tuple(
        TaskBits(task.task_id, value, len(task.canonical_solution.encode()))
        for task, value in zip(tasks, bits, strict=True)
    )
    size = sum(task.bytes for task in found)
    return BitsPerByte(tasks[0].benchmark, sum(task.bits for task in found) / size, size, found)


def encode(tokenizer: Any, prompt: str, solution: str) -> tuple[list[int], list[int]]:
    """Token ids of both; the prompt with the tokenizer's own start token, if it has one, and no end token.

    The prompt gets at least one token, since the first token of the solution needs something before it.
    """
    ids = tokenizer(prompt)["input_ids"]
    if ids and ids[-1] == tokenizer.eos_token_id:
        ids = ids[:-1]
    if not ids:
        start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        ids = [0 if start is None else start]
    return ids, tokenizer(solution, add_special_tokens=False)["input_ids"]


def _batches(cut: list[Window], tokens: int) -> list[list[Window]]:
    """Windows by descending length, so padding is small and the largest batch comes first."""
    batches: list[list[Window]] = []
    for window in sorted(cut, key=lambda window: -len(window.ids)):
        if batches and (len(batches[-1]) + 1) * len(batches[-1][0].ids) <= tokens:
            batches[-1].append(window)
        else:
            batches.append([window])
    return batches


def _score(model: Any, batch: list[Window]) -> list[float]:
    """-log2 p of the predicted tokens of each window."""
    import torch

    width = len(batch[0].ids)
    # Padded on the right, where causal attention never looks: no mask is needed, and attention is faster.
    ids = torch.zeros((len(batch), width), dtype=torch.long)
    for row, window in enumerate(batch):
        ids[row, : len(window.ids)] = torch.tensor(window.ids)
    ids = ids.to(model.device)
    # The output layer is most of a small model: leave out the columns that predict no solution token.
    left = min(window.first for window in batch) - 1
    keep = {}
    if "logits_to_keep" in inspect.signature(model.forward).parameters:
        keep["logits_to_keep"] = width - left
    with torch.inference_mode():
        logits = model(input_ids=ids, use_cache=False, **keep).logits
        logits = logits[:, -(width - left) :]  # column j predicts token left + j + 1
        values = []
        for row, window in enumerate(batch):
            first, last = window.first, len(window.ids)
            predicted = logits[row, first - 1 - left : last - 1 - left].float()
            loss = torch.nn.functional.cross_entropy(predicted, ids[row, first:last], reduction="none")
            values.append(float(loss.double().sum()) / math.log(2))
    return values
