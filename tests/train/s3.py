"""An S3-compatible server that is really there, on the loopback interface."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

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
