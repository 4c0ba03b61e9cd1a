"""What each worker runs: read the committed position, then step by step until the phase is done."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from snowcoder.base import UserError
from train import checkpoints, schedules
from train.audit import AuditLog, Row, attempts
from train.checkpointer import Checkpointer
from train.checkpoints import Pointer, read_pointer
from train.config import Carried, Job
from train.engine import Rows, limit_waiting, prepare_process, start_engine, train_step
from train.leaving import ENDED, BadStep, Leave, bad_steps, record_bad_step
from train.model import build_model, load_model
from train.throughput import Metrics, StepClock
from train.validation import validation_of
from train.watchdog import Watchdog

if TYPE_CHECKING:
    import pyarrow as pa
    import torch


def train_worker(loop_config: dict[str, Job]) -> None:
    """The train loop of one rank (`train_loop_per_worker` of the TorchTrainer)."""
    import ray.train
    import torch.distributed as dist

    job = loop_config["job"]
    cfg = job.cfg
    rank = ray.train.get_context().get_world_rank()
    prepare_process(cfg)
    (job.phase_dir / f"worker-{rank}.pid").write_text(str(os.getpid()))

    pointer = read_pointer(job.storage)
    position = pointer.position if pointer else 0
    watchdog = Watchdog(
        job.phase_dir, rank, position, cfg.stall_seconds, when_short=max(10.0, cfg.wait_for_nodes_seconds)
    )
    watchdog.start()
    _empty_scratch(job)
    engine = _load(job, pointer)
    limit_waiting(cfg.collective_timeout_seconds)
    attempt = _agree(attempts(job.phase_dir) if rank == 0 else 0)
    audit = AuditLog(job.phase_dir, rank, attempt=attempt, world_size=cfg.num_workers, resume=position)
    metrics = Metrics(job, position) if rank == 0 else None
    checkpointer = Checkpointer(job, engine, rank, attempt)
    bad = bad_steps(job.phase_dir)
    leave = Leave(job.phase_dir, rank)

    shard = ray.train.get_dataset_shard("train")
    blocks = shard.iter_batches(
        batch_size=cfg.rows_per_step, batch_format="pyarrow", prefetch_batches=cfg.prefetch_steps
    )
    stream = steps(blocks, rank, position, job.stop, cfg.rows_per_step)
    clock = StepClock()
    done, loss = position, math.nan

    def save() -> None:
        audit.commit()
        if metrics:
            metrics.commit()
        with _named(job, rank, done):
            checkpointer.save(done)
            if (
                not leave.now
            ):  # for Ray's dashboard only; once a node is to go, nobody may be there to take it
                validation = validation_of(job, done, checkpointer.name) if rank == 0 else {}
                ray.train.report(
                    {"position": done, "loss": loss, **(metrics.last if metrics else {})}, **validation
                )

    saved = position
    try:
        for step, (rows, names) in stream:
            clock.rows_arrived()
            if step in bad:
                audit.skip(step)
            else:
                lr = schedules.learning_rate(step, job.total_steps, cfg.tokens_per_step, cfg.schedule)
                with _named(job, rank, step):
                    votes = (checkpointer.unfinished(), leave.vote())
                    result = train_step(engine, rows, lr, cfg, votes, job.accounts)
                if not result.finite:
                    if rank == 0:
                        record_bad_step(job.phase_dir, step, result, lr)
                    raise BadStep(f"{job.phase}: step {step} has loss {result.loss}, norm {result.grad_norm}")
                loss = result.loss
                audit.record(step, names)
                if metrics:
                    metrics.record(step, lr, result, *clock.stop())
                checkpointer.counted(result.votes[0])
                leave.counted(result.votes[1])
            done = step + 1
            watchdog.stepped(done)
            if done % cfg.checkpoint_every_steps == 0 or done == job.stop or leave.now:
                save()
                saved = done
                if leave.now:
                    break
            clock.start()
    except StreamEnded:
        # Starting again would end here again. What was learnt is kept, and `fit` tells what is missing.
        if done > saved:
            save()
        if rank == 0:
            (job.phase_dir / ENDED).touch()
    with _named(job, rank, done):
        checkpointer.finish()
        dist.barrier()
    _empty_scratch(job)
    if metrics:
        metrics.close()
    watchdog.over.set()


@contextmanager
def _named(job: Job, rank: int, step: int) -> Iterator[None]:
    """An error in here says where: collectives only know that somebody did not come."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise RuntimeError(
            f"{job.phase}: rank {rank}, step {step}: {type(error).__name__}: {error}"
        ) from error


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
    rows = Rows(
        tokens.reshape(block.num_rows, -1),
        block["loss_tokens"].to_numpy(),
        boundaries,
        _languages(block),
        block["shard"].to_numpy(),
    )
    names = [block[column].to_pylist() for column in ("epoch", "shard", "index")]
    return rows, list(zip(*names, strict=True))


def _languages(block: pa.Table) -> list[np.ndarray] | None:
    """Numbers of the documents' languages by row; None where the stream does not tell."""
    lists = block["languages"].to_pylist() if "languages" in block.column_names else [None]
    return None if None in lists else [np.asarray(numbers, np.int64) for numbers in lists]


def _load(job: Job, pointer: Pointer | None) -> Any:
    """The engine in its committed state, or with what the phase starts from."""
    import ray.train
    import torch.distributed as dist

    cfg = job.cfg
    state = job.carried
    if pointer is not None:
        state = Carried(storage=job.storage, checkpoint=pointer.checkpoint, world_size=pointer.world_size)
    resized = state is not None and state.world_size != cfg.num_workers and cfg.zero_stage > 0
    engine = start_engine(_first_model(job), cfg, load_universal=resized)
    if state is None:
        return engine
    # Where storage is far, one rank per node fetches for all that are there.
    first = ray.train.get_context().get_local_rank() == 0
    there = checkpoints.scratch(job.storage) / "loaded"
    local = state.storage.local
    if local is None and first:
        state.storage.download(state.checkpoint, there)
    dist.barrier()
    directory = local / state.checkpoint if local else there
    tag = checkpoints.UNIVERSAL_TAG if resized else checkpoints.TAG
    path, _ = engine.load_checkpoint(str(directory), tag=tag)
    if path is None:
        raise RuntimeError(f"{directory}: the committed checkpoint is not there")
    dist.barrier()
    if local is None and first:
        shutil.rmtree(there, ignore_errors=True)
    return engine


def _empty_scratch(job: Job) -> None:
    """One rank per node deletes what is left on its machine. Collective."""
    import ray.train
    import torch.distributed as dist

    dist.barrier()
    if ray.train.get_context().get_local_rank() == 0:
        shutil.rmtree(checkpoints.scratch(job.storage), ignore_errors=True)
    dist.barrier()


def _first_model(job: Job) -> torch.nn.Module:
    cfg = job.cfg
    if job.init_from is None and cfg.init_from:
        return load_model(Path(cfg.init_from), cfg.attention)
    if job.init_from is None:
        return build_model(cfg.model, cfg.seed, cfg.attention)
    return load_model(job.init_from, cfg.attention)


def _agree(value: int) -> int:
    """Rank 0's value on every rank."""
    import torch.distributed as dist

    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]
