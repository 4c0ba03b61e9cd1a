"""Memory there is for the index: checked before the start, and again before a partition grows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pipelines.dedup.config import DedupConfig
from snowcoder.base import UserError

_CGROUP = Path("/sys/fs/cgroup")


def check_memory(cfg: DedupConfig, node_bytes: Sequence[int]) -> None:
    """Raises UserError unless all partitions find room on nodes with this many bytes for them.

    Partitions are equal, so a node takes as many as fit whole.
    """
    room = sum(max(0, free) // cfg.partition_bytes for free in node_bytes)
    if room >= cfg.partitions:
        return
    if sum(node_bytes) >= cfg.index_bytes:
        remedy = "raise dedup.partitions, so that smaller ones fit, or use larger nodes"
    else:
        remedy = "lower dedup.expected_documents, dedup.bands or dedup.bins, or add nodes"
    raise UserError(
        f"near-duplicate index for {cfg.expected_documents:,} kept documents: {cfg.partitions} partitions of "
        f"{_gib(cfg.partition_bytes)} do not fit in {_gib(sum(node_bytes))} on {len(node_bytes)} nodes; {remedy}"
    )


def cluster_memory() -> list[int]:
    """Bytes of each living node's `memory` resource, by which Ray places the partitions."""
    import ray

    return [int(node["Resources"].get("memory", 0)) for node in ray.nodes() if node["Alive"]]


def available_bytes() -> int:
    """Bytes this process could still take: of the machine, or of its control group (v2) if that is less."""
    pages = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):  # also counts what the page cache would give back
            pages = int(line.split()[1]) << 10
    try:
        limit, used = (_CGROUP / "memory.max").read_text(), (_CGROUP / "memory.current").read_text()
    except OSError:
        return pages  # no control group of its own
    return pages if limit.strip() == "max" else min(pages, int(limit) - int(used))


def _gib(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB"
