"""A server that answers before it has read the request: the next client on its connections must not pay for it.

RFC 9112 section 9.3: a connection whose request was not sent whole, or whose answer was not read whole, is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from replayproxy.core.policy import Mode
from replayproxy.settings import Pair, Settings
from tests import wire
from tests.apps import recording, run, running

BODY = b"x" * 1000


class Early:
    """A strict server. PUT and `/early` are answered at once, in `pieces`; what then comes is taken for their body.

    Everything else is answered with its own body.
    """

    def __init__(self, pieces: tuple[bytes, ...]) -> None:
        self._pieces = pieces
        self.connections = 0
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                early = head.startswith("put") or "/early" in head
                if early:
                    for piece in self._pieces:
                        writer.write(piece)
                        await writer.drain()
                        await asyncio.sleep(0.02)
                body = await self._body(reader, head)
                if not early:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _body(self, reader: asyncio.StreamReader, head: str) -> bytes:
        if "transfer-encoding: chunked" in head:
            body = b""
            while size := int((await reader.readline()).strip(), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readline()
            return body
        lengths = [line.partition(":")[2] for line in head.split("\r\n") if line.startswith("content-length:")]
        return await reader.readexactly(int(lengths[0])) if lengths else b""


@asynccontextmanager
async def early(*pieces: bytes) -> AsyncIterator[Early]:
    """Such a server on a free port."""
    server = Early(pieces)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()
        for task in server._tasks:
            task.cancel()
        await asyncio.gather(*server._tasks, return_exceptions=True)
        await asyncio.sleep(0)


def refusal(status: int) -> tuple[bytes, bytes]:
    """Head and body apart."""
    return b"HTTP/1.1 %d Refused\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\n" % status, b"nope"


def chunked(status: int) -> tuple[bytes, ...]:
    """The same in chunks, the end apart from them."""
    return b"HTTP/1.1 %d Refused\r\nTransfer-Encoding: chunked\r\n\r\n" % status, b"4\r\nnope\r\n", b"0\r\n\r\n"


SENT = {
    "Expect and a length": (b"Content-Length: 1000\r\nExpect: 100-continue\r\n", b""),
    "Expect and chunks": (b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n", b""),
    "a length and half a body": (b"Content-Length: 1000\r\n", BODY[:500]),
    "a length and no body yet": (b"Content-Length: 1000\r\n", b""),
    "chunks and half a body": (b"Transfer-Encoding: chunked\r\n", b"1f4\r\n" + BODY[:500] + b"\r\n"),
    "half a chunk": (b"Transfer-Encoding: chunked\r\n", b"3e8\r\n" + BODY[:500]),
}
ANSWERS = {
    "405 in two reads": refusal(405),
    "413 in two reads": refusal(413),
    "401 in one read": (b"".join(refusal(401)),),
    "413 in chunks": chunked(413),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n",),
}


@pytest.mark.parametrize("pieces", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize(("fields", "sent"), SENT.values(), ids=SENT)
def test_an_innocent_client_never_gets_a_connection_with_half_a_request(
    tmp_path: Path, fields: bytes, sent: bytes, pieces: tuple[bytes, ...]
) -> None:
    """The early answer arrives as it was sent; who asks next, while the first client is still there, gets its own."""

    async def dialogue() -> None:
        async with early(*pieces) as server, running(recording(tmp_path / "a.cassette", server.url)) as proxy:
            for number in range(3):
                async with wire.connect(proxy.url) as connection:
                    connection.send(wire.get("/warm"))  # an idle connection for the early one
                    await connection.answer()
                    connection.write(b"PUT /v1/files HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n" + sent)
                    got = await connection.answer()
                    assert got.status == int(pieces[0].split()[1])
                    assert got.body == (b"" if got.status == 204 else b"nope")
                    for innocent in range(3):
                        own = b"%d of %d" % (innocent, number)
                        mine = await asyncio.wait_for(wire.ask(proxy.url, wire.post("/v1/echo", own)), 5)
                        assert (mine.status, mine.body) == (200, own)

    run(dialogue())


@pytest.mark.parametrize("role", ["prefill", "decode"])
def test_a_leg_that_is_refused_before_it_was_read_closes_its_connection(tmp_path: Path, role: str) -> None:
    """Also where the request was written at once: bytes that the kernel did not take were not sent."""
    big = wire.post("/v1/chat/completions", {"model": "m", "prompt": "x" * 24_000_000, "messages": []})

    async def dialogue() -> None:
        async with never_reading() as refusing, early(*refusal(405)) as echo:
            urls = {"prefill": echo.url, "decode": echo.url} | {role: refusing}
            pair = Pair(prefill=(urls["prefill"],), decode=(urls["decode"],), protocol="plain")
            settings = Settings(Mode.RECORD, (tmp_path / "a.cassette",), pair=pair)
            async with running(settings) as proxy:
                got = await wire.ask(proxy.url, big)
                assert (got.status, got.body) == (413, b"nope")
                servers = getattr(proxy.app.parts.upstream, f"_{role}").servers
                assert [server.source.idle for server in servers] == [0]

    run(dialogue())


@asynccontextmanager
async def never_reading() -> AsyncIterator[str]:
    """A server that answers 413 to each head, keeps the connection and does not read the body."""

    writers: list[asyncio.StreamWriter] = []  # one that nobody holds closes its connection

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # of a reading transport
        writer.write(b"".join(refusal(413)))
        await writer.drain()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1024)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)
