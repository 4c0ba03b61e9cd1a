"""The three phases as jobs, by one `snowcoder submit`, on five labelled nodes of one machine.

Prints as JSON, phase by phase, where each part ran: the labels of its node as Ray's state API has it. Alone in its
process, as it starts a cluster. Run by tests/cluster/test_three_phases.py.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import ray
import yaml
from ray.cluster_utils import Cluster
from ray.util.state import list_actors, list_jobs, list_nodes, list_tasks

from tests.corpora import write_repositories

ROOT = Path(__file__).parents[2]
ROLE, GPU = "snowcoder.io/role", "ray.io/accelerator-type"
PARTS = (
    "Judge",
    "Claim",
    "train_annotator",
    "Score",
    "Pack",
    "Deal",
    "RayTrainWorker",
    "vLLMEngineStageUDF",
)
BATCH, SEQ = 4, 64


def recipe(source: Path) -> dict[str, Any]:
    """Over conf/demo.yaml, as small as three phases can be; the labels are those of conf/cluster_labels.yaml."""
    steps = {"general": 40, "continued": 16, "enhanced": 8}
    tokens = {phase: {"tokens": count * BATCH * SEQ} for phase, count in steps.items()}
    return {
        "base": ["demo.yaml", "cluster_labels.yaml"],
        "source": {"kind": "directory", "paths": [str(source)], "shard_bytes": 100_000},
        "curation": {"benchmarks": ["humaneval"], "dedup": {"partitions": 2, "expected_documents": 1000}},
        "tokenizer": {"vocab_size": 700, "sample_bytes": 100_000},
        "sequences": {"seq_len": SEQ, "interleave": 2, "deal_batches": 2},
        "ray": {"score_actors": 1},
        "train": {
            "model": {"layers": 1, "hidden": 64, "ffn": 128, "heads": 1, "context": SEQ},
            "num_workers": 2, "global_batch": BATCH, "micro_batch": 2, "checkpoint_every_steps": 8,
        },
        "annotator": {"corpus_bytes": 400_000},
        "synthesis": {"samples": 1, "recipes": ["small_file"], "sampling": {"max_tokens": 64}, "engine": {"cpus": 1}},
        "general": tokens["general"] | {"epochs": 20, "schedule": {"warmup_tokens": 256}},
        "continued": tokens["continued"] | {"control": False, "schedule": {"warmup_tokens": 256}},
        "enhanced": tokens["enhanced"] | {"seeds": 8, "schedule": {"warmup_tokens": 256}},
        "validation": {"held_out_shards": 0, "benchmarks": []},
    }  # fmt: skip


def places() -> dict[str, dict[str, list[str]]]:
    """Phase -> part -> what its nodes are there for."""
    nodes = {node.node_id: (node.labels or {}).get(ROLE, "none") for node in list_nodes(detail=True)}
    phases = {
        job.job_id: job.metadata["phase"] for job in list_jobs(detail=True) if "phase" in (job.metadata or {})
    }
    ran = [(one.job_id, one.class_name, one.node_id) for one in list_actors(detail=True, limit=10_000)]
    ran += [
        (one.job_id, one.name, one.node_id)
        for one in list_tasks(detail=True, limit=10_000)
        if one.type == "NORMAL_TASK"
    ]
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for job, title, node in ran:
        for part in PARTS:
            if job in phases and node and re.search(rf"\b{part}\b", title or ""):
                found[phases[job]][part].add(nodes[node])
    return {phase: {part: sorted(on) for part, on in parts.items()} for phase, parts in found.items()}


def main(root: Path) -> None:
    work = root / "work"
    work.mkdir()
    for name in ("demo.yaml", "cluster_labels.yaml"):
        (work / name).write_text(
            (ROOT / "conf" / name).read_text().replace("base: presets/", f"base: {ROOT}/conf/presets/")
        )
    (work / "recipe.yaml").write_text(yaml.safe_dump(recipe(write_repositories(root / "source"))))
    head = {"num_cpus": 0, "include_dashboard": True, "dashboard_port": 0, "labels": {ROLE: "head"}}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for role in ("curation", "annotator", "training"):
        cluster.add_node(num_cpus=2, labels={ROLE: role})
    # An engine is placed by the resource that Ray gives a node with such a GPU.
    cluster.add_node(
        num_cpus=2, labels={ROLE: "synthesis", GPU: "L40S"}, resources={"accelerator_type:L40S": 1}
    )
    context = ray.init(address=cluster.address, log_to_driver=False)
    command = [
        sys.executable, "-m", "snowcoder.cli", "submit", "general", "continued", "enhanced", "--run", "mine",
        "--storage", str(root / "runs"), "--config", str(work / "recipe.yaml"), "--working-dir", str(work),
        "--env", f"PYTHONPATH={ROOT}", "--address", f"http://{context.address_info['webui_url']}",
    ]  # fmt: skip
    done = subprocess.run(command, check=False, stdout=sys.stderr)
    print(json.dumps({"code": done.returncode, "places": places()}))
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
