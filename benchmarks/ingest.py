"""What the stream costs beside training: cores per GPU, and what is left of a bare DeepSpeed loop's speed.

    python -m benchmarks.ingest [--quick] [--check] [--corpus DIR] [--benchmarks DIR] [--parts a,b,c]

(a) *stages*: processor seconds per token of each part of the stream, in one process; turned into CPU cores per H100
    that takes 40,000 tokens a second. `live` judges while it trains, `replay` opens the text again and only packs;
    `tokenizer` is the bound that tokenising alone sets, over the same texts. Both for the rules of
    conf/presets/snowcoder.yaml, which all recipes here use and the floors are for, and for the stages' bare defaults.
(b) *training*: tokens a second of the whole system (Ray Data into Ray Train and DeepSpeed) against a bare DeepSpeed
    loop over rows in memory; the same model of 52M parameters, one worker each, in turn.
(c) *order*: the ordered stream against Ray Data's free order, replay path, without training.

The corpus is that of `python -m benchmarks.corpus`, or this environment's own code where none was built. Prints
`ratio NAME PEER VALUE floor FLOOR`. For (a) the value is allowed cores over used cores, so more is better.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.curation import BENCHMARK_FILES, find_corpus
from benchmarks.ingest_stages import DEALING, H100_TOKENS, SEQ_LEN, corpus, costs
from benchmarks.ingest_training import bare, streamed, through_the_system, training_config
from benchmarks.ours import COLUMNS, preset
from evaluation.benchmarks import BENCHMARKS, BenchmarkText, available, load
from pipelines.phases.corpus import curate
from pipelines.phases.general import general
from pipelines.sequences.tokenizer import load_tokenizer
from pipelines.sources import SourceConfig
from pipelines.stages.chain import StagesConfig

LIVE_CORES, REPLAY_CORES = 0.25, 0.15
TRAINING_FLOOR = 0.95
TRAINING_SEQ_LEN = 512

Ratio = tuple[str, str, float, float]


def source(folder: Path | None, megabytes: int) -> SourceConfig:
    size = {"shard_bytes": 4 << 20, "max_bytes": megabytes * 1_000_000, "max_document_bytes": 1_000_000}
    if folder is None:
        return SourceConfig(kind="environment", **size)
    return SourceConfig(kind="parquet", paths=(str(folder),), columns=COLUMNS, **size)


def stages(root: Path, taken: SourceConfig, known: list[BenchmarkText]) -> Iterator[Ratio]:
    rules = preset("snowcoder").curation
    chosen = StagesConfig(**{name: getattr(rules, name) for name in StagesConfig.model_fields})
    for name, configured in (("snowcoder", chosen), ("defaults", StagesConfig())):
        made = corpus(root / name, taken, configured, known)
        print(
            f"{name}: {sum(shard.bytes for shard in made.shards) / 1e6:.0f} MB in {len(made.shards)} shards"
        )
        found = costs(made)
        print("\n".join(found.lines(name)), flush=True)
        if name == "snowcoder":
            yield "ingest-live", "cores-allowed", LIVE_CORES / found.live.cores(), 1.0
            yield "ingest-replay", "cores-allowed", REPLAY_CORES / found.replay.cores(), 1.0


def order(root: Path, taken: SourceConfig, turns: int) -> Iterator[Ratio]:
    made = _judged(root, taken, SEQ_LEN)
    plan = general(made, 2)
    list_of = {True: [], False: []}  # type: dict[bool, list[float]]
    spent, tokens = 0.0, 0
    streamed(plan, DEALING, ordered=True)  # packs for the first time, and starts Ray's workers
    for _ in range(turns):
        for ordered in (True, False):
            flow = streamed(plan, DEALING, ordered)
            list_of[ordered].append(flow.tokens / flow.seconds)
            spent, tokens = spent + flow.cpu, tokens + flow.tokens
    one, other = (statistics.median(list_of[ordered]) for ordered in (True, False))
    print(f"stream into nothing: ordered {one:,.0f} tokens/s, Ray's free order {other:,.0f}")
    print(
        f"replay through Ray: {spent / tokens * H100_TOKENS:.4f} cores per H100, Ray's own processes included"
    )
    yield "ingest-ordered", "unordered", one / other, 0.0


def training(root: Path, taken: SourceConfig, turns: int, steps: int) -> Iterator[Ratio]:
    made = _judged(root, taken, TRAINING_SEQ_LEN)
    cfg = training_config(load_tokenizer(str(made.tokenizer)).vocab_size, TRAINING_SEQ_LEN)
    shares, waits = [], []
    for turn in range(turns):
        ours = through_the_system(made, cfg, steps, root / f"train-{turn}")
        theirs = bare(cfg, steps, root)
        mine, peer = (
            cfg.tokens_per_step / statistics.median(found)
            for found in ([step["seconds"] for step in ours], theirs)
        )
        waits.append(statistics.fmean(step["data_wait_share"] for step in ours))
        shares.append(mine / peer)
        print(
            f"training, turn {turn}: {mine:,.0f} tokens/s, bare loop {peer:,.0f}, "
            f"waiting for data {waits[-1]:.2%}",
            flush=True,
        )
    yield "ingest-training", "bare-deepspeed", statistics.median(shares), TRAINING_FLOOR


def _judged(root: Path, taken: SourceConfig, seq_len: int):
    """A corpus that is judged and has its tokenizer: what is measured from here on is the replay."""
    made = corpus(root, taken, StagesConfig(), [], seq_len)
    if not made.tokenizer.exists():
        costs(made)
    list(curate(made))
    return made


def ratios(arguments: argparse.Namespace) -> Iterator[Ratio]:
    quick, parts = arguments.quick, arguments.parts.split(",")
    found = [name for name in BENCHMARKS if available(name, arguments.benchmarks)]
    known = [task.text() for name in found for task in load(name, arguments.benchmarks)]
    folder = find_corpus(arguments.corpus)
    print(f"corpus: {folder or 'the code of this environment'}; {len(known)} benchmark tasks of {len(found)}")
    with tempfile.TemporaryDirectory(prefix="ingest-") as directory:
        root = Path(directory)
        if "a" in parts:
            yield from stages(root / "stages", source(folder, 12 if quick else 60), known)
        if not {"b", "c"} & set(parts):
            return
        import ray

        # Two logical CPUs more than work: what the stream's actors take.
        ray.init(num_cpus=max(4, os.cpu_count() or 1), include_dashboard=False, log_to_driver=False)
        ray.data.DataContext.get_current().enable_progress_bars = False
        try:
            taken = source(folder, 12 if quick else 60)
            if "c" in parts:
                yield from order(root / "order", taken, 1 if quick else 3)
            if "b" in parts:
                yield from training(root / "training", taken, 1 if quick else 2, 8 if quick else 16)
        finally:
            ray.shutdown()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="less data and fewer steps, under three minutes")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a ratio is below its floor")
    parser.add_argument("--corpus", type=Path, help="folder of Parquet files (default: the cache's)")
    parser.add_argument("--benchmarks", type=Path, default=BENCHMARK_FILES, help="folder of benchmark files")
    parser.add_argument("--parts", default="a,b,c", help="which of the three, by comma (default: all)")
    arguments = parser.parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    low = False
    for name, peer, value, floor in ratios(arguments):
        print(f"ratio {name} {peer} {value:.2f} floor {floor:g}", flush=True)
        low |= value < floor
    print(f"peak RSS of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")
    return 1 if low and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
