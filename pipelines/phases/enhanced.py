"""Phase 3, enhanced data (paper 2.4): code files that an LLM writes from phase 2's best documents.

Seeds are the highest scores of the selection, about half of them Python; each gives requests; answers are recorded,
judged in order and, if good, packed like any other document. Training may start before the last answer is there: it
then waits for each chunk at its place in the order.
"""

from __future__ import annotations

import heapq
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.dedup.claim import claim_shard
from pipelines.dedup.config import DedupConfig
from pipelines.dedup.index import Index, LocalPartitions
from pipelines.dedup.keys import document_keys
from pipelines.ledger import Ledger, Stage
from pipelines.phases.corpus import Corpus
from pipelines.schema import Shard, ordinal, stable_hash
from pipelines.scoring import Scoring
from pipelines.sequences.order import Order
from pipelines.stages.stored_index import StoredIndex
from pipelines.stream import Plan
from pipelines.synthesis.config import VerifyConfig
from pipelines.synthesis.requests import SEED, read_chunk
from pipelines.synthesis.requests import Plan as Requests
from pipelines.synthesis.verify import VERIFY_VERSION, Seen, accepted_documents, verify
from snowcoder.files import write_atomically

FAILED = "failed"


def choose_seeds(corpus: Corpus, scoring: Scoring, count: int, python_share: float) -> Iterator[pa.Table]:
    """The `count` best-scored documents of the selection as tables of schema SEED, in corpus order.

    Python gets `python_share` of them; the others share the rest in proportion to their selected documents.
    """
    quota = _quotas(corpus, scoring, count, python_share)
    best: dict[str, list[tuple[float, int]]] = {lang: [] for lang in quota}
    for shard, table in _teed(corpus, scoring, ["row", "lang", "score"]):
        for row, lang, score in zip(
            *(table[name].to_pylist() for name in ("row", "lang", "score")), strict=True
        ):
            item = (float(score), -int(ordinal(shard.shard, row)))  # of equal scores the earlier document
            heap = best[lang]
            if len(heap) < quota[lang]:
                heapq.heappush(heap, item)
            elif heap and item > heap[0]:
                heapq.heapreplace(heap, item)
    chosen = np.array(sorted(-negative for heap in best.values() for _, negative in heap), np.int64)
    for shard, table in _teed(corpus, scoring, ["row", "lang", "text"]):
        seeds = ordinal(shard.shard, table["row"].to_numpy().astype(np.int64))
        wanted = np.isin(seeds, chosen, assume_unique=True)
        if wanted.any():
            found = pa.table([pa.array(seeds), table["lang"], table["text"]], schema=SEED)
            yield found.filter(pa.array(wanted))


def _quotas(corpus: Corpus, scoring: Scoring, count: int, python_share: float) -> dict[str, int]:
    selected: Counter[str] = Counter()
    for _, table in _teed(corpus, scoring, ["lang"]):
        selected.update(table["lang"].to_pylist())
    others = sum(selected.values()) - selected["Python"]
    python = count if not others else round(count * python_share)
    return {
        lang: python if lang == "Python" else round((count - python) * selected[lang] / others)
        for lang in sorted(selected)
    }


def _teed(corpus: Corpus, scoring: Scoring, columns: list[str]) -> Iterator[tuple[Shard, pa.Table]]:
    for shard in corpus.shards:
        path = scoring.tee_path(shard)
        if path.exists():
            yield shard, pq.read_table(path, columns=columns)


@dataclass(frozen=True)
class Answers:
    """The judged answers of a plan: verdicts in the ledger, accepted files beside it, one object a chunk."""

    root: Path  # RUN/synthesis
    plan_key: str  # of the questions and of the model that answers
    verify: VerifyConfig
    dedup: DedupConfig
    benchmarks: StoredIndex
    ledger_root: str

    @cached_property
    def stage(self) -> Stage:
        config = {
            "verify": self.verify.model_dump(mode="json"),
            "dedup": self.dedup.model_dump(mode="json", exclude={"partitions", "expected_documents"}),
            "index": self.benchmarks.fingerprint,
        }
        return Stage("verify", VERIFY_VERSION, config, Stage("requests", 1, {"plan": self.plan_key}))

    def contaminated(self, texts: Sequence[str]) -> list[str | None]:
        """For each text the benchmark, the task and the words that leaked, or None."""
        found = self.benchmarks.open().contaminated(texts)
        return [None if match is None else f"{match.benchmark} {match.task}: {match.text}" for match in found]

    def path(self, chunk: int) -> Path:
        return self.root / f"accepted-{self.stage.key}" / f"{chunk:08d}.parquet"

    def of(self, shard: Shard) -> Iterator[pa.Table]:
        """Accepted files of a chunk, which is waited for if the producer has not come to it yet."""
        path = self.path(shard.shard)
        while not path.exists():
            if (self.root / FAILED).exists():
                raise RuntimeError(
                    f"generation failed before chunk {shard.shard}: {(self.root / FAILED).read_text()}"
                )
            time.sleep(0.5)
        yield pq.read_table(path)

    def shards(self, chunks: int) -> tuple[Shard, ...]:
        return tuple(
            Shard(shard=i, reader="answers", uri=str(self.path(i)), fingerprint=self.plan_key)
            for i in range(chunks)
        )


def judge_answers(
    requests: Requests, answers: Answers, done: Iterator[object], on_chunk: Callable[[Counter[str]], None]
) -> Counter[str]:
    """Judge chunks in order as the producer `done` commits them; returns how many files each reason has.

    Repeating it after a crash judges from the first chunk again: what was seen before decides what is a duplicate,
    and the answers are all recorded.
    """
    seen, reasons = Seen(), Counter[str]()
    index = Index(LocalPartitions(answers.dedup.model_copy(update={"partitions": 1})))
    responses = answers.root / "requests"
    chunk = 0
    for _ in _and_once_more(done):
        while chunk < requests.chunks and (responses / f"{chunk:08d}.parquet").exists():
            found = _judge_chunk(
                chunk, read_chunk(responses, chunk), requests.load(chunk), answers, seen, index
            )
            reasons.update(found)
            on_chunk(reasons)
            chunk += 1
    return reasons


def _and_once_more(items: Iterator[object]) -> Iterator[object]:
    yield from items
    yield None


def _judge_chunk(
    chunk: int, responses: pa.Table, requests: pa.Table, answers: Answers, seen: Seen, index: Index
) -> list[str]:
    verdicts = verify(responses, requests, answers.verify, answers.contaminated, seen)
    documents = accepted_documents(responses, verdicts)
    # Near-duplicates among the answers, by the same claim as the corpus': a chunk is a shard of its own order.
    rows = documents["row"].to_numpy()
    claims = claim_shard(chunk, rows, document_keys(documents["text"], answers.dedup), index, answers.dedup)
    twin = dict(zip(rows.tolist(), claims["reason"].to_pylist(), strict=True))
    kept = pa.array([twin[row] is None for row in rows.tolist()], pa.bool_())
    reasons = [
        reason or twin.get(row)
        for row, reason in zip(verdicts["row"].to_pylist(), verdicts["reason"].to_pylist(), strict=True)
    ]
    verdicts = verdicts.set_column(
        verdicts.schema.get_field_index("reason"),
        "reason",
        pa.array(reasons, pa.string()).dictionary_encode(),
    )
    Ledger(answers.ledger_root).commit(answers.stage, chunk, verdicts.drop_columns(["text"]))
    sink = pa.BufferOutputStream()
    pq.write_table(documents.filter(kept), sink, compression="zstd")
    write_atomically(answers.path(chunk), sink.getvalue())
    return [reason or "accepted" for reason in reasons]


def enhanced(corpus: Corpus, answers: Answers, requests: Requests, epochs: int) -> Plan:
    """The stream of phase 3: chunks in the order of their requests, never in the order of arrival."""
    shards = answers.shards(requests.chunks)
    return Plan(
        shards=shards,
        order=Order(tuple(range(requests.chunks)), epochs, corpus.seed),
        curation=None,
        scoring=None,
        packing=corpus.packing("enhanced", answers),
        resources=corpus.resources,
    )


def plan_key(requests: Requests, model_hash: str) -> str:
    """Names the questions and who answers them."""
    summary = json.loads((requests.directory / "plan.json").read_text())
    return stable_hash([summary["key"], model_hash])
