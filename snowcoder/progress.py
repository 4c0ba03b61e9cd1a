"""What a person sees while a run works: one line a step, and a bar on a terminal."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

T = TypeVar("T")
_START = time.monotonic()
_console = Console(file=sys.stdout, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """One line with the minutes since the start; the same on a terminal and in a job's log."""
    minutes, seconds = divmod(int(time.monotonic() - _START), 60)
    _console.print(f"[{minutes:02d}:{seconds:02d}] {text}", markup=False)


def track(items: Iterable[T], total: int, what: str, every: float = 10.0) -> Iterator[T]:
    """Items as they come, with a bar on a terminal, or a line every `every` seconds in a log."""
    if sys.stdout.isatty():
        columns = (
            TextColumn("        {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=_console, transient=True) as progress:
            task = progress.add_task(what, total=total)
            for item in items:
                progress.advance(task)
                yield item
        return
    last = time.monotonic()
    for done, item in enumerate(items, 1):
        if time.monotonic() - last >= every:
            last = time.monotonic()
            say(f"{what}: {done}/{total}")
        yield item


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what libraries print about their own progress; their errors are exceptions and still come through."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


@contextmanager
def follow(metrics: Path, phase: str, steps: int, every: float) -> Iterator[None]:
    """While the block runs, tell the last line of a phase's metrics every `every` seconds, if it is a new one."""
    stop = threading.Event()

    def tell() -> None:
        told = None
        while not stop.wait(every):
            line = _last_line(metrics)
            if line and line["step"] != told:
                told = line["step"]
                say(
                    f"{phase}: step {told + 1}/{steps}  loss {line['loss']:.3f}  lr {line['lr']:.2e}  "
                    f"{line['tokens_per_second']:.0f} tokens/s  waiting for data {line['data_wait_share']:.0%}"
                )

    thread = threading.Thread(target=tell, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _last_line(path: Path) -> dict | None:
    """The last whole JSON line of a file that is being written to."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))
            lines = file.read().split(b"\n")[:-1]
        return json.loads(lines[-1]) if lines else None
    except (FileNotFoundError, json.JSONDecodeError):
        return None
