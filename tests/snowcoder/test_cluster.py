"""cluster.yaml and cluster-gcp.yaml against the installed Ray: schema, version, and what must never be in them."""

from __future__ import annotations

import copy
import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from snowcoder.config import LabelsConfig, load_config

ROOT = Path(__file__).parents[2]
CLOUDS = ["cluster.yaml", "cluster-gcp.yaml"]
TEXTS = {name: (ROOT / name).read_text() for name in CLOUDS}
CLUSTERS: dict[str, dict[str, Any]] = {name: yaml.safe_load(text) for name, text in TEXTS.items()}
TYPES = {"head", "curation", "annotator_gpu", "vllm_gpu", "training_gpu"}
RAY = version("ray")
of_each_cloud = pytest.mark.parametrize("name", CLOUDS)


@pytest.fixture(scope="module")
def schema() -> dict:
    import ray.autoscaler

    return json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())


def types(name: str) -> dict[str, Any]:
    return CLUSTERS[name]["available_node_types"]


def workers(name: str) -> dict[str, Any]:
    return {kind: node for kind, node in types(name).items() if kind != CLUSTERS[name]["head_node_type"]}


def images(name: str) -> list[str]:
    docker = [CLUSTERS[name]["docker"], *(node.get("docker", {}) for node in types(name).values())]
    return [image for part in docker for key, image in part.items() if key.endswith("image")]


def is_spot(node: dict[str, Any]) -> bool:
    settings = json.dumps(node["node_config"])
    return '"MarketType": "spot"' in settings or '"provisioningModel": "SPOT"' in settings


@of_each_cloud
def test_it_satisfies_rays_schema(name: str, schema: dict) -> None:
    jsonschema.validate(CLUSTERS[name], schema)


def test_the_schema_would_notice_a_typo(schema: dict) -> None:
    wrong = copy.deepcopy(CLUSTERS["cluster.yaml"])
    wrong["idle_timeout_minute"] = 5
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema)


@of_each_cloud
def test_ray_accepts_it_with_its_defaults_filled_in(name: str) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    filled = prepare_config(copy.deepcopy(CLUSTERS[name]))
    validate_config(filled)
    for key in (
        "setup_commands",
        "head_start_ray_commands",
        "worker_start_ray_commands",
        "idle_timeout_minutes",
    ):
        assert CLUSTERS[name][key], f"{key} is Ray's default"
    assert "3.0.0.dev0" not in json.dumps(filled)


def test_rays_aws_provider_takes_the_network_interfaces() -> None:
    from ray.autoscaler._private.aws.config import (
        _configure_subnets_and_groups_from_network_interfaces as take,
    )

    training = types("cluster.yaml")["training_gpu"]["node_config"]
    assert [one["InterfaceType"] for one in training["NetworkInterfaces"]] == ["efa"]
    assert take(training)["SecurityGroupIds"] == ["sg-FILL-IN"]


@of_each_cloud
def test_nothing_moves_by_itself(name: str) -> None:
    assert len(images(name)) >= 3
    for image in images(name):
        assert re.fullmatch(rf"rayproject/ray:{re.escape(RAY)}-py311-(cpu|gpu)", image)
    code = "\n".join(line.split("#")[0] for line in TEXTS[name].splitlines())
    assert not re.search(r"latest|nightly|dev0", code)
    assert f"'{RAY}'" in code


@of_each_cloud
def test_the_lock_file_that_the_nodes_install_has_the_same_ray(name: str) -> None:
    (lock,) = re.findall(r"-r /home/ray/snowcoder/(\S+)", "\n".join(CLUSTERS[name]["setup_commands"]))
    assert re.search(rf"^ray=={re.escape(RAY)} ", (ROOT / lock).read_text(), re.MULTILINE)


@of_each_cloud
def test_only_what_a_run_can_lose_is_spot(name: str) -> None:
    assert types(name).keys() == TYPES
    assert {kind for kind, node in types(name).items() if is_spot(node)} == TYPES - {"head", "training_gpu"}


@of_each_cloud
def test_the_head_runs_no_tasks_and_is_the_only_one_always_on(name: str) -> None:
    assert types(name)["head"]["resources"] == {"CPU": 0}
    assert all(node["min_workers"] == 0 < node["max_workers"] for node in workers(name).values())
    assert sum(node["max_workers"] for node in workers(name).values()) == CLUSTERS[name]["max_workers"]
    assert types(name)["training_gpu"]["resources"]["GPU"] == 8


@pytest.mark.parametrize(("name", "generator"), [("cluster.yaml", "L40S"), ("cluster-gcp.yaml", "A100-80G")])
def test_the_labels_of_a_run_name_one_kind_of_node_each(name: str, generator: str) -> None:
    """What is written for the stream cannot land on a training node, and each GPU kind serves one purpose."""
    config = load_config(
        ROOT / "conf/arctic_snowcoder_1b_cluster.yaml",
        [f"ray.labels.vllm={{ray.io/accelerator-type: {generator}}}"],
    )
    wanted = {
        "curation": "curation",
        "annotator": "annotator_gpu",
        "vllm": "vllm_gpu",
        "training": "training_gpu",
    }
    for part, kind in wanted.items():
        selector = getattr(config.ray.labels, part)
        found = {k for k, node in types(name).items() if selector.items() <= node["labels"].items()}
        assert found == {kind}, part
    assert LabelsConfig() == load_config(ROOT / "conf/demo.yaml").ray.labels


def test_no_port_of_aws_is_open_to_the_world() -> None:
    """Ray opens port 22 to 0.0.0.0/0 by itself for node types without a security group of their own."""
    cluster = CLUSTERS["cluster.yaml"]
    for node in types("cluster.yaml").values():
        config = node["node_config"]
        assert config.get("SecurityGroupIds") or all(one["Groups"] for one in config["NetworkInterfaces"])
    assert "security_group" not in cluster["provider"]


def test_no_node_of_google_has_a_public_address() -> None:
    assert CLUSTERS["cluster-gcp.yaml"]["provider"]["use_internal_ips"] is True
    for node in types("cluster-gcp.yaml").values():
        assert node["node_config"]["networkInterfaces"] == [{"subnetwork": "subnet-FILL-IN"}]


@of_each_cloud
def test_the_dashboard_listens_on_the_head_alone(name: str) -> None:
    assert "--dashboard-host=127.0.0.1" in " ".join(CLUSTERS[name]["head_start_ray_commands"])
    assert "0.0.0.0" not in json.dumps(CLUSTERS[name])


@of_each_cloud
def test_roles_are_named_and_the_head_has_another_than_the_workers(name: str) -> None:
    text = {kind: json.dumps(node["node_config"]) for kind, node in types(name).items()}
    roles = {
        kind: set(re.findall(r"\w+(?:role|account)-FILL-IN", settings)) for kind, settings in text.items()
    }
    assert all(len(role) == 1 for role in roles.values())
    assert not any(roles["head"] & roles[kind] for kind in workers(name))
    assert not re.search(r"AKIA|BEGIN [A-Z ]*PRIVATE KEY|aws_secret", TEXTS[name])


@of_each_cloud
def test_every_value_to_fill_in_is_explained(name: str) -> None:
    header = TEXTS[name][: TEXTS[name].index("cluster_name:")]
    used = set(re.findall(r"[a-z]+-FILL-IN", json.dumps(CLUSTERS[name])))
    assert used == set(re.findall(r"^#   ([a-z]+-FILL-IN)", header, re.MULTILINE))


def test_files_and_page_say_that_no_cloud_was_tried() -> None:
    assert all("NOT RUN" in text for text in TEXTS.values())
    assert "**Not run.**" in (ROOT / "docs/cluster.md").read_text()
