"""The live page: what it tells of a run, what it refuses, and how it looks in a real browser at two widths."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from snowcoder.funnel import funnel, total
from snowcoder.watch import LONGEST_QUERY, Page
from snowcoder.watch_state import POINTS, Curve, RunState
from tests.snowcoder.example_run import write_example

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HOSTILE = "<img src=x onerror=document.title='taken'>"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    root = write_example(tmp_path_factory.mktemp("run"))
    (root / "config.yaml").write_text(json.dumps({"name": HOSTILE, "general": {"tokens": 10}}))
    return root


@asynccontextmanager
async def serving(page: Page) -> AsyncIterator[str]:
    runner = web.AppRunner(page.application())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
    finally:
        await runner.cleanup()


def with_client(page: Page, work: Callable[[ClientSession, str], Awaitable[Any]]) -> Any:
    async def play() -> Any:
        async with serving(page) as address, ClientSession() as client:
            return await work(client, address)

    return asyncio.run(play())


# -- what it tells --------------------------------------------------------------------------------------------------


def test_it_counts_what_the_report_counts(run):
    told = RunState(run).look()
    counted = funnel(run)
    assert told["funnel"]["read"] == total(counted.read)._asdict()
    assert told["funnel"]["kept"] == total(counted.kept)._asdict()
    assert sum(row["documents"] for row in told["funnel"]["dropped"]) == sum(
        count.documents for _, _, count in counted.reasons()
    )
    assert told["phases"]["general"]["finished"]
    assert told["phases"]["general"]["step"] == 2400
    assert told["current"] is None
    assert told["rejects"]


def test_a_curve_follows_its_file_and_its_restarts(tmp_path):
    path, points = tmp_path / "metrics.jsonl", 5 * POINTS

    def lines(first: int, last: int, loss: float) -> str:
        return "".join(json.dumps({"step": s, "loss": loss}) + "\n" for s in range(first, last))

    curve = Curve(path)
    curve.look()
    assert curve.last == {}
    path.write_text(lines(0, points, 2.0) + '{"step": 9')  # the last line is being written
    curve.look()
    assert curve.last["step"] == points - 1
    assert POINTS / 2 <= len(curve.points) <= POINTS
    assert curve.points[0][0] == 0
    cut = tmp_path / "cut"
    cut.write_text(lines(0, 7, 1.0))
    cut.replace(path)  # as a restart does
    curve.look()
    assert curve.points == [(s, 1.0) for s in range(7)]


def test_a_run_that_goes_on_is_read_from_where_the_last_look_ended(run, tmp_path):
    growing = tmp_path / "run"
    shutil.copytree(run, growing)
    held = {path: path.read_bytes() for path in (growing / "ledger").glob("claim-*/*.arrow")}
    for path in sorted(held)[1:]:
        path.unlink()
    state = RunState(growing)
    first = state.look()["funnel"]
    assert first["shards"] == 1
    for path, data in held.items():
        path.write_bytes(data)
    assert state.look()["funnel"]["read"] == total(funnel(run).read)._asdict()


def test_an_empty_directory_is_a_run_without_figures(tmp_path):
    told = RunState(tmp_path).look()
    assert told["phases"] == {}
    assert told["funnel"]["read"]["documents"] == 0


# -- what it refuses ------------------------------------------------------------------------------------------------


def test_requests_from_elsewhere_and_of_other_kinds_are_refused(run):
    async def ask(client: ClientSession, address: str) -> dict[str, int]:
        async def status(path: str, method: str = "GET", **headers: str) -> int:
            async with client.request(method, address + path, headers=headers) as answer:
                assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
                return answer.status

        return {
            "page": await status("/"),
            "state": await status("/state", **{"Sec-Fetch-Site": "same-origin"}),
            "post": await status("/state", "POST"),
            "options": await status("/state", "OPTIONS"),
            "delete": await status("/", "DELETE"),
            "other site": await status("/state", **{"Sec-Fetch-Site": "cross-site"}),
            "rebound name": await status("/state", Host="evil.example"),
            "long": await status("/?" + "a" * LONGEST_QUERY),
        }

    assert with_client(Page(run), ask) == {
        "page": 200, "state": 200, "post": 405, "options": 405, "delete": 405, "other site": 403,
        "rebound name": 403, "long": 414,
    }  # fmt: skip


@pytest.mark.parametrize(
    "path", ["/../config.yaml", "/%2e%2e/config.yaml", "/..%2f..%2fetc%2fpasswd", "/watch.py"]
)
def test_no_path_leads_to_a_file(run, path):
    """Over a bare socket: a client would tidy the path up first."""

    async def ask(client: ClientSession, address: str) -> bytes:
        port = int(address.rsplit(":", 1)[1])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        return answer

    answer = with_client(Page(run), ask)
    assert answer.split()[1] == b"404"
    assert b"tokens" not in answer
    assert b"root:" not in answer


def test_beyond_loopback_nobody_looks_without_the_token(run):
    async def ask(client: ClientSession, address: str) -> list[int]:
        found = []
        for path in ("/state", "/events", "/", "/?token=wrong"):
            async with client.get(address + path) as answer:
                found.append(answer.status)
        async with client.get(address + "/?token=right", allow_redirects=False) as answer:
            found.append(answer.status)
            assert answer.headers["Location"] == "/"  # and so not in the history
            cookie = answer.headers["Set-Cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=Strict" in cookie
        async with client.get(address + "/state", headers={"Cookie": cookie.split(";")[0]}) as answer:
            found.append(answer.status)
        return found

    assert with_client(Page(run, token="right"), ask) == [401, 401, 401, 401, 303, 200]


def test_it_listens_on_loopback_alone(run):
    """The command itself, and what the kernel says of its sockets."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "snowcoder.cli", "watch", str(run), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert f"http://127.0.0.1:{port}/" in process.stdout.readline()
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        everywhere = [line.split() for line in Path("/proc/net/tcp6").read_text().splitlines()[1:]]
        listening = [
            row[1] for row in (*rows, *everywhere) if row[3] == "0A" and row[1].endswith(f":{port:04X}")
        ]
        assert listening == [f"0100007F:{port:04X}"]
    finally:
        process.terminate()
        process.wait(20)


# -- how it looks ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def browser(client: ClientSession, profile: Path) -> AsyncIterator[Callable[..., Awaitable[dict]]]:
    """A headless Chromium's first tab; call(method, **parameters) speaks its DevTools protocol."""
    assert CHROMIUM is not None
    process = subprocess.Popen(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
         f"--user-data-dir={profile}", "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        told = profile / "DevToolsActivePort"
        deadline = time.monotonic() + 90
        while not (told.exists() and told.read_text().count("\n")):
            assert time.monotonic() < deadline, "no browser"
            await asyncio.sleep(0.2)
        port = told.read_text().split()[0]
        async with client.get(f"http://127.0.0.1:{port}/json/list") as answer:
            tab = next(t for t in await answer.json(content_type=None) if t["type"] == "page")
        async with client.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as connection:
            number = 0

            async def call(method: str, **parameters: Any) -> dict:
                nonlocal number
                number += 1
                await connection.send_json({"id": number, "method": method, "params": parameters})
                while True:
                    message = await connection.receive_json(timeout=60)
                    if message.get("id") == number:
                        assert "error" not in message, message
                        return message["result"]

            yield call
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium; `apt-get install chromium`")
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_it(run, tmp_path, width):
    async def look(client: ClientSession, address: str) -> dict[str, Any]:
        async with browser(client, tmp_path / "profile") as call:

            async def value(expression: str) -> Any:
                found = await call("Runtime.evaluate", expression=expression, returnByValue=True)
                return found["result"].get("value")

            await call(
                "Emulation.setDeviceMetricsOverride",
                width=width,
                height=900,
                deviceScaleFactor=1,
                mobile=width < 600,
            )
            await call("Page.navigate", url=address)
            deadline = time.monotonic() + 60
            while await value("document.body && document.body.dataset.shown") != "yes":
                assert time.monotonic() < deadline, await value("document.documentElement.outerHTML")
                await asyncio.sleep(0.2)
            return {
                "wide": await value("document.documentElement.scrollWidth"),
                "name": await value("document.getElementById('name').textContent"),
                "title": await value("document.title"),
                "text": await value("document.body.innerText"),
                "curves": await value("document.querySelectorAll('polyline').length"),
                "images": await value("document.images.length"),
                "link": await value("document.getElementById('link').textContent"),
            }

    shown = with_client(Page(run), look)
    assert shown["wide"] <= width  # nothing to be scrolled to the side but tables inside their own frame
    assert shown["name"] == shown["title"] == HOSTILE  # as text
    assert shown["images"] == 0
    assert shown["curves"] == 4
    assert shown["link"] == "live"
    for word in ("general: done", "near_duplicate", "2,400", "shards judged"):
        assert word in shown["text"]
