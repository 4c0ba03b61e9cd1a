"""Phase 3's data side of a run: seeds, requests, answers, and the stream that trains on them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.annotator.selection import Selection
from pipelines.dedup.index import Index, LocalPartitions, create_partitions
from pipelines.dedup.snapshot import load_index
from pipelines.ledger import Ledger
from pipelines.phases.corpus import bytes_per_token
from pipelines.phases.enhanced import (
    FAILED,
    Answers,
    Judged,
    corpus_keys,
    enhanced,
    judge_answers,
    passes_needed,
    plan_key,
    teed_documents,
)
from pipelines.scoring import Scoring
from pipelines.stages.stored_index import StoredIndex, build_stored
from pipelines.stream import Plan
from pipelines.synthesis.checks import ACCEPTED, rates
from pipelines.synthesis.duplicates import Duplicates, corpus_index, synthesis_dedup
from pipelines.synthesis.engine import Engine, open_engine
from pipelines.synthesis.generate import Progress
from pipelines.synthesis.questions import Passes, plan
from pipelines.synthesis.recipes import load_recipes
from pipelines.synthesis.requests import Plan as Requests
from pipelines.synthesis.seeds import choose_seeds
from pipelines.synthesis.verify import Outcome
from snowcoder.base import UserError
from snowcoder.files import write_atomically
from snowcoder.positives import cache_dir
from snowcoder.progress import quiet, say

if TYPE_CHECKING:
    from snowcoder.run import Run

_LOCAL_INDEX = 1 << 30  # bytes of an index that is kept in this process rather than in actors


def prepare(run: Run, selection: Selection) -> Plan:
    """Plan the requests, answer `start_after` of them, and return the stream; the rest is answered while it trains."""
    config, corpus, root = run.config, run.corpus, run.root / "synthesis"
    scoring = Scoring(
        corpus.curation, run.annotator, "continued", selection.thresholds, tee_root=str(run.root / "tee")
    )
    dedup = synthesis_dedup(config.curation.dedup)
    recipes = load_recipes(config.synthesis.recipes)
    teed = teed_documents(corpus, scoring)
    seeds = choose_seeds(
        teed, config.enhanced.seeds, config.enhanced.python_share, dedup, facts=root / "seeds.json"
    )
    requests = plan(seeds, config.synthesis, root / "plan", seeds_key=scoring.select_stage.key)
    with quiet():
        engine = open_engine(
            config.synthesis.generator,
            config.synthesis.engine,
            cache_dir() / "models",
            config.ray.labels.vllm,
        )
    say(f"enhanced: {requests.requests} requests in {requests.chunks} chunks to {engine.model}")
    answers = Answers(
        root=root,
        plan_key=plan_key(requests, engine.model_hash),
        verify=config.synthesis.verify,
        dedup=dedup,
        benchmarks=_benchmarks(run),
        ledger_root=corpus.ledger_root,
        corpus_key=corpus.curation.claim_stage.key if config.synthesis.verify.against_corpus else "",
        overlaps={
            recipe.name: recipe.max_seed_overlap for recipe in recipes if recipe.max_seed_overlap is not None
        },
    )
    Ledger(corpus.ledger_root).open([answers.stage])
    (root / FAILED).unlink(missing_ok=True)
    passes = Passes(root, config.synthesis, recipes)
    producer = _Producer(run, requests, passes, answers, engine)
    judged = producer.start()
    epochs = config.enhanced.epochs
    needed = passes_needed(config.enhanced.tokens, judged.accepted_bytes, bytes_per_token(corpus)[""])
    return enhanced(corpus, answers, requests, needed if epochs is None else min(epochs, needed))


def _benchmarks(run: Run) -> StoredIndex:
    """The run's benchmarks, searched more sharply than the corpus is."""
    verify = run.config.synthesis.verify
    sharper = {"near_share": verify.near_share, "near_evidence": 4.0}
    settings = run.config.curation.decontaminate.model_copy(update=sharper)
    return build_stored(run.benchmark_texts(), settings, run.root / "benchmarks")


class _Producer:
    """Answers and judges in a thread beside the training, which waits for it chunk by chunk."""

    def __init__(
        self, run: Run, requests: Requests, passes: Passes, answers: Answers, engine: Engine
    ) -> None:
        self.run, self.requests, self.passes, self.answers = run, requests, passes, answers
        self.engine = engine
        self.judged = Judged()
        self._ready = threading.Event()
        self._failure: BaseException | None = None

    def start(self) -> Judged:
        """Returns once `start_after` of the chunks are judged and there is a file to train on. Raises what the
        producer raised; UserError when nothing was good enough."""
        _patient(self.run)
        threading.Thread(target=self._work, name="producer", daemon=True).start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure
        if not self.judged.accepted_bytes:
            raise UserError(
                f"{self.passes.root / 'summary.json'}: no generated file passed the checks; see there which check "
                "took them, and change synthesis.recipes, synthesis.generator or synthesis.verify"
            )
        return self.judged

    def _work(self) -> None:
        try:
            below = list(_below(self.run, self.answers))
            duplicates = Duplicates(self.answers.dedup, below, self.requests.requests)
            self.judged = judge_answers(
                self.requests,
                self.passes,
                self.answers,
                duplicates,
                self._told(),
                self._on_chunk,
                run_in_sandbox if self.answers.verify.run else None,
            )
            found = self.judged.tally
            accepted = sum(n for (_, _, reason), n in found.items() if reason == ACCEPTED)
            say(f"enhanced: {accepted} of {found.total()} files accepted ({_reasons(found) or 'no other'})")
        except BaseException as error:  # told to both sides: the driver, and a training that waits
            self._failure = error
            write_atomically(self.answers.root / FAILED, f"{type(error).__name__}: {error}".encode())
        finally:
            self._ready.set()

    def _told(self) -> Iterator[Progress]:
        steps = self.passes.steps
        for step, progress in self.passes.run(self.requests, self.engine):
            of = f", step {step + 1} of {steps}" if steps > 1 else ""
            done = f"{progress.chunks_done}/{progress.chunks} chunks answered{of}"
            say(f"enhanced: {done}, {progress.tokens_per_second:.0f} tokens/s with the engine's start")
            self._record_cost(step, progress)
            yield progress

    def _record_cost(self, step: int, progress: Progress) -> None:
        """Tokens and seconds of this call, by step: what a restart adds is added."""
        path = self.passes.root / "cost.json"
        if not hasattr(self, "_before"):
            self._before: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
            self._cost: dict[int, Progress] = {}
        self._cost[step] = progress
        totals = {
            name: self._before.get(name, 0) + sum(getattr(each, name) for each in self._cost.values())
            for name in ("requests", "errors", "prompt_tokens", "output_tokens", "seconds")
        }
        write_atomically(path, json.dumps(totals).encode())

    def _on_chunk(self, judged: Judged) -> None:
        self.judged = judged
        _summarise(self.run, self.requests, self.passes.root, judged, self.engine)
        enough = judged.chunks >= self.run.config.enhanced.start_after * self.requests.chunks
        if enough and judged.accepted_bytes:
            self._ready.set()


def _patient(run: Run) -> None:
    """A stream that waits for the generator makes no progress, and is no hang: the engine's own limit decides that."""
    from ray.data import DataContext

    context = DataContext.get_current()
    limit = context.execution_no_progress_timeout_s
    if limit is not None and limit > 0:
        context.execution_no_progress_timeout_s = max(limit, 4 * run.config.synthesis.engine.stall_seconds)


def _below(run: Run, answers: Answers) -> Iterator[Index]:
    """The indices that outputs are compared with: other corpora's, and this one's, hashed again from what is kept."""
    if not answers.corpus_key:
        return
    dedup = run.config.curation.dedup
    for folder in dedup.against:
        if dedup.key_fields() == answers.dedup.key_fields():  # else its keys cannot be compared
            yield load_index(folder, dedup)
    wanted = answers.dedup.model_copy(update={"against": ()})
    if wanted.index_bytes > _LOCAL_INDEX and wanted.partitions > 1:
        partitions: Any = create_partitions(wanted, f"synthesis-{answers.stage.key[:8]}")
    else:
        wanted = wanted.model_copy(update={"partitions": 1})
        partitions = LocalPartitions(wanted)
    yield corpus_index(corpus_keys(run.corpus, wanted), wanted, partitions)  # type: ignore[arg-type]


def run_in_sandbox(sources: Sequence[str]) -> list[Outcome]:
    """Each Python file with the tests it brings: its main block, its assertions, its `test...` functions."""
    from evaluation.config import Limits
    from evaluation.sandbox.process import choose_tier, run_program

    limits, tier = Limits(cpu_seconds=10, wall_seconds=60.0), choose_tier()

    def one(source: str) -> Outcome:
        ended = run_program([_AS_MAIN, source, _TESTS], limits, tier)
        if ended.status == "completed":
            return Outcome(True, "")
        last = ended.stderr.strip().splitlines()[-1:] or [f"exit code {ended.exit_code}"]
        return Outcome(False, f"{ended.status}: {last[0]}")

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, sources))


_AS_MAIN = "__name__ = '__main__'\n"
# Functions that need no argument, and the cases of unittest. What is called on import has run by then.
_TESTS = """
def _run_tests(names):
    import inspect, unittest
    for name, item in list(names.items()):
        if inspect.isclass(item) and issubclass(item, unittest.TestCase) and item is not unittest.TestCase:
            result = unittest.TestResult()
            unittest.defaultTestLoader.loadTestsFromTestCase(item).run(result)
            if not result.wasSuccessful():
                raise AssertionError((result.errors + result.failures)[0][1].strip().splitlines()[-1])
        elif name.startswith("test") and inspect.isfunction(item) and not inspect.signature(item).parameters:
            item()
_run_tests(dict(globals()))
"""


def _reasons(found: Any) -> str:
    counts: dict[str, int] = {}
    for (_, _, reason), count in found.items():
        if reason != ACCEPTED:
            counts[reason] = counts.get(reason, 0) + count
    return ", ".join(
        f"{count} {reason}" for reason, count in sorted(counts.items(), key=lambda item: -item[1])
    )


def _summarise(run: Run, requests: Requests, root: Path, judged: Judged, engine: Engine) -> None:
    reasons: dict[str, int] = {}
    for (_, _, reason), count in judged.tally.items():
        reasons[reason] = reasons.get(reason, 0) + count
    cost_path = root / "cost.json"
    cost = json.loads(cost_path.read_text()) if cost_path.exists() else {}
    summary = {
        "generator": engine.model,
        "revision": engine.revision,
        "model_hash": engine.model_hash,
        "recipes": {recipe.name: recipe.hash for recipe in load_recipes(run.config.synthesis.recipes)},
        "requested": requests.requests,
        "judged": judged.tally.total(),
        "accepted": reasons.pop(ACCEPTED, 0),
        "accepted_bytes": judged.accepted_bytes,
        "reasons": dict(sorted(reasons.items(), key=lambda item: -item[1])),
        "checks": rates(judged.tally),
        "ran": run.config.synthesis.verify.run,
        "prompt_tokens": cost.get("prompt_tokens", 0),
        "output_tokens": cost.get("output_tokens", 0),
        "seconds": cost.get("seconds", 0.0),
    }
    write_atomically(root / "summary.json", json.dumps(summary, indent=1).encode())
