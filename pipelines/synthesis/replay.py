"""Answers from a record instead of a model: for tests, and for judging an expensive run's answers again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

import mmh3

from pipelines.synthesis.engine import Answer, Arrival, failure, unanswered
from pipelines.synthesis.requests import Plan, committed_chunks, read_ledger, request_id
from snowcoder.base import UserError


@dataclass(frozen=True)
class Replay:
    """Finds the answer of a request by the hash of its prompt and its sampling, else by its name (`request_id`)."""

    model: str
    revision: str
    model_hash: str
    recorded: Mapping[str, Answer]

    @classmethod
    def open(cls, record: str) -> Replay:
        """`record`: the folder of a request ledger, or a JSON-lines file of {"request": name, "text": answer} with
        `finish` ("stop"), `prompt_tokens`, `output_tokens` and `error` as they like. UserError for anything else.
        """
        path = Path(record)
        if committed_chunks(path):
            recorded = {
                row["prompt_hash"] + row["sampling"]: _answer(row)
                for chunk in read_ledger(path)
                for row in chunk.to_pylist()
                if row["prompt_hash"]
            }
        elif path.is_file():
            recorded = dict(_lines(path))
        else:
            raise UserError(f"synthesis.engine.replay: {record}: no ledger and no file of recorded answers")
        digest = mmh3.hash128(json.dumps(sorted(recorded.items())).encode(), signed=False)
        return cls(f"replay:{path.name}", "", f"{digest:032x}", recorded)

    def answers(self, plan: Plan, todo: Mapping[int, Set[int]]) -> Iterator[list[Arrival]]:
        for chunk, answered in todo.items():
            rows, found = unanswered(plan, chunk, answered)
            for row in rows:
                answer = self.recorded.get(row["prompt_hash"] + row["sampling"]) or self.recorded.get(
                    request_id(row["seed"], row["recipe"], row["sample"]), failure("not_recorded")
                )
                found.append(Arrival(chunk, row["ordinal"], answer))
            yield found


def _lines(path: Path) -> Iterator[tuple[str, Answer]]:
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            row = json.loads(line)
            yield row["request"], _answer(row)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}: line {number}: not a recorded answer ({error}); "
                'write {"request": ..., "text": ...}'
            ) from error


def _answer(row: dict) -> Answer:
    error = row.get("error")
    if error:
        return failure(error, row.get("prompt_tokens", 0))
    return {
        "prompt_tokens": row.get("prompt_tokens", 0),
        "output_tokens": row.get("output_tokens", 0),
        "finish": row.get("finish", "stop"),
        "text": row["text"],
        "error": None,
    }
