"""What is committed: one pointer to one checkpoint and one position, written last and read by everyone.

Ray Train's own idea of the latest checkpoint can be one report behind the files on storage when a worker
dies, and the dataset factory runs in another process than the workers. So both read `pointer.json`, which
rank 0 replaces atomically once every rank's files are up. `phase_dir` is on storage that all nodes share.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from snowcoder.base import UserError
from snowcoder.files import write_atomically
from train.config import TrainConfig

TAG = "state"  # DeepSpeed's name for the only state in a checkpoint directory
UNIVERSAL_TAG = "universal"  # the same state, converted to load at another number of workers


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """The committed state of a phase."""

    position: int  # global batches the optimizer has consumed
    checkpoint: str  # directory of the state, relative to the phase directory
    fingerprint: str  # of the order of sequences that `position` counts in; opaque here
    world_size: int  # workers that wrote the state
    global_batch: int
    seq_len: int
    zero_stage: int
    precision: str


def read_pointer(phase_dir: Path) -> Pointer | None:
    """The committed state, or None before the first checkpoint."""
    try:
        return Pointer(**json.loads((phase_dir / "pointer.json").read_text()))
    except FileNotFoundError:
        return None


def write_pointer(phase_dir: Path, pointer: Pointer) -> None:
    """Commit: after this returns, a restart begins at `pointer.position`."""
    write_atomically(phase_dir / "pointer.json", json.dumps(asdict(pointer), indent=1) + "\n")


def check_pointer(pointer: Pointer, cfg: TrainConfig, fingerprint: str, where: Path) -> None:
    """Raises UserError when the committed position does not mean the same thing under this configuration."""
    if pointer.fingerprint != fingerprint:
        raise UserError(
            f"{where}: the checkpoint was trained on order {pointer.fingerprint}, this run's order is "
            f"{fingerprint}; restore the data configuration or start a new run directory"
        )
    for field in ("global_batch", "seq_len", "zero_stage", "precision"):
        if getattr(pointer, field) != getattr(cfg, field):
            raise UserError(
                f"{where}: train.{field} was {getattr(pointer, field)} and is now {getattr(cfg, field)}; "
                "a phase keeps it: restore it or start a new run directory"
            )


def prune(phase_dir: Path, committed: Path, keep: int) -> None:
    """Delete all checkpoints but the committed one and the `keep` - 1 before it. Rank 0, after a commit.

    We do this rather than Ray Train's `num_to_keep`, which counts a checkpoint as soon as it is reported: a
    crash before the commit leaves it newer than the pointer, and two of those would push out the one needed.
    """
    found = [path for path in phase_dir.glob("ray/*/step-*") if path != committed]
    before = sorted((path for path in found if path.name < committed.name), key=lambda path: path.name)
    for path in set(found) - set(before[len(before) - (keep - 1) :]):
        shutil.rmtree(path)


def convert_to_universal(checkpoint: Path) -> None:
    """Rewrite a ZeRO state so that another number of workers can load it; once, on storage. Idempotent."""
    done = checkpoint / UNIVERSAL_TAG
    if done.exists():
        return
    temporary = checkpoint / f".{UNIVERSAL_TAG}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", "--inject_missing_state"]
    command += ["--input_folder", str(checkpoint / TAG), "--output_folder", str(temporary)]
    result = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "DS_ACCELERATOR": "cpu"}, check=False
    )
    if result.returncode:
        raise RuntimeError(
            f"{checkpoint}: conversion to a universal checkpoint failed:\n{result.stderr[-2000:]}"
        )
    temporary.replace(done)
