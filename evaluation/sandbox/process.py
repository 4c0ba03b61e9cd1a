"""Run untrusted Python sources in one process of their own, in the sandbox's fork server."""

from __future__ import annotations

import atexit
import functools
import json
import secrets
import socket
import time
from collections.abc import Sequence

from evaluation.config import Limits
from evaluation.sandbox.command import Execution, Status
from evaluation.sandbox.fork_server import ENVIRONMENT, Servers, resources
from evaluation.sandbox.tiers import Tier, choose_tier

__all__ = ["TAIL_BYTES", "Execution", "Status", "Tier", "choose_tier", "run_program"]

TAIL_BYTES = 2000


def run_program(sources: Sequence[str], limits: Limits, tier: Tier) -> Execution:
    """Run the sources one after the other in one namespace of one fresh process.

    Only "completed" means that the last one ran to its end; a program that means to lie about that can, so this is
    for code that has nothing to gain. Judging is `evaluation.judge`. stdout and stderr are tails of TAIL_BYTES.
    """
    request = {
        "kind": "program",
        "files": [],
        "collect": [],
        "environment": ENVIRONMENT,
        "limits": resources(limits),
    }
    token = secrets.token_hex()
    started = time.monotonic()
    ours, theirs = socket.socketpair()
    with ours, _servers(tier).one() as server:
        with theirs:
            server.start(request, channel=theirs.fileno())
        try:
            ours.settimeout(limits.wall_seconds)
            ours.sendall(json.dumps([list(sources), token]).encode() + b"\n")
        except OSError:
            pass  # it ended before it had read everything: the report says how
        answer = server.report()
        said = _available(ours)
    assert answer is not None, "only `stop` leaves no report"
    report, parts = answer
    status: Status = report["status"]
    if status == "exited" and report["exit_code"] == 0 and said == f'=\n="{token}"\n'.encode():
        status = "completed"
    stdout, stderr = (parts[name][-TAIL_BYTES:].decode("utf-8", "replace") for name in ("stdout", "stderr"))
    wall = time.monotonic() - started
    return Execution(status, report["exit_code"], report["cpu_seconds"], wall, stdout, stderr, tier)


def _available(channel: socket.socket) -> bytes:
    channel.setblocking(False)
    try:
        return channel.recv(1 << 12)
    except OSError:  # nothing came, or it ended without reading what we sent
        return b""


@functools.cache
def _servers(tier: Tier) -> Servers:
    servers = Servers(tier)
    atexit.register(servers.close)
    return servers
