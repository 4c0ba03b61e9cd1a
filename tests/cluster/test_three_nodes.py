"""`make cluster-test`: each part of a phase runs on nodes with its label, also when a node goes and another comes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.programs.alone import told_by


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_parts_run_where_their_labels_say(tmp_path: Path) -> None:
    told, _ = told_by("tests/cluster/three_nodes.py", tmp_path)
    stream = {part: ["curation"] for part in ("Judge", "Claim", "Pack", "Deal")}
    assert told["calm"] == stream | {"RayTrainWorker": ["training"]}
    assert told["disturbed"] == told["calm"]
    assert told["steps"] == 60
    assert told["same_order"]
