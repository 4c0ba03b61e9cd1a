"""Sides that are measured against each other: each alive in a process of its own, taking turns.

A process per side keeps their memory apart and lets both be warm; taking turns spreads what else the machine does
over all of them. Reads /proc, so Linux only.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import statistics
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

MEMORY_SAMPLE_SECONDS = 0.5


@dataclass(frozen=True)
class Time:
    wall: float  # seconds
    cpu: float  # seconds of all processes of the side

    def __sub__(self, other: Time) -> Time:
        return Time(self.wall - other.wall, self.cpu - other.cpu)


def median(times: Iterable[Time]) -> Time:
    """The median of each clock."""
    walls, cpus = zip(*((time.wall, time.cpu) for time in times), strict=True)
    return Time(statistics.median(walls), statistics.median(cpus))


@dataclass
class Side:
    """`prepare(*args)` runs in the side's process and returns what is measured: a function of one argument.

    `prepare` must be importable by name. The process keeps to `cores` cores. Start it before `run`; what it takes to
    start is not measured.
    """

    name: str
    prepare: Callable[..., Callable[[Any], Any]]
    args: tuple[Any, ...] = ()
    cores: int = 1
    # Seconds between looks at the memory. A look walks the page tables of every process, and holds each up.
    look_every: float = MEMORY_SAMPLE_SECONDS
    peak_mib: float = 0.0  # highest sum of the proportional sizes of its processes
    times: list[Time] = field(default_factory=list)
    result: Any = None  # of the last run

    def __enter__(self) -> Side:
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()
        self._log = tempfile.NamedTemporaryFile(prefix="side-", suffix=".log")
        self._process = context.Process(
            target=_serve, args=(there, self.prepare, self.args, self.cores, self._log.name)
        )
        self._process.start()
        there.close()
        self._answer()
        return self

    def __exit__(self, *_: object) -> None:
        processes = _tree(self._process.pid)
        self._pipe.close()
        self._process.join(60)
        for process in psutil.wait_procs(processes, timeout=10)[1]:
            process.kill()
        self._log.close()

    def run(self, argument: Any = None) -> Time:
        """One measured run; also appended to `times`."""
        self._pipe.send(argument)
        done = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(done,))
        watcher.start()
        try:
            time, self.result = self._answer()
        finally:
            done.set()
            watcher.join()
        self.times.append(time)
        return time

    def _answer(self) -> Any:
        try:
            failure, value = self._pipe.recv()
        except EOFError:
            output = Path(self._log.name).read_text(errors="replace")[-4000:]
            failure = f"its process ended; its output:\n{output}"
        if failure:
            raise RuntimeError(f"{self.name}: {failure}")
        return value

    def _watch(self, done: threading.Event) -> None:
        while True:
            finished = done.wait(self.look_every)
            self.peak_mib = max(self.peak_mib, _proportional_mib(self._process.pid))
            if finished:
                return


def _serve(
    pipe: Connection, prepare: Callable[..., Any], args: tuple[Any, ...], cores: int, log: str
) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    with open(log, "w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    try:
        run = prepare(*args)
        pipe.send((None, None))
        while True:
            argument = pipe.recv()
            cpu, wall = _tree_cpu(), time.perf_counter()
            result = run(argument)
            wall = time.perf_counter() - wall
            pipe.send((None, (Time(wall, _tree_cpu() - cpu), result)))
    except EOFError:
        return
    except Exception:
        pipe.send((traceback.format_exc(), None))


def _tree(pid: int | None) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _tree_cpu() -> float:
    """Processor seconds of this process, of those under it, and of those that it and they have waited for."""
    waited = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = time.process_time() + waited.ru_utime + waited.ru_stime
    for process in _tree(os.getpid())[1:]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _proportional_mib(pid: int | None) -> float:
    """Memory of a process and of those under it; what several of them map is divided among them."""
    total = 0
    for process in _tree(pid):
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return total / (1 << 20)
