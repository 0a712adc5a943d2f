"""The HTTP side of a double: parses requests, cancels the answer when its client leaves, and can break off at any byte.

Knows no model and no pair. One request at a time on a connection, as HTTP clients without pipelining do.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast

import httptools

KEEP_ALIVE = 5.0
"""Seconds after which uvicorn closes an idle connection."""

REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 429: "Too Many Requests", 503: "Service Unavailable"}

Fields = tuple[tuple[str, str], ...]


class Visit:
    """One request, and the means to answer it."""

    def __init__(self, connection: Connection, method: str, target: str, fields: Fields, body: bytes) -> None:
        self._connection = connection
        self.method = method
        self.target = target
        self.fields = fields
        self.body = body

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def get(self, name: str) -> str | None:
        """The first value of a field. `name` in lower case."""
        return next((value for field, value in self.fields if field.lower() == name), None)

    def all(self, name: str) -> list[str]:
        """All values of a field."""
        return [value for field, value in self.fields if field.lower() == name]

    # Answering

    def head(self, status: int, fields: Fields = (), *, length: int | None = None) -> None:
        """Status line and field lines; chunked where there is no length."""
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'What')}", "date: Fri, 20 Nov 2026 13:17:21 GMT"]
        lines += ["server: uvicorn", *(f"{name}: {value}" for name, value in fields)]
        lines.append("Transfer-Encoding: chunked" if length is None else f"content-length: {length}")
        self.write("\r\n".join([*lines, "", ""]).encode())

    def write(self, data: bytes) -> None:
        """Bytes as they are."""
        if not self._connection.transport.is_closing():
            self._connection.transport.write(data)

    def chunk(self, data: bytes) -> None:
        """One HTTP chunk."""
        self.write(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        """The last-chunk."""
        self.write(b"0\r\n\r\n")

    def whole(self, status: int, body: bytes, fields: Fields = (("content-type", "application/json"),)) -> None:
        """An answer in one write."""
        self.head(status, fields, length=len(body))
        self.write(body)

    def reset(self) -> None:
        """RST."""
        raw = self._connection.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.transport.abort()

    def close(self) -> None:
        """FIN."""
        self._connection.transport.close()


class Connection(asyncio.Protocol):
    """A client's connection."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._fields: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._answering: asyncio.Task[None] | None = None
        self._idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: connected."""
        self.transport = cast("asyncio.Transport", transport)
        self._house.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes came."""
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the client left. Who was answering it is told by a cancellation."""
        self._house.connections.discard(self)
        self._rest()
        if self._answering is not None:
            self._answering.cancel()

    def die(self) -> bytes:
        """End now, and not in the loop's next turn. Gives what had come and was never read."""
        with _raw(self.transport) as raw:
            unread = _unread(raw)
            with suppress(OSError):
                raw.shutdown(socket.SHUT_RDWR)
        self.connection_lost(None)
        self.transport.abort()
        return unread

    # httptools callbacks

    def on_url(self, url: bytes) -> None:
        """The target, or a piece of it."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field line."""
        self._fields.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._body.append(data)

    def on_message_complete(self) -> None:
        """A request is whole."""
        self._rest()
        method, target = self._parser.get_method().decode(), self._target.decode("latin-1")
        visit = Visit(self, method, target, tuple(self._fields), b"".join(self._body))
        self._target = b""
        self._fields.clear()
        self._body.clear()
        self._house.heard.append(visit)
        self._answering = asyncio.create_task(self._house.answer(visit))
        self._answering.add_done_callback(lambda _: self._wait())

    def _wait(self) -> None:
        if not self.transport.is_closing():
            self._idle = asyncio.get_running_loop().call_later(KEEP_ALIVE, self.transport.close)

    def _rest(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None


class House:
    """A listening address that can be shut and opened again."""

    def __init__(self, answer: Callable[[Visit], Awaitable[None]], host: str = "127.0.0.1", port: int = 0) -> None:
        self._answer = answer
        self.host = host
        self.port = port
        self.connections: set[Connection] = set()
        self.heard: list[Visit] = []
        self._listening: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{self.host}:{self.port}"

    async def answer(self, visit: Visit) -> None:
        """Answer one request."""
        await self._answer(visit)

    async def open(self) -> None:
        """Listen, on the same port as before."""
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(
            lambda: Connection(self), self.host, self.port, backlog=4096, reuse_address=True
        )
        self.port = self._listening.sockets[0].getsockname()[1]

    def shut(self) -> bytes:
        """As when the process is killed: nobody listens, and all connections end. Gives what was never read."""
        unread = [connection.die() for connection in list(self.connections)]
        if self._listening is not None:
            with _raw(self._listening.sockets[0]) as raw, suppress(BlockingIOError):
                while True:
                    with raw.accept()[0] as waiting:
                        waiting.setblocking(False)
                        unread.append(_unread(waiting))
            self._listening.close()
            self._listening = None
        return b"".join(unread)


def _raw(of: Any) -> socket.socket:
    """The socket itself, of a transport or of a listening one."""
    of = of.get_extra_info("socket") if hasattr(of, "get_extra_info") else of
    raw = socket.socket(fileno=os.dup(of.fileno()))
    raw.setblocking(False)
    return raw


def _unread(raw: socket.socket) -> bytes:
    try:
        return raw.recv(1 << 20)
    except OSError:
        return b""
