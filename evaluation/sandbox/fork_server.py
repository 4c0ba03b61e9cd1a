"""The outside's end of a fork server: starting one, handing over a candidate, taking back what became of it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.config import Limits
from evaluation.sandbox.inside.view import DEVICES, layout
from evaluation.sandbox.tiers import ROOT, Tier

START_SECONDS = 60.0
GRACE_SECONDS = 20.0  # beyond the wall limit, which the keeper enforces: then the whole server is ended
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC = (
    "alternatives",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "fonts",
    "php",
    "node",
)
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}


def system_paths() -> list[str]:
    """What every program may read: system folders, parts of /etc without secrets, and this Python."""
    etc = [f"/etc/{name}" for name in _ETC]
    with contextlib.suppress(OSError):
        etc += [f"/etc/{name}" for name in os.listdir("/etc") if name.startswith("java")]
    return [*_SYSTEM, *etc, sys.base_prefix]


def masked_paths() -> list[str]:
    """Packages of the system's Python: some ship benchmarks with their solutions."""
    return [sysconfig.get_path("purelib", vars={"base": sys.base_prefix, "platbase": sys.base_prefix})]


class ServerLost(RuntimeError):
    """The fork server has ended in the middle of a job; another one must be started."""


class ForkServer:
    """One fork server in its sandbox. Not for two threads at once; close it, or use it as a context."""

    def __init__(
        self,
        tier: Tier,
        readable: Sequence[Path] = (),
        modules: Sequence[str] = (),
        path: Sequence[Path] = (),
    ) -> None:
        """`modules` are imported once for all candidates, from `path`, which must be readable."""
        self.tier: Tier = tier
        self._scratch = tempfile.mkdtemp(prefix="sandbox-")
        os.chmod(self._scratch, 0o711)  # without namespaces, nobody's folders lie in it
        setup = {
            "tier": tier,
            "readable": [*system_paths(), *map(str, readable)],
            "masked": masked_paths(),
            "modules": list(modules),
            "path": list(map(str, path)),
            "root": str(ROOT),
            "scratch": self._scratch,
        }
        ours, theirs = socket.socketpair()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  closed by `close`
        with theirs:
            self._process = subprocess.Popen(
                _command(setup),
                cwd="/",
                env={"PYTHONHASHSEED": "0"},
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=self._log,
                start_new_session=True,
            )
        self._control = ours
        ours.settimeout(START_SECONDS)
        try:
            greeting = ours.recv(6)
        except OSError:
            greeting = b""
        if greeting != b"ready\n":
            ours.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE_SECONDS)  # for its last words
            why = self.log or "no message"
            self.close()
            raise OSError(f"the sandbox {tier} does not start: {why}")

    @property
    def log(self) -> str:
        """The last line that the server has written, "" for none."""
        with contextlib.suppress(ValueError):
            self._log.seek(0)
            lines = self._log.read().decode("utf-8", "replace").strip().splitlines()
            return lines[-1] if lines else ""
        return ""

    def start(
        self, request: Mapping[str, Any], contents: Sequence[bytes] = (), channel: int | None = None
    ) -> None:
        """Hand a candidate over. `channel` becomes its descriptor 3 and stays open here. ServerLost."""
        line = json.dumps(request).encode()
        self._deadline = time.monotonic() + request["limits"]["wall"] + GRACE_SECONDS
        try:
            self._control.settimeout(GRACE_SECONDS)
            if channel is None:
                self._control.sendall(b"J")
            else:
                socket.send_fds(self._control, [b"J"], [channel])
            self._control.sendall(b"".join([len(line).to_bytes(8, "big"), line, *contents]))
        except OSError as error:
            raise ServerLost(f"{error}: {self.log}") from None

    def stop(self) -> None:
        """End the candidate before its time; `report` will be None, or what it has come to already."""
        with contextlib.suppress(OSError):
            self._control.sendall(b"S")

    def report(self) -> tuple[dict[str, Any], dict[str, bytes]] | None:
        """Wait until the candidate and all it started are gone: the keeper's report and its parts.

        None after `stop`. ServerLost if the answer does not come.
        """
        size = int.from_bytes(self._read(8), "big")
        if size == 0:
            return None
        line, _, rest = self._read(size).partition(b"\n")
        report = json.loads(line)
        if report["status"] == "sandbox_error":
            raise OSError(f"the sandbox {self.tier} failed: {report['error']}")
        parts = {}
        for name, length in report.pop("parts"):
            parts[name], rest = rest[:length], rest[length:]
        return report, parts

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            try:
                self._control.settimeout(max(0.1, self._deadline - time.monotonic()))
                part = self._control.recv(min(size - len(data), 1 << 20))
            except OSError as error:
                raise ServerLost(f"{error}: {self.log}") from None
            if not part:
                raise ServerLost(f"ended: {self.log}")
            data += part
        return bytes(data)

    def close(self) -> None:
        """End the server and, with it, whatever may run in it."""
        self._control.close()
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_BOOT = "import sys; sys.path.insert(0, {root!r}); from evaluation.sandbox.inside.server import main; main()"


def _command(setup: dict[str, Any]) -> list[str]:
    if setup["tier"] != "bubblewrap":
        return [*_python(str(ROOT)), json.dumps(setup)]
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise OSError("bwrap is not installed")
    command = [
        bwrap,
        "--unshare-pid",
        "--unshare-net",
        "--unshare-ipc",
        "--unshare-uts",
        "--unshare-cgroup-try",
    ]
    if os.getuid() != 0:
        command += ["--unshare-user", "--uid", "0", "--gid", "0"]
    command += ["--cap-add", "ALL"]
    entries = layout(setup["readable"], setup["masked"])
    # bwrap's own folders above an entry are closed to others, which the candidate is.
    above = {str(parent) for entry, _ in entries for parent in Path(entry).parents} - {"/"}
    for folder in sorted(above - {entry for entry, _ in entries}):
        if not any(folder.startswith(entry + "/") for entry, _ in entries):
            command += ["--perms", "0755", "--dir", folder]
    for entry, shown in entries:
        command += ["--ro-bind", entry, entry] if shown else ["--tmpfs", entry]
    code = "/sandbox"
    for part in ("evaluation/__init__.py", "evaluation/sandbox/__init__.py", "evaluation/sandbox/inside"):
        command += ["--ro-bind", str(ROOT / part), f"{code}/{part}"]
    command += [
        "--perms",
        "0755",
        "--dir",
        "/dev",
    ]  # else bwrap makes it for root alone, which the candidate is not
    for name in DEVICES:
        command += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        command += ["--symlink", target, f"/dev/{name}"]
    command += ["--proc", "/proc", "--dir", "/tmp", "--dir", "/dev/shm"]
    command += ["--remount-ro", "/", "--chdir", "/", "--"]
    return [*command, *_python(code), json.dumps({**setup, "root": code})]


def _python(root: str) -> list[str]:
    interpreter = os.path.realpath(sys.executable)
    # Not -I: it would ignore the fixed seed, and with it the order of sets would differ from run to run.
    return [interpreter, "-P", "-s", "-S", "-B", "-X", "utf8", "-c", _BOOT.format(root=root)]


def resources(limits: Limits) -> dict[str, float]:
    """The limits as the inside wants them."""
    found: dict[str, float] = {
        "cpu": limits.cpu_seconds,
        "wall": limits.wall_seconds,
        "file": limits.file_bytes,
        "files": limits.open_files,
        "processes": limits.processes,
        "core": 0,
        "output": limits.output_bytes,
        "disk": limits.disk_bytes,
        "resident": limits.resident_bytes,
    }
    if limits.memory_bytes is not None:
        found["memory"] = limits.memory_bytes
    return found


class Servers:
    """Fork servers of one kind, made when they are needed, used by one thread at a time, and kept."""

    def __init__(
        self,
        tier: Tier,
        readable: Sequence[Path] = (),
        modules: Sequence[str] = (),
        path: Sequence[Path] = (),
    ) -> None:
        self.tier = tier
        self._kind = (tier, tuple(readable), tuple(modules), tuple(path))
        self._idle: list[ForkServer] = []
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def one(self) -> Iterator[ForkServer]:
        """A server for the length of a block; one that fails there is not used again."""
        with self._lock:
            server = self._idle.pop() if self._idle else None
        server = server or ForkServer(*self._kind)
        try:
            yield server
        except BaseException:
            server.close()
            raise
        with self._lock:
            self._idle.append(server)

    def close(self) -> None:
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
