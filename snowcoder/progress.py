"""What a person sees while a run works: one line a step, and a bar on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

T = TypeVar("T")
_START = time.monotonic()
_console = Console(highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """One line with the minutes since the start; the same on a terminal and in a job's log."""
    minutes, seconds = divmod(int(time.monotonic() - _START), 60)
    _console.print(f"[{minutes:02d}:{seconds:02d}] {text}", markup=False)


def track(items: Iterable[T], total: int, what: str, every: float = 10.0) -> Iterator[T]:
    """Items as they come, with a bar on a terminal, or a line every `every` seconds in a log."""
    if sys.stdout.isatty():
        columns = TextColumn("        {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
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
