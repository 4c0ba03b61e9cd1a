"""An S3-compatible server that is really there, on the loopback interface."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pyarrow import fs

from train.storage import Storage


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """An S3-compatible server on the loopback interface that can be taken away and brought back."""

    def __init__(self) -> None:
        self.port = free_port()
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        # The module itself, not its console script: that lies wherever the environment's scripts do.
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        raise TimeoutError("the S3 server did not start")

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()

    def bucket(self, name: str) -> Storage:
        """A new bucket."""
        uri = f"s3://{name}?scheme=http&endpoint_override=127.0.0.1:{self.port}&allow_bucket_creation=true"
        fs.FileSystem.from_uri(uri)[0].create_dir(name)
        return Storage(uri)


class Throttle:
    """How the way to a server treats requests: which of every so many it turns away, and what it has done."""

    def __init__(self, slow_down: int = 0, cut: int = 0) -> None:
        self.slow_down = slow_down  # every n-th request gets S3's "503 Slow Down"; 0: none, 1: all
        self.cut = cut  # of every n-th request's answer the second half is lost with the connection
        self.requests = self.slowed = self.lost = 0
        self._lock = threading.Lock()

    def next(self) -> str:
        with self._lock:
            self.requests += 1
            if self.slow_down and self.requests % self.slow_down == 0:
                self.slowed += 1
                return "slow down"
            if self.cut and self.requests % self.cut == 0:
                return "cut"
            return "pass"


_HOPS = (
    "transfer-encoding",
    "connection",
    "content-length",
    "expect",
)  # of one connection, not of the message
_SLOW_DOWN = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"""


@contextmanager
def throttled(server: Server, throttle: Throttle) -> Iterator[int]:
    """A port on which the server is reached through a front that throttles and loses connections."""

    class Front(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def relay(self) -> None:
            body = self._body()
            fate = throttle.next()
            if fate == "slow down":
                self._answer(503, {"Content-Type": "application/xml"}, _SLOW_DOWN)
                return
            behind = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            sent = {name: value for name, value in self.headers.items() if name.lower() not in _HOPS}
            behind.request(self.command, self.path, body, sent)
            found = behind.getresponse()
            data = found.read()
            headers = {name: value for name, value in found.getheaders() if name.lower() not in _HOPS}
            if self.command == "HEAD":
                headers["Content-Length"] = found.getheader("Content-Length") or "0"
            self._answer(found.status, headers, data, half=fate == "cut")
            behind.close()

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return b"".join(parts)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = relay

        def _answer(self, status: int, headers: dict[str, str], data: bytes, half: bool = False) -> None:
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(data))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if half else data)
            throttle.lost += half and len(data) > 1  # of an empty answer nothing is lost
            self.close_connection = half

        def log_message(self, *_: object) -> None:
            pass

    front = ThreadingHTTPServer(("127.0.0.1", 0), Front)
    thread = threading.Thread(target=front.serve_forever, daemon=True)
    thread.start()
    try:
        yield front.server_address[1]
    finally:
        front.shutdown()
        front.server_close()
        thread.join()


def through(storage: Storage, port: int, patience: float) -> Storage:
    """The same place, reached on another port."""
    address = storage.root.partition("127.0.0.1:")[2].partition("&")[0]
    return Storage(storage.root.replace(f"127.0.0.1:{address}", f"127.0.0.1:{port}"), patience)
