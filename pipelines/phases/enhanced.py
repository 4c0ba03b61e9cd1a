"""Phase 3, enhanced data (paper 2.4): code files that an LLM writes from phase 2's best documents.

Seeds are the highest scores of the selection, about half of them Python; each gives requests; answers are recorded,
judged in order and, if good, packed like any other document. Training may start before the last answer is there: it
then waits for each chunk at its place in the order.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.curation import kept_documents
from pipelines.dedup.config import DedupConfig
from pipelines.dedup.keys import DocumentKeys
from pipelines.ledger import Ledger, Stage
from pipelines.phases.corpus import Corpus
from pipelines.schema import Shard, stable_hash
from pipelines.scoring import Scoring
from pipelines.sequences.order import Order
from pipelines.stages.stored_index import StoredIndex
from pipelines.stream import Plan
from pipelines.synthesis.checks import Tally, tally
from pipelines.synthesis.config import VerifyConfig
from pipelines.synthesis.duplicates import Duplicates, dedup_fields, file_keys
from pipelines.synthesis.questions import Passes
from pipelines.synthesis.requests import Plan as Requests
from pipelines.synthesis.seeds import Teed
from pipelines.synthesis.verify import VERIFY_VERSION, Runner, documents, verify, with_reasons
from snowcoder.files import write_atomically

FAILED = "failed"

_UNDER_WAY = 8  # shards that are hashed at the same time


def teed_documents(corpus: Corpus, scoring: Scoring) -> Teed:
    """What phase 2 selected, as it was teed."""

    def read(columns: list[str]) -> Iterator[tuple[int, pa.Table]]:
        for shard in corpus.shards:
            path = scoring.tee_path(shard)
            if path.exists():
                yield shard.shard, pq.read_table(path, columns=columns)

    return read


def corpus_keys(corpus: Corpus, dedup: DedupConfig) -> Iterator[tuple[int, object, DocumentKeys]]:
    """(shard, rows, keys) of all kept documents, by tasks with a bounded number under way. Needs a Ray session."""
    import ray

    @ray.remote(num_cpus=1)
    def task(shard: Shard, curation: object) -> tuple[object, DocumentKeys]:
        return file_keys(kept_documents(shard, curation), dedup)  # type: ignore[arg-type]

    shared = ray.put(corpus.curation)
    waiting: list[tuple[int, object]] = []
    for shard in corpus.shards:
        waiting.append((shard.shard, task.remote(shard, shared)))
        if len(waiting) >= _UNDER_WAY:
            number, reference = waiting.pop(0)
            yield number, *ray.get(reference)
    for number, reference in waiting:
        yield number, *ray.get(reference)


@dataclass(frozen=True)
class Answers:
    """The judged answers of a plan: verdicts in the ledger, accepted files beside it, one object a chunk."""

    root: Path  # RUN/synthesis
    plan_key: str  # of the questions and of the model that answers
    verify: VerifyConfig
    dedup: DedupConfig
    benchmarks: StoredIndex
    ledger_root: str
    corpus_key: str = ""  # of the corpus that answers are compared with; "" for none
    overlaps: Mapping[str, float] = field(default_factory=dict)  # recipe -> its own `max_seed_overlap`

    @cached_property
    def stage(self) -> Stage:
        config = {
            "verify": self.verify.model_dump(mode="json"),
            "dedup": dedup_fields(self.dedup),
            "index": self.benchmarks.fingerprint,
            "corpus": self.corpus_key,
            "overlaps": dict(self.overlaps),
        }
        return Stage("verify", VERIFY_VERSION, config, Stage("requests", 1, {"plan": self.plan_key}))

    def contaminated(self, texts: Sequence[str], languages: Sequence[str]) -> list[str | None]:
        """For each text the benchmark, the task, the detector and the words that leaked, or None."""
        found = self.benchmarks.open().contaminated(texts, langs=languages)
        return [
            None if match is None else f"{match.benchmark} {match.task} ({match.detector}): {match.text}"
            for match in found
        ]

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


@dataclass
class Judged:
    """What judging has come to."""

    chunks: int = 0
    tally: Tally = field(default_factory=Tally)
    accepted_bytes: int = 0


def judge_answers(
    requests: Requests,
    passes: Passes,
    answers: Answers,
    duplicates: Duplicates,
    done: Iterator[object],
    on_chunk: Callable[[Judged], None],
    run: Runner | None = None,
) -> Judged:
    """Judge chunks in order as the producer `done` commits them.

    A chunk that was judged before is replayed: its verdicts are facts where programs were run, and later chunks
    are compared with what it accepted.
    """
    judged = Judged()
    ledger = Ledger(answers.ledger_root)
    for _ in _and_once_more(done):
        while judged.chunks < requests.chunks:
            chunk = judged.chunks
            accepted = _replayed(chunk, answers, duplicates)
            if accepted is None:
                final = passes.final(chunk)
                if final is None:
                    break
                accepted = _judge_chunk(chunk, final, requests.load(chunk), answers, duplicates, ledger, run)
            verdicts = ledger.read(answers.stage, chunk)
            assert verdicts is not None
            judged.tally += tally(*(verdicts[name].to_pylist() for name in ("recipe", "language", "reason")))
            judged.accepted_bytes += sum(accepted["size"].to_pylist())
            judged.chunks += 1
            on_chunk(judged)
    return judged


def _and_once_more(items: Iterator[object]) -> Iterator[object]:
    yield from items
    yield None


def _replayed(chunk: int, answers: Answers, duplicates: Duplicates) -> pa.Table | None:
    """The accepted files of a chunk that was judged before, claimed again."""
    path = answers.path(chunk)
    if not path.exists():
        return None
    accepted = pq.read_table(path)
    duplicates.claim(chunk, accepted)
    return accepted


def _judge_chunk(
    chunk: int,
    responses: pa.Table,
    requests: pa.Table,
    answers: Answers,
    duplicates: Duplicates,
    ledger: Ledger,
    run: Runner | None,
) -> pa.Table:
    verdicts = verify(
        responses, requests, answers.verify, answers.contaminated, overlaps=answers.overlaps, run=run
    )
    found = documents(responses, verdicts)
    twins = dict(zip(found["row"].to_pylist(), duplicates.claim(chunk, found), strict=True))
    verdicts = with_reasons(
        verdicts, {row: (twin.reason, twin.evidence) for row, twin in twins.items() if twin}
    )
    accepted = found.filter(pa.array([twin is None for twin in twins.values()], pa.bool_()))
    ledger.commit(answers.stage, chunk, verdicts.drop_columns(["text"]))
    sink = pa.BufferOutputStream()
    pq.write_table(accepted, sink, compression="zstd")
    write_atomically(answers.path(chunk), sink.getvalue())
    return accepted


def passes_needed(tokens: int, accepted_bytes: int, bytes_per_token: float) -> int:
    """Passes over the accepted files that give `tokens`, with room to spare: more of them only make the order longer.

    While files are still being written, those there already bound the number. Twice, as packing cuts and pads, and
    one more. ValueError without a file.
    """
    if accepted_bytes <= 0:
        raise ValueError("no file was accepted")
    return math.ceil(2 * tokens * bytes_per_token / accepted_bytes) + 1


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
    return stable_hash([requests.plan_key, model_hash])
