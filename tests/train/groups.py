"""Ranks as plain processes with gloo, without Ray: what training is compared with."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from train.config import ModelConfig, TrainConfig
from train.engine import IGNORED, Rows, targets

MODEL = ModelConfig(layers=2, hidden=64, ffn=96, heads=2, vocab=80, context=32)
SEQ_LEN, BATCH = 32, 8


def config(**changes: Any) -> TrainConfig:
    settings = {"model": MODEL, "seq_len": SEQ_LEN, "global_batch": BATCH, "micro_batch": 2}
    return TrainConfig(**settings | changes)


def batch(step: int) -> Rows:
    """A global batch of a fixed order: padded rows, several documents in each."""
    rng = np.random.default_rng(step)
    tokens = (rng.zipf(1.4, (BATCH, SEQ_LEN)) % MODEL.vocab).astype(np.int32)
    text = rng.integers(SEQ_LEN // 2, SEQ_LEN + 1, BATCH).astype(np.int32)
    starts = [np.unique(np.append(rng.integers(1, SEQ_LEN // 2, 2), 0)) for _ in range(BATCH)]
    languages = [np.arange(len(part)) % 3 for part in starts]
    return Rows(tokens, text, starts, languages, np.arange(BATCH) % 2)


def share(rows: Rows, rank: int, world: int) -> Rows:
    """One rank's rows of a global batch."""
    part = slice(rank * BATCH // world, (rank + 1) * BATCH // world)
    assert rows.languages is not None
    assert rows.shards is not None
    return Rows(
        rows.tokens[part],
        rows.loss_tokens[part],
        rows.boundaries[part],
        rows.languages[part],
        rows.shards[part],
    )


def on_ranks(world: int, function: Callable[..., None], *args: Any) -> None:
    """Run `function(rank, world, *args)` in `world` processes that form a group. Raises when one fails."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_rank, args=(rank, world, port, function, args)) for rank in range(world)
    ]
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    finally:
        for process in processes:
            process.kill()  # where a test's time is up; else they are gone
    failed = [rank for rank, process in enumerate(processes) if process.exitcode]
    if failed:
        raise RuntimeError(f"ranks {failed} failed")


def _rank(rank: int, world: int, port: int, function: Callable[..., None], args: tuple[Any, ...]) -> None:
    import torch.distributed as dist

    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "DS_ACCELERATOR": "cpu"}
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    function(rank, world, *args)
    dist.destroy_process_group()


def plain_losses(model: torch.nn.Module, cfg: TrainConfig, rates: list[float]) -> list[float]:
    """The losses of a loop as one would write it by hand: whole batches, no DeepSpeed, no micro-batches."""
    settings = cfg.optimizer
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        betas=(settings.beta1, settings.beta2),
        eps=settings.eps,
    )
    losses = []
    for step, lr in enumerate(rates):
        rows = batch(step)
        wanted = torch.from_numpy(targets(rows.tokens, rows.loss_tokens))
        logits = model(input_ids=torch.from_numpy(rows.tokens.astype(np.int64))).logits
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED, reduction="mean"
        )
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
        losses.append(loss.item())
    return losses


def write(path: Path, values: Any) -> None:
    import json

    path.write_text(json.dumps(values))
