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

EXIT_CODE = 70


class Watchdog(threading.Thread):
    """Args: seconds without a step after which the process ends, with the stacks of its threads in a file."""

    def __init__(self, phase_dir: Path, rank: int, position: int, seconds: float):
        super().__init__(name="watchdog", daemon=True)
        self.path, self.rank, self.seconds = record(phase_dir, rank), rank, seconds
        self.over = threading.Event()
        self.stepped(position)

    def stepped(self, done: int) -> None:
        """The rank has done its part of the global batches before `done`."""
        self.done, self.at = done, time.monotonic()

    def run(self) -> None:
        while not self.over.wait(min(5.0, self.seconds / 4)):
            if time.monotonic() - self.at > self.seconds:
                with self.path.open("w") as file:
                    file.write(f"rank {self.rank}: no step for {self.seconds:.0f} s after step {self.done}\n")
                    file.flush()
                    faulthandler.dump_traceback(file, all_threads=True)
                os._exit(EXIT_CODE)


def record(phase_dir: Path, rank: int) -> Path:
    """What a rank's watchdog leaves."""
    return phase_dir / f"stalled-rank{rank}.txt"


def stalled(phase_dir: Path) -> list[Path]:
    """What watchdogs have left in this attempt."""
    return sorted(phase_dir.glob("stalled-rank*.txt"))
