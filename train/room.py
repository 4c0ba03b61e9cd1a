"""Whether the cluster has room: for how many workers, and for anything else that is asked of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from snowcoder.base import UserError
from train.config import TrainConfig
from train.leaving import draining_nodes


def of_worker(cfg: TrainConfig) -> dict[str, float]:
    """Ray resources of one worker."""
    return {"CPU": float(cfg.cpus_per_worker)} | ({"GPU": 1.0} if cfg.use_gpu else {})


def most(cfg: TrainConfig, allowed: Sequence[int], stream_cpus: float) -> int | None:
    """The first of the `allowed` numbers of workers that fits beside the stream, None when none does."""
    return next((workers for workers in allowed if not _missing(cfg, workers, stream_cpus)), None)


def find(cfg: TrainConfig, stream_cpus: float) -> int:
    """The most workers that fit, waiting `wait_for_nodes_seconds`. Raises UserError that says what is missing."""
    least = cfg.worker_counts[-1]
    title = f"train: {least} workers and the data stream need "
    missing = wait(lambda: _missing(cfg, least, stream_cpus), title, cfg.wait_for_nodes_seconds)
    workers = most(cfg, cfg.worker_counts, stream_cpus)
    if workers is None:
        remedy = "lower train.num_workers, add nodes, or raise ray.num_cpus"
        raise UserError(f"{title}{'; '.join(missing)}; {remedy}")
    return workers


def wait(missing: Callable[[], list[str]], title: str, seconds: float) -> list[str]:
    """What is still missing after at most this long, [] as soon as nothing is. Tells once that it waits."""
    deadline = time.monotonic() + seconds
    told = False
    while (lacks := missing()) and time.monotonic() < deadline:
        if not told:
            print(f"{title}{'; '.join(lacks)}; waiting {seconds:.0f} s for nodes", flush=True)
            told = True
        time.sleep(1.0)
    return lacks


def short_of(needs: Mapping[str, float], labels: Mapping[str, str] | None = None) -> list[str]:
    """Which of these Ray resources the nodes with these labels have too little of, in words; a node that is to go
    counts as gone."""
    import ray

    leaving = draining_nodes()
    wanted = (labels or {}).items()
    has: Counter[str] = Counter()
    for node in ray.nodes():
        if node["Alive"] and node["NodeID"] not in leaving and wanted <= node["Labels"].items():
            has.update(node["Resources"])
    where = f" on nodes with {', '.join(f'{k}={v}' for k, v in sorted(wanted))}" if wanted else ""
    return [
        f"{in_words(name, amount)} {name}, the cluster has {in_words(name, has.get(name, 0))}{where}"
        for name, amount in needs.items()
        if has.get(name, 0) < amount
    ]


def _missing(cfg: TrainConfig, workers: int, stream_cpus: float) -> list[str]:
    needs = {name: amount * workers for name, amount in of_worker(cfg).items()}
    if cfg.worker_labels != cfg.stream_labels:
        return short_of(needs, cfg.worker_labels) + short_of({"CPU": stream_cpus}, cfg.stream_labels)
    # Training that takes every CPU leaves none for its own data: it would wait for ever.
    needs["CPU"] += stream_cpus
    return short_of(needs, cfg.worker_labels)


def in_words(name: str, amount: float) -> str:
    """For people: memory in GiB, all else as it is."""
    return f"{amount / (1 << 30):.1f} GiB" if name in ("memory", "object_store_memory") else f"{amount:g}"
