"""Run one untrusted command, of any language, with its files in a private folder, and say how it ended."""

from __future__ import annotations

import atexit
import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from evaluation.config import Limits
from evaluation.sandbox.fork_server import ENVIRONMENT, Servers, resources
from evaluation.sandbox.tiers import Tier

Status = Literal["completed", "exited", "signalled", "cpu_limit", "memory", "wall_limit", "output_limit"]
_POOLS = 8


@dataclass(frozen=True)
class Execution:
    """How a program ended. `run_command` never says "completed", only `run_program` does (sources ran to the end)."""

    status: Status
    exit_code: int  # negative: the signal
    cpu_seconds: float  # of the program and the children it waited for
    wall_seconds: float
    stdout: str  # its last `output_bytes`
    stderr: str
    tier: Tier
    files: Mapping[str, bytes] = field(default_factory=dict)  # those asked for by `collect`


def run_command(
    argv: Sequence[str],
    files: Mapping[str, bytes],
    limits: Limits,
    tier: Tier,
    readable: Sequence[Path] = (),
    *,
    environment: Mapping[str, str] | None = None,
    collect: Sequence[str] = (),
) -> Execution:
    """Run `argv` in a folder that holds `files`, by relative path, and is deleted afterwards.

    It sees system folders and `readable`, read-only; no network, no other process. `environment` adds to a PATH and
    a UTF-8 locale. `collect` names files of the folder itself, without "/", to bring back (up to `output_bytes`
    each). Nothing of it runs on when this returns. Thread-safe. OSError if the sandbox itself fails.
    """
    for path in files:
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise ValueError(f"{path!r} lies outside of the folder")
    if any("/" in name for name in collect):
        raise ValueError("collect: names without a folder")
    request = {
        "kind": "command",
        "argv": list(argv),
        "files": [[path, len(content)] for path, content in files.items()],
        "collect": list(collect),
        "environment": {**ENVIRONMENT, **(environment or {})},
        "limits": resources(limits),
    }
    started = time.monotonic()
    with _servers(tier, tuple(readable)).one() as server:
        server.start(request, list(files.values()))
        answer = server.report()
    assert answer is not None, "only `stop` leaves no report"
    report, parts = answer
    return Execution(
        status=report["status"],
        exit_code=report["exit_code"],
        cpu_seconds=report["cpu_seconds"],
        wall_seconds=time.monotonic() - started,
        stdout=parts.pop("stdout").decode("utf-8", "replace"),
        stderr=parts.pop("stderr").decode("utf-8", "replace"),
        tier=tier,
        files=parts,
    )


@functools.lru_cache(_POOLS)
def _servers(tier: Tier, readable: tuple[Path, ...]) -> Servers:
    servers = Servers(tier, readable)
    atexit.register(servers.close)
    return servers
