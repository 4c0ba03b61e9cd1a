"""A phase of training: one attempt after another, each from the committed position, until the phase is done."""

from __future__ import annotations

import itertools
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snowcoder.base import UserError
from snowcoder.files import write_atomically
from train import checkpoints, room, schedules
from train.accounts import Accounts
from train.audit import attempts
from train.checkpoints import Pointer, checkpoint_storage, read_pointer
from train.config import Carried, Job, TrainConfig
from train.leaving import ENDED, RESIZE, SHORT, bad_steps
from train.loop import train_worker
from train.model import check_weights
from train.stopping import leave_if_asked, stoppable
from train.storage import Storage
from train.validation import Validation, hook
from train.watchdog import stalled

if TYPE_CHECKING:
    import ray.data

DatasetFactory = Callable[[int, int, int], "ray.data.Dataset"]
"""(first global batch, step before which it ends, workers) -> rows in deal order."""


class TrainingFailed(RuntimeError):
    """A phase gave up after `max_failures` failures in a row. The message names the phase and the last error."""


def fit(
    cfg: TrainConfig,
    phase: str,
    dataset_factory: DatasetFactory,
    run_dir: Path,
    *,
    total_steps: int,
    fingerprint: dict[str, str],
    init_from: Path | None = None,
    stream_cpus: float = 1,
    accept_new_data: bool = False,
    carry_from: str = "",
    accounts: Accounts | None = None,
    validation: Validation | None = None,
) -> dict[str, Any]:
    """Train a phase up to `total_steps` global batches, from wherever it is, and return its summary.

    `dataset_factory(position, stop, workers)` gives the stream of global batches `position` to `stop`: rows of
    `pipelines.schema.sequence_schema` in deal order (`train.deal`), its last operator
    `.repartition(target_num_rows_per_block=group * global_batch / workers, strict=True)`. It runs in Ray's
    controller, again at each restart. `fingerprint` says what decides the order that positions count in.
    `run_dir` is on storage that all nodes share. `stream_cpus`: CPUs that the stream needs beside the workers.
    `accept_new_data`: go on although the order is another one, and record it. `carry_from`: the phase of this run whose
    committed state, Adam's moments included, this one starts from instead of `init_from`. `accounts`: by what the loss
    is told apart. `validation`: what is asked of checkpoints beside training. Ray must be initialised.

    Raises UserError when the cluster is too small, the run directory belongs to another order, storage cannot be
    written or the data ends early; TrainingFailed after more than `cfg.max_failures` failures in a row.
    """
    phase_dir = (run_dir / "train" / phase).resolve()
    storage = checkpoint_storage(cfg, phase, phase_dir)
    schedules.check(total_steps * cfg.tokens_per_step, cfg.schedule)
    pointer = read_pointer(storage)
    if pointer is not None:
        checkpoints.check_pointer(pointer, cfg, storage)
        pointer = _same_order(pointer, fingerprint, storage, accept_new_data)
        if pointer.position >= total_steps:
            return summarise(phase_dir, cfg)
    if init_from is not None:
        check_weights(init_from, cfg)
    phase_dir.mkdir(parents=True, exist_ok=True)
    storage.check_writable()
    job = Job(
        cfg=cfg,
        phase=phase,
        phase_dir=phase_dir,
        storage=storage,
        total_steps=total_steps,
        stop=total_steps,
        fingerprint=fingerprint,
        init_from=init_from.resolve() if init_from else None,
        carried=_carried(cfg, carry_from, run_dir) if carry_from and pointer is None else None,
        accounts=accounts or Accounts(),
        validate_every=validation.every_checkpoints if validation else 0,
    )
    started = time.monotonic()
    with stoppable(phase_dir):
        _attempts(job, dataset_factory, stream_cpus, validation)
    summary = summarise(phase_dir, cfg) | {"wall_seconds": time.monotonic() - started}
    write_atomically(phase_dir / "summary.json", json.dumps(summary, indent=1) + "\n")
    return summary


def _same_order(
    pointer: Pointer, fingerprint: dict[str, str], storage: Storage, accept_new_data: bool
) -> Pointer:
    found = checkpoints.changes(pointer, fingerprint)
    if not found:
        return pointer
    if not accept_new_data:
        raise UserError(
            f"{storage.root}: position {pointer.position} counts in another order: {'; '.join(found)}. Restore that, "
            "start a new run directory, or accept with --accept-new-data that from here on other data is read"
        )
    record = f"at position {pointer.position}: {'; '.join(found)}"
    pointer = replace(pointer, fingerprint=fingerprint, accepted=(*pointer.accepted, record))
    checkpoints.write_pointer(storage, pointer)
    return pointer


def _carried(cfg: TrainConfig, phase: str, run_dir: Path) -> Carried:
    storage = checkpoint_storage(cfg, phase, (run_dir / "train" / phase).resolve())
    pointer = read_pointer(storage)
    if pointer is None:
        raise UserError(f"{storage.root}: no committed state of the {phase} phase to carry over")
    for field in ("zero_stage", "precision"):
        if getattr(pointer, field) != getattr(cfg, field):
            raise UserError(
                f"{storage.root}: train.{field} was {getattr(pointer, field)} and is now {getattr(cfg, field)}; "
                "optimizer state is carried over only as it is: restore it or set train.carry_optimizer: false"
            )
    return Carried(storage=storage, checkpoint=pointer.checkpoint, world_size=pointer.world_size)


def _attempts(
    job: Job, dataset_factory: DatasetFactory, stream_cpus: float, validation: Validation | None
) -> None:
    """Attempts until the phase is done. Each has as many workers as there is room for at its start."""
    cfg = job.cfg
    failures = 0
    driver = f"{socket.gethostname()}-{os.getpid()}-{time.time_ns():x}"
    checkpoints.take_over(job.storage, driver)
    for number in itertools.count():
        pointer = read_pointer(job.storage)
        position = pointer.position if pointer else 0
        if position >= job.total_steps:
            return
        leave_if_asked(job.phase_dir, job.phase, position)
        if len(bad_steps(job.phase_dir)) > cfg.max_bad_steps:
            raise TrainingFailed(
                f"{job.phase}: more than {cfg.max_bad_steps} global batches without a finite loss "
                f"({job.phase_dir / 'bad-steps.jsonl'}); lower the learning rate or look at the data"
            )
        workers = room.find(cfg, stream_cpus)
        stop = min(job.total_steps, (position // cfg.segment_steps + 1) * cfg.segment_steps)
        if not (checkpoints.owner(job.storage) or "").startswith(driver):
            raise UserError(
                f"{job.storage.root}: {job.phase} has been started again elsewhere "
                f"({checkpoints.owner(job.storage)}), and goes on there"
            )
        name = f"{driver}-{number}"
        checkpoints.take_over(job.storage, name)
        attempt = replace(job, cfg=cfg.model_copy(update={"num_workers": workers}), stop=stop, owner=name)
        if pointer is not None and pointer.world_size != workers and cfg.zero_stage > 0:
            _run_on_cluster(checkpoints.convert_to_universal, job.storage, pointer.checkpoint)
        carried = job.carried
        if pointer is None and carried and carried.world_size != workers and cfg.zero_stage > 0:
            _run_on_cluster(checkpoints.convert_to_universal, carried.storage, carried.checkpoint)
        for mark in (*(job.phase_dir / name for name in (ENDED, RESIZE, SHORT)), *stalled(job.phase_dir)):
            mark.unlink(missing_ok=True)
        larger = [n for n in cfg.worker_counts if n > workers]
        with _watching_for_room(attempt, larger, stream_cpus):
            error = _attempt(attempt, dataset_factory, validation)
        reached = read_pointer(job.storage)
        if (job.phase_dir / ENDED).exists():
            raise UserError(
                f"{job.phase}: the data ended after {reached.position if reached else 0} of {job.total_steps} steps, "
                f"which are kept; allow more passes over it ({job.phase}.epochs or {job.phase}.repeats) or lower "
                f"{job.phase}.tokens, and run again"
            )
        if error is None:
            failures = 0
            continue
        # A run of weeks sees many failures. Those that end it are the ones that let nothing be done in between.
        failures = 1 if reached and reached.position > position else failures + 1
        causes = _causes(error, job.phase_dir)
        if failures > cfg.max_failures:
            raise TrainingFailed(
                f"{job.phase}: gave up after {cfg.max_failures} restarts: {causes}"
            ) from error
        print(f"{job.phase}: {causes}; again from step {reached.position if reached else 0}", flush=True)


def _attempt(job: Job, dataset_factory: DatasetFactory, validation: Validation | None) -> Exception | None:
    """Train until the attempt's stop, or until the workers leave or fail. Returns the failure."""
    import ray.train
    from ray.train.torch import TorchConfig, TorchTrainer

    cfg, storage = job.cfg, job.storage
    # Ray Train's own collectives wait for ever. Its health check comes second: it cannot name the step.
    # It reads both here and sends them on to its controller and the workers.
    os.environ["RAY_TRAIN_COLLECTIVE_TIMEOUT_S"] = str(cfg.collective_timeout_seconds)
    os.environ["RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S"] = str(2 * cfg.collective_timeout_seconds)
    os.environ["TORCH_PROCESS_GROUP_SHUTDOWN_TIMEOUT_S"] = "5"  # a rank that hangs will not leave politely

    def stream_from_pointer() -> ray.data.Dataset:
        pointer = read_pointer(storage)
        return dataset_factory(pointer.position if pointer else 0, job.stop, cfg.num_workers)

    options = ray.train.DataConfig.default_ingest_options()
    options.preserve_order = (
        True  # must be set here: the DataContext of the factory does not reach Train's ingest
    )
    options.label_selector = cfg.stream_labels or None  # for the operators that Ray Data adds by itself
    number = sum(1 for _ in (job.phase_dir / "ray").glob("attempt-*"))
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={"job": job},
        torch_config=TorchConfig(
            backend="nccl" if cfg.use_gpu else "gloo", timeout_s=int(cfg.collective_timeout_seconds)
        ),
        scaling_config=ray.train.ScalingConfig(
            num_workers=cfg.num_workers,
            use_gpu=cfg.use_gpu,
            resources_per_worker=room.of_worker(cfg),
            label_selector=cfg.worker_labels or None,
        ),
        run_config=ray.train.RunConfig(
            # Ray Train resumes by itself under a name it knows, from its own idea of the latest checkpoint.
            # Ours is the pointer, so each attempt has a new name, and retrying is ours too.
            name=f"attempt-{number:04d}",
            storage_path=str(job.phase_dir / "ray"),
            failure_config=ray.train.FailureConfig(max_failures=0, controller_failure_limit=0),
        ),
        datasets={"train": stream_from_pointer},
        dataset_config=ray.train.DataConfig(execution_options=options),
        validation_config=hook(validation, job) if validation else None,
    )
    try:
        trainer.fit()
    except ray.train.TrainingFailedError as error:
        return error
    return None


@contextmanager
def _watching_for_room(job: Job, larger: list[int], stream_cpus: float) -> Iterator[None]:
    """Tell the workers when the cluster has room for one of the `larger` numbers of them, or no longer for these.

    A node may go that only the stream was on: its tasks then wait for a CPU that the workers have, for ever.
    """
    over = threading.Event()
    cfg = job.cfg

    def watch() -> None:
        while not over.wait(cfg.resize_every_seconds):
            if larger and room.most(cfg, larger, stream_cpus):
                (job.phase_dir / RESIZE).touch()
            if room.most(cfg, [cfg.num_workers], stream_cpus):
                (job.phase_dir / SHORT).unlink(missing_ok=True)
            else:
                (job.phase_dir / SHORT).touch()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _causes(error: Exception, phase_dir: Path) -> str:
    """What failed, by rank, in one line."""
    stalls = [f"{path.read_text().splitlines()[0]} ({path})" for path in stalled(phase_dir)]
    if stalls:
        return "; ".join(stalls)
    workers = getattr(error, "worker_failures", None)
    if not workers:
        return " ".join(str(error).split())[:500] or type(error).__name__
    causes = {rank: _last_words(str(cause)) for rank, cause in workers.items()}
    return "; ".join(f"rank {rank}: {cause}" for rank, cause in sorted(causes.items()))


def _last_words(trace: str) -> str:
    """The line of a traceback that names the innermost error: what Ray adds below it is advice."""
    lines = [line for line in trace.strip().splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"(ray\.\w+\.)?[\w.]*(Error|Exception|BadStep)\b.*: ", line)]
    return (named or lines or ["no reason given"])[-1]


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
        "skipped_steps": sorted(bad_steps(phase_dir)),
        "checkpoint": pointer.checkpoint,
    }


def _run_on_cluster(function: Callable[..., None], *arguments: Any) -> None:
    import ray

    ray.get(ray.remote(num_cpus=1)(function).remote(*arguments))
