"""An elastic phase on a cluster whose nodes come, are drained and die. Prints its attempts as JSON; run by a soak test.

Alone in its process: a cluster leaves its address where other Ray programs of the same temporary directory look.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from tests.train.orders import assert_exact, config, stream
from train.trainer import fit

BATCH, STEPS, EVERY = 48, 300, 4


class Log:
    """Rank 0's audit log, as it grows."""

    def __init__(self, run_dir: Path):
        self.path = run_dir / "train/general/audit-rank0.jsonl"

    def lines(self) -> list[dict[str, Any]]:
        text = self.path.read_text() if self.path.exists() else ""
        return [json.loads(line) for line in text.split("\n")[:-1]]

    def attempts(self) -> list[dict[str, Any]]:
        """What each attempt began with, and `lost`: the steps of the one before that it has to repeat."""
        found, done = [], 0
        for line in self.lines():
            if "attempt" in line:
                found.append(line | {"lost": done - line["resume"]})
                done = line["resume"]
            else:
                done = line["step"] + 1
        return found

    def wait(self, workers: int, steps: int = 6, patience: float = 600.0) -> None:
        """Until an attempt with this number of workers has done so many steps."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            lines = self.lines()
            last = max((i for i, line in enumerate(lines) if "attempt" in line), default=0)
            if lines and lines[last]["world"] == workers and len(lines) - last > steps:
                return
            time.sleep(0.1)
        raise TimeoutError(f"no attempt with {workers} workers; attempts: {self.attempts()}")


def drain(cluster: Cluster, node: Any, seconds: float) -> None:
    """A preemption notice, as the autoscaler gives it."""
    from ray._raylet import GcsClient
    from ray.core.generated import autoscaler_pb2

    reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    deadline = time.time_ns() // 1_000_000 + int(1000 * seconds)
    accepted, why = GcsClient(address=cluster.gcs_address).drain_node(node.node_id, reason, "test", deadline)
    assert accepted, why


def play(cluster: Cluster, log: Log, events: list[str]) -> None:
    def note(event: str) -> None:
        events.append(event)
        print(event, flush=True)

    log.wait(workers=1)
    first = cluster.add_node(num_cpus=2)
    note("a node with room for two more workers came")
    log.wait(workers=3)
    drain(cluster, first, seconds=30)
    note("that node is to be taken away in 30 s")
    time.sleep(30)
    cluster.remove_node(first)
    note("that node is gone")
    log.wait(workers=1)
    second = cluster.add_node(num_cpus=1)
    note("a node with room for one more worker came")
    log.wait(workers=2)
    cluster.remove_node(second, allow_graceful=False)
    note("that node died")
    log.wait(workers=1)


def main(run_dir: Path) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    ray.init(address=cluster.address, log_to_driver=False)
    cfg = config(
        global_batch=BATCH,
        micro_batch=2,
        num_workers=[1, 3],
        checkpoint_every_steps=EVERY,
        max_failures=3,
        resize_every_seconds=1.0,
    )
    log, events = Log(run_dir), []
    arguments = {"total_steps": STEPS, "fingerprint": {"order": "a"}}
    with ThreadPoolExecutor(1) as trainer:  # nodes may only be started in the main thread
        result = trainer.submit(fit, cfg, "general", stream(cfg, STEPS), run_dir, **arguments)
        play(cluster, log, events)
        result.result()
    assert_exact(run_dir, BATCH, STEPS)
    print(json.dumps({"events": events, "attempts": log.attempts()}))
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
