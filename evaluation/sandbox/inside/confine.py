"""The last steps of a candidate's process before the candidate: limits, another user, no rights, a filter."""

import os
import resource
from typing import Any

from evaluation.sandbox.inside import landlock, seccomp
from evaluation.sandbox.inside.kernel import CLONE_NEWUSER, PR_SET_DUMPABLE, drop_capabilities, prctl, unshare
from evaluation.sandbox.inside.view import DEVICES

NOBODY = 65534
_RESOURCES = {
    "cpu": resource.RLIMIT_CPU,
    "memory": resource.RLIMIT_AS,
    "file": resource.RLIMIT_FSIZE,
    "files": resource.RLIMIT_NOFILE,
    "processes": resource.RLIMIT_NPROC,
    "core": resource.RLIMIT_CORE,
}


def limit(limits: dict[str, int]) -> None:
    """Hard limits, none above what this process has itself."""
    for name, kind in _RESOURCES.items():
        if name in limits:
            _, ceiling = resource.getrlimit(kind)
            value = limits[name] if ceiling == resource.RLIM_INFINITY else min(limits[name], ceiling)
            resource.setrlimit(kind, (value, value))


def map_user(inside: int, outside: int) -> None:
    """In a new user namespace: one user and one group, `inside` there and `outside` in the one before."""
    for name, content in (
        ("setgroups", "deny"),
        ("uid_map", f"{inside} {outside} 1"),
        ("gid_map", f"{inside} {outside} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(content)


def become_nobody() -> None:
    """Nobody of a user namespace that holds nobody else, so that processes are counted per candidate.

    Where the user cannot be changed (a namespace with one user in it), the one user is called nobody.
    """
    outside = NOBODY
    try:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    except OSError:
        outside = os.getuid()
    prctl("dumpable", PR_SET_DUMPABLE, 1)  # else /proc/self belongs to root
    if os.path.exists("/proc/self/uid_map"):
        unshare(CLONE_NEWUSER)
        map_user(NOBODY, outside)


def confine(tier: str, limits: dict[str, int], readable: list[str], writable: str, forks: bool) -> None:
    """Point of no return. The namespaces, if the tier has any, are this process's already.

    `forks`: whether it needs processes of its own, where nothing but a filter can forbid them.
    """
    if tier in ("bubblewrap", "namespaces"):
        become_nobody()
        limit(limits)
        drop_capabilities()
        seccomp.refuse(namespaces=True)
    elif tier == "landlock":
        if forks and os.getuid() == 0:
            os.chown(writable, NOBODY, NOBODY)
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        limit(limits)
        drop_capabilities()
        landlock.restrict(readable, [f"/dev/{name}" for name in DEVICES], writable)
        seccomp.refuse(namespaces=False, forks=forks)
    else:
        limit(limits)


def job_limits(request: dict[str, Any]) -> dict[str, int]:
    """The part of a request that the kernel enforces.

    The keeper looks at the CPU clock itself; the kernel's limit, which counts whole ticks and can be early by a tenth
    on a busy machine, stands behind it, and holds for children too.
    """
    limits = {name: value for name, value in request["limits"].items() if name in _RESOURCES}
    return {**limits, "cpu": limits["cpu"] + limits["cpu"] // 2 + 1}
