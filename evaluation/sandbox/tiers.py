"""Which walls this host can put around a program.

bubblewrap  the `bwrap` program builds the namespaces, and ours of each candidate lie inside them
namespaces  user, mount, pid, network, IPC and host name namespaces, made by ourselves
landlock    Landlock and seccomp, unprivileged, where namespaces are forbidden: no private /tmp size, the host's
            process table exists (but cannot be read, signalled or traced), and what is left over is swept away
unsafe      limits only. Never chosen, only typed.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

from evaluation.sandbox.inside import landlock
from evaluation.sandbox.inside.kernel import supported
from snowcoder.base import UserError

Tier = Literal["bubblewrap", "namespaces", "landlock", "unsafe"]
Wanted = Literal["auto", "bubblewrap", "namespaces", "landlock", "unsafe"]

TIERS: tuple[Tier, ...] = ("bubblewrap", "namespaces", "landlock")
ROOT = Path(__file__).parents[2]
_REFUSAL = (
    "sandbox: this host allows neither bubblewrap nor user namespaces, and its kernel has no Landlock of version "
    f"{landlock.NEEDED_VERSION} (Linux 6.12): run where one of them works, or type --unsafe"
)


def choose_tier(wanted: Wanted = "auto") -> Tier:
    """The strongest tier that works here, or the one asked for. UserError if it is not to be had."""
    if wanted == "unsafe":
        return "unsafe"
    for tier in TIERS if wanted == "auto" else (wanted,):
        if works(tier):
            return tier
    if wanted == "auto":
        raise UserError(_REFUSAL)
    raise UserError(f"sandbox: the tier {wanted!r} does not work on this host: set sandbox to auto")


@functools.cache
def works(tier: Tier) -> bool:
    """Whether a program runs to its end in that tier, tried once."""
    from evaluation.config import Limits
    from evaluation.sandbox.command import run_command

    if not sys.platform.startswith("linux") or not supported():
        return tier == "unsafe"
    if tier == "bubblewrap" and shutil.which("bwrap") is None:
        return False
    if tier == "landlock" and landlock.version() < landlock.NEEDED_VERSION:
        return False
    try:
        return run_command(["/bin/sh", "-c", "exit 7"], {}, Limits(), tier).exit_code == 7
    except (OSError, subprocess.SubprocessError):
        return False
