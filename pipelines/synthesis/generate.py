"""Ask the generator: planned chunks -> an engine -> each answer into the journal -> each whole chunk into the ledger.

Answers come back in any order and are put together by ordinal. Nothing is asked that the ledger or the journal
answers. Memory is bounded by the chunks under way: a chunk leaves it when it is committed.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pipelines.synthesis import requests as ledger
from pipelines.synthesis.engine import Answer, Engine
from pipelines.synthesis.journal import Journal
from snowcoder.base import UserError

_FRUITLESS = 2  # passes over what is open without one answer, before something else must be wrong


@dataclass(frozen=True, slots=True)
class Progress:
    """Totals of this call after a commit; `chunk` is the one just committed."""

    chunk: int
    chunks_done: int  # in the ledger, those of earlier calls included
    chunks: int  # in the plan
    requests: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0  # since the call, engine start included

    @property
    def tokens_per_second(self) -> float:
        return self.output_tokens / self.seconds if self.seconds else 0.0


def generate(plan: ledger.Plan, engine: Engine, directory: Path) -> Iterator[Progress]:
    """Answer every planned request that `directory` does not hold, chunk by chunk; yields at each commit.

    An error of one request is a row with `error`, never a lost chunk. Raises UserError when the ledger answers
    other questions, or was written by another model.
    """
    directory.mkdir(parents=True, exist_ok=True)
    open_chunks = _Open(plan, engine, directory)
    started, progress = time.monotonic(), Progress(-1, open_chunks.done, plan.chunks)

    def told(chunk: int, table: pa.Table) -> Progress:
        nonlocal progress
        progress = Progress(
            chunk,
            open_chunks.done,
            plan.chunks,
            progress.requests + table.num_rows,
            progress.errors + table.num_rows - table["error"].null_count,
            progress.prompt_tokens + sum(table["prompt_tokens"].to_pylist()),
            progress.output_tokens + sum(table["output_tokens"].to_pylist()),
            time.monotonic() - started,
        )
        return progress

    for chunk in open_chunks.complete():
        yield told(chunk, open_chunks.commit(chunk))
    # A retried engine task may deal its rows to other blocks than before, so a pass can end incomplete. What is
    # open is then asked again.
    fruitless = 0
    while todo := open_chunks.todo():
        fruitless += 1
        for arrivals in engine.answers(plan, todo):
            fruitless = 0
            found: dict[int, dict[int, Answer]] = defaultdict(dict)
            for chunk, ordinal, answer in arrivals:
                found[chunk][ordinal] = answer
            for chunk, answers in found.items():
                if open_chunks.add(chunk, answers):
                    yield told(chunk, open_chunks.commit(chunk))
        if fruitless == _FRUITLESS:
            raise RuntimeError(f"{len(todo)} chunks got no answer twice, the first is {min(todo)}")


class _Open:
    """The chunks of a plan that are not committed, and what is known of them."""

    def __init__(self, plan: ledger.Plan, engine: Engine, directory: Path) -> None:
        self._plan, self._engine, self._directory = plan, engine, directory
        self._journal = Journal(directory)
        committed = ledger.committed_chunks(directory)
        recorded = dict(self._journal.chunks())
        for chunk, key in (*committed.items(), *recorded.items()):
            if chunk >= plan.chunks or key != self._key(chunk):
                raise UserError(
                    f"{directory / ledger.chunk_name(chunk)}: answers another plan or comes from another model; "
                    "restore the config it was made with, or use a new run directory"
                )
        for chunk in recorded.keys() & committed.keys():  # killed between the commit and this
            self._journal.drop(chunk, recorded[chunk])
        self._answers: dict[int, dict[int, Answer]] = {
            chunk: self._journal.read(chunk, key) for chunk, key in recorded.items() if chunk not in committed
        }
        self._left = [chunk for chunk in range(plan.chunks) if chunk not in committed]

    @property
    def done(self) -> int:
        return self._plan.chunks - len(self._left)

    def todo(self) -> dict[int, frozenset[int]]:
        """Open chunks and the ordinals that are answered in each."""
        return {chunk: frozenset(self._answers.get(chunk, ())) for chunk in self._left}

    def add(self, chunk: int, answers: dict[int, Answer]) -> bool:
        """Record answers of a chunk; True when it is whole."""
        held = self._answers.setdefault(chunk, {})
        new = {ordinal: answer for ordinal, answer in answers.items() if ordinal not in held}
        if new:
            self._journal.add(chunk, self._key(chunk), new)
            held.update(new)
        return self._whole(chunk)

    def complete(self) -> list[int]:
        """Chunks that need no engine: a crash came between their last answer and their commit."""
        return [chunk for chunk in self._answers if self._whole(chunk)]

    def commit(self, chunk: int) -> pa.Table:
        engine, key = self._engine, self._key(chunk)
        answers = self._answers.pop(chunk)
        table = ledger.responses(
            self._plan.load(chunk), answers, engine.model, engine.revision, engine.model_hash
        )
        ledger.commit_chunk(self._directory, chunk, table, key)
        self._left.remove(chunk)
        self._journal.drop(chunk, key)
        return table

    def _whole(self, chunk: int) -> bool:
        return len(self._answers[chunk]) == self._plan.rows(chunk)

    def _key(self, chunk: int) -> str:
        return f"{self._plan.key(chunk)}-{self._engine.model_hash[:16]}"
