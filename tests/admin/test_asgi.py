"""Tests of `admin/asgi`: what an ASGI application gets of a request, and what a client gets of its answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from quart import Quart

from replayproxy.admin import asgi
from replayproxy.model import Request
from replayproxy.net.clock import SystemClock
from replayproxy.net.http_server import free_socket
from tests import wire
from tests.apps import run


class Application:
    """Notes its scopes and bodies, and answers in two parts."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.scopes: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []

    async def startup(self) -> None:
        """Before the first request."""
        self.events.append("startup")

    async def shutdown(self) -> None:
        """After the last one."""
        self.events.append("shutdown")

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer one request."""
        self.scopes.append(scope)
        message = await receive()
        assert message["more_body"] is False
        self.bodies.append(message["body"])
        await send(
            {"type": "http.response.start", "status": 202, "headers": [(b"x-a", b"1"), (b"content-length", b"2")]}
        )
        await send({"type": "http.response.body", "body": b"o", "more_body": True})
        await send({"type": "http.response.body", "body": b"k"})


@asynccontextmanager
async def served(application: Application, refusals: Counter[str]) -> AsyncIterator[str]:
    """The URL where it is served; it is stopped on the way out."""
    stopped, clock, listening = asyncio.Event(), SystemClock(), free_socket("127.0.0.1", 0)
    serving = asyncio.create_task(
        asgi.serve(
            cast(Quart, application),
            lambda server: server.serve_on(listening),
            stopped,
            now=clock.now,
            refusals=refusals,
        )
    )
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        stopped.set()
        await serving
        clock.close()


def test_a_request_and_its_answer_go_through() -> None:
    """The path decoded, the raw path and the query as they were sent, header names in lower case, the whole body."""
    application = Application()

    async def ask() -> None:
        async with served(application, Counter()) as url:
            request = Request("POST", "/a%20b?x=%31", (("X-Name", "Value"), ("Content-Length", "3")), b"abc")
            answer = await wire.ask(url, request)
            assert (answer.status, answer.head.get("x-a"), answer.body) == (202, "1", b"ok")

    run(ask())
    [scope] = application.scopes
    assert (scope["method"], scope["path"], scope["raw_path"], scope["query_string"]) == (
        "POST",
        "/a b",
        b"/a%20b",
        b"x=%31",
    )
    assert (b"x-name", b"Value") in scope["headers"]
    assert (application.bodies, application.events) == ([b"abc"], ["startup", "shutdown"])


def test_what_is_no_http_never_reaches_the_application() -> None:
    """The port reads as strictly as the data port, and counts what it refuses; a WebSocket is refused too."""
    application, refusals = Application(), Counter[str]()

    async def ask() -> None:
        async with served(application, refusals) as url:
            upgrade = (("Connection", "Upgrade"), ("Upgrade", "websocket"))
            assert (await wire.ask(url, Request("GET", "/", upgrade))).status == 404

    run(ask())
    assert (application.scopes, dict(refusals)) == ([], {"unsupported": 1})
