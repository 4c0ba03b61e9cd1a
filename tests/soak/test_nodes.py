"""Nodes come, are drained after a notice, go and die under an elastic phase: it moves each time and loses no row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.programs.alone import told_by


@pytest.mark.soak
@pytest.mark.timeout(2400)
def test_an_elastic_phase_follows_its_nodes(tmp_path: Path) -> None:
    found, _ = told_by("tests/programs/nodes.py", tmp_path, seconds=2300)
    print(json.dumps(found, indent=1))
    # The program has audited the order. Here: who was there when, and that only the death of a node lost steps.
    attempts = found["attempts"]
    worlds = [attempt["world"] for attempt in attempts]
    assert [world for i, world in enumerate(worlds) if i == 0 or world != worlds[i - 1]] == [1, 3, 1, 2, 1]
    assert all(attempt["lost"] == 0 for attempt in attempts[:-1])
