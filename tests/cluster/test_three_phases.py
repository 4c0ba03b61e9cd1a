"""`make cluster-test`: three phases as jobs, each part on the nodes that its label says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.programs.alone import told_by
from train.audit import check, committed_order


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_three_phases_by_jobs_run_where_their_labels_say(tmp_path: Path) -> None:
    told, errors = told_by("tests/cluster/three_phases.py", tmp_path)
    assert told["code"] == 0, errors[-6000:]
    packed = {"Pack": ["curation"], "Deal": ["curation"], "RayTrainWorker": ["training"]}
    judged = {"Judge": ["curation"], "Claim": ["curation"]}
    places = told["places"]
    assert places["general"] == judged | packed
    scored = {"train_annotator": ["annotator"], "Score": ["annotator"]}
    assert places["continued"] == places["continued"] | packed | scored
    assert places["enhanced"] == places["enhanced"] | packed | {"vLLMEngineStageUDF": ["synthesis"]}
    for phase, steps in (("general", 40), ("continued", 16), ("enhanced", 8)):
        assert check(committed_order(tmp_path / "runs/mine", phase), 4, steps) == []
