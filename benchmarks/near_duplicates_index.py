"""The index: claims in one process, through Ray actors, and as an ordered operator of a Ray stream.

    python benchmarks/near_duplicates_index.py [--quick] [--check]

Documents are random keys (16 bands), a third of them near duplicates of earlier ones. Prints one `ratio NAME PEER
VALUE floor FLOOR` line per floor; `--check` exits with 1 below one. *Ordered* is the stream's claim: shards in the
order of the manifest, one at a time. *Unordered* takes them as their tasks end, two in flight: what the order costs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.dedup.claim import claim_shard
from pipelines.dedup.config import DedupConfig
from pipelines.dedup.index import Index, LocalPartitions, RayPartitions, create_partitions
from pipelines.dedup.keys import DocumentKeys

CLAIM_FLOOR = 100_000  # documents/s through Ray on two cores
ORDER_FLOOR = 0.95  # speed of the ordered claim by that of the unordered one
SHARD = 8192  # documents


def random_keys(shard: int, cfg: DedupConfig) -> DocumentKeys:
    """Keys of a shard; a third have one band and the signature of a document of an earlier shard."""
    own, signature = _bands(shard, cfg), _signatures(shard, cfg)
    rng = np.random.default_rng([shard, 1])
    if shard:
        other = int(rng.integers(0, shard))
        copies = np.flatnonzero(rng.random(SHARD) < 1 / 3)
        originals = rng.integers(0, SHARD, len(copies))
        own[copies, 3] = _bands(other, cfg)[originals, 3]
        signature[copies] = _signatures(other, cfg)[originals]
    every = np.arange(SHARD, dtype=np.int32)
    return DocumentKeys(
        exact=rng.integers(0, 2**64, (SHARD, 1, 2), dtype=np.uint64),
        bands=own,
        signature=signature,
        short=np.zeros(SHARD, np.bool_),
        unit=every,
        rank=every,
    )


def _bands(shard: int, cfg: DedupConfig) -> np.ndarray:
    return np.random.default_rng([shard, 0]).integers(0, 2**64, (SHARD, cfg.bands), dtype=np.uint64)


def _signatures(shard: int, cfg: DedupConfig) -> np.ndarray:
    """uint8[SHARD, bins]"""
    rng = np.random.default_rng([shard, 2])
    return rng.integers(0, 2**64, (SHARD, cfg.bins // 8), dtype=np.uint64).view(np.uint8)


def claims(index: Index, cfg: DedupConfig, shards: int, clock: Any) -> tuple[float, int]:
    """(documents/s, kept) of claiming `shards` one after the other; making their keys is not counted."""
    rows, seconds, kept = np.arange(SHARD, dtype=np.int32), 0.0, 0
    for shard in range(shards):
        keys = random_keys(shard, cfg)
        begin = clock()
        table = claim_shard(shard, rows, keys, index, cfg)
        seconds += clock() - begin
        kept += table["reason"].null_count
    return shards * SHARD / seconds, kept


class Claim:
    """As the stream's operator: alone, over keys that tasks have made."""

    def __init__(self, cfg: DedupConfig, prefix: str) -> None:
        self.cfg, self.index = cfg, Index(RayPartitions(prefix, cfg.partitions))

    def __call__(self, batch: pa.Table) -> pa.Table:
        for shard, cell in zip(batch["id"].to_pylist(), batch["keys"], strict=True):
            with pa.ipc.open_stream(cell.as_buffer()) as reader:
                keys = DocumentKeys.from_table(reader.read_all())
            claim_shard(shard, np.arange(SHARD, dtype=np.int32), keys, self.index, self.cfg)
        return batch.drop_columns(["keys"])


class MakeKeys:
    """Stands for judging: the keys of one shard, and the time that judging it would take at least."""

    def __init__(self, cfg: DedupConfig) -> None:
        self.cfg = cfg

    def __call__(self, batch: pa.Table) -> pa.Table:
        cells = []
        for shard in batch["id"].to_pylist():
            table = random_keys(shard, self.cfg).to_table()
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)
            cells.append(sink.getvalue().to_pybytes())
        return batch.append_column("keys", pa.array(cells, pa.large_binary()))


def stream(cfg: DedupConfig, prefix: str, shards: int, *, ordered: bool) -> float:
    """Seconds of a Ray Data stream that makes and claims the shards."""
    import ray.data

    partitions = create_partitions(cfg, prefix)
    data = ray.data.range(shards, override_num_blocks=shards)
    data = data.map_batches(MakeKeys(cfg), batch_size=None, batch_format="pyarrow", num_cpus=1)
    data = data.map_batches(
        Claim,
        fn_constructor_args=(cfg, prefix),
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=1, max_tasks_in_flight_per_actor=1 if ordered else 2),
        num_cpus=0,
    )
    data.context.execution_options.preserve_order = ordered
    begin = time.perf_counter()
    done = sum(batch.num_rows for batch in data.iter_batches(batch_size=None, batch_format="pyarrow"))
    seconds = time.perf_counter() - begin
    if done != shards:
        raise RuntimeError(f"{done} of {shards} shards came through")
    del partitions  # its actors end
    return seconds


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the data")
    parser.add_argument("--check", action="store_true", help="exit with 1 below a floor")
    options = parser.parse_args()
    import ray

    # the streams are long, so that the time Ray takes to start one (about 2 s) does not drown what order costs
    shards, streamed, repeats = (6, 6, 1) if options.quick else (40, 120, 7)
    cfg = DedupConfig(partitions=2, expected_documents=shards * SHARD)
    index = Index(LocalPartitions(cfg))
    claims(Index(LocalPartitions(cfg)), cfg, 2, time.perf_counter)  # compile
    speed, kept = claims(index, cfg, shards, time.process_time)
    held = sum(part["bytes"] for part in index.stats())
    print(
        f"claim     {speed:,.0f} documents/s of CPU time in one process; {held / kept:.0f} bytes per kept document "
        f"({kept:,} of {shards * SHARD:,} kept; sized for {cfg.expected_documents:,})"
    )

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=512 << 20)
    partitions = create_partitions(cfg, "warm")
    claims(Index(partitions), cfg, 2, time.perf_counter)
    speeds = []
    for repeat in range(repeats):
        partitions = create_partitions(cfg, f"claims-{repeat}")
        speeds.append(claims(Index(partitions), cfg, shards, time.perf_counter)[0])
    speed = statistics.median(speeds)
    print(
        f"claim     {speed:,.0f} documents/s through Ray, {cfg.partitions} partitions, {cfg.bands} bands, wall time"
    )
    print(f"ratio claims documents/s {speed:,.0f} floor {CLAIM_FLOOR:,}")

    times: dict[bool, list[float]] = {True: [], False: []}
    cfg = cfg.model_copy(update={"expected_documents": streamed * SHARD})
    stream(cfg, "warm-stream", min(streamed, 8), ordered=True)
    for repeat in range(repeats):
        for ordered in (True, False) if repeat % 2 else (False, True):
            times[ordered].append(stream(cfg, f"stream-{ordered}-{repeat}", streamed, ordered=ordered))
    ray.shutdown()
    for ordered, seconds in times.items():
        print(
            f"stream    {streamed * SHARD / statistics.median(seconds):,.0f} documents/s "
            f"{'ordered' if ordered else 'unordered'}, keys made and claimed; seconds "
            + " ".join(f"{one:.2f}" for one in seconds)
        )
    # Medians of runs taken in turns: one run differs from the next by up to 4 %, the best of several is the luckiest.
    ratio = statistics.median(times[False]) / statistics.median(times[True])
    print(f"ratio ordered unordered {ratio:.3f} floor {ORDER_FLOOR}")
    below = speed < CLAIM_FLOOR or (ratio < ORDER_FLOOR and not options.quick)
    return int(options.check and below)


if __name__ == "__main__":
    sys.exit(main())
