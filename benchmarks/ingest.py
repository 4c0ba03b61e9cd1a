"""What the stream costs beside training: cores per GPU, and what is left of a bare DeepSpeed loop's speed.

    python benchmarks/ingest.py [--quick] [--check]

(a) *stages*: processor seconds per token of each part of the stream on the code of this environment, in one process;
    turned into CPU cores per H100 that takes 40,000 tokens a second. `live` judges while it trains, `replay` opens
    the text again and only packs; `tokenizer` is the bound that tokenising alone sets, at the library's own peak.
(b) *training*: tokens a second of the whole system (Ray Data into Ray Train and DeepSpeed) against a bare DeepSpeed
    loop over the same rows in memory, the same model of 50M parameters, one worker each, in turn.
(c) *order*: the ordered stream against Ray Data's free order, without training.

Prints `ratio NAME PEER VALUE floor FLOOR`. For (a) the value is allowed cores over used cores, so more is better.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from pipelines.curation import Curation, claim, judge
from pipelines.dedup.config import DedupConfig
from pipelines.dedup.index import Index, LocalPartitions
from pipelines.manifest import build_manifest
from pipelines.packing import pack_shard
from pipelines.phases.corpus import Corpus, position_fingerprint
from pipelines.phases.general import general
from pipelines.sequences.config import SequencesConfig
from pipelines.sequences.deal import Dealing
from pipelines.sequences.tokenizer import load_tokenizer, train_tokenizer
from pipelines.sources import SourceConfig, read_shard
from pipelines.stages.benchmark_index import BenchmarkIndex
from pipelines.stages.chain import StagesConfig
from pipelines.stages.stored_index import store
from pipelines.stream import Plan, Resources, in_order, training_stream
from train.config import ModelConfig, ScheduleConfig, TrainConfig

H100_TOKENS = 40_000  # tokens a second that one H100 trains of a model of 1.3B (assumed by the floors)
LIVE_CORES, REPLAY_CORES = 0.25, 0.15
TRAINING_FLOOR = 0.95
VOCABULARY = 32_000


@dataclass
class Spent:
    """Processor seconds by part, over all tokens that came out."""

    seconds: dict[str, float]
    tokens: int = 0

    def cores(self, *parts: str) -> float:
        """CPU cores that keep one H100 busy."""
        used = sum(self.seconds[part] for part in parts or self.seconds)
        return used / max(self.tokens, 1) * H100_TOKENS


def corpus(root: Path, megabytes: int, seq_len: int = 512) -> Corpus:
    """The environment's own code, whole repositories."""
    source = SourceConfig(
        kind="environment",
        shard_bytes=4_000_000,
        max_bytes=megabytes * 1_000_000,
        max_document_bytes=1_000_000,
    )
    from evaluation.benchmarks import load

    texts = [task.text() for task in load("humaneval")]
    return Corpus(
        root=root,
        shards=in_order(build_manifest(source, seed=0)),
        curation=Curation(
            source=source,
            stages=StagesConfig(),
            dedup=DedupConfig(partitions=1, expected_documents=100_000),
            benchmarks=store(BenchmarkIndex.build(texts), root / "benchmarks"),
            ledger_root=str(root / "ledger"),
        ),
        sequences=SequencesConfig(seq_len=seq_len, interleave=8, deal_batches=4),
        resources=Resources(),
        seed=0,
    )


def timed(seconds: dict[str, float], part: str, run: Callable[[], object]) -> object:
    start = time.process_time()
    result = run()
    seconds[part] += time.process_time() - start
    return result


def stages(made: Corpus) -> tuple[Spent, Spent, float]:
    """(live, replay, tokenizer alone in cores), one process, no Ray: what the operators do, one after another."""
    curation, packing = made.curation, general(made, 1).packing
    live, replay = Spent(defaultdict(float)), Spent(defaultdict(float))
    index = Index(LocalPartitions(curation.dedup), curation.dedup)
    judge(made.shards[0], curation)  # compiles and loads
    train_and_warm_up(made)
    for path in curation.ledger.root.rglob("*.arrow"):
        path.unlink()
    for shard in made.shards:
        rows, keys = timed(live.seconds, "judge", lambda: judge(shard, curation))  # noqa: B023
        timed(live.seconds, "claim", lambda: claim(shard, rows, keys, index, curation))  # noqa: B023
        packed = timed(live.seconds, "pack", lambda: pack_shard(shard, 0, packing))  # noqa: B023
        live.tokens += pc.sum(packed["loss_tokens"]).as_py()
        packed = timed(replay.seconds, "pack", lambda: pack_shard(shard, 1, packing))  # noqa: B023
        replay.tokens += pc.sum(packed["loss_tokens"]).as_py()
    tokenizer = load_tokenizer(str(made.tokenizer))
    texts = [text for shard in made.shards[:4] for table in read_shard(shard, curation.source)
             for text in table["text"].drop_null().to_pylist()]  # fmt: skip
    start = time.process_time()
    ids = tokenizer.encode(texts)
    bound = (time.process_time() - start) / sum(map(len, ids)) * H100_TOKENS
    for stage in curation.chain()[:-1]:
        metas = [curation.ledger.meta(stage, shard.shard) for shard in made.shards]
        size, spent = (sum(meta[name] for meta in metas) for name in ("bytes", "seconds"))
        print(f"  {stage.name:14} {size / 1e6 / max(spent, 1e-9):8.0f} MB/s")
    return live, replay, bound


def train_and_warm_up(made: Corpus) -> None:
    made.tokenizer.mkdir(parents=True, exist_ok=True)
    first = [text for table in read_shard(made.shards[0], made.curation.source)
             for text in table["text"].drop_null().to_pylist()]  # fmt: skip
    train_tokenizer(first, VOCABULARY, made.tokenizer)


def streamed(plan: Plan, dealing: Dealing, ordered: bool) -> float:
    """Tokens a second of the stream into nothing."""
    dataset = training_stream(plan, dealing, 0, 1 << 40)
    dataset.context.execution_options.preserve_order = ordered
    tokens, first = 0, 0.0
    for block in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
        first = first or time.perf_counter()  # start-up of Ray's workers is not the stream
        tokens += pc.sum(block["loss_tokens"]).as_py()
    return tokens / (time.perf_counter() - first)


def model(vocabulary: int, seq_len: int) -> ModelConfig:
    return ModelConfig(layers=10, hidden=512, ffn=1408, heads=8, vocab=vocabulary, context=seq_len)


def training_config(vocabulary: int, seq_len: int) -> TrainConfig:
    return TrainConfig(
        model=model(vocabulary, seq_len),
        schedule=ScheduleConfig(warmup_tokens=1024, peak_lr=1e-4, end_lr=0.0),
        seq_len=seq_len,
        global_batch=4,
        micro_batch=2,
        group=4,
        checkpoint_every_steps=10_000,
        progress_every_seconds=1e9,
    )


def through_the_system(made: Corpus, cfg: TrainConfig, steps: int, run_dir: Path) -> list[float]:
    """Seconds of each step, waiting for data included."""
    from train.trainer import fit

    plan = general(made, 4)

    def stream(position: int, stop: int, workers: int):
        dealing = Dealing(
            global_batch=cfg.global_batch, world_size=workers, batches=cfg.group, seq_len=cfg.seq_len
        )
        return training_stream(plan, dealing, position, stop)

    fingerprint = position_fingerprint(plan, cfg.global_batch)
    fit(cfg, "general", stream, run_dir, total_steps=steps, fingerprint=fingerprint)
    lines = (run_dir / "train/general/metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["seconds"] for line in lines]


def bare_loop(cfg: TrainConfig, steps: int, out: str) -> None:
    """The same model, optimizer and step over rows that lie in memory, in a process of its own."""
    import torch.distributed as dist

    from train.engine import Rows, prepare_process, start_engine, train_step
    from train.model import build_model

    os.environ |= {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    os.environ["MASTER_PORT"] = "29511"
    prepare_process(cfg)
    dist.init_process_group("gloo")
    engine = start_engine(build_model(cfg.model, cfg.seed, cfg.attention), cfg)
    rng = np.random.default_rng(0)
    seconds = []
    for _ in range(steps):
        tokens = rng.integers(0, cfg.model.vocab, (cfg.global_batch, cfg.seq_len)).astype(np.int32)
        rows = Rows(
            tokens,
            np.full(cfg.global_batch, cfg.seq_len, np.int32),
            [np.zeros(1, np.int64)] * cfg.global_batch,
        )
        start = time.perf_counter()
        train_step(engine, rows, 1e-5, cfg)
        seconds.append(time.perf_counter() - start)
    Path(out).write_text(json.dumps(seconds))


def bare(cfg: TrainConfig, steps: int, directory: Path) -> list[float]:
    out = directory / "bare.json"
    process = multiprocessing.get_context("spawn").Process(target=bare_loop, args=(cfg, steps, str(out)))
    process.start()
    process.join()
    return json.loads(out.read_text())


def ratios(quick: bool) -> Iterator[tuple[str, str, float, float]]:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        made = corpus(root / "run", 20 if quick else 100)
        print(f"{sum(shard.bytes for shard in made.shards) / 1e6:.0f} MB in {len(made.shards)} shards")
        live, replay, bound = stages(made)
        print(f"tokenizer alone: {bound:.4f} cores per H100 at {H100_TOKENS:,} tokens/s")
        for name, spent in (("live", live), ("replay", replay)):
            parts = ", ".join(f"{part} {spent.cores(part):.4f}" for part in spent.seconds)
            print(f"{name}: {spent.cores():.4f} cores ({parts}); {spent.tokens:,} tokens")
        yield "ingest-live", "cores-allowed", LIVE_CORES / live.cores(), 1.0
        yield "ingest-replay", "cores-allowed", REPLAY_CORES / replay.cores(), 1.0

        import ray

        ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        ray.data.DataContext.get_current().enable_progress_bars = False
        try:
            plan, dealing = general(made, 2), Dealing(global_batch=8, world_size=1, batches=8, seq_len=512)
            speeds: dict[bool, list[float]] = {True: [], False: []}
            for _ in range(1 if quick else 3):
                for ordered in (True, False):
                    speeds[ordered].append(streamed(plan, dealing, ordered))
            one, other = (statistics.median(speeds[ordered]) for ordered in (True, False))
            print(f"stream into nothing: ordered {one:,.0f} tokens/s, Ray's free order {other:,.0f}")
            yield "ingest-ordered", "unordered", one / other, 0.0

            cfg = training_config(load_tokenizer(str(made.tokenizer)).vocab_size, 512)
            steps = 12 if quick else 30
            ours, theirs = [], []
            for turn in range(1 if quick else 3):
                ours += through_the_system(made, cfg, steps, root / f"train-{turn}")[4:]
                theirs += bare(cfg, steps, root)[4:]
            mine, peer = (cfg.tokens_per_step / statistics.median(found) for found in (ours, theirs))
            print(f"training, 50M parameters: {mine:,.0f} tokens/s, bare DeepSpeed loop {peer:,.0f}")
            yield "ingest-training", "bare-deepspeed", mine / peer, TRAINING_FLOOR
        finally:
            ray.shutdown()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="less data and fewer steps, under three minutes")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a ratio is below its floor")
    arguments = parser.parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores")
    low = False
    for name, peer, value, floor in ratios(arguments.quick):
        print(f"ratio {name} {peer} {value:.2f} floor {floor:g}", flush=True)
        low |= value < floor
    print(f"peak RSS of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")
    return 1 if low and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
