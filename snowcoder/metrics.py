"""A run's figures as Ray metrics, for Prometheus: from what the run records, so a new driver goes on where it was.

All are gauges: a counter would begin at zero again with each driver, and what they show is a recorded total. A thread
of the driver looks at the run directory now and then; no worker and no step of training is asked anything.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snowcoder.progress import say
from snowcoder.watch_state import RunState

EVERY = 15.0
"""Seconds between looks; Ray sends metrics on every 10 s, Prometheus asks every 15 s."""
EXPORTED = "ray_"
"""What Ray puts before the name of a metric."""


@dataclass(frozen=True)
class Figure:
    """One metric. `tags` come beside `run`, which all have."""

    name: str
    description: str
    tags: tuple[str, ...] = ()

    @property
    def exported(self) -> str:
        """As Prometheus knows it."""
        return EXPORTED + self.name


READ = Figure("snowcoder_documents_read", "Documents judged to the end.")
READ_BYTES = Figure("snowcoder_bytes_read", "Bytes of the documents judged to the end.")
KEPT = Figure("snowcoder_documents_kept", "Documents that every stage let through.")
KEPT_BYTES = Figure("snowcoder_bytes_kept", "Bytes of the documents kept.")
DROPPED = Figure(
    "snowcoder_documents_dropped", "Documents rejected, by their first reason.", ("stage", "reason")
)
DROPPED_SHARE = Figure("snowcoder_dropped_share", "Share of the documents read that is rejected.")
DUPLICATE_SHARE = Figure("snowcoder_duplicate_share", "Share of the documents read that duplicates others.")
SHARDS = Figure("snowcoder_shards_judged", "Shards judged to the end.")
STAGE_SECONDS = Figure("snowcoder_stage_seconds", "Processor seconds spent judging.", ("stage",))
INDEX_FILL = Figure("snowcoder_index_fill", "Documents in the duplicate index / those it was made for.")
SCORED = Figure(
    "snowcoder_scored_tokens", "Scored tokens by tenth of the score (its lower edge).", ("score",)
)
GENERATED = Figure("snowcoder_generated_tokens", "Tokens that the generator wrote.")
REQUESTED = Figure("snowcoder_requests", "Requests to the generator.")
ACCEPTED = Figure("snowcoder_accepted_files", "Generated files that passed all checks.")
STEP = Figure("snowcoder_step", "Global batches consumed.", ("phase",))
STEPS = Figure("snowcoder_steps_total", "Global batches of the phase.", ("phase",))
SEQUENCES = Figure("snowcoder_sequences", "Sequences consumed.", ("phase",))
TOKENS = Figure("snowcoder_tokens", "Tokens consumed.", ("phase",))
SPEED = Figure("snowcoder_tokens_per_second", "Speed of the last step.", ("phase",))
LOSS = Figure("snowcoder_loss", "Loss of the last step, nats a token.", ("phase",))
DATA_WAIT = Figure("snowcoder_data_wait_share", "Share of the last step spent waiting for rows.", ("phase",))
MFU = Figure("snowcoder_mfu", "Model FLOPs utilisation of the last step; only for known devices.", ("phase",))
CHECKPOINT_AGE = Figure(
    "snowcoder_checkpoint_age_seconds", "Since the last committed checkpoint.", ("phase",)
)
RESTARTS = Figure("snowcoder_restarts", "Attempts after the first.", ("phase",))
WORKERS = Figure("snowcoder_workers", "Workers at the last checkpoint.", ("phase",))
RUNNING = Figure("snowcoder_phase_running", "1 while the phase has steps left.", ("phase",))

FIGURES = [value for value in list(globals().values()) if isinstance(value, Figure)]

Sample = tuple[Figure, dict[str, str], float]


def samples(state: dict[str, Any]) -> Iterator[Sample]:
    """(figure, tags, value) of everything that a look (`RunState.look`) tells. What is not known is left out."""
    funnel = state["funnel"]
    read = funnel["read"]["documents"]
    if read:
        yield READ, {}, read
        yield READ_BYTES, {}, funnel["read"]["bytes"]
        yield KEPT, {}, funnel["kept"]["documents"]
        yield KEPT_BYTES, {}, funnel["kept"]["bytes"]
        yield SHARDS, {}, funnel["shards"]
        dropped = funnel["dropped"]
        for row in dropped:
            yield DROPPED, {"stage": row["stage"], "reason": row["reason"]}, row["documents"]
        yield DROPPED_SHARE, {}, sum(row["documents"] for row in dropped) / read
        twice = sum(row["documents"] for row in dropped if row["reason"].endswith("_duplicate"))
        yield DUPLICATE_SHARE, {}, twice / read
    for stage, seconds in funnel["stage_seconds"].items():
        yield STAGE_SECONDS, {"stage": stage}, seconds
    if state["index"]["fill"] is not None:
        yield INDEX_FILL, {}, state["index"]["fill"]
    for edge, tokens in state["scores"].items():
        yield SCORED, {"score": edge}, tokens
    for figure, key in ((REQUESTED, "requested"), (ACCEPTED, "accepted"), (GENERATED, "output_tokens")):
        if key in state["synthesis"]:
            yield figure, {}, state["synthesis"][key]
    for phase, found in state["phases"].items():
        yield RUNNING, {"phase": phase}, float(not found["finished"])
        if found["global_batch"]:
            yield SEQUENCES, {"phase": phase}, found["step"] * found["global_batch"]
        for figure, key in _TRAINING.items():
            if found[key] is not None:
                yield figure, {"phase": phase}, float(found[key])


_TRAINING = {
    STEP: "step", STEPS: "steps", TOKENS: "tokens", SPEED: "tokens_per_second", LOSS: "loss", MFU: "mfu",
    DATA_WAIT: "data_wait_share", CHECKPOINT_AGE: "checkpoint_age", RESTARTS: "restarts", WORKERS: "workers",
}  # fmt: skip


class Exporter:
    """Gauges in this process's Ray session, set by a thread. A look that fails is told once and tried again."""

    def __init__(self, run_dir: Path, every: float = EVERY):
        from ray.util.metrics import Gauge

        self.state, self.every = RunState(run_dir), every
        self._gauges = {
            figure: Gauge(figure.name, figure.description, ("run", *figure.tags)) for figure in FIGURES
        }
        self._told = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="metrics", daemon=True)

    def export(self) -> None:
        """Look once and set all gauges."""
        state = self.state.look()
        for figure, tags, value in samples(state):
            self._gauges[figure].set(value, {"run": str(state["name"]), **tags})

    def _work(self) -> None:
        while not self._over.wait(self.every):
            self._try()

    def _try(self) -> None:
        try:
            self.export()
        except Exception as error:  # the run must not end because it could not be watched
            if str(error) != self._told:
                self._told = str(error)
                say(f"WARNING metrics: {type(error).__name__}: {self._told}")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """A last look, so that the end of a run is seen too."""
        self._over.set()
        self._thread.join()
        self._try()
