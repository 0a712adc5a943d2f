"""A server answers and closes before it has read an upload: the recording has the whole request, or says it has not."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from replayproxy.model import Ending, Exchange, Request
from tests import wire
from tests.apps import exchanges, recording, replaying, run, running
from tests.upstreams import chunk

SIZE = 1_000_025
FILE = bytes(range(256)) * (SIZE // 256) + b"x" * (SIZE % 256)
REFUSED = b"HTTP/1.1 413 Too Large\r\nContent-Type: text/plain\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnope"
UPLOAD = Request("POST", "/v1/files", (("Content-Type", "application/octet-stream"),), FILE)


@asynccontextmanager
async def refusing(
    *, read: int = 0, reset: bool = False, delay: float = 0, answer: bytes = REFUSED
) -> AsyncIterator[str]:
    """A server that reads `read` bytes of a body, answers, and closes with the rest unread (so by RST), or resets."""
    open_ones: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_ones.add(task)
        try:
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(read)
            await asyncio.sleep(delay)
            writer.write(answer)
            await writer.drain()
            if reset:
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        finally:
            writer.transport.abort() if reset else writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, limit=4096)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()
        for task in open_ones:
            task.cancel()
        await asyncio.gather(*open_ones, return_exceptions=True)
        await asyncio.sleep(0)


def as_length(body: bytes) -> bytes:
    """The upload with a length."""
    return b"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def as_chunks(body: bytes) -> bytes:
    """The same in chunks."""
    head = b"POST /v1/files HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = [chunk(body[at : at + 50_000]) for at in range(0, len(body), 50_000)]
    return head + b"".join(pieces) + b"0\r\n\r\n"


async def upload_slowly(connection: wire.Connection, data: bytes, size: int = 20_000) -> None:
    """Send it in many writes, with turns of the loop between them."""
    for at in range(0, len(data), size):
        connection.write(data[at : at + size])
        await asyncio.sleep(0.001)


def only(cassette: Path) -> Exchange:
    """The one exchange of a cassette."""
    (exchange,) = exchanges(cassette)
    return exchange


@pytest.mark.parametrize("form", [as_length, as_chunks], ids=["a length", "chunks"])
@pytest.mark.parametrize("read", [0, 300_000], ids=["unread", "read in part"])
@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
def test_an_upload_that_is_refused_early_is_recorded_whole_and_found_again(
    tmp_path: Path, form: object, read: int, reset: bool
) -> None:
    """The client has its 413 whole, the recording the whole body; replay answers the same request with it."""
    assert callable(form)
    cassette = tmp_path / "a.cassette"

    async def dialogue() -> None:
        async with (
            refusing(read=read, reset=reset, delay=0.02 if reset else 0) as server,
            running(recording(cassette, server)) as proxy,
            wire.connect(proxy.url) as connection,
        ):
            sending = asyncio.create_task(upload_slowly(connection, form(FILE)))
            got = await connection.answer()
            assert (got.status, got.body, got.whole) == (413, b"nope", True)
            await sending
        kept = only(cassette)
        assert (kept.request.body, kept.request_cut) == (FILE, False)
        assert kept.response.ending is Ending.COMPLETE
        async with running(replaying(cassette)) as proxy:
            again = await wire.ask(proxy.url, UPLOAD)
        assert (again.status, again.body) == (413, b"nope")

    run(dialogue())
