"""How much room a cluster has. Nodes that really come and go are in tests/soak/test_nodes.py."""

from __future__ import annotations

import pytest

from train import room


def test_a_node_that_is_to_go_has_no_room(ray_session, monkeypatch: pytest.MonkeyPatch) -> None:
    [node] = ray_session.nodes()
    assert room.short_of({"CPU": 4}) == []
    assert room.short_of({"CPU": 5}) == ["5 CPU, the cluster has 4"]
    monkeypatch.setattr(room, "draining_nodes", lambda: {node["NodeID"]})
    assert room.short_of({"CPU": 1}) == ["1 CPU, the cluster has 0"]


def test_only_nodes_with_the_labels_count(ray_session) -> None:
    [node] = ray_session.nodes()
    label, value = next(iter(node["Labels"].items()))
    assert room.short_of({"CPU": 4}, {label: value}) == []
    assert room.short_of({"CPU": 4}, {label: "another"}) == [
        f"4 CPU, the cluster has 0 on nodes with {label}=another"
    ]
