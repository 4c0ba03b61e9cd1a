"""Landlock: which files a process may touch, where namespaces are not to be had. Part of the inside.

Interface version 6 (Linux 6.12) is asked for, since it also keeps signals and abstract sockets inside.
"""

import ctypes
import os
import struct

from evaluation.sandbox.inside.kernel import LANDLOCK_ADD, LANDLOCK_CREATE, LANDLOCK_RESTRICT, syscall

NEEDED_VERSION = 6
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE, _IOCTL_DEV = 1, 2, 4, 8, 1 << 14, 1 << 15
_ALL_FILES = (1 << 16) - 1
_TCP = 3  # bind and connect
_SCOPED = 3  # abstract unix sockets and signals
_FILE_ONLY = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
READ = _EXECUTE | _READ_FILE | _READ_DIR
DEVICE = _READ_FILE | _WRITE_FILE


def version() -> int:
    """0 where the kernel has none."""
    try:
        return syscall("landlock", LANDLOCK_CREATE, 0, 0, _VERSION_FLAG)
    except OSError:
        return 0


def restrict(readable: list[str], devices: list[str], writable: str) -> None:
    """Confine this process, which must have set no_new_privs, to these trees. Absent paths are left out."""
    attributes = struct.pack("QQQ", _ALL_FILES, _TCP, _SCOPED)
    ruleset = syscall("landlock_create_ruleset", LANDLOCK_CREATE, attributes, len(attributes), 0)
    granted = [(path, READ) for path in readable] + [(path, DEVICE) for path in devices]
    for path, access in [*granted, (writable, _ALL_FILES & ~_IOCTL_DEV)]:
        try:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except (FileNotFoundError, PermissionError):
            continue  # what this user cannot open, it could not use either
        if not os.path.isdir(path):
            access &= _FILE_ONLY
        rule = struct.pack("=Qi", access, fd)
        syscall("landlock_add_rule", LANDLOCK_ADD, ruleset, _PATH_BENEATH, ctypes.c_char_p(rule), 0)
        os.close(fd)
    syscall("landlock_restrict_self", LANDLOCK_RESTRICT, ruleset, 0)
    os.close(ruleset)
