"""One candidate's process, seen from outside: lines to it, lines from it, and how it ended."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaluation.config import Limits
from evaluation.sandbox.fork_server import ENVIRONMENT, GRACE_SECONDS, ForkServer, ServerLost, resources

TOTAL_BYTES = 64 << 20  # of all outputs of one process, beyond what is expected of it
TAIL_BYTES = 2000


class TooMuch(Exception):
    """It has sent more than may be."""


@dataclass(frozen=True)
class End:
    """How the process ended. "stopped": we have ended it."""

    status: str
    exit_code: int
    cpu_seconds: float
    stderr: str  # its tail
    unread: bytes  # what it has sent beyond the lines that were read


class Candidate:
    """A program that has been handed to a fork server, until `end`."""

    def __init__(
        self,
        server: ForkServer,
        kind: str,
        opening: Sequence[bytes],
        limits: Limits,
        expected_bytes: int = 0,
        **request: Any,
    ) -> None:
        """Starts it. `opening` are the lines that its runner reads before anything of the candidate runs."""
        self._server = server
        self._most_bytes = TOTAL_BYTES + 2 * expected_bytes
        bounds: Mapping[str, float] = {**resources(limits), **request.pop("bounds", {})}
        self._ours, theirs = socket.socketpair()
        for end in (self._ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self._lines: list[bytes] = []
        self._partial: list[bytes] = []
        self._received = 0
        with theirs:
            message = {"kind": kind, "files": [], "collect": [], "environment": ENVIRONMENT, **request}
            server.start({**message, "limits": bounds}, channel=theirs.fileno())
        self._deadline = time.monotonic() + bounds["wall"] + GRACE_SECONDS
        for line in opening:
            self.send(line)

    def send(self, line: bytes) -> None:
        """A line to it; lost if it has ended, which the next `line` will tell."""
        try:
            self._ours.settimeout(max(0.1, self._deadline - time.monotonic()))
            self._ours.sendall(line + b"\n")
        except TimeoutError:
            raise ServerLost("the candidate does not read") from None
        except OSError:
            pass

    def line(self) -> bytes | None:
        """The next line from it, None at its end. TooMuch."""
        while not self._lines:
            part = self._receive()
            if not part:
                return None
            first, *rest = part.split(b"\n")
            self._partial.append(first)
            if rest:
                self._lines = [b"".join(self._partial), *rest[:-1]][::-1]
                self._partial = [rest[-1]]
        return self._lines.pop()

    def _receive(self) -> bytes:
        self._ours.settimeout(max(0.1, self._deadline - time.monotonic()))
        try:
            part = self._ours.recv(1 << 20)
        except TimeoutError:
            raise ServerLost("the candidate's sandbox does not end") from None
        except OSError:
            return b""  # it has ended without reading all that we sent
        self._received += len(part)
        if self._received > self._most_bytes:
            raise TooMuch
        return part

    def end(self, stop: bool = False) -> End:
        """Wait for its end, or end it now. When this returns, nothing of it is left."""
        with self._ours:
            if stop:
                self._server.stop()
            else:
                self._ours.shutdown(socket.SHUT_WR)
            answer = self._server.report()
            if answer is None:
                return End("stopped", 0, 0.0, "", b"")
            unread = b"\n".join([*self._lines[::-1], b"".join(self._partial)])
            if not unread and not stop:
                unread = self._receive()
        report, parts = answer
        return End(
            status=report["status"],
            exit_code=report["exit_code"],
            cpu_seconds=report["cpu_seconds"],
            stderr=parts["stderr"][-TAIL_BYTES:].decode("utf-8", "replace"),
            unread=unread,
        )
