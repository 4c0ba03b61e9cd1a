"""A worker that makes no step for too long ends itself.

Collectives have a limit (`collective_timeout_seconds`), but a rank also waits for rows, for storage, for Ray. None of
these can be interrupted from within; a process that is gone is noticed by everyone, and the next attempt begins.
"""

from __future__ import annotations

import faulthandler
import os
import threading
import time
from pathlib import Path

from train.leaving import SHORT

EXIT_CODE = 70


class Watchdog(threading.Thread):
    """Args: seconds without a step after which the process ends, with the stacks of its threads in a file; and those
    after which it does once the driver has seen that the cluster lost what this attempt needs (`leaving.SHORT`)."""

    def __init__(self, phase_dir: Path, rank: int, position: int, seconds: float, when_short: float = 60.0):
        super().__init__(name="watchdog", daemon=True)
        self.path, self.rank, self.seconds = record(phase_dir, rank), rank, seconds
        self.short, self.when_short = phase_dir / SHORT, min(when_short, seconds)
        self.over = threading.Event()
        self.stepped(position)

    def stepped(self, done: int) -> None:
        """The rank has done its part of the global batches before `done`."""
        self.done, self.at = done, time.monotonic()

    def run(self) -> None:
        while not self.over.wait(min(5.0, self.when_short / 4)):
            waited = time.monotonic() - self.at
            short = waited > self.when_short and self.short.exists()
            if short or waited > self.seconds:
                why = "; the cluster is short of what the attempt began with" if short else ""
                with self.path.open("w") as file:
                    file.write(f"rank {self.rank}: no step for {waited:.0f} s after step {self.done}{why}\n")
                    file.flush()
                    faulthandler.dump_traceback(file, all_threads=True)
                os._exit(EXIT_CODE)


def record(phase_dir: Path, rank: int) -> Path:
    """What a rank's watchdog leaves."""
    return phase_dir / f"stalled-rank{rank}.txt"


def stalled(phase_dir: Path) -> list[Path]:
    """What watchdogs have left in this attempt."""
    return sorted(phase_dir.glob("stalled-rank*.txt"))
