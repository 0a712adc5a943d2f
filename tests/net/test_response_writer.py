"""A client that takes nothing holds little of ours: a long recording is framed as there is room for it."""

from __future__ import annotations

import asyncio
from socket import SO_LINGER, SOL_SOCKET
from struct import pack
from typing import Any, cast

import pytest

from replayproxy.model import Chunk, End, Ending, Head, Headers, Response, Timeline
from replayproxy.net.response_writer import BUFFERED, PIECE, ResponseWriter
from tests.apps import run

LONG = bytes(range(256)) * 40_000  # 10 MB
BOUND = 512 * 1024


class Socket:
    """A transport whose peer takes bytes when the test says so."""

    def __init__(self) -> None:
        self.unsent = bytearray()
        self.sent = bytearray()
        self.most = 0
        self.closed = False

    def write(self, data: bytes) -> None:
        """Buffer it."""
        self.unsent += data
        self.most = max(self.most, len(self.unsent))

    def get_write_buffer_size(self) -> int:
        """What the peer has not taken."""
        return len(self.unsent)

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self.closed

    def abort(self) -> None:
        """Close."""
        self.closed = True

    close = abort

    def get_extra_info(self, name: str) -> Any:
        """There is no real socket."""

    def take(self) -> None:
        """The peer reads all that is there."""
        self.sent += self.unsent
        self.unsent.clear()


class Taking(Socket):
    """One whose kernel has room for everything."""

    def write(self, data: bytes) -> None:
        """Take it."""
        self.sent += data


def long_answer(cut: int, fields: Headers) -> Response:
    """10 MB in chunks of this size."""
    cuts = (*[cut] * (len(LONG) // cut), *([len(LONG) % cut] if len(LONG) % cut else []))
    return Response(200, fields, LONG, cuts, Timeline(0, (0,) * len(cuts), 0))


@pytest.mark.parametrize("cut", [100, 1000, 300_000, len(LONG)])
@pytest.mark.parametrize("minor", [0, 1])
@pytest.mark.parametrize("fields", [(), (("Content-Length", str(len(LONG))),)], ids=["no length", "length"])
def test_a_slow_reader_of_a_long_recording_costs_little(cut: int, minor: int, fields: Headers) -> None:
    """Never more than half a megabyte waits in the socket; in the end all of it was sent, its chunks as recorded."""

    async def dialogue() -> tuple[int, bytes]:
        socket = Socket()
        client = ResponseWriter(cast(asyncio.Transport, socket), minor=minor, keep=lambda: True)
        response = long_answer(cut, fields)
        await client.head(Head(0, 200, fields))
        client.burst(response)
        ending = asyncio.create_task(client.end(End(0, Ending.COMPLETE)))
        await asyncio.sleep(0)
        assert client.congested
        while not ending.done():
            socket.take()
            client.resume()
            await asyncio.sleep(0)
        socket.take()
        assert client.whole
        return socket.most, bytes(socket.sent)

    most, sent = run(dialogue())
    assert most <= BUFFERED + 2 * PIECE + 64 * 1024 < BOUND
    body = sent.partition(b"\r\n\r\n")[2]
    if minor and not fields:
        assert body == long_answer(cut, fields).framed + b"0\r\n\r\n"
    else:
        assert body == LONG


def test_a_client_that_takes_nothing_is_cut_off() -> None:
    """After the time-out, and the connection is not kept."""

    async def dialogue() -> tuple[bool, bool]:
        socket = Socket()
        client = ResponseWriter(cast(asyncio.Transport, socket), keep=lambda: True, send_timeout=0.05)
        await client.head(Head(0, 200, ()))
        client.burst(long_answer(1000, ()))
        await client.end(End(0, Ending.COMPLETE))
        return client.timed_out, socket.closed

    assert run(dialogue()) == (True, True)


@pytest.mark.parametrize("minor", [0, 1])
@pytest.mark.parametrize("fields", [(), (("Content-Length", str(len(LONG))),)], ids=["no length", "length"])
def test_a_kernel_that_takes_all_of_it_gets_a_piece_per_turn(minor: int, fields: Headers) -> None:
    """Others are served between two pieces; all of it is sent without anybody saying that there is room."""

    async def dialogue() -> tuple[int, bytes]:
        socket = Taking()
        client = ResponseWriter(cast(asyncio.Transport, socket), minor=minor, keep=lambda: True)
        response = long_answer(1000, fields)
        await client.head(Head(0, 200, fields))
        client.burst(response)
        most = len(socket.sent)
        ending = asyncio.create_task(client.end(End(0, Ending.COMPLETE)))
        while not ending.done():
            before = len(socket.sent)
            await asyncio.sleep(0)
            most = max(most, len(socket.sent) - before)
        assert client.whole
        return most, bytes(socket.sent)

    most, sent = run(dialogue())
    assert most <= 2 * PIECE
    body = sent.partition(b"\r\n\r\n")[2]
    assert body == (long_answer(1000, fields).framed + b"0\r\n\r\n" if minor and not fields else LONG)


@pytest.mark.parametrize("size", [PIECE, PIECE + 1, 256 * 1024])
def test_what_one_read_of_a_server_gave_is_written_at_once(size: int) -> None:
    """A recorded answer is not said to be held up by its client where the kernel has room."""

    async def dialogue() -> tuple[bool, bytes]:
        socket = Taking()
        client = ResponseWriter(cast(asyncio.Transport, socket), keep=lambda: True)
        await client.head(Head(0, 200, ()))
        client.chunk(Chunk(0, LONG[:size]))
        return client.congested, bytes(socket.sent)

    congested, sent = run(dialogue())
    assert not congested
    assert sent.endswith(b"\r\n\r\n%x\r\n%b\r\n" % (size, LONG[:size]))


class Resettable(Socket):
    """A transport that resets, and tells when its buffer is empty as asyncio's do: with a high-water mark of 0."""

    def __init__(self) -> None:
        super().__init__()
        self.high = BUFFERED
        self.options: list[tuple[int, int, bytes]] = []

    def set_write_buffer_limits(self, high: int) -> None:
        """When `resume` is called."""
        self.high = high

    def get_extra_info(self, name: str) -> Any:
        """The socket, which is this one."""
        return self

    def setsockopt(self, *option: Any) -> None:
        """Note it."""
        self.options.append(option)


def test_a_reset_comes_after_what_was_sent() -> None:
    """The peer gets every byte that was given before; then RST (SO_LINGER with a time of 0), and nothing that ends."""

    async def dialogue() -> None:
        socket = Resettable()
        client = ResponseWriter(cast(asyncio.Transport, socket), keep=lambda: True)
        await client.head(Head(0, 200, ()))
        client.chunk(Chunk(0, b"abc"))
        resetting = asyncio.create_task(client.reset())
        for _ in range(3):
            await asyncio.sleep(0)
        assert (socket.closed, socket.high) == (False, 0)
        socket.take()
        client.resume()
        await resetting
        assert socket.sent.endswith(b"\r\n\r\n3\r\nabc\r\n")
        assert socket.options == [(SOL_SOCKET, SO_LINGER, pack("ii", 1, 0))]
        assert socket.closed
        assert not client.whole
        assert not client.keeps

    run(dialogue())
