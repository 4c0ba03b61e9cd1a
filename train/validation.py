"""Validation beside training, through Ray Train's asynchronous hook.

`ray.train.report(..., checkpoint=…, validation=True)` starts a task on a reported checkpoint while training goes on;
Ray runs one at a time and waits for the last before the attempt ends. Our checkpoints are not Ray's: they are
committed by a pointer, once every rank's files are up. So what is reported is a small directory that names the
checkpoint, and the task waits until the pointer has come to it.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snowcoder.base import UserError
from train import checkpoints
from train.config import Job, TrainConfig
from train.storage import Storage

if TYPE_CHECKING:
    import ray.train

NAME = "checkpoint.json"
RECORD = "validation.jsonl"
FAILED = "validation-failed.txt"
_POLL_SECONDS = 1.0

Scorer = Callable[[Any], dict[str, float]]
"""A model in evaluation mode -> figures by name."""


@dataclass(frozen=True, slots=True)
class Validation:
    """How a phase is validated. `score` runs in a task of its own and is sent there by value."""

    score: Scorer
    every_checkpoints: int = 1
    cpus: float = 1
    gpus: float = 0
    patience_seconds: float = 900.0  # how long a commit is waited for


def validation_of(job: Job, position: int, name: str) -> dict[str, Any]:
    """Rank 0's further arguments of `ray.train.report` for the checkpoint `name`, just saved at `position`."""
    every = job.validate_every * job.cfg.checkpoint_every_steps
    if not every or (position % every and position != job.total_steps):
        return {}
    from ray.train import Checkpoint

    directory = Path(tempfile.mkdtemp(dir=checkpoints.scratch(job.storage)))
    (directory / NAME).write_text(json.dumps({"position": position, "checkpoint": name}))
    return {"checkpoint": Checkpoint.from_directory(str(directory)), "validation": True}


def hook(validation: Validation, job: Job) -> ray.train.v2.api.validation_config.ValidationConfig:
    """The trainer's `validation_config`."""
    from ray.train.v2.api.validation_config import ValidationConfig

    def run(checkpoint: ray.train.Checkpoint) -> dict[str, float]:
        with checkpoint.as_directory() as directory:
            told = json.loads((Path(directory) / NAME).read_text())
        try:
            return validate(validation, job, told["position"], told["checkpoint"]) or {}
        except Exception:
            # Training goes on without it, and Ray keeps the error to its own logs: who looks at the run sees it here.
            (job.phase_dir / FAILED).write_text(f"position {told['position']}\n{traceback.format_exc()}")
            raise

    resources = {"num_cpus": validation.cpus, "num_gpus": validation.gpus, "max_retries": 0}
    return ValidationConfig(fn=run, ray_remote_kwargs=resources)


def validate(validation: Validation, job: Job, position: int, name: str) -> dict[str, float] | None:
    """Score a checkpoint and add a line to `validation.jsonl`. None where it never was committed, or is gone again:
    training does not wait for validation, and deletes old checkpoints."""
    if any(line["position"] == position for line in read_record(job.phase_dir)):
        return None
    if not _committed(job.storage, position, name, validation.patience_seconds):
        return None
    started = time.perf_counter()
    try:
        with loaded(job.storage, name, job.cfg) as model:
            figures = validation.score(model)
    except (FileNotFoundError, UserError):
        if _committed(job.storage, position, name, 0.0):
            raise
        return None
    line = {
        "position": position,
        "tokens": position * job.cfg.tokens_per_step,
        "seconds": time.perf_counter() - started,
        **figures,
    }
    with (job.phase_dir / RECORD).open("a") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return figures


def read_record(phase_dir: Path) -> list[dict[str, Any]]:
    """The validations of a phase, in order of position."""
    path = phase_dir / RECORD
    if not path.exists():
        return []
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    return sorted(lines, key=lambda line: line["position"])


def _committed(storage: Storage, position: int, name: str, patience: float) -> bool:
    """Whether the pointer has come to the checkpoint `name` while it still keeps it."""
    end = time.monotonic() + patience
    while True:
        pointer = checkpoints.read_pointer(storage)
        if pointer is not None and pointer.position >= position:
            return name in (pointer.checkpoint, *pointer.kept)
        if time.monotonic() > end:
            return False
        time.sleep(_POLL_SECONDS)


@contextmanager
def loaded(storage: Storage, name: str, cfg: TrainConfig) -> Iterator[Any]:
    """A checkpoint's model with its fp32 weights, ready to be asked."""
    from train.export import weights
    from train.model import empty_model

    with checkpoints.fetched(storage, name) as directory:
        state = weights(directory, cfg)
    model = empty_model(cfg)
    model.load_state_dict(state)
    yield model.eval()
