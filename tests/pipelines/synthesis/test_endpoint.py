"""A real HTTP server on this machine that answers as OpenAI's protocol says, well and badly."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest

from pipelines.synthesis import requests as ledger
from pipelines.synthesis.config import EndpointConfig, EngineConfig, SamplingConfig
from pipelines.synthesis.endpoint import Endpoint
from pipelines.synthesis.engine import open_engine
from pipelines.synthesis.generate import generate
from pipelines.synthesis.requests import Plan, Question, question_tables
from snowcoder.base import UserError

KEY = "sk-test-4815162342"


class Server:
    """Answers each prompt by its script: a list of statuses, the last of which is repeated."""

    def __init__(self, script=None, delay=0.0):
        self.script, self.delay = script or {}, delay
        self.tries: Counter[str] = Counter()
        self.answered: list[str] = []
        self.under_way = self.most = 0
        self.headers: list[str] = []
        self._started = threading.Event()

    def __enter__(self):
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._serve, daemon=True).start()
        assert self._started.wait(20)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._loop.stop)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    def _serve(self):
        from aiohttp import web

        async def start():
            app = web.Application()
            app.router.add_post("/v1/chat/completions", self._answer)
            runner = web.AppRunner(app)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.port = site._server.sockets[0].getsockname()[1]
            self._started.set()

        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(start())
        self._loop.run_forever()

    async def _answer(self, request):
        from aiohttp import web

        body = await request.json()
        prompt = body["messages"][-1]["content"]
        self.headers.append(request.headers.get("Authorization", ""))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(self.delay)
            steps = self.script.get(prompt, [200])
            step = steps[min(self.tries[prompt], len(steps) - 1)]
            self.tries[prompt] += 1
            if step == "hang":
                await asyncio.sleep(3)
                return web.Response(text="late")
            if step == "drop":
                request.transport.close()
                return web.Response()
            if step == "garbage":
                return web.Response(text="<html>hello</html>", status=200)
            if step == "filter":
                return web.json_response(completion("", "content_filter"))
            if step == 400:
                error = {"error": {"code": "context_length_exceeded", "message": "too many tokens"}}
                return web.json_response(error, status=400)
            if step != 200:
                headers = {"Retry-After": "0.05"} if step == 429 else {}
                return web.json_response({"error": f"no, {self.headers[-1]}"}, status=step, headers=headers)
            self.answered.append(prompt)
            assert body["model"] == "coder"
            assert "repetition_penalty" not in body
            return web.json_response(completion(f"answer to {prompt} with {body['seed']}", "stop"))
        finally:
            self.under_way -= 1


def completion(text, finish):
    return {
        "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 11},
    }


def make_plan(directory, prompts, chunk=4):
    asked = (
        Question(
            place,
            "r",
            "Python",
            None if prompt is None else [{"role": "user", "content": prompt}],
            "t",
            error=None if prompt else "no_snippet",
        )
        for place, prompt in enumerate(prompts)
    )
    return Plan.write(question_tables(asked, SamplingConfig(max_tokens=9), 0, chunk), directory, "k")


def endpoint(server, **change):
    settings = {"url": server.url, "model": "coder", "revision": "2026-11", "backoff_seconds": 0.01}
    return Endpoint(EndpointConfig(**settings | change))


def answers(directory):
    return [row for chunk in ledger.read_ledger(directory) for row in chunk.to_pylist()]


def test_what_passes_is_tried_again_and_what_does_not_is_a_verdict(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("OUR_KEY", KEY)
    script = {
        "busy": [429, 429, 200],
        "down": [500, 503, 502, 200],
        "slow": ["hang", 200],
        "cut": ["drop", 200],
        "long": [400],
        "odd": [422],
        "dead": [500],
        "html": ["garbage"],
        "filter": ["filter"],
    }
    prompts = ["a", None, *script, "b"]
    plan = make_plan(tmp_path / "plan", prompts)
    with Server(script) as server:
        engine = endpoint(server, api_key_env="OUR_KEY", timeout_seconds=1.0, retries=3)
        progress = list(generate(plan, engine, tmp_path / "out"))
    rows = dict(zip(prompts, answers(tmp_path / "out"), strict=True))
    for name in ("a", "b", "busy", "down", "slow", "cut"):
        seed = json.loads(rows[name]["sampling"])["seed"]
        assert rows[name]["text"] == f"answer to {name} with {seed}"
        assert (rows[name]["prompt_tokens"], rows[name]["output_tokens"]) == (7, 11)
        assert (rows[name]["model"], rows[name]["revision"]) == ("coder", "2026-11")
    kinds = {name: row["error"].partition(":")[0] for name, row in rows.items() if row["error"]}
    assert kinds == {
        None: "no_snippet",
        "long": "prompt_too_long",
        "odd": "endpoint",
        "dead": "endpoint",
        "html": "endpoint",
        "filter": "endpoint",
    }
    assert "4 tries" in rows["dead"]["error"]
    assert "content_filter" in rows["filter"]["error"]
    assert server.tries["long"] == server.tries["odd"] == 1
    assert (server.tries["busy"], server.tries["dead"]) == (3, 4)
    assert Counter(server.answered) == Counter(("a", "b", "busy", "down", "slow", "cut"))
    assert progress[-1].errors == 6
    # The server repeats the key in its complaints; it is nowhere.
    assert set(server.headers) == {f"Bearer {KEY}"}
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY.encode() not in written
    assert KEY not in caplog.text + repr(rows) + repr(engine.config)


def test_at_most_so_many_are_under_way(tmp_path):
    plan = make_plan(tmp_path / "plan", [f"p{i}" for i in range(40)], chunk=40)
    with Server(delay=0.02) as server:
        list(generate(plan, endpoint(server, concurrency=5), tmp_path / "out"))
        assert server.most == 5
        assert len(server.answered) == len(set(server.answered)) == 40


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_would_fail_for_all_ends_the_run_and_loses_nothing(tmp_path, status, monkeypatch):
    monkeypatch.setenv("OUR_KEY", KEY)
    plan = make_plan(tmp_path / "plan", ["a", "b", "c"], chunk=3)
    with Server({"c": [status, 200]}) as server:
        engine = endpoint(server, concurrency=1, api_key_env="OUR_KEY")
        with pytest.raises(UserError, match=f"{status}") as refused:
            list(generate(plan, engine, tmp_path / "out"))
        assert KEY not in str(refused.value)
        assert answers(tmp_path / "out") == []
        list(generate(plan, engine, tmp_path / "out"))
        assert server.answered == ["a", "b", "c"]  # the first two were not asked again
    assert len(answers(tmp_path / "out")) == 3


def test_a_missing_key_is_said_before_anything_is_asked(tmp_path, monkeypatch):
    monkeypatch.delenv("OUR_KEY", raising=False)
    config = EndpointConfig(url="http://127.0.0.1:9/v1", model="m", api_key_env="OUR_KEY")
    engine = open_engine("any", EngineConfig(endpoint=config), tmp_path)
    with pytest.raises(UserError, match="no OUR_KEY; export it"):
        list(generate(make_plan(tmp_path / "plan", ["a"]), engine, tmp_path / "out"))


def test_a_server_of_another_model_or_revision_is_another_generator(tmp_path):
    config = EndpointConfig(url="http://a/v1", model="m")
    elsewhere = config.model_copy(update={"url": "http://b/v1", "concurrency": 2})
    other = config.model_copy(update={"revision": "2"})
    hashes = [Endpoint(each).model_hash for each in (config, elsewhere, other)]
    assert hashes[0] == hashes[1] != hashes[2]


DRIVER = """
import sys
from pathlib import Path
from pipelines.synthesis.config import EndpointConfig
from pipelines.synthesis.endpoint import Endpoint
from pipelines.synthesis.generate import generate
from pipelines.synthesis.requests import Plan
url, root = sys.argv[1], Path(sys.argv[2])
engine = Endpoint(EndpointConfig(url=url, model="coder", concurrency=4))
list(generate(Plan.write((), root / "plan", "k"), engine, root / "out"))
"""


def test_a_killed_driver_pays_for_no_answer_twice(tmp_path):
    """Killed twice in the middle of chunks; only what was under way at the kill may be asked once more."""
    count, at_once = 60, 4
    make_plan(tmp_path / "plan", [f"p{i}" for i in range(count)], chunk=25)
    with Server(delay=0.05) as server:

        def drive():
            return subprocess.Popen(
                [sys.executable, "-c", DRIVER, server.url, str(tmp_path)], env={**os.environ}
            )

        recorded: list[tuple[set[str], Counter]] = []
        for kill_at in (15, 35):
            driver = drive()
            deadline = time.monotonic() + 120
            while len(server.answered) < kill_at and time.monotonic() < deadline:
                time.sleep(0.005)
            driver.kill()
            driver.wait()
            time.sleep(0.3)  # what was under way ends
            recorded.append((journaled(tmp_path / "out"), Counter(server.answered)))
        assert drive().wait() == 0
        asked = Counter(server.answered)
    rows = answers(tmp_path / "out")
    assert [row["ordinal"] for row in rows] == list(range(count))
    assert [row["text"].split()[2] for row in rows] == [f"p{i}" for i in range(count)]
    assert set(asked) == {f"p{i}" for i in range(count)}
    for known, asked_then in recorded:  # an answer that was on disk at a kill is never asked for again
        assert len(known) >= 10
        assert all(asked[prompt] == asked_then[prompt] for prompt in known)
    assert sum(asked.values()) <= count + 2 * at_once
    assert not list((tmp_path / "out" / "incomplete").iterdir())


def journaled(out):
    lines = [
        json.loads(line)
        for path in (out / "incomplete").glob("*.jsonl")
        for line in path.read_bytes().split(b"\n")[:-1]
    ]
    return {answer["text"].split()[2] for _, answer in lines} | {
        row["text"].split()[2] for row in answers(out)
    }
