"""Nodes come, are drained after a notice, go and die under an elastic phase: it moves each time and loses no row."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "tests" / "programs" / "nodes.py"


@pytest.mark.soak
@pytest.mark.timeout(2400)
def test_an_elastic_phase_follows_its_nodes(tmp_path: Path) -> None:
    temporary = tempfile.mkdtemp(prefix="k", dir="/tmp")  # Ray's sockets need a short path
    try:
        done = subprocess.run(
            [sys.executable, str(PROGRAM), str(tmp_path)],
            env={**os.environ, "RAY_TMPDIR": temporary, "TMPDIR": temporary, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=2300,
        )
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(found, indent=1))
    # The program has audited the order. Here: who was there when, and that only the death of a node lost steps.
    attempts = found["attempts"]
    worlds = [attempt["world"] for attempt in attempts]
    assert [world for i, world in enumerate(worlds) if i == 0 or world != worlds[i - 1]] == [1, 3, 1, 2, 1]
    assert all(attempt["lost"] == 0 for attempt in attempts[:-1])
