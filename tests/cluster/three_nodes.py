"""Phase 1 on a head, a curation and a training node, twice: undisturbed, and with the curation node replaced under it.

Prints as JSON where each part ran, by the label of its node as Ray's state API has it, and both orders. Alone in its
process, as it starts a cluster. Run by tests/cluster/test_three_nodes.py.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ray
from ray.cluster_utils import Cluster
from ray.util.state import list_actors, list_nodes, list_tasks

from snowcoder.config import RunConfig
from snowcoder.run import Run
from tests.corpora import write_repositories
from train.audit import log_path

ROLE = "snowcoder.io/role"
STEPS = 60
PARTS = ("Judge", "Claim", "Pack", "Deal", "RayTrainWorker")


def recipe(source: Path) -> RunConfig:
    return RunConfig.model_validate({
        "source": {"kind": "directory", "paths": [str(source)], "shard_bytes": 100_000},
        "curation": {"benchmarks": ["humaneval"], "dedup": {"partitions": 1, "expected_documents": 1000}},
        "tokenizer": {"vocab_size": 700, "sample_bytes": 100_000},
        "sequences": {"seq_len": 64, "interleave": 2, "deal_batches": 2},
        "train": {
            "model": {"layers": 1, "hidden": 64, "ffn": 128, "heads": 1, "context": 64},
            "num_workers": 2, "global_batch": 4, "micro_batch": 2, "checkpoint_every_steps": 5, "max_failures": 5,
        },
        "general": {"tokens": STEPS * 4 * 64, "epochs": 20, "schedule": {"warmup_tokens": 256}},
        "ray": {"labels": {"curation": {ROLE: "curation"}, "training": {ROLE: "training"}}},
    })  # fmt: skip


def order(run: Path) -> dict[int, list]:
    """Rank 0's rows by step, as the last attempt saw them."""
    rows = {}
    for text in log_path(run / "train/general", 0).read_text().splitlines():
        line = json.loads(text)
        if "step" in line:
            rows[line["step"]] = line["rows"]
    return rows


def places() -> dict[str, list[str]]:
    """Part -> the roles of the nodes that it ran on."""
    roles = {node.node_id: (node.labels or {}).get(ROLE, "none") for node in list_nodes(detail=True)}
    found = defaultdict(set)
    for one in list_actors(detail=True, limit=10_000):
        for part in PARTS:
            if re.search(rf"\b{part}\b", one.class_name) and one.node_id:
                found[part].add(roles[one.node_id])
    for one in list_tasks(detail=True, limit=10_000):
        for part in PARTS:
            if re.search(rf"\b{part}\b", one.name or "") and one.node_id and one.type == "NORMAL_TASK":
                found[part].add(roles[one.node_id])
    return {part: sorted(on) for part, on in found.items()}


def replace_curation(cluster: Cluster, node: object, run: Path) -> None:
    """Once training goes, a second curation node comes, and the first is taken away with all that is on it."""
    path = run / "train/general/metrics.jsonl"
    deadline = time.monotonic() + 1200
    while not (path.exists() and path.read_bytes().count(b"\n") >= 6):
        if time.monotonic() > deadline:
            raise TimeoutError("no step")
        time.sleep(0.2)
    cluster.add_node(num_cpus=2, labels={ROLE: "curation"})
    cluster.remove_node(node, allow_graceful=False)


def main(root: Path) -> None:
    config = recipe(write_repositories(root / "source"))
    head = {"num_cpus": 0, "include_dashboard": True, "dashboard_port": 0, "labels": {ROLE: "head"}}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    curation = cluster.add_node(num_cpus=2, labels={ROLE: "curation"})
    cluster.add_node(num_cpus=2, labels={ROLE: "training"})
    ray.init(address=cluster.address, log_to_driver=False)
    Run(config, root / "calm").general()
    calm = places()
    with ThreadPoolExecutor(1) as driver:  # nodes may only be started in the main thread
        done = driver.submit(Run(config, root / "disturbed").general)
        replace_curation(cluster, curation, root / "disturbed")
        done.result()
    told = {
        "calm": calm,
        "disturbed": places(),
        "same_order": order(root / "calm") == order(root / "disturbed"),
        "steps": len(order(root / "disturbed")),
    }
    print(json.dumps(told))
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
