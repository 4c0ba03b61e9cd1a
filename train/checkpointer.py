"""Saving while training goes on: local files at once, storage in the background, the pointer when all is up."""

from __future__ import annotations

import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

from snowcoder.base import UserError
from train import checkpoints
from train.checkpoints import Pointer, read_pointer
from train.config import Job


class Upload(threading.Thread):
    """Copies one rank's files to storage and deletes them here."""

    def __init__(self, job: Job, directory: Path, name: str):
        super().__init__(name=f"upload {name}", daemon=True)
        self.job, self.directory, self.target = job, directory, name
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self.job.storage.upload(self.directory, self.target)
        except Exception as error:  # told to the training loop, which raises it
            self.error = error
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

    def done(self) -> bool:
        """Whether all files are up. Raises what stopped the upload."""
        if self.is_alive():
            return False
        if self.error is not None:
            raise self.error
        return True


class Checkpointer:
    """One rank's part in saving. All ranks call each method at the same step.

    At most one upload is on its way. It is committed when every rank has said, in the sum that training takes
    at each step anyway, that its files are up: so no step waits for storage.
    """

    def __init__(self, job: Job, engine: Any, rank: int, attempt: int):
        self.job, self.engine, self.rank, self.attempt = job, engine, rank, attempt
        self.upload: Upload | None = None
        self.position = 0
        self.name = ""  # of what was saved last

    def save(self, position: int) -> None:
        """Write this rank's state, and start to upload it. Waits for the upload before, if that is still on its way."""
        self.finish()
        # An attempt has its own names: what an earlier one left half uploaded must not be mixed in.
        name = f"{checkpoints.FOLDER}/step-{position:08d}-{self.attempt:03d}"
        self.name = name
        local = Path(tempfile.mkdtemp(dir=checkpoints.scratch(self.job.storage)))
        self.engine.save_checkpoint(str(local), tag=checkpoints.TAG)
        self.upload, self.position = Upload(self.job, local, name), position
        self.upload.start()
        if not self.job.cfg.async_checkpoints:
            self.finish()

    def unfinished(self) -> int:
        """This rank's vote: 1 while its files are not up yet. Raises what stopped the upload."""
        return int(self.upload is not None and not self.upload.done())

    def counted(self, votes: int) -> None:
        """The sum of all ranks' votes. Commits at 0, where something was saved."""
        if self.upload is not None and votes == 0:
            self._commit()

    def finish(self) -> None:
        """Wait for every rank's upload, and commit it."""
        import torch.distributed as dist

        if self.upload is None:
            return
        self.upload.join()
        self.upload.done()
        dist.barrier()
        self._commit()

    def _commit(self) -> None:
        assert self.upload is not None
        name, self.upload = self.upload.target, None
        if self.rank != 0:
            return
        job, cfg = self.job, self.job.cfg
        if (owner := checkpoints.owner(job.storage)) != job.owner:
            raise UserError(
                f"{job.storage.root}: this attempt ({job.owner}) may not commit any more, {owner} has taken over"
            )
        before = read_pointer(job.storage)
        kept = (*before.kept, before.checkpoint) if before else ()
        pointer = Pointer(
            position=self.position,
            checkpoint=name,
            fingerprint=job.fingerprint,
            world_size=cfg.num_workers,
            global_batch=cfg.global_batch,
            seq_len=cfg.seq_len,
            zero_stage=cfg.zero_stage,
            precision=cfg.precision,
            accepted=before.accepted if before else (),
            kept=kept[max(0, len(kept) - (cfg.keep_checkpoints - 1)) :],
        )
        checkpoints.write_pointer(job.storage, pointer)
        if job.storage.local != job.phase_dir:  # for those who look at the run
            checkpoints.write_pointer(job.phase_dir, pointer)
        checkpoints.prune(job.storage, pointer)
