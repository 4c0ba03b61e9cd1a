"""The stream under Ray, into nothing and into DeepSpeed, beside a bare DeepSpeed loop over rows in memory."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import operators, stream
from pipelines.phases.corpus import Corpus, position_fingerprint
from pipelines.phases.general import general
from pipelines.sequences.deal import Dealing
from pipelines.stream import Plan, training_stream
from train.config import ModelConfig, ScheduleConfig, TrainConfig
from train.deal import dealing

if TYPE_CHECKING:
    from ray.data import Dataset

WARM_UP_STEPS = 3  # not counted: first allocations, Ray's workers starting


@dataclass(frozen=True)
class Flow:
    tokens: int
    seconds: float  # from the stream's start to its end
    cpu: float  # processor seconds of this process and all of Ray's, from before the stream's start


def streamed(plan: Plan, dealt: Dealing, ordered: bool) -> Flow:
    """The replay into nothing. Not ordered: the same packed entries in whatever order they come, not dealt."""
    before = _cpu()
    dataset = training_stream(plan, dealt, 0, 1 << 40) if ordered else _free(plan, dealt)
    dataset.context.execution_options.preserve_order = ordered
    # From the start on: with the interleaver's window, an ordered stream packs that many entries before its first row.
    # What starting the operators takes is in both sides.
    tokens, start = 0, time.perf_counter()
    for block in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
        tokens += pc.sum(block["loss_tokens"]).as_py()
    return Flow(tokens, time.perf_counter() - start, _cpu() - before)


def _free(plan: Plan, dealt: Dealing) -> Dataset:
    entries = [(number, *entry) for number, entry in enumerate(plan.order.entries())]
    packed = stream._entries(entries, plan.shards).map_batches(
        operators.Pack(plan.packing), batch_size=None, batch_format="pyarrow", num_cpus=1
    )
    opened = packed.map_batches(_open, batch_size=None, batch_format="pyarrow", num_cpus=0)
    return opened.repartition(target_num_rows_per_block=dealt.block_rows, strict=True)


def _open(batch: pa.Table) -> pa.Table:
    return pa.concat_tables([operators.from_ipc(cell) for cell in batch["rows"]])


def _cpu() -> float:
    """Processor seconds of this process and the living ones under it: Ray keeps idle workers for the next task."""
    total = 0.0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def training_config(vocabulary: int, seq_len: int) -> TrainConfig:
    """52M parameters with a vocabulary of 32,000."""
    return TrainConfig(
        model=ModelConfig(layers=11, hidden=512, ffn=1408, heads=8, vocab=vocabulary, context=seq_len),
        schedule=ScheduleConfig(warmup_tokens=1024, peak_lr=1e-4, end_lr=0.0),
        seq_len=seq_len,
        global_batch=2,
        micro_batch=2,
        group=4,
        checkpoint_every_steps=10_000,
        progress_every_seconds=1e9,
    )


def through_the_system(made: Corpus, cfg: TrainConfig, steps: int, run_dir: Path) -> list[dict[str, Any]]:
    """The metrics of each step; its seconds have the wait for data in them."""
    from train.trainer import fit

    plan = general(made, 4)

    def rows(position: int, stop: int, workers: int) -> Dataset:
        return training_stream(plan, dealing(cfg, workers), position, stop)

    fingerprint = position_fingerprint(plan, cfg.global_batch)
    fit(cfg, "general", rows, run_dir, total_steps=steps, fingerprint=fingerprint)
    lines = (run_dir / "train/general/metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines][WARM_UP_STEPS:]


def bare(cfg: TrainConfig, steps: int, directory: Path) -> list[float]:
    """Seconds of each step of a bare loop, in a process of its own."""
    out = directory / "bare.json"
    process = multiprocessing.get_context("spawn").Process(target=_bare_loop, args=(cfg, steps, str(out)))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"the bare loop ended with {process.exitcode}")
    return json.loads(out.read_text())[WARM_UP_STEPS:]


def _bare_loop(cfg: TrainConfig, steps: int, out: str) -> None:
    """The same model, optimizer and step, over rows that lie in memory."""
    import torch.distributed as dist

    from train.engine import Rows, prepare_process, start_engine, train_step
    from train.model import build_model

    os.environ |= {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    os.environ["MASTER_PORT"] = "29511"
    prepare_process(cfg)
    dist.init_process_group("gloo")
    engine = start_engine(build_model(cfg.model, cfg.seed, cfg.attention), cfg)
    rng = np.random.default_rng(0)
    batches = [
        Rows(
            rng.integers(0, cfg.model.vocab, (cfg.global_batch, cfg.seq_len)).astype(np.int32),
            np.full(cfg.global_batch, cfg.seq_len, np.int32),
            [np.zeros(1, np.int64)] * cfg.global_batch,
        )
        for _ in range(steps)
    ]
    seconds = []
    for rows in batches:
        start = time.perf_counter()
        train_step(engine, rows, 1e-5, cfg)
        seconds.append(time.perf_counter() - start)
    Path(out).write_text(json.dumps(seconds))
    dist.destroy_process_group()
