"""cluster.yaml against the installed Ray: its schema, its version, and what must never be in it."""

from __future__ import annotations

import copy
import json
import re
from importlib.metadata import version
from pathlib import Path

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "cluster.yaml").read_text()
CLUSTER = yaml.safe_load(TEXT)
RAY = version("ray")


@pytest.fixture(scope="module")
def schema() -> dict:
    import ray.autoscaler

    return json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())


def images() -> list[str]:
    docker = [
        CLUSTER["docker"],
        *(node.get("docker", {}) for node in CLUSTER["available_node_types"].values()),
    ]
    return [image for part in docker for name, image in part.items() if name.endswith("image")]


def test_it_satisfies_rays_schema(schema: dict) -> None:
    jsonschema.validate(CLUSTER, schema)


def test_the_schema_would_notice_a_typo(schema: dict) -> None:
    wrong = copy.deepcopy(CLUSTER)
    wrong["idle_timeout_minute"] = 5
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema)


def test_ray_accepts_it_with_its_defaults_filled_in() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    filled = prepare_config(copy.deepcopy(CLUSTER))
    validate_config(filled)
    for key in (
        "setup_commands",
        "head_start_ray_commands",
        "worker_start_ray_commands",
        "idle_timeout_minutes",
    ):
        assert CLUSTER[key], f"{key} is Ray's default"
    assert "3.0.0.dev0" not in json.dumps(filled)


def test_nothing_moves_by_itself() -> None:
    assert len(images()) >= 3
    for image in images():
        assert re.fullmatch(rf"rayproject/ray:{re.escape(RAY)}-py311-(cpu|gpu)", image)
    code = "\n".join(line.split("#")[0] for line in TEXT.splitlines())
    assert not re.search(r"latest|nightly|dev0", code)
    assert f"'{RAY}'" in code


def test_the_lock_file_that_the_nodes_install_has_the_same_ray() -> None:
    (lock,) = re.findall(r"-r /home/ray/snowcoder/(\S+)", "\n".join(CLUSTER["setup_commands"]))
    assert re.search(rf"^ray=={re.escape(RAY)} ", (ROOT / lock).read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", ["head", "train"])
def test_what_a_run_cannot_lose_is_not_spot(name: str) -> None:
    assert "InstanceMarketOptions" not in CLUSTER["available_node_types"][name]["node_config"]


def test_the_head_runs_no_tasks_and_is_the_only_one_always_on() -> None:
    head = CLUSTER["available_node_types"][CLUSTER["head_node_type"]]
    assert head["resources"] == {"CPU": 0}
    others = [
        node for name, node in CLUSTER["available_node_types"].items() if name != CLUSTER["head_node_type"]
    ]
    assert all(node["min_workers"] == 0 < node["max_workers"] for node in others)
    assert sum(node["max_workers"] for node in others) == CLUSTER["max_workers"]


def test_no_port_is_open_to_the_world() -> None:
    """Ray opens port 22 to 0.0.0.0/0 by itself for node types without a security group of their own."""
    assert all(node["node_config"]["SecurityGroupIds"] for node in CLUSTER["available_node_types"].values())
    assert "security_group" not in CLUSTER["provider"]
    starts = " ".join(CLUSTER["head_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in starts
    assert "0.0.0.0" not in json.dumps(CLUSTER)


def test_every_value_to_fill_in_is_explained() -> None:
    header = TEXT[: TEXT.index("cluster_name:")]
    used = set(re.findall(r"[a-z]+-FILL-IN", json.dumps(CLUSTER)))
    assert used == set(re.findall(r"^#   ([a-z]+-FILL-IN)", header, re.MULTILINE))


def test_file_and_page_say_that_no_cloud_was_tried() -> None:
    assert "NOT RUN" in TEXT
    assert "**Not run.**" in (ROOT / "docs/cluster.md").read_text()
