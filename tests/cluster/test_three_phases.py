"""`make cluster-test`: three phases as jobs, each part on the nodes that its label says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from train.audit import check, committed_order

ROOT = Path(__file__).parents[2]


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_three_phases_by_jobs_run_where_their_labels_say(tmp_path: Path) -> None:
    temporary = tempfile.mkdtemp(prefix="k", dir="/tmp")  # Ray's sockets need a short path
    environment = {
        **os.environ,
        "RAY_TMPDIR": temporary,
        "TMPDIR": temporary,
        "PYTHONPATH": str(ROOT),
        # The job's entry point is `snowcoder`.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    try:
        done = subprocess.run(
            [sys.executable, str(ROOT / "tests/cluster/three_phases.py"), str(tmp_path)],
            env=environment,
            capture_output=True, text=True, check=False, timeout=1700,
        )  # fmt: skip
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["code"] == 0, done.stderr[-6000:]
    packed = {"Pack": ["curation"], "Deal": ["curation"], "RayTrainWorker": ["training"]}
    judged = {"Judge": ["curation"], "Claim": ["curation"]}
    places = told["places"]
    assert places["general"] == judged | packed
    scored = {"train_annotator": ["annotator"], "Score": ["annotator"]}
    assert places["continued"] == places["continued"] | packed | scored
    assert places["enhanced"] == places["enhanced"] | packed | {"vLLMEngineStageUDF": ["synthesis"]}
    for phase, steps in (("general", 40), ("continued", 16), ("enhanced", 8)):
        assert check(committed_order(tmp_path / "runs/mine", phase), 4, steps) == []
