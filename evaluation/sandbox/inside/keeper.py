"""The keeper of one candidate: first process of its namespaces, sets them up, watches, reports, and ends it all."""

import contextlib
import json
import mmap
import os
import resource
import select
import signal
import struct
import time
from typing import Any

from evaluation.sandbox.inside import runner, view
from evaluation.sandbox.inside.confine import confine, job_limits
from evaluation.sandbox.inside.kernel import CLONE_NEWIPC, CLONE_NEWNS, unshare

CHANNEL, PROGRESS_BYTES = 3, 8
TICK_SECONDS = 0.1
CPU_CLOCK_SLACK = 0.1  # the limit's clock and the accounting's differ by some ticks
ISOLATED = ("bubblewrap", "namespaces")
NO_INPUT = -1  # progress before the first input; negative numbers are no input's
PAGE = resource.getpagesize()


class Keeper:
    """Runs in a process of its own; `run` never returns."""

    def __init__(
        self, setup: dict[str, Any], request: dict[str, Any], channel: list[int], work: str, report_fd: int
    ) -> None:
        self.setup, self.request, self.channel = setup, request, channel
        self.work, self.report_fd = work, report_fd
        self.limits = request["limits"]
        self.isolated = setup["tier"] in ISOLATED
        self.progress = mmap.mmap(-1, PROGRESS_BYTES)
        self.progress[:] = struct.pack("q", NO_INPUT)
        self.output = {"stdout": bytearray(), "stderr": bytearray()}
        self.received = 0
        self.input_seen, self.input_started = NO_INPUT, 0.0

    def run(self) -> None:
        try:
            if self.isolated:
                unshare(CLONE_NEWNS | CLONE_NEWIPC)
                view.private(self.limits["disk"], self.setup["readable"])
            self._run()
        except BaseException as error:
            self._report({"status": "sandbox_error", "error": f"{type(error).__name__}: {error}"}, {})
        finally:
            os._exit(0)

    def _run(self) -> None:
        os.chdir(self.work)
        os.umask(0)
        for (path, _), content in zip(self.request["files"], self.request["contents"], strict=True):
            if os.path.dirname(path):
                os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(content)
            os.chmod(path, 0o777)
        pipes = {name: os.pipe() for name in self.output}
        started = time.monotonic()
        candidate = os.fork()
        if candidate == 0:
            self._become_candidate({name: ends[1] for name, ends in pipes.items()})
        for fd in [ends[1] for ends in pipes.values()] + self.channel:
            os.close(fd)
        ended = os.pidfd_open(candidate)
        stopped = self._watch(candidate, ended, {ends[0]: name for name, ends in pipes.items()}, started)
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(ended, signal.SIGKILL)
        _, status, usage = os.wait4(candidate, 0)
        for name, ends in pipes.items():
            self._drain(ends[0], name)
        code = os.waitstatus_to_exitcode(status)
        cpu = usage.ru_utime + usage.ru_stime
        if stopped is None:
            stopped = "signalled" if code < 0 else "exited"
            if code in (-signal.SIGKILL, -signal.SIGXCPU) and cpu >= self.limits["cpu"] - CPU_CLOCK_SLACK:
                stopped = "cpu_limit"
            elif self.received > self.limits["output"]:
                stopped = "output_limit"
        report = {
            "status": stopped,
            "exit_code": code,
            "cpu_seconds": round(cpu, 4),
            "wall_seconds": round(time.monotonic() - started, 4),
            "input": struct.unpack("q", self.progress)[0],
        }
        self._report(report, self._collect())

    def _become_candidate(self, pipes: dict[str, int]) -> None:
        code = 125  # what shells use when the command could not be prepared
        try:
            os.setsid()
            null = os.open(os.devnull, os.O_RDONLY)
            channel = os.dup(self.channel[0]) if self.channel else null
            for target, fd in enumerate((null, pipes["stdout"], pipes["stderr"], channel)):
                os.dup2(fd, target, inheritable=True)
            os.closerange(CHANNEL + 1 if self.channel else CHANNEL, 1 << 16)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.environ.clear()
            os.environ.update(self.request["environment"], HOME=self.work, TMPDIR=self.work)
            is_command = self.request["kind"] == "command"
            confine(
                self.setup["tier"], job_limits(self.request), self.setup["readable"], self.work, is_command
            )
            if is_command:
                for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
                    signal.signal(ignored_by_python, signal.SIG_DFL)
                argv = self.request["argv"]
                os.execvpe(argv[0], argv, dict(os.environ))
            self.request.pop("contents")
            code = runner.serve(CHANNEL, self.progress, self.request)
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.write(2, f"{type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(code)

    def _watch(self, candidate: int, ended: int, outputs: dict[int, str], started: float) -> str | None:
        """Until the candidate's process has ended or must end; the limit it met, if any."""
        poll = select.poll()
        for fd in (ended, *outputs):
            poll.register(fd, select.POLLIN)
        for fd in outputs:
            os.set_blocking(fd, False)
        checked = started
        while True:
            ready = {fd for fd, _ in poll.poll(TICK_SECONDS * 1000)}
            for fd in ready & outputs.keys():
                if not self._drain(fd, outputs[fd]):
                    poll.unregister(fd)  # closed; it would be ready for ever
            if ended in ready:
                return None
            if self.received > self.limits["output"]:
                return "output_limit"
            now = time.monotonic()
            if now - checked >= TICK_SECONDS:
                checked = now
                over = self._over(candidate, now - started)
                if over:
                    return over

    def _over(self, candidate: int, wall: float) -> str | None:
        if wall > self.limits["wall"]:
            return "wall_limit"
        try:
            cpu = time.clock_gettime((~candidate << 3) | 2)  # the process's CPU clock
        except OSError:
            return None  # it has just ended
        if cpu > self.limits["cpu"]:
            return "cpu_limit"
        at = struct.unpack("q", self.progress)[0]
        if at != self.input_seen:
            self.input_seen, self.input_started = at, cpu
        elif at >= 0 and cpu - self.input_started > self._input_seconds(at):
            return "cpu_limit"
        if self.isolated and self._resident() > self.limits["resident"]:
            return "memory"
        return None

    def _input_seconds(self, index: int) -> float:
        seconds: dict[str, float] = self.request.get("input_seconds", {})
        return seconds.get(str(index), self.limits.get("input", self.limits["cpu"]))

    def _resident(self) -> int:
        """Bytes of memory of all processes but this one, in excess of what they have had from us."""
        total = 0
        for name in os.listdir("/proc"):
            if name.isdigit() and name != "1":
                with (
                    contextlib.suppress(OSError, ValueError, IndexError),
                    open(f"/proc/{name}/statm") as file,
                ):
                    total += int(file.read().split()[1]) * PAGE
        return total

    def _drain(self, fd: int, name: str) -> bool:
        """Take what is there; False at its end."""
        for _ in range(16):  # not for ever: it may be written faster than this reads
            try:
                part = os.read(fd, 1 << 16)
            except BlockingIOError:
                return True
            if not part:
                return False
            self.received += len(part)
            self.output[name] += part
            if len(self.output[name]) > self.limits["output"]:
                del self.output[name][: -self.limits["output"]]
        return True

    def _collect(self) -> dict[str, bytes]:
        """Regular files of the work folder that were asked for; links are not followed."""
        found = {}
        for path in self.request["collect"]:
            try:
                fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            except OSError:
                continue
            with open(fd, "rb") as file:
                if os.path.isfile(f"/proc/self/fd/{fd}"):
                    found[path] = file.read(self.limits["output"])
        return found

    def _report(self, report: dict[str, Any], files: dict[str, bytes]) -> None:
        parts = {"stdout": bytes(self.output["stdout"]), "stderr": bytes(self.output["stderr"]), **files}
        report["parts"] = [[name, len(content)] for name, content in parts.items()]
        message = json.dumps(report).encode() + b"\n" + b"".join(parts.values())
        while message:
            message = message[os.write(self.report_fd, message) :]
