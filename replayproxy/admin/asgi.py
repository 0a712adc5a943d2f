"""Serves an ASGI application on the HTTP server of the data port: the same parser, limits and refusals.

Knows HTTP and ASGI 3.0. Does not know what the application shows.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from quart import Quart

from replayproxy.errors import ClientError
from replayproxy.model import Chunk, End, Ending, Head, Request
from replayproxy.net.http_server import DataServer
from replayproxy.net.limits import Limits
from replayproxy.net.response_writer import ResponseWriter

LIMITS = Limits(connections=256, body=1024 * 1024)
"""Limits for people, Prometheus and probes: few connections, and short requests."""

DRAIN = 0.2
"""Seconds for answers in flight when the proxy stops."""


async def serve(
    app: Quart,
    listen: Callable[[DataServer], None],
    stopped: asyncio.Event,
    *,
    now: Callable[[], int],
    refusals: Counter[str],
) -> None:
    """Serve where `listen` makes the server listen, until `stopped`. Refused requests are counted in `refusals`."""

    async def answer(request: Request, client: ResponseWriter, *_: object) -> None:
        await _Call(request, client).answer(app)

    async def upgrade(*_: object) -> None:
        raise ClientError("the admin port has no WebSocket", status=404, code="unsupported")

    server = DataServer(answer, upgrade, now=now, needs_body=True, limits=LIMITS, refusals=refusals)
    listen(server)
    await app.startup()
    await stopped.wait()
    await server.drain(DRAIN)
    await server.cut()
    await app.shutdown()


class _Call:
    """One request and its answer, in the terms of ASGI."""

    def __init__(self, request: Request, client: ResponseWriter) -> None:
        self._request = request
        self._client = client
        self._head: Head | None = None
        self._received = False

    async def answer(self, app: Any) -> None:
        """Let the application answer."""
        request = self._request
        await app(
            {
                "type": "http",
                "asgi": {"version": "3.0", "spec_version": "2.3"},
                "http_version": "1.1",
                "method": request.method,
                "scheme": "http",
                "path": unquote(request.path),
                "raw_path": request.path.encode("latin-1"),
                "query_string": request.query.encode("latin-1"),
                "root_path": "",
                "headers": [
                    (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in request.headers
                ],
                "client": None,
                "server": None,
            },
            self._receive,
            self._send,
        )

    async def _receive(self) -> dict[str, Any]:
        if not self._received:
            self._received = True
            return {"type": "http.request", "body": self._request.body, "more_body": False}
        await asyncio.get_running_loop().create_future()  # a client that leaves cancels the whole call
        raise AssertionError("nobody fulfils this future")

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            fields = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"])
            self._head = Head(0, message["status"], fields)
            return
        if message["type"] != "http.response.body":
            return
        if self._head is not None:
            head, self._head = self._head, None
            await self._client.head(head)
        self._client.chunk(Chunk(0, bytes(message.get("body", b""))))
        if self._client.congested:
            await self._client.ready()
        if not message.get("more_body", False):
            await self._client.end(End(0, Ending.COMPLETE))
