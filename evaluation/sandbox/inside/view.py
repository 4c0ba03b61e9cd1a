"""What a candidate sees of the file system: system folders and what it was given, read-only, and an own /tmp."""

import os
import stat

from evaluation.sandbox.inside.kernel import (
    ATTR_NOSUID,
    ATTR_RDONLY,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    enter_root,
    mount,
    set_mount_attributes,
)

DEVICES = ("null", "zero", "full", "random", "urandom")
WORK = "/tmp"


def layout(readable: list[str], masked: list[str]) -> list[tuple[str, bool]]:
    """(path, is it shown): parents first, what an entry above already decides left out.

    A path through symbolic links is shown under both its names. What is readable inside a masked folder is shown.
    """
    wanted = {path: True for given in readable for path in (os.path.abspath(given), os.path.realpath(given))}
    wanted |= dict.fromkeys((os.path.realpath(path) for path in masked), False)
    entries: list[tuple[str, bool]] = []
    for path in sorted(wanted):
        above = [shown for parent, shown in entries if path.startswith(parent.rstrip("/") + "/")]
        if os.path.exists(path) and (above[-1] if above else False) != wanted[path]:
            entries.append((path, wanted[path]))
    return entries


def build(entries: list[tuple[str, bool]]) -> None:
    """Replace the root of this mount namespace by one that holds `entries` alone, all read-only."""
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    devices = [(f"/dev/{name}", True) for name in DEVICES]
    sources = {path: os.open(path, os.O_PATH) for path, shown in [*entries, *devices] if shown}
    mount("tmpfs", WORK, "tmpfs", MS_NOSUID, "mode=755,size=4m")
    for folder in ("proc", "tmp", "dev/shm"):
        os.makedirs(f"{WORK}/{folder}")
    for path, shown in [*entries, *devices]:
        target = WORK + path
        if not shown:
            os.makedirs(target, exist_ok=True)
            mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=1m")
            continue
        _make_target(target, os.stat(sources[path]))
        # By descriptor: the tmpfs may lie over the source's own path.
        mount(f"/proc/self/fd/{sources[path]}", target, None, MS_BIND | MS_REC)
        os.close(sources[path])
    _mount_proc(f"{WORK}/proc")
    links = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
    for name, target in links.items():
        os.symlink(target, f"{WORK}/dev/{name}")
    set_mount_attributes(WORK, ATTR_RDONLY | ATTR_NOSUID)
    enter_root(WORK)


def private(tmp_bytes: int, readable: list[str]) -> None:
    """In the fresh namespaces of one candidate: its own /proc, /tmp and /dev/shm. What is shown below /tmp stays."""
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    kept = [path for path, shown in layout(readable, []) if shown and path.startswith(WORK + "/")]
    sources = {path: os.open(path, os.O_PATH) for path in kept}
    if not _mount_proc("/proc"):
        mount("tmpfs", "/proc", "tmpfs", MS_NOSUID | MS_NODEV | MS_RDONLY, "mode=755,size=4k")
    for folder in (WORK, "/dev/shm"):
        mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, f"mode=1777,size={tmp_bytes}")
    for path, source in sources.items():
        _make_target(path, os.stat(source))
        mount(f"/proc/self/fd/{source}", path, None, MS_BIND | MS_REC)  # it stays read-only
        os.close(source)


def _make_target(target: str, source: os.stat_result) -> None:
    """A folder or a file to mount on."""
    if stat.S_ISDIR(source.st_mode):
        os.makedirs(target, exist_ok=True)
        return
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "a"):
        pass


def _mount_proc(target: str) -> bool:
    """False inside containers that hide parts of /proc, where the kernel refuses a whole one."""
    try:
        mount("proc", target, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except PermissionError:
        return False
    return True
