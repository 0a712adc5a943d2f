"""The transport of a connection to a server: what may be sent, and what the kernel knows of the other end."""

from __future__ import annotations

import asyncio
import socket

from replayproxy.net.upstream_transport import UpstreamTransport


async def connected() -> tuple[UpstreamTransport, socket.socket]:
    """A connection, and the server's end of it."""
    ours, theirs = socket.socketpair()
    _, protocol = await asyncio.get_running_loop().create_connection(lambda: UpstreamTransport(lambda: 7), sock=ours)
    return protocol, theirs


def test_a_server_that_has_hung_up_is_noticed_before_the_loop_hears_of_it() -> None:
    """And one that has sent something without a request: neither may get another request."""

    async def dialogue() -> list[bool]:
        found = []
        for happens in (lambda _: None, lambda end: end.close(), lambda end: end.send(b"x")):
            protocol, theirs = await connected()
            happens(theirs)
            found.append(protocol.is_connected)
            theirs.close()
        return [*found, UpstreamTransport(lambda: 7).is_connected]

    assert asyncio.run(dialogue()) == [True, False, False, False]


def test_nothing_is_sent_before_there_is_a_connection() -> None:
    """And that is no error: who writes learns it from the answer."""

    async def dialogue() -> bytes:
        UpstreamTransport(lambda: 7).write(b"lost")
        protocol, theirs = await connected()
        protocol.write(b"sent")
        await protocol.writable()
        with theirs:
            return theirs.recv(100)

    assert asyncio.run(dialogue()) == b"sent"


def test_writing_waits_while_the_server_takes_nothing() -> None:
    """As the event loop says."""

    async def dialogue() -> list[str]:
        log: list[str] = []
        protocol = UpstreamTransport(lambda: 7)

        async def write() -> None:
            await protocol.writable()
            log.append("written")

        protocol.pause_writing()
        writing = asyncio.create_task(write())
        await asyncio.sleep(0)
        log.append("the server takes more")
        protocol.resume_writing()
        await writing
        return log

    assert asyncio.run(dialogue()) == ["the server takes more", "written"]
