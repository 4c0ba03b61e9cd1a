"""Requests to a server that speaks OpenAI's chat completions: vLLM's own, a cloud's, a gateway.

Every answer costs something, so each is handed on as it comes and recorded at once. What is worth another try is
tried again with growing pauses; what is wrong with one request becomes its verdict; what is wrong with all of them
(the key, the address, the model's name) ends the run.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import random
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Set
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pipelines.schema import stable_hash
from pipelines.synthesis.config import EndpointConfig
from pipelines.synthesis.engine import Answer, Arrival, failure, unanswered
from pipelines.synthesis.requests import Plan
from snowcoder.base import UserError

if TYPE_CHECKING:
    import httpx

_AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 529}
_LONGEST_PAUSE = 60.0
_FATAL = {401: "the key is refused", 403: "the key may not do this", 404: "no such address or model"}
_TOO_LONG = ("context_length_exceeded", "maximum context length", "context length", "max_model_len")
_TICK = 0.002  # seconds between looks at whether an answer has been recorded
_GATHERED = 64  # answers handed on together at most


class Endpoint:
    """One server. Asks `concurrency` requests at a time from a thread of its own."""

    def __init__(self, config: EndpointConfig) -> None:
        self.config = config
        self.retried = 0  # tries beyond the first, of this object

    @property
    def model(self) -> str:
        return self.config.model

    @property
    def revision(self) -> str:
        return self.config.revision

    @cached_property
    def model_hash(self) -> str:
        """Of the names: what a server runs can only be told, not looked at. Its address is not part of it."""
        return stable_hash(["endpoint", self.config.model, self.config.revision, self.config.extra])

    def answers(self, plan: Plan, todo: Mapping[int, Set[int]]) -> Iterator[list[Arrival]]:
        key = self._key()
        arrived: queue.Queue[Arrival | BaseException | None] = queue.Queue()
        stop = threading.Event()
        free = threading.Semaphore(self.config.concurrency)

        def work() -> None:
            try:
                asyncio.run(self._ask_all(plan, todo, key, arrived, free, stop))
                arrived.put(None)
            except BaseException as error:  # raised again by the reader below
                arrived.put(error)

        worker = threading.Thread(target=work, name="endpoint", daemon=True)
        worker.start()
        try:
            while True:
                gathered = [arrived.get()]
                while len(gathered) < _GATHERED and not arrived.empty():
                    gathered.append(arrived.get())
                answers = [item for item in gathered if isinstance(item, Arrival)]
                if answers:
                    yield answers
                    # Recorded now: what a crash can cost are the requests without a free slot, and no more.
                    free.release(len(answers))
                for item in gathered:
                    if isinstance(item, BaseException):
                        raise item
                if None in gathered:
                    return
        finally:
            stop.set()
            worker.join(5)

    def _key(self) -> str:
        name = self.config.api_key_env
        if not name:
            return ""
        key = os.environ.get(name, "")
        if not key:
            raise UserError(
                f"synthesis.engine.endpoint.api_key_env: the environment has no {name}; export it"
            )
        return key

    async def _ask_all(
        self,
        plan: Plan,
        todo: Mapping[int, Set[int]],
        key: str,
        arrived: queue.Queue[Arrival | BaseException | None],
        free: threading.Semaphore,
        stop: threading.Event,
    ) -> None:
        import httpx

        config = self.config
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        limits = httpx.Limits(
            max_connections=config.concurrency, max_keepalive_connections=config.concurrency
        )
        async with httpx.AsyncClient(
            headers=headers, timeout=config.timeout_seconds, limits=limits
        ) as client:
            running: set[asyncio.Task[None]] = set()

            async def one(chunk: int, row: dict[str, Any]) -> None:
                answer = await self._ask(client, row, key)
                arrived.put(Arrival(chunk, row["ordinal"], answer))

            async for chunk, row in self._open(plan, todo, arrived, free):
                while not free.acquire(blocking=False):
                    if running:
                        running = await _some(running, stop)
                    if stop.is_set():
                        return
                    await asyncio.sleep(_TICK)
                running.add(asyncio.create_task(one(chunk, row)))
            while running:
                running = await _some(running, stop)

    async def _open(
        self, plan: Plan, todo: Mapping[int, Set[int]], arrived: queue.Queue, free: threading.Semaphore
    ) -> AsyncIterator[tuple[int, dict[str, Any]]]:
        """Requests in order; a chunk is loaded when its turn comes."""
        for chunk, answered in todo.items():
            rows, failed = unanswered(plan, chunk, answered)
            for arrival in failed:
                while not free.acquire(blocking=False):  # an answer like any other
                    await asyncio.sleep(_TICK)
                arrived.put(arrival)
            for row in rows:
                yield chunk, row

    async def _ask(self, client: httpx.AsyncClient, row: dict[str, Any], key: str) -> Answer:
        import httpx

        config = self.config
        url = config.url.rstrip("/") + "/chat/completions"
        body = _body(row, config)
        problem, pause = "", config.backoff_seconds
        for attempt in range(config.retries + 1):
            wait = 0.0
            try:
                response = await client.post(url, json=body)
            except (httpx.TimeoutException, httpx.TransportError) as error:
                problem = type(error).__name__
            else:
                if response.status_code == 200:
                    return _answer(response)
                problem = _scrub(f"{response.status_code} {response.text}", key)
                if response.status_code in _FATAL:
                    raise UserError(
                        f"synthesis.engine.endpoint: {config.url}: {_FATAL[response.status_code]} "
                        f"({problem[:200]}); correct it and run again, nothing is asked twice"
                    )
                if response.status_code not in _AGAIN:
                    kind = "prompt_too_long" if any(sign in problem for sign in _TOO_LONG) else "endpoint"
                    return failure(f"{kind}: {problem}")
                wait = _retry_after(response)
            if attempt < config.retries:
                self.retried += 1
                # A little apart, so that what failed together does not come back together.
                await asyncio.sleep(max(wait, pause * random.uniform(0.75, 1.25)))
                pause = min(2 * pause, _LONGEST_PAUSE)
        return failure(f"endpoint: {config.retries + 1} tries, the last: {problem}")


async def _some(running: set[asyncio.Task[None]], stop: threading.Event) -> set[asyncio.Task[None]]:
    """Wait until one task is done; the others. Raises what a task raised, and ends all when nobody listens."""
    done, left = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED, timeout=_TICK * 5)
    failed = next((task.exception() for task in done if task.exception()), None)
    if failed or stop.is_set():
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        if failed:
            raise failed
        return set()
    return left


def _body(row: dict[str, Any], config: EndpointConfig) -> dict[str, Any]:
    sampling = json.loads(row["sampling"])
    if sampling.get("repetition_penalty") == 1.0:
        del sampling["repetition_penalty"]  # vLLM's own field; others refuse it
    return {"model": config.model, "messages": json.loads(row["messages"]), **sampling, **config.extra}


def _answer(response: httpx.Response) -> Answer:
    try:
        content = response.json()
        choice = content["choices"][0]
        text, finish = choice["message"]["content"], choice["finish_reason"]
        usage = content.get("usage") or {}
        tokens = int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        return failure(f"endpoint: not a chat completion ({type(error).__name__}): {response.text}")
    if finish not in ("stop", "length") or not isinstance(text, str):
        return failure(f"endpoint: ended with {finish!r}", tokens[0])  # a filter, a call of a tool
    return {
        "prompt_tokens": tokens[0],
        "output_tokens": tokens[1],
        "finish": finish,
        "text": text,
        "error": None,
    }


def _retry_after(response: httpx.Response) -> float:
    """Seconds that the server asks to wait, at most five minutes; 0 when it asks for none or for a date."""
    try:
        return min(300.0, max(0.0, float(response.headers.get("retry-after", ""))))
    except ValueError:
        return 0.0


def _scrub(text: str, key: str) -> str:
    """A server may repeat the key in its complaint; it goes into no ledger and no log."""
    return " ".join((text.replace(key, "<KEY>") if key else text).split())
