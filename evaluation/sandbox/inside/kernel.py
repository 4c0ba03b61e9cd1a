"""System calls that Python 3.11 does not offer: namespaces, mounts, capabilities, seccomp, Landlock.

Part of the sandbox's inside: standard library only, no other import, since it runs as a plain file. Linux on
x86_64 and aarch64. Errors are OSError with the call's name.
"""

import ctypes
import os
import platform
import struct

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18
MNT_DETACH = 2
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV = 1, 2, 4  # MOUNT_ATTR_*
AT_RECURSIVE = 0x8000
PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_SECUREBITS = 4, 22, 24, 28
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 36, 38
SECCOMP_MODE_FILTER = 2
NO_ROOT_LOCKED = 0x3F & ~0x10  # noroot and no_setuid_fixup, both locked; keep_caps off

_NUMBERS = {  # mount_setattr and the Landlock calls have one number on every architecture
    "x86_64": {"pivot_root": 155, "capset": 126, "arch": 0xC000003E},
    "aarch64": {"pivot_root": 41, "capset": 91, "arch": 0xC00000B7},
}
MOUNT_SETATTR, LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 442, 444, 445, 446
MACHINE = platform.machine()
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def check(name: str, result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result


def _text(value: str | None) -> bytes | None:
    return None if value is None else os.fsencode(value)


def supported() -> bool:
    return MACHINE in _NUMBERS


def syscall(name: str, number: int, *arguments: object) -> int:
    values = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    return check(name, _libc.syscall(ctypes.c_long(number), *values))


def unshare(flags: int) -> None:
    check("unshare", _libc.unshare(flags))


def setns(fd: int, kind: int) -> None:
    check("setns", _libc.setns(fd, kind))


def mount(source: str | None, target: str, kind: str | None, flags: int = 0, data: str | None = None) -> None:
    check(f"mount {target}", _libc.mount(_text(source), _text(target), _text(kind), flags, _text(data)))


def unmount(target: str) -> None:
    check(f"umount {target}", _libc.umount2(_text(target), MNT_DETACH))


def set_mount_attributes(target: str, attributes: int) -> None:
    """Read-only and the like, for a mount and all below it."""
    data = struct.pack("QQQQ", attributes, 0, 0, 0)
    syscall("mount_setattr", MOUNT_SETATTR, -100, _text(target), AT_RECURSIVE, data, len(data))


def enter_root(new_root: str) -> None:
    """Make `new_root` the only visible tree."""
    os.chdir(new_root)
    syscall("pivot_root", _NUMBERS[MACHINE]["pivot_root"], b".", b".")
    unmount(".")
    os.chdir("/")


def prctl(name: str, option: int, *values: int | object) -> None:
    arguments = [ctypes.c_ulong(value) if isinstance(value, int) else value for value in values]
    arguments += [ctypes.c_ulong(0)] * (4 - len(arguments))
    check(f"prctl {name}", _libc.prctl(option, *arguments))


def drop_capabilities() -> None:
    """All sets, for good: also a program that is executed later gets none back."""
    for capability in range(64):
        if _libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) < 0:
            break  # the last one that the kernel knows, or none may be dropped
    _libc.prctl(PR_SET_SECUREBITS, ctypes.c_ulong(NO_ROOT_LOCKED), 0, 0, 0)
    header = struct.pack("Ii", 0x20080522, 0)
    syscall("capset", _NUMBERS[MACHINE]["capset"], header, bytes(24))
    prctl("no_new_privs", PR_SET_NO_NEW_PRIVS, 1)


def install_filter(program: bytes) -> None:
    """A seccomp program of 8-byte BPF instructions."""
    buffer = ctypes.create_string_buffer(program, len(program))
    descriptor = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    prctl("seccomp", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.c_char_p(descriptor))


def audit_architecture() -> int:
    return _NUMBERS[MACHINE]["arch"]
