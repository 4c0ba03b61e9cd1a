"""SIGTERM at a phase: its workers save at the next step and leave, and the program ends; the same command goes on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from train.leaving import STOP

EXIT_CODE = 128 + signal.SIGTERM


@contextmanager
def stoppable(phase_dir: Path) -> Iterator[None]:
    """Within: the first SIGTERM asks the workers to leave, a second one ends the program as it would have before.

    Only in the main thread, where Python lets signals be handled; elsewhere nothing changes.
    """
    mark = phase_dir / STOP
    mark.unlink(missing_ok=True)
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)

    def ask(number: int, frame: FrameType | None) -> None:
        mark.touch()
        signal.signal(signal.SIGTERM, before)

    signal.signal(signal.SIGTERM, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def leave_if_asked(phase_dir: Path, phase: str, position: int) -> None:
    """Raises SystemExit once somebody has asked; call it between attempts."""
    if (phase_dir / STOP).exists():
        print(f"{phase}: stopped as asked, step {position} is saved; the same command goes on", flush=True)
        raise SystemExit(EXIT_CODE)
