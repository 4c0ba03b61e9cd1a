"""What each worker runs: read the committed position, then step by step until the phase is done."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from train import checkpoints, schedules
from train.audit import AuditLog, Row, attempts
from train.checkpoints import Pointer, read_pointer
from train.config import Job
from train.engine import Rows, prepare_process, start_engine, train_step
from train.model import build_model, load_model
from train.throughput import Metrics, StepClock

if TYPE_CHECKING:
    import pyarrow as pa
    import torch


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

    def commit(upto: int, loss: float) -> int:
        audit.commit()
        if metrics:
            metrics.commit()
        _commit(job, engine, upto, rank, world_size, loss)
        dist.barrier()
        return upto

    done, loss = position, math.nan
    try:
        for step, (rows, names) in stream:
            clock.rows_arrived()
            lr = schedules.learning_rate(step, job.total_steps, cfg.tokens_per_step, cfg.schedule)
            result = train_step(engine, rows, lr, cfg)
            done, loss = step + 1, result.loss
            if not math.isfinite(loss + (result.grad_norm or 0.0)):
                raise FloatingPointError(
                    f"{job.phase}: step {step} has loss {loss} and gradient norm {result.grad_norm} "
                    f"at learning rate {lr:.3g}; committed is step {position}, rank {rank} read rows {names}"
                )
            audit.record(step, names)
            if metrics:
                metrics.record(step, lr, result, *clock.stop())
            if done % cfg.checkpoint_every_steps == 0 or done == job.total_steps:
                position = commit(done, loss)
            clock.start()
    except StreamEnded:
        # Starting again would end here again. What was learnt is kept, and `fit` tells what is missing.
        if done > position:
            commit(done, loss)


class StreamEnded(RuntimeError):
    """The order has fewer global batches than were asked for. All ranks see it at the same step."""


def steps(
    blocks: Iterable[pa.Table], rank: int, position: int, total_steps: int, rows_per_step: int
) -> Iterator[tuple[int, tuple[Rows, list[Row]]]]:
    """(step, (rows, their names)) for each step from `position` up to `total_steps`.

    Raises RuntimeError when the stream is not where the checkpoint is, and StreamEnded when it ends early.
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
    raise StreamEnded(f"rank {rank}: the stream ended before step {expected} of {total_steps}")


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
    # The paper re-warms the learning rate between phases and does not say that Adam's moments survive: ours
    # start anew.
    return load_model(job.init_from, cfg.attention)


def _agree(value: int) -> int:
    """Rank 0's value on every rank."""
    import torch.distributed as dist

    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def _commit(job: Job, engine: Any, position: int, rank: int, world_size: int, loss: float) -> None:
    """Save, upload, move the pointer: in this order, so that the pointer never names half a checkpoint."""
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
