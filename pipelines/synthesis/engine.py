"""What answers requests: vLLM under Ray Data, a server that speaks OpenAI's protocol, or a record of answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pipelines.synthesis.config import EngineConfig
from pipelines.synthesis.requests import Plan

Answer = dict[str, Any]
"""The columns of RESPONSE that an engine fills: prompt_tokens, output_tokens, finish, text, error."""

ERROR_CHARACTERS = 300


class Arrival(NamedTuple):
    chunk: int
    ordinal: int
    answer: Answer


class Engine(Protocol):
    """A generator that is ready to be asked."""

    @property
    def model(self) -> str:
        """As configured."""
        ...

    @property
    def revision(self) -> str: ...

    @property
    def model_hash(self) -> str:
        """Names what answers; with another one, recorded answers are another generator's."""
        ...

    def answers(self, plan: Plan, todo: Mapping[int, Set[int]]) -> Iterator[list[Arrival]]:
        """Answers in any order, as they come, of the chunks `todo`, but for the ordinals already answered.

        A request that cannot be asked, or goes wrong, has an answer with `error`.
        """
        ...


def failure(error: str, prompt_tokens: int = 0) -> Answer:
    """The answer of a request that got none; `error` is "kind: details"."""
    return {
        "prompt_tokens": prompt_tokens,
        "output_tokens": 0,
        "finish": None,
        "text": None,
        "error": error[:ERROR_CHARACTERS],
    }


def unanswered(plan: Plan, chunk: int, answered: Set[int]) -> tuple[list[dict[str, Any]], list[Arrival]]:
    """(requests of a chunk to ask, answers of those that cannot be asked)."""
    rows = [row for row in plan.load(chunk).to_pylist() if row["ordinal"] not in answered]
    failed = [Arrival(chunk, row["ordinal"], failure(row["error"])) for row in rows if row["error"]]
    return [row for row in rows if not row["error"]], failed


def open_engine(
    generator: str, config: EngineConfig, cache: Path, labels: Mapping[str, str] | None = None
) -> Engine:
    """The engine that the configuration names; `cache` holds converted models, `labels` are those of the nodes
    for vLLM. UserError with the remedy.

    Cheap: models are fetched or converted, but loaded only when the first request is asked.
    """
    if config.replay:
        from pipelines.synthesis.replay import Replay

        return Replay.open(config.replay)
    if config.endpoint:
        from pipelines.synthesis.endpoint import Endpoint

        return Endpoint(config.endpoint)
    from pipelines.synthesis.models import generator_path
    from pipelines.synthesis.vllm_engine import VllmEngine

    return VllmEngine(generator, generator_path(generator, cache), config, labels)
