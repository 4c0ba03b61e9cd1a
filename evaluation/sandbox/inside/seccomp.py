"""What no candidate may ask of the kernel, as a seccomp filter. Part of the inside: standard library only.

A list of refusals, not of permissions, because compilers and virtual machines of other languages run behind the
same filter. Refused calls fail with EPERM, `clone3` with ENOSYS, so that libc falls back to `clone`, whose flags a
filter can see.
"""

import errno
import struct

from evaluation.sandbox.inside.kernel import MACHINE, audit_architecture, install_filter

# name: (x86_64, aarch64)
_REFUSED = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "kexec_load": (246, 104),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "syslog": (103, 116),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "personality": (135, 92),
    "fanotify_init": (300, 262),
}
_FORKS = {"fork": (57, None), "vfork": (58, None)}
_CLONE, _CLONE3, _SOCKET = (56, 220), (435, 435), (41, 198)
_IPC = {  # shared memory, semaphores and queues of System V and POSIX, which outlive their maker
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
}
_METADATA = {  # Landlock does not look at these, and root without any right still owns root's files
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "utimensat": (280, 88),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
}
_NEW_NAMESPACES, _THREAD = 0x7E020000, 0x10000
_SOCKET_FAMILIES = (1, 2, 10)  # unix, and the internet, of which there is none in the network namespace

_LOAD, _JUMP_EQUAL, _JUMP_GE, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENT_0 = 0, 4, 16  # offsets in struct seccomp_data


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def build(namespaces: bool, forks: bool) -> bytes:
    """The filter's program.

    Without namespaces of its own a candidate gets no sockets and no IPC objects. Without `forks` it gets threads only
    and changes no file's mode or owner: it may be root without rights, for whom the number of processes is no limit.
    """
    column = 0 if MACHINE == "x86_64" else 1
    deny = _instruction(_RETURN, _ERRNO | errno.EPERM)
    program = [
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_JUMP_EQUAL, audit_architecture(), 1, 0),
        _instruction(_RETURN, _KILL),
        _instruction(_LOAD, _NUMBER),
    ]
    if MACHINE == "x86_64":  # the x32 calling convention has numbers of its own
        program += [_instruction(_JUMP_GE, 0x40000000, 0, 1), deny]
    refused: dict[str, tuple[int | None, int | None]] = dict(_REFUSED)
    if not namespaces:
        refused |= _IPC | {"socket": _SOCKET}
    if not forks:
        refused.update(_FORKS)
        refused.update(_METADATA)
    for numbers in refused.values():
        number = numbers[column]
        if number is not None:
            program += [_instruction(_JUMP_EQUAL, number, 0, 1), deny]
    only_threads = [] if forks else [_instruction(_JUMP_SET, _THREAD, 1, 0), deny]
    program += [
        _instruction(_JUMP_EQUAL, _CLONE3[column], 0, 1),
        _instruction(_RETURN, _ERRNO | errno.ENOSYS),
        _instruction(_JUMP_EQUAL, _CLONE[column], 0, 3 + len(only_threads)),
        _instruction(_LOAD, _ARGUMENT_0),
        _instruction(_JUMP_SET, _NEW_NAMESPACES, 0, 1),
        deny,
        *only_threads,
        # After a clone without such flags the number is no longer loaded, and no socket call matches it.
        _instruction(_LOAD, _NUMBER),
        _instruction(_JUMP_EQUAL, _SOCKET[column], 0, len(_SOCKET_FAMILIES) + 2),
        _instruction(_LOAD, _ARGUMENT_0),
    ]
    for i, family in enumerate(_SOCKET_FAMILIES):
        program.append(_instruction(_JUMP_EQUAL, family, len(_SOCKET_FAMILIES) - i, 0))
    return b"".join([*program, deny, _instruction(_RETURN, _ALLOW)])


def refuse(namespaces: bool, forks: bool = True) -> None:
    """Install the filter for this process and all it will start."""
    install_filter(build(namespaces, forks))
