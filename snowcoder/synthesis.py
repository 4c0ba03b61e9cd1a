"""Phase 3's data side of a run: seeds, requests, answers, and the stream that trains on them."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.annotator.selection import Selection
from pipelines.ledger import Ledger
from pipelines.phases.enhanced import FAILED, Answers, choose_seeds, enhanced, judge_answers, plan_key
from pipelines.scoring import Scoring
from pipelines.stream import Plan
from pipelines.synthesis.generate import Progress, generate
from pipelines.synthesis.models import fingerprint, generator_path
from pipelines.synthesis.requests import Plan as Requests
from snowcoder.files import write_atomically
from snowcoder.positives import cache_dir
from snowcoder.progress import quiet, say

if TYPE_CHECKING:
    from snowcoder.run import Run


def prepare(run: Run, selection: Selection) -> Plan:
    """Plan the requests, answer `start_after` of them, and return the stream; the rest is answered while it trains."""
    config, corpus, root = run.config, run.corpus, run.root / "synthesis"
    scoring = Scoring(
        corpus.curation, run.annotator, "continued", selection.thresholds, tee_root=str(run.root / "tee")
    )
    requests = Requests.write(
        choose_seeds(corpus, scoring, config.enhanced.seeds, config.enhanced.python_share),
        config.synthesis,
        root / "plan",
        seeds_key=scoring.select_stage.key,
    )
    with quiet():
        model = generator_path(config.synthesis.generator, cache_dir() / "models")
    say(f"enhanced: {requests.requests} requests in {requests.chunks} chunks to {config.synthesis.generator}")
    answers = Answers(
        root=root,
        plan_key=plan_key(requests, fingerprint(model)),
        verify=config.synthesis.verify,
        dedup=config.curation.dedup,
        benchmarks=corpus.curation.benchmarks,
        ledger_root=corpus.ledger_root,
    )
    Ledger(corpus.ledger_root).open([answers.stage])
    (root / FAILED).unlink(missing_ok=True)
    ready = threading.Event()
    failure: list[BaseException] = []

    def produce() -> None:
        try:
            _produce(run, requests, answers, model, ready)
        except BaseException as error:  # told to both sides: the driver below, and a training that waits
            failure.append(error)
            write_atomically(root / FAILED, f"{type(error).__name__}: {error}".encode())
        finally:
            ready.set()

    producer = threading.Thread(target=produce, name="producer", daemon=True)
    producer.start()
    ready.wait()
    if failure:
        raise failure[0]
    return enhanced(corpus, answers, requests, config.enhanced.epochs)


def _produce(run: Run, requests: Requests, answers: Answers, model: Path, ready: threading.Event) -> None:
    """Answer what the ledger lacks and judge chunk by chunk; sets `ready` once `start_after` of them are judged."""
    last: Progress | None = None
    judged = 0

    def told() -> Iterator[Progress]:
        nonlocal last
        for last in generate(requests, run.config.synthesis, model, answers.root / "requests"):
            done = f"{last.chunks_done}/{last.chunks} chunks answered"
            say(f"enhanced: {done}, {last.tokens_per_second:.0f} tokens/s with the engine's start")
            yield last

    def on_chunk(reasons: Counter[str]) -> None:
        nonlocal judged
        judged += 1
        _summarise(run, requests, reasons, last)
        if judged >= run.config.enhanced.start_after * requests.chunks:
            ready.set()

    reasons = judge_answers(requests, answers, told(), on_chunk)
    others = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common() if reason != "accepted")
    say(f"enhanced: {reasons['accepted']} of {reasons.total()} files accepted ({others or 'no other'})")


def _summarise(run: Run, requests: Requests, reasons: Counter[str], progress: Progress | None) -> None:
    path = run.root / "synthesis" / "summary.json"
    old = json.loads(path.read_text()) if path.exists() else {}
    summary = {
        "generator": run.config.synthesis.generator,
        "requested": requests.requests,
        "accepted": reasons["accepted"],
        "reasons": {name: count for name, count in reasons.items() if name != "accepted"},
        "output_tokens": progress.output_tokens if progress else old.get("output_tokens", 0),
        "seconds": progress.seconds if progress else old.get("seconds", 0.0),
    }
    write_atomically(path, json.dumps(summary, indent=1).encode())
