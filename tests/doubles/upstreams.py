"""Live servers that do as a script says: every fault a server can have, at a byte of the test's choosing.

    async with scripted(Send(HEAD), Send(chunk(b"data: 1\\n\\n")), Reset()) as server:
        … server.url, server.heard, await server.ended(0)

Knows no proxy. Times are on the monotonic clock, so that a test can say when a server saw its client leave.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic_ns  # noqa: TID251  what a server saw is measured with the server's own clock


@dataclass(frozen=True)
class Send:
    """Send bytes, and wait until the kernel has them."""

    data: bytes


@dataclass(frozen=True)
class Wait:
    """Let time pass: a server that takes its time, not a test that does."""

    seconds: float


@dataclass(frozen=True)
class Until:
    """Wait for the test to say go."""

    event: asyncio.Event


@dataclass(frozen=True)
class Read:
    """Wait until the request has come as far as these bytes."""

    mark: bytes


@dataclass(frozen=True)
class Close:
    """FIN."""


@dataclass(frozen=True)
class Reset:
    """RST."""


@dataclass(frozen=True)
class Hang:
    """Say nothing more until the client leaves."""


Step = Send | Wait | Until | Read | Close | Reset | Hang

STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Set-Cookie: session=secret\r\nX-Request-Id: r-1\r\nTransfer-Encoding: chunked\r\n\r\n"
)
STREAM_TO_EOF = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
END = b"0\r\n\r\n"
DONE = b"data: [DONE]\n\n"


def chunk(data: bytes) -> bytes:
    """One HTTP chunk (RFC 9112 §7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(number: int) -> bytes:
    """A chat completion event as vLLM spells it."""
    return (
        b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"tiny","choices":'
        b'[{"index":0,"delta":{"content":" w%d"},"logprobs":null,"finish_reason":null}]}\n\n' % number
    )


def stream(events: int) -> bytes:
    """A whole streamed answer, each event a chunk, with `[DONE]` and the last-chunk."""
    return STREAM + b"".join(chunk(event(number)) for number in range(events)) + chunk(DONE) + END


def answer(status: str, body: bytes, *lines: bytes, media: bytes = b"application/json") -> bytes:
    """A whole answer with a length."""
    more = b"".join(line + b"\r\n" for line in lines)
    return b"HTTP/1.1 %b\r\nContent-Type: %b\r\n%bContent-Length: %d\r\n\r\n%b" % (
        status.encode(),
        media,
        more,
        len(body),
        body,
    )


@dataclass
class Visit:
    """One connection: what came over it, when it began and when its client left."""

    began: int
    heard: bytearray = field(default_factory=bytearray)
    left: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    arrived: asyncio.Event = field(default_factory=asyncio.Event)


class Scripted:
    """A running server."""

    def __init__(self, script: tuple[Step, ...], *, again: bool) -> None:
        self._script = script
        self._again = again
        self._tasks: set[asyncio.Task[None]] = set()
        self.visits: list[Visit] = []
        self.url = ""
        self.port = 0
        self.visited = asyncio.Event()

    @property
    def heard(self) -> bytes:
        """What came over the first connection."""
        return bytes(self.visits[0].heard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visit = Visit(monotonic_ns())
        self.visits.append(visit)
        self.visited.set()
        listening = asyncio.create_task(self._listen(reader, visit))
        playing = asyncio.create_task(self._play(writer, visit, listening))
        self._tasks |= {listening, playing}
        try:
            await asyncio.wait((listening, playing))
        finally:
            listening.cancel()
            playing.cancel()
            writer.close()

    async def _listen(self, reader: asyncio.StreamReader, visit: Visit) -> None:
        try:
            while data := await reader.read(65536):
                visit.heard += data
                visit.arrived.set()
        except ConnectionError:
            pass
        if not visit.left.done():
            visit.left.set_result(monotonic_ns())
        visit.arrived.set()

    async def _play(self, writer: asyncio.StreamWriter, visit: Visit, listening: asyncio.Task[None]) -> None:
        asked = 0
        while True:
            asked += 1
            while bytes(visit.heard).count(b"\r\n\r\n") < asked and not visit.left.done():
                visit.arrived.clear()
                await visit.arrived.wait()
            for step in self._script:
                if visit.left.done():
                    return
                if await self._step(step, writer, visit, listening):
                    return
            if not self._again:
                return

    async def _step(
        self, step: Step, writer: asyncio.StreamWriter, visit: Visit, listening: asyncio.Task[None]
    ) -> bool:
        """Do one step; True when it was the last."""
        match step:
            case Send(data):
                try:
                    writer.write(data)
                    await writer.drain()
                except ConnectionError:
                    return True
            case Wait(seconds):
                await asyncio.sleep(seconds)
            case Until(moment):
                await moment.wait()
            case Read(mark):
                while mark not in visit.heard and not visit.left.done():
                    visit.arrived.clear()
                    await visit.arrived.wait()
            case Close():
                writer.close()
                listening.cancel()
                return True
            case Reset():
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
                return True
            case Hang():
                await visit.left
                return True
        return False


@asynccontextmanager
async def scripted(*script: Step, again: bool = False) -> AsyncIterator[Scripted]:
    """A server on a free port of 127.0.0.1 that plays the script on each connection.

    `again`: once for each request of a connection; otherwise the connection falls silent after the script.
    """
    server = Scripted(script, again=again)
    listening = await asyncio.start_server(server._serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    server.url = f"http://127.0.0.1:{server.port}"
    try:
        yield server
    finally:
        listening.close()
        for task in server._tasks:
            task.cancel()
