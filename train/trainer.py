"""Wiring: an ordered stream into a TorchTrainer, from the committed position to the end of a phase."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snowcoder.base import UserError
from snowcoder.files import write_atomically
from train import checkpoints, schedules
from train.audit import attempts
from train.checkpoints import read_pointer
from train.config import Job, TrainConfig
from train.loop import train_worker
from train.model import check_weights

if TYPE_CHECKING:
    import ray.data


class TrainingFailed(RuntimeError):
    """A phase gave up after `max_failures` restarts. The message names the phase and the last error."""


def fit(
    cfg: TrainConfig,
    phase: str,
    dataset_factory: Callable[[int], ray.data.Dataset],
    run_dir: Path,
    *,
    total_steps: int,
    fingerprint: str,
    init_from: Path | None = None,
    stream_cpus: float = 1,
) -> dict[str, Any]:
    """Train a phase up to `total_steps` global batches, from wherever it is, and return its summary.

    `dataset_factory(position)` gives the stream from global batch `position` on: rows of
    `pipelines.schema.sequence_schema` in deal order (`train.deal`), its last operator
    `.repartition(target_num_rows_per_block=group * global_batch / num_workers, strict=True)`. It runs in
    Ray's controller, again at each restart. `fingerprint` names the order that positions count in. `run_dir`
    is on storage that all nodes share. `stream_cpus`: CPUs that the stream needs beside the workers. Ray must be
    initialised.

    Raises UserError when the cluster is too small or the run directory belongs to another order, and
    TrainingFailed when workers fail more often than `cfg.max_failures`.
    """
    phase_dir = (run_dir / "train" / phase).resolve()
    schedules.check(total_steps * cfg.tokens_per_step, cfg.schedule)
    pointer = read_pointer(phase_dir)
    if pointer is not None:
        checkpoints.check_pointer(pointer, cfg, fingerprint, phase_dir)
        if pointer.position >= total_steps:
            return summarise(phase_dir, cfg)
    if init_from is not None:
        check_weights(init_from, cfg.model)
    _require_resources(cfg, stream_cpus)
    phase_dir.mkdir(parents=True, exist_ok=True)
    if pointer is not None and pointer.world_size != cfg.num_workers and cfg.zero_stage > 0:
        _run_on_cluster(checkpoints.convert_to_universal, phase_dir / pointer.checkpoint)

    # Ray Train resumes by itself under a name it knows, from its own idea of the latest checkpoint. Ours is
    # the pointer, so each call has a new name.
    number = sum(1 for _ in (phase_dir / "ray").glob("fit-*"))
    job = Job(
        cfg=cfg,
        phase=phase,
        phase_dir=phase_dir,
        total_steps=total_steps,
        fingerprint=fingerprint,
        init_from=init_from.resolve() if init_from else None,
        ray_run=f"fit-{number:03d}",
    )
    started = time.monotonic()
    _run(job, dataset_factory)
    reached = read_pointer(phase_dir)
    if reached is None or reached.position < total_steps:
        position = reached.position if reached else 0
        raise UserError(
            f"{phase}: the data ended after {position} of {total_steps} steps, which are kept; "
            f"allow more passes over it ({phase}.epochs or {phase}.repeats) or lower {phase}.tokens, and run again"
        )
    summary = summarise(phase_dir, cfg) | {"wall_seconds": time.monotonic() - started}
    write_atomically(phase_dir / "summary.json", json.dumps(summary, indent=1) + "\n")
    return summary


def _run(job: Job, dataset_factory: Callable[[int], ray.data.Dataset]) -> None:
    import ray.train
    from ray.train.torch import TorchConfig, TorchTrainer

    cfg, phase_dir = job.cfg, job.phase_dir

    def stream_from_pointer() -> ray.data.Dataset:
        pointer = read_pointer(phase_dir)
        return dataset_factory(pointer.position if pointer else 0)

    options = ray.train.DataConfig.default_ingest_options()
    options.preserve_order = (
        True  # must be set here: the DataContext of the factory does not reach Train's ingest
    )
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={"job": job},
        torch_config=TorchConfig(backend="nccl" if cfg.use_gpu else "gloo", timeout_s=600),
        scaling_config=ray.train.ScalingConfig(
            num_workers=cfg.num_workers, use_gpu=cfg.use_gpu, resources_per_worker=_worker_resources(cfg)
        ),
        run_config=ray.train.RunConfig(
            name=job.ray_run,
            storage_path=str(phase_dir / "ray"),
            # Without a limit, Ray Train waits for ever for a worker group that cannot start.
            failure_config=ray.train.FailureConfig(max_failures=cfg.max_failures, controller_failure_limit=5),
        ),
        datasets={"train": stream_from_pointer},
        dataset_config=ray.train.DataConfig(execution_options=options),
    )
    try:
        trainer.fit()
    except ray.train.WorkerGroupError as error:
        causes = {rank: str(cause).strip().splitlines()[-1] for rank, cause in error.worker_failures.items()}
        causes_text = "; ".join(f"rank {rank}: {cause}" for rank, cause in sorted(causes.items()))
        raise TrainingFailed(
            f"{job.phase}: gave up after {cfg.max_failures} restarts: {causes_text}"
        ) from error


def summarise(phase_dir: Path, cfg: TrainConfig) -> dict[str, Any]:
    """The phase in numbers. The recorded summary where there is one, else computed from `metrics.jsonl`.

    `seconds` is the time in committed steps; start-up, checkpoints and lost steps are in `wall_seconds` only.
    """
    recorded = phase_dir / "summary.json"
    pointer = read_pointer(phase_dir)
    if pointer is None:
        raise UserError(f"{phase_dir}: nothing is committed yet")
    if recorded.exists():
        summary = json.loads(recorded.read_text())
        if summary["steps"] == pointer.position:
            return summary
    lines = [json.loads(line) for line in (phase_dir / "metrics.jsonl").read_text().splitlines()]
    seconds = sum(line["seconds"] for line in lines)
    tokens = pointer.position * cfg.tokens_per_step
    return {
        "steps": pointer.position,
        "tokens": tokens,
        "loss_tokens": sum(line["loss_tokens"] for line in lines),
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "data_wait_share": sum(line["data_wait_share"] * line["seconds"] for line in lines) / seconds,
        "first_loss": lines[0]["loss"],
        "last_loss": lines[-1]["loss"],
        "restarts": attempts(phase_dir) - 1,
        "checkpoint": pointer.checkpoint,
    }


def _worker_resources(cfg: TrainConfig) -> dict[str, float]:
    return {"CPU": float(cfg.cpus_per_worker)} | ({"GPU": 1.0} if cfg.use_gpu else {})


def _require_resources(cfg: TrainConfig, stream_cpus: float) -> None:
    """Raises UserError when the cluster cannot hold the workers and the stream beside them."""
    import ray

    has = ray.cluster_resources()
    needs = {name: amount * cfg.num_workers for name, amount in _worker_resources(cfg).items()}
    needs["CPU"] += (
        stream_cpus  # training that takes every CPU leaves none for its own data: it would wait for ever
    )
    for name, amount in needs.items():
        if has.get(name, 0) < amount:
            raise UserError(
                f"train: {cfg.num_workers} workers and the data stream need {amount:g} {name}, the cluster "
                f"has {has.get(name, 0):g}; lower train.num_workers, add nodes, or raise ray.num_cpus"
            )


def _run_on_cluster(function: Callable[..., None], *arguments: Any) -> None:
    import ray

    ray.get(ray.remote(num_cpus=1)(function).remote(*arguments))
