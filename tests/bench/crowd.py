"""A crowd of clients: so many streams at once, every answer checked. A process by itself, plan in, findings out.

    python -m tests.bench.crowd < plan.json > findings.json

Each client asks, hears the answer to its end, and asks again on the same connection while there is something left to
ask. It knows nothing of what answers; it counts events (by their blank line) and HTTP chunks, and reads the CPU clocks
of the processes it is told to watch at the edges of a window.
"""

from __future__ import annotations

import asyncio
import base64
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import httptools
import orjson
import uvloop

from tests.bench.processes import cpu_seconds, report


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do. Bodies are asked in order, and no more after `seconds`."""

    port: int
    path: str
    bodies: list[str]
    streams: int
    seconds: float = 3600
    spread: float = 0
    """Seconds over which the first requests are spread."""
    window: tuple[float, float] = (0, 0)
    """Seconds after the start, between which CPU and events are counted."""
    watched: list[int] = field(default_factory=list)
    """Process ids whose CPU is counted."""
    keep_times: bool = False
    keep_bodies: bool = False


@dataclass(slots=True)
class Answer:
    """What one request got."""

    body: int
    """Which of the plan's bodies."""
    status: int = 0
    whole: bool = False
    size: int = 0
    checksum: int = 0
    events: int = 0
    chunks: int = 0
    times: list[int] = field(default_factory=list)
    """When each chunk came, ns since the request was sent."""
    heard: list[str] = field(default_factory=list)
    """The chunks in base64."""
    refusal: str = ""
    """What came with another status than 200."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What the crowd heard."""

    answers: list[Answer]
    window_seconds: float
    window_events: int
    window_cpu: list[float]
    """Seconds, for each watched process."""

    @classmethod
    def of(cls, said: Any) -> Findings:
        """From JSON."""
        return cls(**{**said, "answers": [Answer(**answer) for answer in said["answers"]]})


class Crowd:
    """All clients, and what they hear together."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.answers: list[Answer] = []
        self.events = 0
        self.deadline = time.monotonic() + plan.seconds
        self._left: Iterator[int] = iter(range(len(plan.bodies)))

    def next_body(self) -> int | None:
        """What to ask now, if anything."""
        return None if time.monotonic() > self.deadline else next(self._left, None)

    async def run(self) -> Findings:
        """Everybody asks until there is nothing left."""
        loop = asyncio.get_running_loop()
        clients = [
            (await loop.create_connection(lambda: Client(self), "127.0.0.1", self.plan.port))[1]
            for _ in range(self.plan.streams)
        ]
        counting = asyncio.create_task(self._count())
        start = loop.time()
        for number, client in enumerate(clients):
            loop.call_at(start + self.plan.spread * number / len(clients), client.ask)
        await asyncio.gather(*(client.done for client in clients))
        return Findings(self.answers, *await counting)

    async def _count(self) -> tuple[float, int, list[float]]:
        begin, end = self.plan.window
        if end <= begin:
            return 0, 0, []
        await asyncio.sleep(begin)
        started, events, cpu = time.monotonic(), self.events, [cpu_seconds(pid) for pid in self.plan.watched]
        await asyncio.sleep(end - begin)
        used = [cpu_seconds(pid) - before for pid, before in zip(self.plan.watched, cpu, strict=True)]
        return time.monotonic() - started, self.events - events, used


class Client(asyncio.Protocol):
    """One client and its connection."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._plan = crowd.plan
        self._answer: Answer | None = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: connected."""
        self._transport = cast("asyncio.Transport", transport)

    def ask(self) -> None:
        """Send the next request."""
        number = self._crowd.next_body()
        if number is None:
            self._transport.close()
            return
        self._answer = Answer(number)
        self._crowd.answers.append(self._answer)
        self._parser = httptools.HttpResponseParser(self)
        self._chunk: list[bytes] = []
        body = self._plan.bodies[number].encode()
        request = (
            b"POST %b HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: OpenAI/Python 2.8.1\r\nAccept: application/json\r\n"
            b"Authorization: Bearer sk-none\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
        ) % (self._plan.path.encode(), self._plan.port, len(body), body)
        self._asked_at = time.monotonic_ns()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes came."""
        self._now = time.monotonic_ns()
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: it is over; what was not whole stays so."""
        if not self.done.done():
            self.done.set_result(None)

    # httptools callbacks

    def on_headers_complete(self) -> None:
        """The head is there."""
        cast("Answer", self._answer).status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        """A chunk, or a part of one."""
        answer = cast("Answer", self._answer)
        answer.size += len(data)
        answer.checksum = zlib.crc32(data, answer.checksum)
        events = data.count(b"\n\n")
        answer.events += events
        self._crowd.events += events
        if self._plan.keep_bodies:
            self._chunk.append(data)
        if answer.status != 200:
            answer.refusal += data.decode("latin-1")

    def on_chunk_complete(self) -> None:
        """The end of a chunk; the last-chunk is one too."""
        answer = cast("Answer", self._answer)
        answer.chunks += 1
        if self._plan.keep_times:
            answer.times.append(self._now - self._asked_at)
        if self._plan.keep_bodies:
            answer.heard.append(base64.b64encode(b"".join(self._chunk)).decode())
            self._chunk.clear()

    def on_message_complete(self) -> None:
        """The answer is whole. Only in the next turn may the parser be replaced: it is still running."""
        cast("Answer", self._answer).whole = True
        asyncio.get_running_loop().call_soon(self.ask)


if __name__ == "__main__":
    report(asdict(uvloop.run(Crowd(Plan(**orjson.loads(sys.stdin.buffer.read()))).run())))
