"""kuberay/ and the Dockerfiles: KubeRay's field names, Kubernetes' schema for the pods, hadolint, pinned versions."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from snowcoder.config import load_config

ROOT = Path(__file__).parents[2]
FIELDS = json.loads((ROOT / "tests/cluster/kuberay_fields.json").read_text())
RAY = version("ray")
MANIFESTS = ["kuberay/raycluster.yaml", "kuberay/rayjob.yaml"]
DOCKERFILES = ["Dockerfile", "Dockerfile.cpu"]
KINDS: dict[str, Any] = {
    "string": str, "boolean": bool, "integer": int, "number": (int, float), "map": dict, "list": list, "Pod": dict,
}  # fmt: skip
of_each = pytest.mark.parametrize("path", MANIFESTS)


def load(path: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / path).read_text())


def cluster(path: str) -> dict[str, Any]:
    spec = load(path)["spec"]
    return spec.get("rayClusterSpec", spec)


def groups(path: str) -> list[dict[str, Any]]:
    return [cluster(path)["headGroupSpec"], *cluster(path)["workerGroupSpecs"]]


def problems(value: Any, kind: str, place: str) -> list[str]:
    """Where a value is not of a kind of tests/cluster/kuberay_fields.json."""
    if kind.startswith("["):
        return [p for i, item in enumerate(value) for p in problems(item, kind[1:-1], f"{place}[{i}]")]
    if kind in FIELDS:
        known = FIELDS[kind]
        unknown = [f"{place}.{key}: {kind} has no such field" for key in value.keys() - known.keys()]
        return unknown + [
            p
            for key in value.keys() & known.keys()
            for p in problems(value[key], known[key], f"{place}.{key}")
        ]
    if kind in KINDS:
        return [] if isinstance(value, KINDS[kind]) else [f"{place}: {value!r} is no {kind}"]
    return [] if value in kind.split("|") else [f"{place}: {value!r} is none of {kind}"]


def tool(name: str) -> str:
    """A program of requirements/tools.lock; `make test` installs them."""
    places = [str(ROOT / ".venv-tools/bin"), os.environ.get("SNOWCODER_TOOLS", ""), os.environ["PATH"]]
    found = shutil.which(name, path=os.pathsep.join(filter(None, places)))
    if found is None:
        pytest.skip(f"{name} is not installed; `make .venv-tools/installed`")
    return found


@of_each
def test_kuberay_knows_every_field(path: str) -> None:
    manifest = load(path)
    assert manifest["apiVersion"] == "ray.io/v1"
    assert problems(manifest, manifest["kind"], manifest["kind"]) == []


def test_the_check_would_notice_a_typo() -> None:
    manifest = load("kuberay/raycluster.yaml")
    manifest["spec"]["headGroupSpec"]["rayStartParam"] = {}
    manifest["spec"]["workerGroupSpecs"][0]["minReplicas"] = "0"
    assert len(problems(manifest, "RayCluster", "RayCluster")) == 2


@of_each
def test_kubernetes_takes_the_pods(path: str, tmp_path: Path) -> None:
    pods = tmp_path / "pods.yaml"
    found = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"pod-{i}"},
            "spec": group["template"]["spec"],
        }
        for i, group in enumerate(groups(path))
    ]
    pods.write_text(yaml.safe_dump_all(found))
    check = [tool("kubernetes-validate"), "--strict", str(pods)]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found[0]["spec"]["containers"][0]["volumeMount"] = []
    pods.write_text(yaml.safe_dump_all(found))
    assert subprocess.run(check, capture_output=True, check=False).returncode != 0


@of_each
def test_nothing_is_open_and_jobs_need_a_token(path: str) -> None:
    assert cluster(path)["authOptions"] == {"mode": "token"}
    assert cluster(path)["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert "enableIngress" not in cluster(path)["headGroupSpec"]
    assert not re.search(
        r"hostNetwork|privileged: true|hostPort|LoadBalancer|NodePort", (ROOT / path).read_text()
    )
    for group in groups(path):
        assert group["template"]["spec"]["securityContext"]["runAsNonRoot"] is True


@of_each
def test_it_has_the_versions_and_labels_of_the_other_clusters(path: str) -> None:
    assert cluster(path)["rayVersion"] == RAY
    aws = yaml.safe_load((ROOT / "cluster.yaml").read_text())["available_node_types"]
    for group in cluster(path)["workerGroupSpecs"]:
        like = aws[group["groupName"].replace("-", "_")]
        assert group["labels"] == like["labels"]
        assert (group["minReplicas"], group["maxReplicas"]) == (like["min_workers"], like["max_workers"])
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        assert int(limits.get("nvidia.com/gpu", 0)) == like["resources"].get("GPU", 0)
        spot = "nodeSelector" in group["template"]["spec"]
        assert spot == (group["groupName"] != "training-gpu")
    assert "nodeSelector" not in cluster(path)["headGroupSpec"]["template"]["spec"]
    assert cluster(path)["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_the_job_runs_a_command_that_exists() -> None:
    words = load("kuberay/rayjob.yaml")["spec"]["entrypoint"].split()
    assert words[:3] == ["snowcoder", "run", "general"]
    recipe = words[words.index("--config") + 1].removeprefix("/home/ray/snowcoder/")
    assert load_config(ROOT / recipe).ray.labels.training == {"snowcoder.io/role": "training"}


@pytest.mark.parametrize("path", DOCKERFILES)
def test_hadolint_finds_nothing(path: str) -> None:
    done = subprocess.run([tool("hadolint"), path], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", DOCKERFILES)
def test_an_image_has_rays_versions_and_no_secret(path: str) -> None:
    text = (ROOT / path).read_text()
    (base,) = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert re.fullmatch(rf"rayproject/ray:{re.escape(RAY)}-py311-(cpu|gpu)", base)
    (lock,) = re.findall(r"--require-hashes -r (\S+)", text)
    assert (ROOT / lock).exists()
    assert f"'{RAY}'" in text
    assert not re.search(r"^(ARG|ENV).*(TOKEN|KEY|SECRET|PASSW)", text, re.MULTILINE | re.IGNORECASE)
