"""The fork server: one process inside the sandbox that starts each candidate in fresh namespaces.

A request is one line of JSON on the control socket (stdin), with at most one file descriptor, the candidate's
channel, followed by the contents of its files. The answer is the keeper's report. Anything that arrives before the
report, or the end of the connection, ends the candidate: the parent asks for it at the wall limit, and the kernel
does when the parent has died. No answer is sent before every process of the candidate is gone.
"""

import contextlib
import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from typing import Any

from evaluation.sandbox.inside import view
from evaluation.sandbox.inside.confine import NOBODY, map_user
from evaluation.sandbox.inside.keeper import Keeper
from evaluation.sandbox.inside.kernel import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    PR_SET_CHILD_SUBREAPER,
    PR_SET_DUMPABLE,
    prctl,
    setns,
    unshare,
)

CONTROL = 0
STOP, START = b"S", b"J"
ISOLATED = ("bubblewrap", "namespaces")
SWEEP_SECONDS = 5.0


def main() -> None:
    """`python -c "…main()" SETUP`, where SETUP is JSON: tier, readable, masked, modules, path."""
    setup = json.loads(sys.argv[1])
    tier = setup["tier"]
    if tier == "namespaces":
        _enter_namespaces(setup)
    prctl("dumpable", PR_SET_DUMPABLE, 0)
    if tier not in ISOLATED:
        prctl("subreaper", PR_SET_CHILD_SUBREAPER, 1)
    sys.path[:] = [entry for entry in sys.path if entry != setup["root"]] + setup["path"]
    for name in setup["modules"]:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    gc.collect()
    gc.freeze()  # else every candidate's collector would copy these pages
    _serve(setup)


def _enter_namespaces(setup: dict[str, Any]) -> None:
    """Returns in a new process, the first of its namespace; the old one stays behind and waits for it."""
    if os.getuid() == 0:
        _unshare_with_root_and_nobody()
    else:
        user = os.getuid()
        unshare(CLONE_NEWUSER)
        map_user(0, user)
    unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP)
    first = os.fork()
    if first:
        os.close(CONTROL)  # else our copy would keep the connection open
        _, status = os.waitpid(first, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    view.build(view.layout(setup["readable"], setup["masked"]))


def _unshare_with_root_and_nobody() -> None:
    """To map two users takes a right that a process has only outside of its new namespace: a child stays there."""
    pid = os.getpid()
    entered, enter = os.pipe()
    mapper = os.fork()
    if mapper == 0:
        os.close(enter)
        os.read(entered, 1)
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{pid}/{name}", "w") as file:
                file.write(f"0 0 1\n{NOBODY} {NOBODY} 1")
        os._exit(0)
    unshare(CLONE_NEWUSER)
    os.close(enter)
    os.waitpid(mapper, 0)
    os.close(entered)


def _serve(setup: dict[str, Any]) -> None:
    control = socket.socket(fileno=CONTROL)
    control.sendall(b"ready\n")
    own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC) if setup["tier"] in ISOLATED else -1
    while True:
        line, descriptors = _receive(control)
        if not line:
            os._exit(0)
        request = json.loads(line)
        contents = [_read(control, size) for _, size in request["files"]]
        request["contents"] = contents
        _answer(control, _run(setup, request, descriptors, control, own_pids))


def _receive(control: socket.socket) -> tuple[bytes, list[int]]:
    """The next request; b"" at the end of the connection. A late "stop" is for a candidate that is gone."""
    while True:
        kind, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if kind != STOP:
            break
    if not kind:
        return b"", []
    return _read(control, int.from_bytes(_read(control, 8), "big")), descriptors


def _read(control: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = control.recv(min(size - len(data), 1 << 20))
        if not part:
            os._exit(0)  # the parent has died
        data += part
    return bytes(data)


def _answer(control: socket.socket, report: bytes) -> None:
    try:
        control.sendall(len(report).to_bytes(8, "big") + report)
    except OSError:
        os._exit(0)


def _run(
    setup: dict[str, Any],
    request: dict[str, Any],
    descriptors: list[int],
    control: socket.socket,
    own_pids: int,
) -> bytes:
    """Start a keeper for one candidate and wait for both; b"" if it had to be ended from here."""
    report_out, report_in = os.pipe()
    isolated = setup["tier"] in ISOLATED
    work = view.WORK if isolated else tempfile.mkdtemp(prefix="candidate-", dir=setup["scratch"])
    if isolated:
        setns(own_pids, CLONE_NEWPID)  # a second namespace for children is refused while one is pending
        unshare(CLONE_NEWPID)
    keeper = os.fork()
    if keeper == 0:
        os.close(report_out)
        Keeper(setup, request, descriptors, work, report_in).run()  # never returns
    os.close(report_in)
    for fd in descriptors:
        os.close(fd)
    report = _until_end(keeper, report_out, control)
    os.close(report_out)
    with contextlib.suppress(ProcessLookupError):
        os.kill(keeper, signal.SIGKILL)
    os.waitpid(keeper, 0)  # in namespaces: returns when nothing of it is left
    if not isolated:
        sweep()
        shutil.rmtree(work, ignore_errors=True)
    if report is None:
        os._exit(0)
    return report


def _until_end(keeper: int, report_out: int, control: socket.socket) -> bytes | None:
    """The report; b"" when the parent has stopped the candidate, None when the parent is gone."""
    report = bytearray()
    poll = select.poll()
    poll.register(report_out, select.POLLIN)
    poll.register(control.fileno(), select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == control.fileno():
                return b"" if control.recv(1) else None
            part = os.read(report_out, 1 << 20)
            if not part:
                return bytes(report)
            report += part


def sweep() -> None:
    """Kill and reap every descendant; they are our children as soon as their parents are gone."""
    deadline = time.monotonic() + SWEEP_SECONDS
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/self/task/{os.getpid()}/children") as file:
                children = [int(pid) for pid in file.read().split()]
        except OSError:
            return
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            return
        time.sleep(0.001)
