"""What each worker runs: read the committed position, then step by step until the phase is done."""

from __future__ import annotations

import json
import math
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from snowcoder.base import UserError
from train import checkpoints, schedules
from train.audit import AuditLog, Row, attempts
from train.checkpoints import Pointer, read_pointer
from train.config import TrainConfig
from train.engine import Rows, StepResult, prepare_process, start_engine, train_step
from train.model import build_model, flops_per_token, llama_config
from train.throughput import StepClock, utilisation

if TYPE_CHECKING:
    import pyarrow as pa
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One phase, as every worker sees it."""

    cfg: TrainConfig
    phase: str
    phase_dir: Path  # on storage that all nodes share
    total_steps: int
    fingerprint: str  # of the order that positions count in
    init_from: Path | None  # HF directory whose weights the phase starts from; None: fresh weights
    ray_run: str  # name of the Ray Train run, part of where checkpoints are stored


def train_worker(loop_config: dict[str, Job]) -> None:
    """The train loop of one rank (`train_loop_per_worker` of the TorchTrainer)."""
    import ray.train
    import torch.distributed as dist

    job = loop_config["job"]
    cfg = job.cfg
    rank, world_size = ray.train.get_context().get_world_rank(), ray.train.get_context().get_world_size()
    prepare_process(cfg)
    (job.phase_dir / f"worker-{rank}.pid").write_text(str(os.getpid()))

    pointer = read_pointer(job.phase_dir)
    position = pointer.position if pointer else 0
    engine = _load(job, pointer, world_size)
    attempt = _agree(attempts(job.phase_dir) if rank == 0 else 0)
    audit = AuditLog(job.phase_dir, rank, attempt=attempt, world_size=world_size, resume=position)
    metrics = Metrics(job, position) if rank == 0 else None

    shard = ray.train.get_dataset_shard("train")
    blocks = shard.iter_batches(
        batch_size=cfg.rows_per_step, batch_format="pyarrow", prefetch_batches=cfg.prefetch_steps
    )
    stream = steps(blocks, rank, position, job.total_steps, cfg.rows_per_step)
    clock = StepClock()
    for step, (rows, names) in stream:
        clock.rows_arrived()
        lr = schedules.learning_rate(step, job.total_steps, cfg.tokens_per_step, cfg.schedule)
        result = train_step(engine, rows, lr, cfg)
        if not math.isfinite(result.loss):
            raise FloatingPointError(
                f"{job.phase}: loss is {result.loss} at step {step} (lr {lr:.3g}, gradient norm {result.grad_norm}); "
                f"the last good state is position {position}, rows of this step are in the source order at {names[:3]}"
            )
        audit.record(step, names)
        if metrics:
            metrics.record(step, lr, result, *clock.stop())

        if (step + 1) % cfg.checkpoint_every_steps == 0 or step + 1 == job.total_steps:
            audit.commit()
            if metrics:
                metrics.commit()
            position = step + 1
            _commit(job, engine, position, rank, world_size, result.loss)
            dist.barrier()
        clock.start()


def steps(
    blocks: Iterable[pa.Table], rank: int, position: int, total_steps: int, rows_per_step: int
) -> Iterator[tuple[int, tuple[Rows, list[Row]]]]:
    """(step, (rows, their names)) for each step from `position` up to `total_steps`.

    Raises RuntimeError when the stream is not where the checkpoint is, or ends early: both would train on other
    data than the audit log will claim.
    """
    expected = position
    for block in blocks:
        found = np.unique(block["step"].to_numpy())
        if len(found) == 1 and found[0] == -1:
            continue  # filler that completes the last group
        if len(found) != 1 or found[0] != expected or block.num_rows != rows_per_step:
            raise RuntimeError(
                f"rank {rank}: expected {rows_per_step} rows of step {expected}, "
                f"got {block.num_rows} rows of step {', '.join(map(str, found))}"
            )
        yield expected, _read(block)
        expected += 1
        if expected == total_steps:
            return
    raise RuntimeError(f"rank {rank}: the stream ended before step {expected} of {total_steps}")


def _read(block: pa.Table) -> tuple[Rows, list[Row]]:
    """Rows as arrays, and their (epoch, shard, index)."""
    block = block.combine_chunks()
    tokens = block["tokens"].combine_chunks().flatten().to_numpy()
    boundaries = [np.asarray(starts, dtype=np.int64) for starts in block["boundaries"].to_pylist()]
    rows = Rows(tokens.reshape(block.num_rows, -1), block["loss_tokens"].to_numpy(), boundaries)
    names = [block[column].to_pylist() for column in ("epoch", "shard", "index")]
    return rows, list(zip(*names, strict=True))


def _load(job: Job, pointer: Pointer | None, world_size: int) -> Any:
    """The engine in its committed state, or with the weights the phase starts from and a fresh optimizer."""
    resized = pointer is not None and pointer.world_size != world_size and job.cfg.zero_stage > 0
    engine = start_engine(_first_model(job), job.cfg, load_universal=resized)
    if pointer is not None:
        tag = checkpoints.UNIVERSAL_TAG if resized else checkpoints.TAG
        directory = job.phase_dir / pointer.checkpoint
        path, _ = engine.load_checkpoint(str(directory), tag=tag)
        if path is None:
            raise RuntimeError(f"{directory}: the committed checkpoint is not there")
    return engine


def _first_model(job: Job) -> torch.nn.Module:
    cfg = job.cfg
    if job.init_from is None:
        return build_model(cfg.model, cfg.seed, cfg.attention)
    import torch
    from transformers import LlamaForCausalLM

    # The paper re-warms the learning rate between phases; nothing says the optimizer's moments survive: ours start anew.
    model = LlamaForCausalLM.from_pretrained(
        job.init_from, dtype=torch.float32, attn_implementation=cfg.attention, local_files_only=True
    )
    wanted, found = llama_config(cfg.model).to_dict(), model.config.to_dict()
    for field in (
        "num_hidden_layers",
        "hidden_size",
        "intermediate_size",
        "num_attention_heads",
        "vocab_size",
    ):
        if wanted[field] != found[field]:
            raise UserError(f"{job.init_from}: {field} is {found[field]}, train.model says {wanted[field]}")
    return model


def _agree(value: int) -> int:
    """Rank 0's value on every rank."""
    import torch.distributed as dist

    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def _commit(job: Job, engine: Any, position: int, rank: int, world_size: int, loss: float) -> None:
    """Save, upload, and move the pointer: in this order, so that the pointer never names half a checkpoint."""
    import ray.train
    import torch.distributed as dist

    name = f"step-{position:08d}"
    with tempfile.TemporaryDirectory(prefix="snowcoder-") as local:
        engine.save_checkpoint(local, tag=checkpoints.TAG)
        ray.train.report(
            {"position": position, "loss": loss},
            checkpoint=ray.train.Checkpoint.from_directory(local),
            checkpoint_dir_name=name,
        )
        # report() returns when this rank's files are up; the barrier makes that every rank's.
        dist.barrier()
    if rank == 0:
        cfg = job.cfg
        pointer = Pointer(
            position=position,
            checkpoint=f"ray/{job.ray_run}/{name}",
            fingerprint=job.fingerprint,
            world_size=world_size,
            global_batch=cfg.global_batch,
            seq_len=cfg.seq_len,
            zero_stage=cfg.zero_stage,
            precision=cfg.precision,
        )
        checkpoints.write_pointer(job.phase_dir, pointer)
        checkpoints.prune(job.phase_dir, job.phase_dir / pointer.checkpoint, cfg.keep_checkpoints)


class Metrics:
    """Rank 0's record: `metrics.jsonl`, one line a step, and a line on the console now and then.

    `step` counts global batches from 0, like the stream and the audit log; `tokens` are those consumed after it.
    """

    def __init__(self, job: Job, position: int) -> None:
        import torch

        self._job = job
        self._path = job.phase_dir / "metrics.jsonl"
        if self._path.exists():
            kept = [line for line in self._path.read_text().splitlines() if _step_of(line) < position]
            checkpoints.write_atomically(self._path, "".join(f"{line}\n" for line in kept))
        self._file = self._path.open("a", buffering=1)  # by line, for those who watch the run
        self._flops = flops_per_token(job.cfg.model, job.cfg.seq_len)
        self._device = torch.cuda.get_device_name() if job.cfg.use_gpu else "cpu"
        self._last_progress = 0.0

    def record(
        self, step: int, lr: float, result: StepResult, seconds: float, data_wait_share: float
    ) -> None:
        cfg = self._job.cfg
        speed = cfg.tokens_per_step / seconds
        used = utilisation(speed, self._flops, cfg.num_workers, self._device)
        line = {
            "step": step,
            "tokens": (step + 1) * cfg.tokens_per_step,
            "loss_tokens": result.loss_tokens,
            "loss": result.loss,
            "lr": lr,
            "grad_norm": result.grad_norm,
            "seconds": seconds,
            "tokens_per_second": speed,
            "data_wait_share": data_wait_share,
            "mfu": used,
            "time": time.time(),
        }
        self._file.write(json.dumps(line) + "\n")
        if time.monotonic() - self._last_progress >= cfg.progress_every_seconds:
            self._last_progress = time.monotonic()
            print(
                f"{self._job.phase}: step {step + 1:,}/{self._job.total_steps:,}  loss {result.loss:.4f}  lr {lr:.2e}  "
                f"{speed:,.0f} tokens/s  waiting for data {data_wait_share:.0%}"
                + (f"  MFU {used:.1%}" if used is not None else ""),
                flush=True,
            )

    def commit(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())


def _step_of(line: str) -> float:
    """Step of a metrics line; infinite for half a line that a killed process left."""
    try:
        return json.loads(line)["step"]
    except json.JSONDecodeError:
        return math.inf
