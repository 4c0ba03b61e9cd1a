"""`make cluster-test`: each part of a phase runs on nodes with its label, also when a node goes and another comes."""

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


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_parts_run_where_their_labels_say(tmp_path: Path) -> None:
    temporary = tempfile.mkdtemp(prefix="k", dir="/tmp")  # Ray's sockets need a short path
    try:
        done = subprocess.run(
            [sys.executable, str(ROOT / "tests/cluster/three_nodes.py"), str(tmp_path)],
            env={**os.environ, "RAY_TMPDIR": temporary, "TMPDIR": temporary, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, check=False, timeout=1700,
        )  # fmt: skip
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    told = json.loads(done.stdout.splitlines()[-1])
    stream = {part: ["curation"] for part in ("Judge", "Claim", "Pack", "Deal")}
    assert told["calm"] == stream | {"RayTrainWorker": ["training"]}
    assert told["disturbed"] == told["calm"]
    assert told["steps"] == 60
    assert told["same_order"]
