"""Who knocks is let in, all at once; and what comes in together is heard together, however long each answer takes."""

from __future__ import annotations

import asyncio
import errno
import socket
from time import monotonic_ns
from typing import Any, cast

from replayproxy.model import Chunk, End, Ending, Head, Request
from replayproxy.net.acceptor import Acceptor
from replayproxy.net.http_server import DataServer
from replayproxy.net.response_writer import ResponseWriter
from replayproxy.ports import Upload
from tests.apps import run

CROWD = 16
BUSY = 20_000_000
"""Nanoseconds for which each answer keeps the loop to itself: unpacking a long recording is 1 ms."""


class Slow:
    """A story that takes the loop's time, and remembers when each request came; time passes while it answers only."""

    def __init__(self) -> None:
        self.came: list[int] = []
        self.now = 0

    async def answer(self, request: Request, client: ResponseWriter, upload: Upload | None, came: int) -> None:
        """Two bytes, after a while."""
        self.came.append(came)
        self.now += BUSY
        await client.head(Head(0, 200, (("Content-Length", "2"),)))
        client.chunk(Chunk(0, b"ok"))
        await client.end(End(0, Ending.COMPLETE))

    async def upgrade(self, *_: object) -> None:
        """Nobody asks for it here."""


def test_requests_that_come_together_are_heard_together() -> None:
    """Sixteen clients connect and ask at once, and each answer blocks the loop for 20 ms: the last request was heard
    with the first one, not 320 ms later, so its recorded times count from the right moment."""

    async def crowd() -> list[int]:
        slow = Slow()
        server = DataServer(slow.answer, slow.upgrade, now=lambda: slow.now, needs_body=True)
        address = server.listen("127.0.0.1", 0)
        clients = [socket.create_connection(address) for _ in range(CROWD)]
        for client in clients:
            client.sendall(b"GET /v1/x HTTP/1.1\r\nHost: x\r\n\r\n")
        while len(slow.came) < CROWD:
            await asyncio.sleep(0)
        await server.drain(1)
        await server.cut()
        for client in clients:
            assert client.recv(12) == b"HTTP/1.1 200"
            client.close()
        return slow.came

    came = run(crowd())
    assert max(came) - min(came) < 4 * BUSY


class Exhausted(socket.socket):
    """A listening socket of a process that has no file descriptor left, once."""

    failures = 1

    def accept(self) -> tuple[socket.socket, Any]:
        """Fail, then work."""
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


def test_without_file_descriptors_the_door_is_shut_for_a_second() -> None:
    """Who waits meanwhile is let in afterwards; the loop does not spin."""

    async def patience() -> tuple[str, float]:
        listening = Exhausted()
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        host, port = listening.getsockname()
        door = Acceptor(listening, Greeter)
        started = monotonic_ns()
        reader, writer = await asyncio.open_connection(host, port)
        said = (await reader.read(2)).decode()
        writer.close()
        door.close()
        return said, (monotonic_ns() - started) / 1e9

    said, took = run(patience())
    assert said == "hi"
    assert took >= 1


def test_a_closed_door_refuses_and_may_be_closed_again() -> None:
    """Connections that are open stay; new ones are refused."""

    async def closing() -> tuple[bytes, int]:
        listening = socket.create_server(("127.0.0.1", 0))
        host, port = listening.getsockname()
        door = Acceptor(listening, Greeter)
        reader, writer = await asyncio.open_connection(host, port)
        first = await reader.read(2)
        door.close()
        door.close()
        with socket.socket() as late:
            refused = late.connect_ex((host, port))
        writer.close()
        return first, refused

    assert run(closing()) == (b"hi", errno.ECONNREFUSED)


class Greeter(asyncio.Protocol):
    """Says hi."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """At once."""
        cast("asyncio.WriteTransport", transport).write(b"hi")
