"""Programs of tests that start a cluster: each alone in its process, with temporary files of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def told_by(program: str, directory: Path, seconds: float = 1700) -> tuple[dict[str, Any], str]:
    """Run `program DIRECTORY`, a path in this repository, to its end: (the JSON of its last line, its stderr)."""
    temporary = tempfile.mkdtemp(prefix="k", dir="/tmp")  # Ray's sockets need a short path
    environment = {
        **os.environ,
        "RAY_TMPDIR": temporary,
        "TMPDIR": temporary,
        "PYTHONPATH": str(ROOT),
        # What it submits is found by name: `snowcoder`.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    command = [sys.executable, str(ROOT / program), str(directory)]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=seconds
        )
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    return json.loads(done.stdout.splitlines()[-1]), done.stderr
