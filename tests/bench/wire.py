"""What one streamed event costs in our own code, step by step: no socket, no kernel, no other process.

The same slices of work, 24 events or one part each, are timed in every round by the CPU clock of the thread. Of each
slice the fastest time counts, for what else runs on a machine only ever adds to it. The sums mostly repeat within a
tenth; on a very busy machine single rows do not. `record` measures with sockets: the kernel's part comes on top.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import cast

import uvloop

from replayproxy.cassette.writer import CassetteWriter
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.origins import UrlSearch
from replayproxy.core.redaction import Redactor
from replayproxy.model import End, Ending, Head, Request
from replayproxy.net.clock import SystemClock
from replayproxy.net.response_writer import ResponseWriter
from replayproxy.net.upstream_connection import UpstreamConnection
from replayproxy.ports import ExchangePart, Listener
from replayproxy.proxy.client_origin import ClientOrigin
from replayproxy.proxy.counters import Counters
from replayproxy.proxy.recorder import Recorder
from replayproxy.proxy.tee import Tee
from tests.bench.conversation import PATH, Chat
from tests.bench.report import Verdict, table

CHATS = [Chat(number, 97 + number * 37 % 121) for number in range(24)]
"""Answers as `record` has them."""

ROUNDS = 25
SALT = b"0123456789abcdef"
FLUSHED_AFTER = 120
"""Events of a stream between two flushes: with 300 in flight each is flushed every three seconds."""

FIELDS = (
    ("Host", "127.0.0.1:8000"),
    ("User-Agent", "OpenAI/Python 2.8.1"),
    ("Accept", "application/json"),
    ("Authorization", "Bearer sk-none"),
    ("Content-Type", "application/json"),
)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"


class Nowhere:
    """A transport that takes everything and keeps nothing."""

    def write(self, data: bytes) -> None:
        """Drop it."""

    def writelines(self, data: list[bytes]) -> None:
        """Drop them."""

    def get_write_buffer_size(self) -> int:
        """Nothing waits."""
        return 0

    def is_closing(self) -> bool:
        """It is open."""
        return False

    def abort(self) -> None:
        """Nothing to end."""

    def get_extra_info(self, _: str) -> None:
        """There is no socket."""


class Deaf:
    """A listener that keeps nothing: what is left is the cost of reading."""

    congested = wants_whole = False

    def chunk(self, chunk: object) -> None:
        """Drop it."""


class Queue:
    """A `RecordingSink` that has room for everything."""

    full = False

    def __init__(self) -> None:
        self.parts: list[ExchangePart] = []

    def keep(self, part: ExchangePart) -> bool:
        """Take it."""
        self.parts.append(part)
        return True

    def drop(self, number: int, reason: str) -> None:
        """What would be measured is not what happens."""
        raise RuntimeError(f"exchange {number} was dropped: {reason}")

    async def room(self) -> None:
        """There is some."""

    async def settled(self, key: str) -> None:
        """Nobody asks."""


def measure(folder: Path) -> list[Verdict]:
    """Print the table."""
    events = sum(len(chat.events) for chat in CHATS)
    reads = [[b"%x\r\n%b\r\n" % (len(event), event) for event in chat.events] for chat in CHATS]
    steps = {
        "read it": _read,
        ".. and write it to the client": _forward,
        ".. and record it, up to the writer's queue": _record,
    }
    times = {name: _fastest(partial(_round, step, reads)) for name, step in steps.items()}
    times["write it to the cassette, in the writer's thread"] = _fastest_writing(folder, reads)
    rows = [(name, f"{fastest / 1000 / events:.2f}") for name, fastest in times.items()]
    title = f"One streamed event in our own code, CPU, {ROUNDS} rounds over {events} events of {len(CHATS)} answers"
    print(table(title, ("step", "us"), rows))
    return []


def _round(
    step: Callable[[list[list[bytes]], Queue], Coroutine[None, None, list[int]]], reads: list[list[bytes]]
) -> list[int]:
    return uvloop.run(step(reads, Queue()))


def _fastest(round_: Callable[[], list[int]]) -> int:
    """The sum of the fastest time of each slice, in ns."""
    rounds = [round_() for _ in range(ROUNDS)]
    return sum(map(min, zip(*rounds, strict=True)))


class Slices:
    """Times of pieces of work that follow one another."""

    def __init__(self) -> None:
        self.times: list[int] = []
        self._since = time.thread_time_ns()

    def end(self) -> None:
        """A piece ends here, and the next one begins."""
        now = time.thread_time_ns()
        self.times.append(now - self._since)
        self._since = time.thread_time_ns()

    def skip(self) -> None:
        """What was done since the last piece does not count."""
        self._since = time.thread_time_ns()


async def _read(reads: list[list[bytes]], _: Queue) -> list[int]:
    slices = Slices()
    await _play(slices, SystemClock(), reads, [cast("Listener", Deaf()) for _ in CHATS])
    return slices.times


async def _forward(reads: list[list[bytes]], _: Queue) -> list[int]:
    slices = Slices()
    await _play(slices, SystemClock(), reads, [await _client(request_of(chat)) for chat in CHATS])
    return slices.times


async def _record(reads: list[list[bytes]], queue: Queue) -> list[int]:
    slices, clock = Slices(), SystemClock()
    recorder = Recorder(queue, clock, Counters(), Redactor(SALT))
    exchanges = []
    for chat in CHATS:
        request = request_of(chat)
        client = await _client(request)
        slices.skip()
        exchange = recorder.record(request)
        exchange.__enter__()
        await exchange.head(Head(0, 200, (("content-type", "text/event-stream"),)))
        exchanges.append((exchange, Tee(client, exchange)))
        slices.end()
    await _play(slices, clock, reads, [tee for _, tee in exchanges], lambda number: exchanges[number][0].flush())
    for exchange, _ in exchanges:
        slices.skip()
        await exchange.end(End(10**9, Ending.COMPLETE))
        exchange.__exit__(None, None, None)
        slices.end()
    return slices.times


def request_of(chat: Chat) -> Request:
    """As a client sends it; nobody has looked at it yet."""
    return Request("POST", PATH, FIELDS, chat.body)


async def _client(request: Request) -> Listener:
    """A client that takes everything, behind what stands before each client."""
    writer = ResponseWriter(cast("asyncio.Transport", Nowhere()), method="POST")
    client = ClientOrigin(writer, request, request.target, tls=False)
    await client.head(Head(0, 200, (("content-type", "text/event-stream"),)))
    return client


async def _play(
    slices: Slices,
    clock: SystemClock,
    reads: list[list[bytes]],
    listeners: Sequence[Listener],
    flush: Callable[[int], object] = lambda _: None,
) -> None:
    """Bring all reads of all answers, one of each in turn."""
    connections = []
    for listener, chat in zip(listeners, CHATS, strict=True):
        connection = UpstreamConnection(clock.now, "http://127.0.0.1:8000")
        connection.connection_made(cast("asyncio.Transport", Nowhere()))
        connection.ask(request_of(chat), clock.now(), UrlSearch("127.0.0.1:8000"))
        connection.sent()
        connection.data_received(HEAD)
        connections.append((connection, asyncio.create_task(connection.play_body(listener))))
    await asyncio.sleep(0)
    slices.skip()
    for place in range(max(map(len, reads))):
        for number, ((connection, _), chunks) in enumerate(zip(connections, reads, strict=True)):
            if place < len(chunks):
                connection.data_received(chunks[place])
                if place % FLUSHED_AFTER == FLUSHED_AFTER - 1:
                    flush(number)
        slices.end()
    for connection, playing in connections:
        connection.data_received(b"0\r\n\r\n")
        await playing


def _fastest_writing(folder: Path, reads: list[list[bytes]]) -> int:
    """Nanoseconds in which what a recorder hands over is written, one batch with all of it."""
    queue = Queue()
    uvloop.run(_record(reads, queue))
    writer = CassetteWriter(folder / "wire.cassette", Matcher(MatchRules(), Redactor(SALT)))
    numbers = count(1)

    def write() -> list[int]:
        number = next(numbers)
        parts = [_anew(part, number) for part in queue.parts]
        slices = Slices()
        writer.begin()
        for part in parts:
            writer.keep(part)
            slices.end()
        writer.commit()
        slices.end()
        writer.train_when_due()
        return slices.times

    fastest = _fastest(write)
    writer.close()
    return fastest


def _anew(part: ExchangePart, number: int) -> ExchangePart:
    """The part of another exchange, whose request nobody has looked at yet."""
    body = part.request.body.replace(b'"Chat ', b'"Chat %d' % number)
    return replace(
        part,
        number=part.number + number * 1000,
        recorded_at=part.recorded_at + number * 1000,
        request=Request(part.request.method, part.request.target, part.request.headers, body),
    )
