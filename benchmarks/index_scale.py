"""The claim over tens of millions of documents: seconds of CPU time per million, and memory beside the plan.

    python benchmarks/index_scale.py [--documents N] [--svg FILE] [--quick]

Documents are random keys, made shard by shard and never stored: 40 in 100 are originals, the others have one band and
the signature of an original before them, or all its keys. So which are kept is known, and every shard is checked. One
process, two partitions, sized for the originals.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipelines.dedup.claim import claim_shard
from pipelines.dedup.config import DedupConfig
from pipelines.dedup.index import Index, LocalPartitions
from pipelines.dedup.keys import DocumentKeys

SHARD = 10_000
ORIGINALS = 4_000
POINTS = 60  # measurements over the run


class Point(NamedTuple):
    """After so many documents."""

    documents: int
    kept: int
    seconds_per_million: float  # CPU time of claims since the last point
    held: int  # bytes that the index says it holds
    resident: int  # bytes of the process


def shard_keys(shard: int, cfg: DedupConfig) -> DocumentKeys:
    """Keys of a shard whose first ORIGINALS documents are kept and no other."""
    exact, bands, signature = _originals(shard, cfg)
    rng = np.random.default_rng([shard, 1])
    copies = SHARD - ORIGINALS
    of_exact, of_bands, of_signature = _originals(int(rng.integers(0, shard + 1)), cfg)
    which = rng.integers(0, ORIGINALS, copies)
    copied = rng.integers(0, 2**64, (copies, cfg.bands), dtype=np.uint64)
    near = rng.random(copies) < 0.5
    band = rng.integers(0, cfg.bands, copies)
    copied[near, band[near]] = of_bands[which[near], band[near]]
    copied[~near] = of_bands[which[~near]]
    own = rng.integers(0, 2**64, (copies, 2), dtype=np.uint64)
    every = np.arange(SHARD, dtype=np.int32)
    return DocumentKeys(
        exact=np.concatenate([exact, np.where(near[:, None], own, of_exact[which])])[:, None],
        bands=np.concatenate([bands, copied]),
        signature=np.concatenate([signature, of_signature[which]]),
        short=np.zeros(SHARD, np.bool_),
        unit=every,
        rank=every,
    )


def _originals(shard: int, cfg: DedupConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng([shard, 0])
    return (
        rng.integers(0, 2**64, (ORIGINALS, 2), dtype=np.uint64),
        rng.integers(0, 2**64, (ORIGINALS, cfg.bands), dtype=np.uint64),
        rng.integers(0, 2**64, (ORIGINALS, cfg.bins // 8), dtype=np.uint64).view(np.uint8),
    )


def plan(documents: int) -> DedupConfig:
    """The configuration whose memory is declared for so many documents."""
    shards = -(-documents // SHARD)
    return DedupConfig(partitions=2, expected_documents=shards * ORIGINALS, grow=False)


def measure(documents: int) -> Iterator[Point]:
    """Claim so many documents. Raises RuntimeError where a shard's verdicts are not those known beforehand."""
    cfg, shards = plan(documents), -(-documents // SHARD)
    rows = np.arange(SHARD, dtype=np.int32)
    claim_shard(0, rows, shard_keys(0, cfg), Index(LocalPartitions(plan(SHARD))), plan(SHARD))  # compile
    index = Index(LocalPartitions(cfg))
    ends = set(np.linspace(0, shards, min(shards, POINTS) + 1).astype(int)[1:].tolist())
    seconds, since = 0.0, 0
    for shard in range(shards):
        keys = shard_keys(shard, cfg)
        begin = time.process_time()
        table = claim_shard(shard, rows, keys, index, cfg)
        seconds += time.process_time() - begin
        since += SHARD
        kept = np.asarray(table["dup_of"]) < 0
        if not kept[:ORIGINALS].all() or kept[ORIGINALS:].any():
            raise RuntimeError(f"shard {shard}: {kept.sum()} documents kept, not the {ORIGINALS} originals")
        if shard + 1 in ends:
            held = sum(part["bytes"] for part in index.stats())
            yield Point(
                (shard + 1) * SHARD, (shard + 1) * ORIGINALS, seconds / since * 1e6, held, resident_bytes()
            )
            seconds, since = 0.0, 0


def resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise RuntimeError("this system does not say how much memory the process holds")


def draw(points: list[Point], cfg: DedupConfig, path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "index-scale"  # the same points give the same file
    import matplotlib.pyplot as plt

    millions = [point.documents / 1e6 for point in points]
    figure, (time_axis, memory_axis) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    time_axis.plot(millions, [point.seconds_per_million for point in points], color="#1f6f8b")
    time_axis.set(ylim=(0, None), xlabel="million documents", ylabel="CPU seconds per million")
    memory_axis.plot(
        millions, [point.held / 2**30 for point in points], color="#1f6f8b", label="held by the index"
    )
    memory_axis.plot(millions, [point.resident / 2**30 for point in points], color="#99582a", label="process")
    memory_axis.axhline(cfg.index_bytes / 2**30, color="#666", linestyle=":", label="planned")
    memory_axis.set(ylim=(0, None), xlabel="million documents", ylabel="GiB")
    memory_axis.legend(frameon=False)
    for axis in (time_axis, memory_axis):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", type=int, default=30_000_000)
    parser.add_argument("--svg", type=Path, help="where to draw the cost line")
    parser.add_argument("--quick", action="store_true", help="200,000 documents")
    options = parser.parse_args()
    documents = 200_000 if options.quick else options.documents
    cfg = plan(documents)
    print(
        f"plan      {cfg.expected_documents:,} kept, {cfg.index_bytes / 2**30:.2f} GiB with {cfg.partitions} processes"
    )
    points = []
    for point in measure(documents):
        points.append(point)
        print(
            f"scale     {point.documents:11,} documents {point.kept:11,} kept  {point.seconds_per_million:.2f} CPU s "
            f"per million  index {point.held / 2**30:.2f} GiB, {point.held / point.kept:.0f} B per kept document, "
            f"process {point.resident / 2**30:.2f} GiB",
            flush=True,
        )
    if options.svg:
        draw(points, cfg, options.svg)


if __name__ == "__main__":
    main()
