"""Why an attempt ends before the phase does, told through small files in the phase directory.

The driver asks an elastic phase to make room for a resize, or is itself told to end; a node is about to be taken away;
a global batch has no finite loss; the data is at its end.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from train.engine import StepResult

RESIZE = "resize"  # the driver: leave at the next checkpoint, more workers would fit
STOP = "stop"  # the driver was told to end: save, leave, and start no other attempt
SHORT = "short"  # the driver: the cluster has lost what this attempt needs; end it if nothing moves
ENDED = "ended"  # the workers: the stream has no more global batches
BAD_STEPS = "bad-steps.jsonl"

_LOOK_EVERY = 5.0  # seconds between looks at what only one rank can see


class BadStep(RuntimeError):
    """A global batch has a loss or a gradient norm that is not finite; the next attempt skips it."""


class Leave:
    """Whether to save and leave. All ranks come to the same answer at the same step. Made by all ranks together."""

    def __init__(self, phase_dir: Path, rank: int):
        import ray
        import torch.distributed as dist

        self.phase_dir, self.rank = phase_dir, rank
        self.now = False
        self.nodes: list[str] = [""] * dist.get_world_size()
        dist.all_gather_object(self.nodes, ray.get_runtime_context().get_node_id())
        self._looked = time.monotonic()

    def vote(self) -> int:
        """Rank 0 looks now and then whether to leave; to be summed over the ranks.

        Not with `ray.train.get_preemption_info`: that is a barrier at Ray's controller, which once the notice is there
        did not come back before the node was gone (Ray 2.60).
        """
        if self.rank != 0 or time.monotonic() - self._looked < _LOOK_EVERY:
            return 0
        self._looked = time.monotonic()
        asked = any((self.phase_dir / mark).exists() for mark in (RESIZE, STOP))
        return int(asked or not draining_nodes().isdisjoint(self.nodes))

    def counted(self, votes: int) -> None:
        """The sum of the votes: 0 stay, 1 leave."""
        self.now = votes > 0


def draining_nodes() -> set[str]:
    """Ids of the nodes that are about to be taken away."""
    import ray

    return set(ray._private.state.state.get_draining_nodes())  # what Ray Train's own watcher asks


def record_bad_step(phase_dir: Path, step: int, result: StepResult, lr: float) -> None:
    """Rank 0: note a step that must be skipped."""
    line: dict[str, Any] = {
        "step": step,
        "loss": str(result.loss),
        "grad_norm": str(result.grad_norm),
        "lr": lr,
    }
    with (phase_dir / BAD_STEPS).open("a") as file:
        file.write(json.dumps(line) + "\n")


def bad_steps(phase_dir: Path) -> set[int]:
    """Steps to skip."""
    path = phase_dir / BAD_STEPS
    return {json.loads(line)["step"] for line in path.read_text().splitlines()} if path.exists() else set()
