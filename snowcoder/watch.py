"""`snowcoder watch RUN_DIR`: a read-only page on a run, from its directory alone; finished runs too.

One page, its script and a stream of server-sent events. Only GET, no path is read from the address, no state is kept
for a visitor. Bound to loopback unless told otherwise, and then only with a token.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
from importlib.resources import files
from pathlib import Path
from typing import Any

from aiohttp import web

from snowcoder.base import UserError
from snowcoder.watch_state import RunState

EVERY = 2.0
"""Seconds between looks at the run, shared by all who watch."""
LONGEST_QUERY = 256
MOST_WATCHERS = 32
LOOPBACK = ("127.0.0.1", "::1", "localhost")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
ASSETS = {
    "/": ("watch.html", "text/html"),
    "/watch.js": ("watch.js", "text/javascript"),
    "/watch.css": ("watch.css", "text/css"),
}
COOKIE = "snowcoder-watch"


class Page:
    """The application. `token` "": whoever reaches it may look; only for loopback."""

    def __init__(self, run_dir: Path, token: str = ""):
        self.token = token
        self.state = RunState(run_dir)
        self.now = "{}"
        self._changed = asyncio.Condition()
        self._watchers = 0

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard], client_max_size=0)
        for path in ASSETS:
            app.router.add_get(path, self._asset)
        app.router.add_get("/state", self._state)
        app.router.add_get("/events", self._events)
        app.cleanup_ctx.append(self._looking)
        return app

    async def _looking(self, app: web.Application) -> Any:
        await self._look()

        async def work() -> None:
            while True:
                await asyncio.sleep(EVERY)
                try:
                    await self._look()
                except UserError as error:  # a file that is damaged now: what was seen before stays
                    print(f"{self.state.root}: {error}", flush=True)

        task = asyncio.create_task(work())
        yield
        task.cancel()

    async def _look(self) -> None:
        """In a thread: nobody who asks waits for the disk."""
        found = await asyncio.to_thread(self._read)
        async with self._changed:
            self.now = found
            self._changed.notify_all()

    def _read(self) -> str:
        return json.dumps(self.state.look())

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        refused = self._refused(request)
        if refused:
            status, why = refused
            return web.Response(status=status, text=why + "\n", headers=HEADERS)
        try:
            response = await handler(request)
        except web.HTTPException as error:
            return web.Response(status=error.status, text=f"{error.reason}\n", headers=HEADERS)
        return response

    def _refused(self, request: web.Request) -> tuple[int, str] | None:
        if request.method != "GET":
            return 405, "only GET"
        if len(request.raw_path) > LONGEST_QUERY or request.content_length:
            return 414, "too long"
        # A page elsewhere may point its own name at this address (DNS rebinding); the name it was asked by tells.
        if not self.token and _host(request.host) not in LOOPBACK:
            return 403, "ask by the name of this machine's loopback"
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return 403, "not from another site"
        if self.token:
            given = request.query.get("token") or request.cookies.get(COOKIE, "")
            if not hmac.compare_digest(given.encode(), self.token.encode()):
                return 401, "the token that `snowcoder watch` printed is missing or wrong"
        return None

    async def _asset(self, request: web.Request) -> web.StreamResponse:
        if self.token and "token" in request.query:  # out of the address, or it would stay in the history
            moved = web.Response(status=303, headers=HEADERS | {"Location": "/"})
            moved.set_cookie(COOKIE, self.token, httponly=True, samesite="Strict")
            return moved
        name, kind = ASSETS[request.path]
        text = files("snowcoder").joinpath("templates", name).read_text()
        return web.Response(text=text, content_type=kind, charset="utf-8", headers=HEADERS)

    async def _state(self, request: web.Request) -> web.Response:
        return web.Response(text=self.now, content_type="application/json", headers=HEADERS)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if self._watchers >= MOST_WATCHERS:
            return web.Response(status=503, text="too many watch already\n", headers=HEADERS)
        self._watchers += 1
        try:
            response = web.StreamResponse(headers=HEADERS | {"Content-Type": "text/event-stream"})
            await response.prepare(request)
            while True:
                await response.write(f"data: {self.now}\n\n".encode())
                async with self._changed:
                    await self._changed.wait()
        except (ConnectionResetError, asyncio.CancelledError):
            return response
        finally:
            self._watchers -= 1


def _host(host: str) -> str:
    """Without the port; IPv6 in brackets."""
    return host[1 : host.index("]")] if host.startswith("[") and "]" in host else host.rsplit(":", 1)[0]


def watch(run_dir: Path, host: str, port: int) -> None:
    """Serve until Ctrl-C. Beyond loopback a token is made and printed once."""
    token = "" if host in LOOPBACK else secrets.token_urlsafe(24)
    page = Page(run_dir, token)
    query = f"/?token={token}" if token else "/"

    def tell(text: str) -> None:
        print(f"{run_dir}: http://{host}:{port}{query}   Ctrl-C ends it", flush=True)

    try:
        web.run_app(
            page.application(), host=host, port=port, print=tell, access_log=None, handle_signals=True
        )
    except OSError as error:
        raise UserError(f"--port {port}: {error.strerror or error}; choose another one") from error
