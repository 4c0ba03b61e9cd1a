"""The stream's work without Ray, part by part in one process: processor seconds per token that comes out."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pyarrow.compute as pc

from evaluation.benchmarks import BenchmarkText
from pipelines.curation import Curation, claim, judge, kept_documents
from pipelines.dedup.config import DedupConfig
from pipelines.dedup.index import Index, LocalPartitions
from pipelines.manifest import build_manifest
from pipelines.packing import pack_shard
from pipelines.phases.corpus import Corpus
from pipelines.phases.general import general
from pipelines.sequences.config import SequencesConfig
from pipelines.sequences.deal import Dealer, Dealing
from pipelines.sequences.order import seek
from pipelines.sequences.tokenizer import load_tokenizer, train_tokenizer
from pipelines.sources import SourceConfig
from pipelines.stages.benchmark_index import BenchmarkIndex
from pipelines.stages.chain import StagesConfig
from pipelines.stages.stored_index import store
from pipelines.stream import Resources, in_order

H100_TOKENS = 40_000  # tokens a second that one H100 trains of a model of 1.3B (assumed by the floors)
VOCABULARY = 32_000
SEQ_LEN = 2048
DEALING = Dealing(global_batch=16, world_size=1, batches=4, seq_len=SEQ_LEN)

T = TypeVar("T")


@dataclass
class Spent:
    """Processor seconds by part, and the tokens that came out of them."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    tokens: int = 0

    def timed(self, part: str, run: Callable[[], T]) -> T:
        start = time.process_time()
        result = run()
        self.seconds[part] += time.process_time() - start
        return result

    def cores(self, *parts: str) -> float:
        """CPU cores that keep one H100 busy."""
        used = sum(self.seconds[part] for part in parts or self.seconds)
        return used / max(self.tokens, 1) * H100_TOKENS


@dataclass(frozen=True)
class Costs:
    """One configuration of the stages. `live` judges while it trains; `replay` only opens the text again and packs."""

    live: Spent
    replay: Spent
    tokenizer: Spent  # the library alone over the same texts
    stages: dict[str, tuple[int, float]]  # (bytes, processor seconds) of each text stage

    def lines(self, name: str) -> Iterator[str]:
        yield f"{name}: {self.live.tokens:,} tokens"
        for way, spent in (("live", self.live), ("replay", self.replay), ("tokenizer", self.tokenizer)):
            parts = ", ".join(f"{part} {spent.cores(part):.4f}" for part in spent.seconds)
            speed = H100_TOKENS / spent.cores()
            yield f"  {way:9} {spent.cores():.4f} cores per H100, {speed:9,.0f} tokens/s a core ({parts})"
        for stage, (size, seconds) in self.stages.items():
            yield f"  {stage:13} {size / 1e6 / max(seconds, 1e-9):7.0f} MB/s, {size / 1e6:.1f} MB"


def corpus(
    root: Path, source: SourceConfig, stages: StagesConfig, known: list[BenchmarkText], seq_len: int = SEQ_LEN
) -> Corpus:
    return Corpus(
        root=root,
        shards=in_order(build_manifest(source, seed=0)),
        curation=Curation(
            source=source,
            stages=stages,
            dedup=DedupConfig(partitions=1, expected_documents=100_000),
            benchmarks=store(BenchmarkIndex.build(known), root / "benchmarks"),
            ledger_root=str(root / "ledger"),
        ),
        sequences=SequencesConfig(seq_len=seq_len, interleave=8, deal_batches=4),
        resources=Resources(),
        seed=0,
    )


def costs(made: Corpus) -> Costs:
    """What the operators do, one after another, on every shard; the tokenizer is trained on the first of them.

    Live and replay and the bound take turns, so that what else the machine does falls on all of them.
    """
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # as in a task, which has one CPU
    curation, packing = made.curation, general(made, 1).packing
    live, replay, alone = Spent(), Spent(), Spent()
    index = Index(LocalPartitions(curation.dedup))
    _warm_up(made)
    replays = Dealer(DEALING, seek(made.order(1), 1, 0, DEALING.global_batch, lambda _: None), 1 << 40)
    lives = Dealer(DEALING, seek(made.order(1), 1, 0, DEALING.global_batch, lambda _: None), 1 << 40)
    tokenizer = load_tokenizer(str(made.tokenizer))
    for entry, shard in enumerate(made.shards):
        found = live.timed("judge", lambda: judge(shard, curation))  # noqa: B023
        if found is None:
            raise RuntimeError(f"shard {shard.shard} was judged before")
        live.timed("claim", lambda: claim(shard, *found, index, curation))  # noqa: B023
        for spent, dealer, epoch in ((live, lives, 0), (replay, replays, 1)):
            packed = spent.timed("pack", lambda: pack_shard(shard, epoch, packing))  # noqa: B023
            spent.timed("deal", lambda: dealer.push(entry, packed))  # noqa: B023
            spent.tokens += pc.sum(packed["loss_tokens"]).as_py() or 0
        texts = [text for table in kept_documents(shard, curation) for text in table["text"].to_pylist()]
        ids = alone.timed("encode", lambda: tokenizer.encode(texts))  # noqa: B023
        alone.tokens += sum(map(len, ids))
    stages = {}
    for stage in curation.chain()[:-1]:
        metas = [curation.ledger.meta(stage, shard.shard) or {} for shard in made.shards]
        stages[stage.name] = (sum(m["bytes"] for m in metas), sum(m["seconds"] for m in metas))
    return Costs(live, replay, alone, stages)


def _warm_up(made: Corpus) -> None:
    """Compile and load everything, train the tokenizer, and forget the verdicts again."""
    curation, first = made.curation, made.shards[0]
    found = judge(first, curation)
    if found is not None:
        claim(first, *found, Index(LocalPartitions(curation.dedup)), curation)
    texts = [text for table in kept_documents(first, curation) for text in table["text"].to_pylist()]
    if not (made.tokenizer / "tokenizer.json").exists():
        made.tokenizer.mkdir(parents=True, exist_ok=True)
        train_tokenizer(texts, VOCABULARY, made.tokenizer)
    load_tokenizer(str(made.tokenizer)).encode(texts[:10])
    for path in curation.ledger.root.rglob("*.arrow"):
        path.unlink()
