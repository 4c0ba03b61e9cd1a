"""Run an untrusted Python program in a process of its own, with limits, and leave nothing of it behind.

What holds: CPU, memory, file size, output and wall limits; an empty environment; a temporary directory that
is removed; every descendant is killed at the end, also one in a session of its own, and also when the
evaluation itself dies. In the tier "namespaces" (where `unshare` works) there is no network either, and no
other process is visible.

What does not hold: this is not a security sandbox. The program reads and writes whatever its user may; in
the tier "process" it reaches the network, and may kill its supervisor. The test runs in the process of the
candidate, which can therefore look at it. Run evaluations as a user, or in a container, that has nothing
to lose. Linux only.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from evaluation.config import Limits
from snowcoder.base import UserError

Tier = Literal["namespaces", "process"]
Status = Literal["completed", "exited", "signalled", "cpu_limit", "wall_limit", "output_limit"]

TAIL_BYTES = 2000
GRACE_SECONDS = 10.0  # for the supervisor to sweep and report, before it is killed too
CPU_CLOCK_SLACK = 0.1  # the limit's clock and the accounting's differ by some ticks
_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_UNSHARE = (
    "--user",
    "--map-current-user",
    "--net",
    "--pid",
    "--ipc",
    "--mount-proc",
    "--fork",
    "--kill-child",
)


@dataclass(frozen=True)
class Execution:
    """How a program ended. Only "completed" means that its last source ran to its end."""

    status: Status
    exit_code: int  # negative: the signal
    cpu_seconds: float
    wall_seconds: float
    stdout: str  # the last TAIL_BYTES
    stderr: str
    tier: Tier


@functools.cache
def _unshare() -> tuple[str, ...] | None:
    """The command that enters the namespaces, or None where the host has or allows none."""
    program = shutil.which("unshare")
    if program is None:
        return None
    command = (program, *_UNSHARE)
    probe = subprocess.run([*command, "true"], capture_output=True, timeout=30, check=False)
    return command if probe.returncode == 0 else None


def choose_tier(wanted: Literal["auto", "namespaces", "process"] = "auto") -> Tier:
    """The tier that programs will run in. UserError if namespaces are asked for and not to be had."""
    if wanted == "process":
        return "process"
    if _unshare() is not None:
        return "namespaces"
    if wanted == "namespaces":
        raise UserError("sandbox: this host allows no user namespaces: set sandbox to auto or process")
    return "process"


def run_program(sources: Sequence[str], limits: Limits, tier: Tier) -> Execution:
    """Run the sources one after the other in one namespace of one fresh process."""
    request = json.dumps({"sources": list(sources), "limits": _resource_limits(limits)}).encode() + b"\n"
    report_out, report_in = os.pipe()
    prefix = (_unshare() or ()) if tier == "namespaces" else ()
    with (
        open(report_out, "rb") as report,
        tempfile.TemporaryDirectory(prefix="candidate-", ignore_cleanup_errors=True) as folder,
    ):
        started = time.monotonic()
        try:
            process = subprocess.Popen(
                [*prefix, sys.executable, "-I", "-B", "-X", "utf8", str(_SUPERVISOR), str(report_in)],
                cwd=folder,
                env={},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(report_in,),
                start_new_session=True,
                bufsize=0,
            )
        finally:
            os.close(report_in)
        stopped, stdout, stderr = _watch(process, request, started + limits.wall_seconds, limits.output_bytes)
        line = report.readline()
    ended: dict[str, Any] = {"completed": False, "exit_code": -signal.SIGKILL, "cpu_seconds": 0.0}
    if line:  # none: the candidate has killed its supervisor
        ended = json.loads(line)
    code, cpu_seconds = ended["exit_code"], ended["cpu_seconds"]
    status: Status
    if stopped is not None:
        status = stopped
    elif ended["completed"]:
        status = "completed"
    elif code != 0 and cpu_seconds >= limits.cpu_seconds - CPU_CLOCK_SLACK:
        status = "cpu_limit"
    else:
        status = "signalled" if code < 0 else "exited"
    return Execution(status, code, cpu_seconds, time.monotonic() - started, stdout, stderr, tier)


def _resource_limits(limits: Limits) -> dict[str, int]:
    return {
        "RLIMIT_CPU": limits.cpu_seconds,
        "RLIMIT_AS": limits.memory_bytes,
        "RLIMIT_FSIZE": limits.file_bytes,
        "RLIMIT_NOFILE": limits.open_files,
        "RLIMIT_NPROC": limits.processes,
        "RLIMIT_CORE": 0,
    }


def _watch(
    process: subprocess.Popen[bytes], request: bytes, deadline: float, output_bytes: int
) -> tuple[Status | None, str, str]:
    """Hand the request over, read the output until the end or a limit, then end everything.

    Returns the limit reached, if any, and the tails of stdout and stderr.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    tails = {process.stdout.fileno(): b"", process.stderr.fileno(): b""}
    total = 0
    stopped: Status | None = None
    with (
        process.stdin as lifeline,
        process.stdout,
        process.stderr,
        open(os.pidfd_open(process.pid), "rb", buffering=0) as ended,
        selectors.DefaultSelector() as selector,
    ):
        with contextlib.suppress(BrokenPipeError):  # it died: its stderr says why
            lifeline.write(request)
        selector.register(ended.fileno(), selectors.EVENT_READ)
        for fd in tails:
            os.set_blocking(fd, False)
            selector.register(fd, selectors.EVENT_READ)
        running = True
        while running:
            ready = {key.fd for key, _ in selector.select(max(0.0, deadline - time.monotonic()))}
            running = ended.fileno() not in ready
            for fd in tails if not running else ready & tails.keys():
                chunk = _read_available(fd)
                total += len(chunk)
                tails[fd] = (tails[fd] + chunk)[-TAIL_BYTES:]
                if running and not chunk:
                    selector.unregister(fd)  # closed; it would be ready for ever
            if stopped is not None and time.monotonic() >= deadline:
                break
            if stopped is None and running:
                if total > output_bytes:
                    stopped = "output_limit"
                elif time.monotonic() >= deadline:
                    stopped = "wall_limit"
                if stopped is not None:
                    lifeline.close()
                    deadline = time.monotonic() + GRACE_SECONDS
        # The leader is not reaped yet, so its group still exists and its number cannot be another's.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    stdout, stderr = (tail.decode("utf-8", "replace") for tail in tails.values())
    return stopped, stdout, stderr


def _read_available(fd: int) -> bytes:
    """At most one pipe's content; b"" when it is empty or closed."""
    try:
        return os.read(fd, 1 << 16)
    except BlockingIOError:
        return b""
