"""Training on this CPU: our step beside a bare PyTorch loop, the same model and batches, one process, no stream.

    python -m benchmarks.training [--quick] [--check]

`step` is `train.engine.train_step` on a DeepSpeed engine (ZeRO 1, one rank, gloo), losses told apart by language as in
a run; `bare` is AdamW, micro-batches, clipping and nothing else. Each has a process and one thread of its own, both
live, and they take turns. Prints `ratio NAME PEER VALUE floor FLOOR`: tokens per second by tokens per second of the
bare loop. With the data stream under Ray, beside a bare DeepSpeed loop: `python -m benchmarks.ingest --parts b`.
"""

from __future__ import annotations

import argparse
import os
import platform
import socket
import statistics
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.measure import Side
from train.accounts import Accounts
from train.config import ModelConfig, TrainConfig

FLOOR = 0.95
ACCOUNTS = Accounts(tuple(f"language {i}" for i in range(18)), ("source",))


def configuration(quick: bool) -> TrainConfig:
    """13M parameters and 4 rows of 512 tokens a step; 3M and 256 when quick."""
    seq_len = 256 if quick else 512
    hidden, layers = (192, 4) if quick else (320, 8)
    model = ModelConfig(
        layers=layers, hidden=hidden, ffn=3 * hidden, heads=hidden // 64, vocab=8192, context=seq_len
    )
    return TrainConfig(model=model, seq_len=seq_len, global_batch=4, micro_batch=2)


def rows(cfg: TrainConfig, step: int) -> Any:
    from train.engine import Rows

    rng = np.random.default_rng(step)
    starts = [np.array([0, cfg.seq_len // 3, cfg.seq_len // 2]) for _ in range(cfg.global_batch)]
    return Rows(
        rng.integers(0, cfg.model.vocab, (cfg.global_batch, cfg.seq_len)).astype(np.int32),
        np.full(cfg.global_batch, cfg.seq_len, np.int32),
        starts,
        [np.arange(3)] * cfg.global_batch,
        np.zeros(cfg.global_batch, np.int64),
    )


def ours(quick: bool) -> Callable[[Any], Any]:
    import torch.distributed as dist

    from train.engine import prepare_process, start_engine, train_step
    from train.model import build_model

    cfg = configuration(quick)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    os.environ |= {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    os.environ["MASTER_PORT"] = str(port)
    prepare_process(cfg)
    dist.init_process_group("gloo")
    engine = start_engine(build_model(cfg.model, cfg.seed), cfg)

    def run(steps: int) -> float:
        return [train_step(engine, rows(cfg, step), 1e-4, cfg, (0,), ACCOUNTS).loss for step in range(steps)][
            -1
        ]

    run(3)
    return run


def bare(quick: bool) -> Callable[[Any], Any]:
    import torch
    import torch.nn.functional as F

    from train.model import build_model

    cfg = configuration(quick)
    torch.set_num_threads(1)
    model = build_model(cfg.model, cfg.seed).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1)

    def one(step: int) -> float:
        batch = torch.from_numpy(rows(cfg, step).tokens.astype(np.int64))
        total = 0.0
        for part in batch.split(cfg.micro_batch):
            logits = model(input_ids=part).logits
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), part[:, 1:].flatten(), reduction="sum")
            loss = loss / (cfg.global_batch * (cfg.seq_len - 1))
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return total

    def run(steps: int) -> float:
        return [one(step) for step in range(steps)][-1]

    run(3)
    return run


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="a smaller model and fewer steps, under three minutes"
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 when a ratio is below its floor")
    arguments = parser.parse_args()
    cfg = configuration(arguments.quick)
    turns, steps = (3, 4) if arguments.quick else (9, 10)
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    shares = []
    with Side("step", ours, (arguments.quick,)) as mine, Side("bare", bare, (arguments.quick,)) as theirs:
        for turn in range(turns):
            for side in (mine, theirs) if turn % 2 else (theirs, mine):
                side.run(steps)
            shares.append(theirs.times[-1].cpu / mine.times[-1].cpu)
        # Both start from the same weights and see the same batches as often.
        if abs(mine.result - theirs.result) > 0.05:
            raise RuntimeError(f"not the same training: loss {mine.result} and {theirs.result}")
        for side in (mine, theirs):
            times = [time.cpu for time in side.times]
            speed = steps * cfg.tokens_per_step / statistics.median(times)
            print(
                f"{side.name}: {speed:,.0f} tokens a second of CPU time, peak {side.peak_mib:.0f} MiB, "
                f"loss {side.result:.4f}"
            )
    value = statistics.median(shares)
    print(f"ratio train-step bare-pytorch {value:.3f} floor {FLOOR:g}")
    return 1 if arguments.check and value < FLOOR else 0


if __name__ == "__main__":
    sys.exit(main())
