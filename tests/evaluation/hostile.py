"""A court for hostile programs: one small task, an honest neighbour, and a look at what the host has suffered."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from evaluation.benchmarks.inputs import InputTask
from evaluation.config import Limits
from evaluation.judge import _retrying, _servers
from evaluation.judging.batch import judge_batch
from evaluation.judging.outcome import Outcome
from evaluation.judging.prepared import Prepared, prepare
from evaluation.sandbox.fork_server import Servers
from evaluation.sandbox.tiers import TIERS, Tier, works

LIMITS = Limits(
    cpu_seconds=1, wall_seconds=60, memory_bytes=256 << 20, resident_bytes=256 << 20, output_bytes=100_000
)
HONEST = "def f(x):\n    return [x, x * 2.5, str(x)]\n"
TASK = InputTask(
    benchmark="humaneval+",
    task_id="Hostile/0",
    family="humaneval",
    entry_point="f",
    reference=HONEST,
    base=tuple((number,) for number in range(5)),
    plus=(),
    atol=0,
)


def parametrize_tiers(*tiers: Tier) -> pytest.MarkDecorator:
    """Each tier that was asked for; skipped where the host has not got it."""
    return pytest.mark.parametrize(
        "tier",
        [
            pytest.param(tier, marks=pytest.mark.skipif(not works(tier), reason=f"no {tier} on this host"))
            for tier in tiers or TIERS
        ],
    )


@dataclass
class Court:
    """Judges one program while an honest one is judged beside it."""

    servers: Servers
    task: Prepared
    mark: str  # in every path and command line that a program may leave behind
    secret: Path  # a file of the host that a program may look for

    def judge(self, program: str, wall_seconds: float = LIMITS.wall_seconds) -> Outcome:
        """The program's outcome. Asserts that the neighbour, and the next one in the same sandbox, pass."""
        source = program.replace("MARK", self.mark).replace("SECRET", str(self.secret))
        with ThreadPoolExecutor(2) as pool:
            guilty = pool.submit(self._one, source, wall_seconds)
            neighbour = pool.submit(self._one, HONEST)
            outcome = guilty.result()
            assert neighbour.result().reason == "passed"
        assert self._one(HONEST).reason == "passed"
        return outcome

    def _one(self, source: str, wall_seconds: float = LIMITS.wall_seconds) -> Outcome:
        limits = LIMITS.model_copy(update={"wall_seconds": wall_seconds})

        def run() -> Outcome:
            with self.servers.one() as server:
                return judge_batch(server, source, self.task, limits)

        return _retrying(run)


@contextmanager
def court(tier: Tier) -> Iterator[Court]:
    """Asserts in the end that the host is as it was: no marked file, no marked process."""
    servers = _servers(tier)
    mark = f"hostile-{os.getpid()}-{secrets.token_hex(4)}"
    with tempfile.NamedTemporaryFile("w", prefix="expected-", suffix=".txt") as file:
        file.write("the expected values")
        file.flush()
        with servers.one() as server:
            task = prepare(TASK, server)
        yield Court(servers, task, mark, Path(file.name))
    for folder in map(Path, (tempfile.gettempdir(), "/var/tmp", "/dev/shm", Path.home(), Path.cwd(), "/")):
        assert [path for path in folder.glob("*") if mark in path.name] == []
    assert processes_with(mark) == []


def processes_with(mark: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue  # ended while we looked
            if mark.encode() in command:
                found.append(f"{entry.name}: {command!r}")
    return found
