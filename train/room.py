"""How many workers the cluster has room for."""

from __future__ import annotations

import time
from collections.abc import Sequence

from snowcoder.base import UserError
from train.config import TrainConfig


def of_worker(cfg: TrainConfig) -> dict[str, float]:
    """Ray resources of one worker."""
    return {"CPU": float(cfg.cpus_per_worker)} | ({"GPU": 1.0} if cfg.use_gpu else {})


def most(cfg: TrainConfig, allowed: Sequence[int], stream_cpus: float) -> int | None:
    """The first of the `allowed` numbers of workers that fits beside the stream, None when none does."""
    return next((workers for workers in allowed if not _missing(cfg, workers, stream_cpus)), None)


def find(cfg: TrainConfig, stream_cpus: float) -> int:
    """The most workers that fit, waiting `wait_for_nodes_seconds`. Raises UserError that says what is missing."""
    deadline = time.monotonic() + cfg.wait_for_nodes_seconds
    told = False
    while True:
        workers = most(cfg, cfg.worker_counts, stream_cpus)
        if workers is not None:
            return workers
        least = cfg.worker_counts[-1]
        lacks = "; ".join(_missing(cfg, least, stream_cpus))
        text = f"train: {least} workers and the data stream need {lacks}"
        if time.monotonic() >= deadline:
            raise UserError(f"{text}; lower train.num_workers, add nodes, or raise ray.num_cpus")
        if not told:
            print(f"{text}; waiting {cfg.wait_for_nodes_seconds:.0f} s for nodes", flush=True)
            told = True
        time.sleep(1.0)


def _missing(cfg: TrainConfig, workers: int, stream_cpus: float) -> list[str]:
    """What `workers` need that the cluster has not, in words."""
    import ray

    has = ray.cluster_resources()
    needs = {name: amount * workers for name, amount in of_worker(cfg).items()}
    # Training that takes every CPU leaves none for its own data: it would wait for ever.
    needs["CPU"] += stream_cpus
    return [
        f"{amount:g} {name}, the cluster has {has.get(name, 0):g}"
        for name, amount in needs.items()
        if has.get(name, 0) < amount
    ]
