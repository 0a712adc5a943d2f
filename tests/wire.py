"""A raw HTTP/1.1 client that sees what an HTTP library hides: chunk boundaries as framed, field lines as spelled, the
time of the socket read that completed each chunk, and whether the end was clean.

It knows no JSON, no SSE, no redirect and no retry; nothing is decoded but the transfer coding. What arrived before a
reset is not lost.

    async with connect(url) as connection:          answer = await ask(url, request)
        await connection.send(request)
        head = await connection.head()
        async for frame in connection.frames(): …
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic_ns  # noqa: TID251  what a client saw is measured with the client's own clock
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import orjson

from replayproxy.model import Headers, Request

PATIENCE = 60.0
"""Seconds without a byte after which waiting is a failure."""


class Head(NamedTuple):
    """Status line and field lines. `at` is ns since the request was sent."""

    at: int
    status: int
    reason: str
    headers: Headers

    def get(self, name: str) -> str | None:
        """The first value of a field, or None. `name` in lower case."""
        return next((value for field, value in self.headers if field.lower() == name), None)


class Frame(NamedTuple):
    """The payload of one HTTP chunk; of a body that is not chunked, all that one socket read brought."""

    at: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer as it came. `framing` is `chunked`, `length`, `eof` or `none`.

    `whole`: it ended as its framing says. Else the last frame may be the part that arrived, and `ending` tells how the
    connection ended: `closed` or `reset`.
    """

    head: Head
    frames: tuple[Frame, ...]
    framing: str
    whole: bool
    ending: str
    end: int

    @property
    def status(self) -> int:
        """The status code."""
        return self.head.status

    @property
    def headers(self) -> Headers:
        """All field lines, in their order."""
        return self.head.headers

    @property
    def body(self) -> bytes:
        """All frames joined."""
        return b"".join(frame.data for frame in self.frames)

    @property
    def cuts(self) -> tuple[int, ...]:
        """Where the chunks ended. A body with a length has no boundaries: one cut."""
        if self.framing == "chunked":
            return tuple(len(frame.data) for frame in self.frames)
        return (len(self.body),) if self.frames else ()


class Ended(Exception):
    """The connection ended within something. `data` is the part that arrived; `how` is `closed` or `reset`."""

    def __init__(self, how: str, data: bytes) -> None:
        super().__init__(f"the connection was {how} after {len(data)} bytes of what was read: {data[:80]!r}")
        self.how = how
        self.data = data


def post(target: str, body: object, *headers: tuple[str, str]) -> Request:
    """A POST of a JSON value, or of bytes as they are."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return Request("POST", target, (("Content-Type", "application/json"), *headers), content)


def get(target: str, *headers: tuple[str, str]) -> Request:
    """A GET."""
    return Request("GET", target, headers)


def spelled(request: Request, host: str) -> bytes:
    """A request on the wire. Host and Content-Length are added where they are not given."""
    given = {name.lower() for name, _ in request.headers}
    lines = [f"{request.method} {request.target} HTTP/1.1"]
    if "host" not in given:
        lines.append(f"Host: {host}")
    lines += [f"{name}: {value}" for name, value in request.headers]
    if request.body and not given & {"content-length", "transfer-encoding"}:
        lines.append(f"Content-Length: {len(request.body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + request.body


async def ask(url: str, request: Request) -> Answer:
    """One request on a connection of its own."""
    async with connect(url) as connection:
        return await connection.ask(request)


@asynccontextmanager
async def connect(
    url: str, *, limit: int | None = None, receive_buffer: int | None = None
) -> AsyncIterator[Connection]:
    """A connection to `http://host:port`.

    A slow reader is one with a `limit`: while more bytes than that have not been taken, the socket is not read. The
    kernel then holds about `receive_buffer` bytes more, and the server's side waits.
    """
    parts = urlsplit(url)
    assert parts.scheme == "http", "TLS is for the tests of TLS"
    assert parts.hostname is not None
    assert parts.port is not None
    raw = socket.socket(socket.AF_INET6 if ":" in parts.hostname else socket.AF_INET, socket.SOCK_STREAM)
    try:
        raw.setblocking(False)
        if receive_buffer is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(raw, (parts.hostname, parts.port))
        _, heard = await loop.create_connection(lambda: _Heard(limit), sock=raw)
    except BaseException:
        raw.close()
        raise
    connection = Connection(heard, parts.netloc)
    try:
        yield connection
    finally:
        connection.close()


class Connection:
    """One connection, used for one request after another. Opened by `connect`."""

    def __init__(self, heard: _Heard, host: str) -> None:
        self._heard = heard
        self._host = host
        self._asked = "GET"
        self._framing = "none"
        self._length = 0
        self.sent_at = 0
        self.interim: list[int] = []
        self.whole = False
        self.trailers: Headers = ()

    # Asking

    async def ask(self, request: Request) -> Answer:
        """Send a request and hear its answer to the end."""
        self.send(request)
        return await self.answer()

    def send(self, request: Request) -> None:
        """Send a request; times count from here. Raises `Ended` when nobody is there any more."""
        self._asked = request.method
        self.write(spelled(request, self._host))

    def write(self, data: bytes, method: str | None = None) -> None:
        """Send bytes as they are; times count from here. Raises `Ended` when nobody is there any more.

        `method` is the request's: the answer to a HEAD has no body.
        """
        if self._heard.transport.is_closing():
            raise Ended("closed", b"")
        self._asked = method or self._asked
        self._heard.transport.write(data)
        self.sent_at = monotonic_ns()

    # Hearing

    async def answer(self) -> Answer:
        """The answer to what was sent. Raises `Ended` when there is none."""
        head = await self.head()
        frames: list[Frame] = []
        ending = ""
        try:
            async for frame in self.frames():
                frames.append(frame)  # noqa: PERF401  what came before an unclean end is wanted too
        except Ended as ended:
            ending = ended.how
            if ended.data:
                frames.append(Frame(self._heard.at - self.sent_at, ended.data))
        return Answer(head, tuple(frames), self._framing, self.whole, ending, self._heard.at - self.sent_at)

    async def head(self) -> Head:
        """The head of the answer; interim ones (1xx) are only counted. Raises `Ended`."""
        self.interim = []
        self.whole = False
        while True:
            version, _, rest = (await self._heard.line()).decode("latin-1").partition(" ")
            assert version.startswith("HTTP/1."), f"not HTTP: {version!r} {rest!r}"
            at = self._heard.at - self.sent_at
            status, _, reason = rest.partition(" ")
            head = Head(at, int(status), reason, await self._fields())
            if not 100 <= head.status < 200 or head.status == 101:
                self._frame(head)
                return head
            self.interim.append(head.status)

    async def frames(self) -> AsyncIterator[Frame]:
        """The body as it comes. Raises `Ended` where it ends before its framing says so."""
        match self._framing:
            case "chunked":
                while size := int((await self._heard.line()).partition(b";")[0], 16):
                    data = await self._heard.exactly(size)
                    if await self._heard.exactly(2) != b"\r\n":
                        raise AssertionError(f"a chunk of {size} bytes is longer than it says: {data!r}")
                    yield Frame(self._heard.at - self.sent_at, data)
                self.trailers = await self._fields()
            case "length":
                left = self._length
                while left:
                    data = await self._heard.some(left)
                    left -= len(data)
                    yield Frame(self._heard.at - self.sent_at, data)
            case "eof":
                while True:
                    try:
                        data = await self._heard.some(2**30)
                    except Ended as ended:
                        if ended.how != "closed":
                            raise
                        break
                    yield Frame(self._heard.at - self.sent_at, data)
            case _:
                pass
        self.whole = True

    async def rest(self) -> tuple[bytes, str]:
        """Everything until the connection ends, and how it ended."""
        pieces: list[bytes] = []
        while True:
            try:
                pieces.append(await self._heard.some(2**30))
            except Ended as ended:
                return b"".join(pieces), ended.how

    async def _fields(self) -> Headers:
        lines: list[tuple[str, str]] = []
        while line := await self._heard.line():
            name, _, value = line.decode("latin-1").partition(":")
            lines.append((name, value.strip(" \t")))
        return tuple(lines)

    def _frame(self, head: Head) -> None:
        length = head.get("content-length")
        if self._asked == "HEAD" or head.status in (101, 204, 304):
            self._framing = "none"
        elif "chunked" in (head.get("transfer-encoding") or "").lower():
            self._framing = "chunked"
        elif length is not None:
            self._framing, self._length = "length", int(length)
        else:
            self._framing = "eof"

    # Leaving

    def close(self) -> None:
        """Hang up, as a client does that has lost interest: FIN, or RST where something is unread."""
        self._heard.transport.close()

    def reset(self) -> None:
        """Hang up with RST."""
        raw = self._heard.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._heard.transport.abort()


class _Heard(asyncio.Protocol):
    """Bytes as they came, with the time of each socket read."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._come = self._taken = 0
        self._reads: deque[tuple[int, int]] = deque()
        self._ended: str | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._paused = False
        self.at = 0
        """When the last byte that was taken had come."""

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._come += len(data)
        self._reads.append((self._come, monotonic_ns()))
        self._buffer += data
        if self._limit is not None and len(self._buffer) > self._limit and not self._paused:
            self._paused = True
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self._end("closed")

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("closed" if exc is None else "reset")

    def _end(self, how: str) -> None:
        if self._ended is None or how == "reset":
            self._ended = how
            self._reads.append((self._come + 1, monotonic_ns()))
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # Taking

    async def line(self) -> bytes:
        """Up to CRLF, without it."""
        while (found := self._buffer.find(b"\r\n")) < 0:
            await self._more()
        return self._take(found + 2)[:-2]

    async def exactly(self, size: int) -> bytes:
        """So many bytes."""
        while len(self._buffer) < size:
            await self._more()
        return self._take(size)

    async def some(self, most: int) -> bytes:
        """What is there, at least a byte."""
        while not self._buffer:
            await self._more()
        return self._take(min(most, len(self._buffer)))

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._taken += size
        while self._reads[0][0] < self._taken:
            self._reads.popleft()
        self.at = self._reads[0][1]
        if self._paused and len(self._buffer) <= (self._limit or 0):
            self._paused = False
            self.transport.resume_reading()
        return taken

    async def _more(self) -> None:
        """Wait for bytes. Raises `Ended` with those that are left when there will be none."""
        if self._ended is not None:
            left = bytes(self._buffer)
            self._buffer.clear()
            self.at = self._reads[-1][1]
            raise Ended(self._ended, left)
        if self._paused:  # more is wanted at once than the limit lets in
            self._paused = False
            self.transport.resume_reading()
        self._waiter = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(PATIENCE):
            await self._waiter
