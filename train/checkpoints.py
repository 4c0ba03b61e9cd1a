"""What is committed: one pointer to one checkpoint and one position, written last and read by everyone.

Ray Train's own idea of the latest checkpoint can be one report behind the files on storage when a worker
dies, and the dataset factory runs in another process than the workers. So both read `pointer.json`, which
rank 0 replaces atomically once every rank's files are up.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from snowcoder.base import UserError
from train.config import TrainConfig
from train.storage import Storage

TAG = "state"  # DeepSpeed's name for the only state in a checkpoint directory
UNIVERSAL_TAG = "universal"  # the same state, converted to load at another number of workers
FOLDER = "checkpoints"
_COMPLETE = ".complete"  # in a converted state: all of it is there
_OWNER = "owner"  # the attempt that may commit


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """The committed state of a phase."""

    position: int  # global batches the optimizer has consumed
    checkpoint: str  # directory of the state on the storage
    fingerprint: dict[
        str, str
    ]  # of the order of sequences that `position` counts in: what decides it, by name
    world_size: int  # workers that wrote the state
    global_batch: int
    seq_len: int
    zero_stage: int
    precision: str
    kept: tuple[str, ...] = ()  # checkpoints committed before this one that are still there, oldest first
    accepted: tuple[str, ...] = ()  # changes of the order that someone accepted, in words


def checkpoint_storage(cfg: TrainConfig, phase: str, phase_dir: Path) -> Storage:
    """Where a phase's checkpoints and pointer are."""
    patience = cfg.storage_patience_seconds
    if cfg.checkpoint_storage:
        return Storage(cfg.checkpoint_storage, patience) / phase
    return Storage(phase_dir, patience)


def read_pointer(where: Path | Storage) -> Pointer | None:
    """The committed state, or None before the first checkpoint."""
    storage = Storage(where) if isinstance(where, Path) else where
    text = storage.read("pointer.json")
    if text is None:
        return None
    fields = json.loads(text)
    return Pointer(**fields | {name: tuple(fields.get(name, ())) for name in ("kept", "accepted")})


def write_pointer(where: Path | Storage, pointer: Pointer) -> None:
    """Commit: after this returns, a restart begins at `pointer.position`."""
    storage = Storage(where) if isinstance(where, Path) else where
    storage.write("pointer.json", (json.dumps(asdict(pointer), indent=1) + "\n").encode())


def take_over(storage: Storage, attempt: str) -> None:
    """From now on only this attempt may commit: a worker that outlived its driver or its node no longer can."""
    storage.write(_OWNER, attempt.encode())


def owner(storage: Storage) -> str | None:
    """The attempt that may commit."""
    text = storage.read(_OWNER)
    return None if text is None else text.decode()


def changes(pointer: Pointer, fingerprint: dict[str, str]) -> list[str]:
    """What decides the order and is no longer what it was, in words."""
    names = sorted({*pointer.fingerprint, *fingerprint})
    return [
        f"{name} was {pointer.fingerprint.get(name)} and is now {fingerprint.get(name)}"
        for name in names
        if pointer.fingerprint.get(name) != fingerprint.get(name)
    ]


def check_pointer(pointer: Pointer, cfg: TrainConfig, where: Storage) -> None:
    """Raises UserError when the committed state does not fit this configuration."""
    for field in ("global_batch", "seq_len", "zero_stage", "precision"):
        if getattr(pointer, field) != getattr(cfg, field):
            raise UserError(
                f"{where.root}: train.{field} was {getattr(pointer, field)} and is now {getattr(cfg, field)}; "
                "a phase keeps it: restore it or start a new run directory"
            )


def prune(storage: Storage, pointer: Pointer) -> None:
    """Delete all checkpoints but the committed one and those that the pointer keeps. Rank 0, after a commit.

    Also what earlier attempts left half uploaded: nothing names it.
    """
    wanted = {pointer.checkpoint, *pointer.kept}
    for name in storage.names(FOLDER):
        if f"{FOLDER}/{name}" not in wanted:
            storage.delete(f"{FOLDER}/{name}")


@contextmanager
def fetched(storage: Storage, name: str) -> Iterator[Path]:
    """A checkpoint's directory on this machine: itself where it is local, else a copy for as long as it is used."""
    if storage.local is not None:
        path = storage.local / name
        if not path.is_dir():
            raise UserError(f"{path}: the committed checkpoint is not there; restore it or start a new run")
        yield path
        return
    with tempfile.TemporaryDirectory(dir=scratch(storage)) as directory:
        storage.download(name, Path(directory))
        yield Path(directory)


def scratch(storage: Storage) -> Path:
    """A directory of this phase on this machine, for copies on their way. Each attempt empties it at its start:
    a process that is killed cleans up nothing, and a checkpoint is gigabytes."""
    place = storage.root if storage.local is None else str(storage.local.absolute())
    path = Path(tempfile.gettempdir()) / f"snowcoder-{zlib.crc32(place.encode()):08x}"
    path.mkdir(exist_ok=True)
    return path


def convert_to_universal(storage: Storage, name: str) -> None:
    """Rewrite a ZeRO state so that another number of workers can load it; once, on storage. Idempotent."""
    universal = f"{name}/{UNIVERSAL_TAG}"
    if storage.read(f"{universal}/{_COMPLETE}") is not None:
        return
    with fetched(storage, name) as checkpoint, tempfile.TemporaryDirectory(dir=scratch(storage)) as out:
        command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", "--inject_missing_state"]
        command += ["--input_folder", str(checkpoint / TAG), "--output_folder", out]
        environment = {**os.environ, "DS_ACCELERATOR": "cpu"}
        result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if result.returncode:
            raise RuntimeError(
                f"{checkpoint}: conversion to a universal checkpoint failed:\n{result.stderr[-2000:]}"
            )
        storage.upload(Path(out), universal)
    storage.write(f"{universal}/{_COMPLETE}", b"")
