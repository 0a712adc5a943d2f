"""A WebSocket is a tunnel once the server has switched, and not before: no byte behind the request goes to a server
that may take it for another request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from replayproxy.core.policy import Mode
from replayproxy.net.http_connection import PIPELINED
from replayproxy.settings import Settings
from tests import wire
from tests.apps import Running, exchanges, recording, run, running
from tests.doubles.upstreams import Close, Hang, Read, Reset, Scripted, Send, Step, Until, answer, chunk, scripted

ASKED = (
    b"GET /v1/realtime?a=1 HTTP/1.1\r\nHost: client.example\r\nConnection: keep-alive, Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
SECOND = b"GET /admin HTTP/1.1\r\nHost: x\r\n\r\n"
FRAME = b"\x81\x85mask!hello"


@asynccontextmanager
async def between(cassette: Path, *script: Step) -> AsyncIterator[tuple[Scripted, Running, wire.Connection]]:
    """A server, a recorder, and a connection to it."""
    async with (
        scripted(*script) as server,
        running(recording(cassette, server.url)) as proxy,
        wire.connect(proxy.url) as connection,
    ):
        yield server, proxy, connection


def test_early_bytes_wait_until_the_server_has_switched(tmp_path: Path) -> None:
    """Sent with the request and behind it: the server gets them after its 101, in their order."""

    async def dialogue() -> None:
        go = asyncio.Event()
        async with between(
            tmp_path / "a.cassette", Until(go), Send(SWITCHED), Read(FRAME * 3), Send(b"\x81\x02ok")
        ) as (
            server,
            proxy,
            connection,
        ):
            connection.write(ASKED + FRAME)
            await server.visited.wait()
            connection.write(FRAME)
            connection.write(FRAME)
            # A request on another connection goes there and back: the proxy has had its turn to pass the frames on.
            async with wire.connect(proxy.url) as other:
                other.write(b"BAD\r\n\r\n")
                assert (await other.answer()).status == 400
            assert server.heard.endswith(b"\r\n\r\n")
            go.set()
            head = await connection.head()
            assert (head.status, head.get("sec-websocket-accept")) == (101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
            assert await connection._heard.exactly(4) == b"\x81\x02ok"
            assert server.heard.endswith(b"\r\n\r\n" + FRAME * 3)
            assert server.heard.startswith(b"GET /v1/realtime?a=1 HTTP/1.1\r\nHost: 127.0.0.1:")
        assert exchanges(tmp_path / "a.cassette") == []

    run(dialogue())


def test_what_waits_is_bounded(tmp_path: Path) -> None:
    """A client that sends megabytes before the 101 is not read any more; all of it arrives afterwards."""
    size = 8 << 20

    async def dialogue() -> None:
        go = asyncio.Event()
        script = (Until(go), Send(SWITCHED), Read(b"the end"), Send(b"all"))
        async with between(tmp_path / "a.cassette", *script) as (server, proxy, connection):
            connection.write(ASKED + bytes(size) + b"the end")
            await server.visited.wait()
            (held,) = proxy.app.parts.server._connections
            while not held._paused:
                await asyncio.sleep(0)
            assert PIPELINED < len(held._received) < PIPELINED + 512 * 1024
            go.set()
            assert (await connection.head()).status == 101
            assert await connection._heard.exactly(3) == b"all"
            assert server.heard.partition(b"\r\n\r\n")[2] == bytes(size) + b"the end"

    run(dialogue())


REFUSALS: dict[str, tuple[bytes, int, bytes]] = {
    "200": (answer("200 OK", b'{"ok":1}'), 200, b'{"ok":1}'),
    "200 in chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"ab") + chunk(b"cd") + b"0\r\n\r\n",
        200,
        b"abcd",
    ),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "400": (answer("400 Bad Request", b"no"), 400, b"no"),
    "401": (answer("401 Unauthorized", b"", b"WWW-Authenticate: Bearer"), 401, b""),
    "404 after hints": (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + answer("404 Not Found", b"n"), 404, b"n"),
    "426": (answer("426 Upgrade Required", b"13", b"Sec-WebSocket-Version: 13"), 426, b"13"),
    "200 with an upgrade": (answer("200 OK", b"x", b"Connection: Upgrade", b"Upgrade: websocket"), 200, b"x"),
    "503": (answer("503 Service Unavailable", b"later", b"Retry-After: 1"), 503, b"later"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_server_that_does_not_switch_gives_an_ordinary_answer(tmp_path: Path, name: str) -> None:
    """The early bytes are not sent, not answered, and the connection ends: a second request is not smuggled."""
    said, status, body = REFUSALS[name]

    async def dialogue() -> None:
        script = (Send(said), Send(answer("200 OK", b"SMUGGLED")))
        async with between(tmp_path / "a.cassette", *script) as (server, _, connection):
            connection.write(ASKED + SECOND)
            got = await connection.answer()
            assert (got.status, got.body, got.head.get("connection")) == (status, body, "close")
            assert (await connection.rest())[0] == b""
            await server.visits[0].left
            assert server.heard.count(b"\r\n\r\n") == 1
            assert len(server.visits) == 1
        assert exchanges(tmp_path / "a.cassette") == []

    run(dialogue())


def test_a_redirect_leads_back_to_the_proxy(tmp_path: Path) -> None:
    """As of any other request."""

    async def dialogue() -> None:
        go = asyncio.Event()
        async with scripted(Until(go), Hang()) as server, running(recording(tmp_path / "a", server.url)) as proxy:
            server._script = (Send(answer("307 Moved", b"", b"Location: " + f"{server.url}/v1/ws".encode())),)
            async with wire.connect(proxy.url) as connection:
                connection.write(ASKED + SECOND)
                got = await connection.answer()
                assert (got.status, got.head.get("location")) == (307, "http://client.example/v1/ws")
                assert (await connection.rest())[0] == b""
            assert SECOND not in server.heard

    run(dialogue())


def switch(*lines: bytes, first: bytes = b"HTTP/1.1 101 Switching Protocols") -> Send:
    """A 101 with these field lines, and frames behind it."""
    return Send(b"\r\n".join([first, *lines, b"", b""]) + b"EVIL")


UPGRADE, CONNECTION = b"Upgrade: websocket", b"Connection: upgrade"
BAD: dict[str, tuple[Step, ...]] = {
    "another protocol": (switch(b"Upgrade: h2c", CONNECTION),),
    "two protocols": (switch(b"Upgrade: websocket, h2c", CONNECTION),),
    "twice": (switch(UPGRADE, UPGRADE, CONNECTION),),
    "no protocol": (switch(CONNECTION),),
    "no Connection": (switch(UPGRADE),),
    "another Connection": (switch(UPGRADE, b"Connection: close"),),
    "nothing": (switch(),),
    "a length": (switch(UPGRADE, CONNECTION, b"Content-Length: 4"),),
    "no length": (switch(UPGRADE, CONNECTION, b"Content-Length: 0"),),
    "chunks": (switch(UPGRADE, CONNECTION, b"Transfer-Encoding: chunked"),),
    "HTTP/1.0": (switch(UPGRADE, CONNECTION, first=b"HTTP/1.0 101 Switching Protocols"),),
    "a control character": (switch(UPGRADE, CONNECTION, b"X: a\x0bb"),),
    "not HTTP": (Send(b"\x81\x02ok"),),
    "half of it": (Send(SWITCHED[:40]), Close()),
    "nothing, FIN": (Close(),),
    "nothing, RST": (Reset(),),
}


@pytest.mark.parametrize("name", BAD)
def test_a_switch_that_was_not_asked_for_is_an_error(tmp_path: Path, name: str) -> None:
    """502, nothing of what came with it, and the connections end on both sides."""

    async def dialogue() -> None:
        async with between(tmp_path / "a.cassette", *BAD[name]) as (server, _, connection):
            connection.write(ASKED + SECOND)
            got = await connection.answer()
            assert (got.status, got.head.get("x-replayproxy-error")) == (502, "upstream_garbled")
            assert (await connection.rest())[0] == b""
            assert b"EVIL" not in got.body
            if not isinstance(BAD[name][-1], Close | Reset):
                await server.visits[0].left
            assert SECOND not in server.heard

    run(dialogue())


def whole(data: bytes) -> list[bytes]:
    """In one read."""
    return [data]


def within_head(data: bytes) -> list[bytes]:
    """The frames come with the second half of the head."""
    return [data[:50], data[50:]]


def within_frame(data: bytes) -> list[bytes]:
    """The head and a part of a frame, then the rest of it."""
    return [data[: len(SWITCHED) + 3], data[len(SWITCHED) + 3 :]]


def by_byte(data: bytes) -> list[bytes]:
    """Each byte of the head alone."""
    return [data[at : at + 1] for at in range(len(SWITCHED))] + [data[len(SWITCHED) :]]


@pytest.mark.parametrize("cut", [whole, within_head, within_frame, by_byte])
@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"])
def test_frames_right_behind_the_101_are_not_lost(
    tmp_path: Path, cut: Callable[[bytes], list[bytes]], before: bytes
) -> None:
    """However the server's bytes are cut into reads."""
    frames = bytes(range(256)) * 1200  # more than one read

    async def dialogue() -> None:
        steps: list[Step] = []
        for piece in cut(SWITCHED + frames):
            steps += [Send(piece), Read(b"\r\n\r\n")]
        script = ((Send(before),) if before else ()) + tuple(steps)
        async with between(tmp_path / "a.cassette", *script, Close()) as (_, _, connection):
            connection.write(ASKED)
            assert (await connection.head()).status == 101
            assert await connection.rest() == (frames, "closed")

    run(dialogue())


def test_a_client_that_leaves_early_frees_the_server(tmp_path: Path) -> None:
    """Before the 101."""

    async def dialogue() -> None:
        async with between(tmp_path / "a.cassette", Hang()) as (server, proxy, connection):
            connection.write(ASKED + FRAME)
            await server.visited.wait()
            connection.close()
            await asyncio.wait_for(server.visits[0].left, 5)
            assert FRAME not in server.heard
            while proxy.app.parts.server.connections:
                await asyncio.sleep(0)

    run(dialogue())


def test_what_a_client_sends_last_arrives(tmp_path: Path) -> None:
    """A Close frame and FIN in one go, behind more than the socket takes at once."""
    last = bytes(4 << 20) + b"\x88\x80mask"

    async def dialogue() -> None:
        async with between(tmp_path / "a.cassette", Send(SWITCHED), Hang()) as (server, _, connection):
            connection.write(ASKED)
            assert (await connection.head()).status == 101
            connection.write(last)
            connection.close()
            await asyncio.wait_for(server.visits[0].left, 20)
            assert server.heard.partition(b"\r\n\r\n")[2] == last

    run(dialogue())


def test_the_end_of_a_drain_ends_a_tunnel(tmp_path: Path) -> None:
    """It is work in flight, and is cut when the time is over."""

    async def dialogue() -> None:
        async with scripted(Send(SWITCHED), Hang()) as server:
            async with running(recording(tmp_path / "a.cassette", server.url), drain=0.05) as proxy:
                connection = wire.connect(proxy.url)
                opened = await connection.__aenter__()
                opened.write(ASKED)
                assert (await opened.head()).status == 101
            assert (await opened.rest())[0] == b""
            await asyncio.wait_for(server.visits[0].left, 5)
            await connection.__aexit__(None, None, None)

    run(dialogue())


def test_a_server_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    """504, as for any request."""

    async def dialogue() -> None:
        async with scripted(Hang()) as server:
            settings = recording(tmp_path / "a.cassette", server.url, upstream_timeout=0.05)
            async with running(settings) as proxy, wire.connect(proxy.url) as connection:
                connection.write(ASKED + SECOND)
                got = await connection.answer()
                assert (got.status, got.head.get("x-replayproxy-error")) == (504, "upstream_timeout")
                assert (await connection.rest())[0] == b""

    run(dialogue())


def test_a_scope_is_taken_off_the_target(tmp_path: Path) -> None:
    """Where scopes mean something: in `auto`."""

    async def dialogue() -> None:
        async with scripted(Send(SWITCHED), Close()) as server:
            settings = Settings(Mode.AUTO, (tmp_path / "a.cassette",), server.url)
            async with running(settings) as proxy, wire.connect(proxy.url) as connection:
                connection.write(ASKED.replace(b"/v1/", b"/t/mine/v1/"))
                assert (await connection.head()).status == 101
            assert server.heard.startswith(b"GET /v1/realtime?a=1 HTTP/1.1\r\n")

    run(dialogue())
