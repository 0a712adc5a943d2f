"""Forwarding is transparent: every method and path, both ways, byte for byte, with what belongs to one connection left
behind.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from replayproxy.model import Ending, Request
from tests import wire
from tests.apps import endings, exchanges, recording, replaying, run, running
from tests.doubles.upstreams import END, STREAM, Read, Send, Until, answer, chunk, event, scripted, stream

OK = answer("200 OK", b'{"ok":true}')


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"])
def test_every_method_and_target_reaches_the_server_as_sent(tmp_path: Path, method: str) -> None:
    """Nothing is decoded, normalised or sorted in a target."""
    target = "/a%2Fb//../c;d=1?z=1&a=%20&a=+&empty="

    async def dialogue() -> None:
        async with scripted(Send(OK)) as server, running(recording(tmp_path / "a.cassette", server.url)) as proxy:
            got = await wire.ask(proxy.url, Request(method, target))
        assert (got.status, got.body) == (200, b'{"ok":true}')
        assert server.heard.startswith(f"{method} {target} HTTP/1.1\r\n".encode())

    run(dialogue())


def test_end_to_end_fields_pass_and_hop_by_hop_fields_stop(tmp_path: Path) -> None:
    """Case, order and number are kept; Connection and what it names, Keep-Alive, TE and the like are not."""
    sent = (
        ("X-Mixed-Case", "1"),
        ("x-twice", "a"),
        ("X-Twice", "b"),
        ("Authorization", "Bearer secret"),
        ("Connection", "keep-alive, X-Private"),
        ("X-Private", "mine"),
        ("Keep-Alive", "timeout=5"),
        ("TE", "trailers"),
        ("Proxy-Authorization", "Basic x"),
    )
    said = answer(
        "200 OK", b"{}", b"X-B: 2", b"X-a: 1", b"Set-Cookie: a=1", b"Set-Cookie: b=2", b"Keep-Alive: timeout=5"
    )

    async def dialogue() -> None:
        async with scripted(Send(said)) as server, running(recording(tmp_path / "a.cassette", server.url)) as proxy:
            got = await wire.ask(proxy.url, Request("GET", "/v1/models", sent))
        lines = server.heard.decode().split("\r\n")[1:-2]
        assert lines == [
            f"Host: 127.0.0.1:{server.port}",
            "X-Mixed-Case: 1",
            "x-twice: a",
            "X-Twice: b",
            "Authorization: Bearer secret",
        ]
        assert got.headers == (
            ("Content-Type", "application/json"),
            ("X-B", "2"),
            ("X-a", "1"),
            ("Set-Cookie", "a=1"),
            ("Set-Cookie", "b=2"),
            ("Content-Length", "2"),
        )

    run(dialogue())


def test_chunks_keep_the_boundaries_that_the_server_gave_them(tmp_path: Path) -> None:
    """Also when many come in one read, and again at replay."""
    cassette = tmp_path / "chunks.cassette"
    pieces = [b"a", b"bc" * 500, b"\r\n", b"0\r\n\r\n", event(7)]
    request = wire.post("/anything", b"\x00\xff")

    async def dialogue() -> None:
        async with (
            scripted(Send(STREAM + b"".join(map(chunk, pieces)) + END)) as server,
            running(recording(cassette, server.url)) as proxy,
        ):
            live = await wire.ask(proxy.url, request)
        async with running(replaying(cassette)) as proxy:
            again = await wire.ask(proxy.url, request)
        for got in (live, again):
            assert [frame.data for frame in got.frames] == pieces
            assert got.whole

    run(dialogue())


def test_each_chunk_is_passed_on_when_it_comes(tmp_path: Path) -> None:
    """No buffering: the client has the first event before the server says the second."""

    async def dialogue() -> None:
        heard = asyncio.Event()
        script = (Send(STREAM + chunk(event(1))), Until(heard), Send(chunk(event(2)) + END))
        async with (
            scripted(*script) as server,
            running(recording(tmp_path / "a.cassette", server.url)) as proxy,
            wire.connect(proxy.url) as connection,
        ):
            connection.send(wire.post("/v1/chat/completions", {"stream": True}))
            await connection.head()
            frames = connection.frames()
            assert (await anext(frames)).data == event(1)
            heard.set()
            assert (await anext(frames)).data == event(2)

    run(dialogue())


def test_uploads_are_passed_on_as_they_come(tmp_path: Path) -> None:
    """The server has the first part before the client sends the second; the cassette has all of it."""
    cassette = tmp_path / "upload.cassette"

    async def dialogue() -> None:
        async with (
            scripted(Read(b"b" * 400), Send(OK)) as server,
            running(recording(cassette, server.url)) as proxy,
            wire.connect(proxy.url) as connection,
        ):
            connection.write(
                b"POST /v1/audio HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"a" * 100)
            )
            await server.visited.wait()
            while b"a" * 100 not in server.heard:
                server.visits[0].arrived.clear()
                await server.visits[0].arrived.wait()
            connection.write(chunk(b"b" * 400) + END)
            assert (await connection.answer()).status == 200
        assert exchanges(cassette)[0].request.body == b"a" * 100 + b"b" * 400
        async with running(replaying(cassette)) as proxy:
            whole = Request("POST", "/v1/audio", (), b"a" * 100 + b"b" * 400)
            assert (await wire.ask(proxy.url, whole)).status == 200

    run(dialogue())


def test_expect_100_continue_is_the_servers_to_answer(tmp_path: Path) -> None:
    """The client is asked for its body when the server asks for it, and not when the server refuses."""
    head = b"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"

    async def dialogue() -> None:
        welcome = (Send(b"HTTP/1.1 100 Continue\r\n\r\n"), Read(b"hello"), Send(OK))
        async with (
            scripted(*welcome) as server,
            running(recording(tmp_path / "a.cassette", server.url)) as proxy,
            wire.connect(proxy.url) as connection,
        ):
            connection.write(head)
            answering = asyncio.create_task(connection.head())
            while b"\r\n\r\n" not in (server.heard if server.visits else b""):
                await server.visited.wait()
                server.visits[0].arrived.clear()
                await server.visits[0].arrived.wait()
            connection.write(b"hello")
            got = await answering
            assert (connection.interim, got.status) == ([100], 200)
            assert server.heard.endswith(b"hello")
        refusing = answer("413 Content Too Large", b"{}")
        async with (
            scripted(Send(refusing)) as server,
            running(recording(tmp_path / "b.cassette", server.url)) as proxy,
            wire.connect(proxy.url) as connection,
        ):
            connection.write(head)
            got = await connection.head()
            assert (connection.interim, got.status) == ([], 413)

    run(dialogue())


def test_a_large_body_streams_through_in_little_memory_both_ways(tmp_path: Path) -> None:
    """40 MB down arrive whole, in order, at a client that is slower than the server."""
    block = bytes(range(256)) * 256
    body = block * 640

    async def dialogue() -> None:
        async with (
            scripted(Send(answer("200 OK", body, media=b"application/octet-stream"))) as server,
            running(recording(tmp_path / "large.cassette", server.url)) as proxy,
            wire.connect(proxy.url, limit=65536, receive_buffer=65536) as connection,
        ):
            connection.send(wire.get("/v1/files/1/content"))
            await connection.head()
            size = 0
            async for frame in connection.frames():
                assert frame.data == body[size : size + len(frame.data)]
                size += len(frame.data)
            assert size == len(body)
            assert proxy.app.parts.state.counters.stalled > 0
        assert exchanges(tmp_path / "large.cassette")[0].response.body == body

    run(dialogue())


def test_no_cookie_goes_from_one_client_to_another_and_no_redirect_is_followed(tmp_path: Path) -> None:
    """A 302 with a cookie is passed on; the next request carries neither."""
    moved = answer("302 Found", b"", b"Location: http://127.0.0.1:1/secret", b"Set-Cookie: sid=1")

    async def dialogue() -> None:
        async with (
            scripted(Send(moved), again=True) as server,
            running(recording(tmp_path / "a.cassette", server.url)) as proxy,
        ):
            first = await wire.ask(proxy.url, wire.get("/one"))
            second = await wire.ask(proxy.url, wire.get("/two"))
        assert (first.status, second.status) == (302, 302)
        assert b"cookie" not in b"".join(bytes(visit.heard) for visit in server.visits).lower()

    run(dialogue())


def test_head_204_and_304_have_no_body_and_the_next_answer_is_right(tmp_path: Path) -> None:
    """A body that does not follow must not be waited for."""
    cassette = tmp_path / "a.cassette"
    script = b"HTTP/1.1 %b\r\nETag: x\r\n\r\n"

    async def dialogue() -> None:
        for status in (b"204 No Content", b"304 Not Modified"):
            async with (
                scripted(Send(script % status), again=True) as server,
                running(recording(cassette, server.url)) as proxy,
                wire.connect(proxy.url) as connection,
            ):
                for _ in range(2):
                    got = await connection.ask(wire.get("/" + status[:3].decode()))
                    assert (got.status, got.body, got.whole) == (int(status[:3]), b"", True)
        async with (
            scripted(Send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"), again=True) as server,
            running(recording(cassette, server.url)) as proxy,
            wire.connect(proxy.url) as connection,
        ):
            for _ in range(2):
                got = await connection.ask(Request("HEAD", "/v1/models"))
                assert (got.status, got.head.get("content-length"), got.body) == (200, "10", b"")
        assert set(endings(cassette)) == {Ending.COMPLETE}

    run(dialogue())


def test_websockets_pass_through_unrecorded_and_are_counted(tmp_path: Path) -> None:
    """Both ways, byte for byte; replay has no server to pass them to and says so."""
    cassette = tmp_path / "a.cassette"
    asked = (
        b"GET /v1/realtime HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    switched = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"

    async def dialogue() -> None:
        frame = b"\x81\x85mask!hello"
        async with (
            scripted(Send(switched), Read(b"hello"), Send(b"\x81\x05world")) as server,
            running(recording(cassette, server.url)) as proxy,
        ):
            async with wire.connect(proxy.url) as connection:
                connection.write(asked)
                assert (await connection.head()).status == 101
                connection.write(frame * 20)
                assert await connection._heard.exactly(7) == b"\x81\x05world"
            await asyncio.wait_for(server.visits[0].left, 5)
            assert frame * 20 in server.heard
            assert b"Upgrade: websocket" in server.heard
            assert proxy.app.parts.state.counters.requests["upgrade"] == 1
        assert exchanges(cassette) == []
        async with running(replaying(cassette)) as proxy, wire.connect(proxy.url) as connection:
            connection.write(asked)
            got = await connection.answer()
            assert (got.status, got.head.get("x-replayproxy-error")) == (404, "unsupported")

    run(dialogue())


@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_a_stream_that_http_ends_without_done_is_played_as_it_came(tmp_path: Path, framing: str) -> None:
    """To the live client and in replay: nobody can tell a server that sends no [DONE] from a proxy that hides a cut."""
    cassette = tmp_path / "a.cassette"
    body = event(0) + event(1)
    sent = (
        STREAM + chunk(event(0)) + chunk(event(1)) + END
        if framing == "chunked"
        else answer("200 OK", body, media=b"text/event-stream")
    )

    async def dialogue() -> None:
        request = wire.post("/v1/chat/completions", {"stream": True})
        async with scripted(Send(sent)) as server, running(recording(cassette, server.url)) as proxy:
            live = await wire.ask(proxy.url, request)
        async with running(replaying(cassette)) as proxy:
            again = await wire.ask(proxy.url, request)
        for got in (live, again):
            assert (got.status, got.body, got.whole, got.framing) == (200, body, True, framing)

    run(dialogue())
    assert endings(cassette) == [Ending.COMPLETE]


def test_idle_connections_are_reused_and_broken_ones_are_not(tmp_path: Path) -> None:
    """One connection carries one whole answer after another."""

    async def dialogue() -> None:
        async with (
            scripted(Send(stream(3)), again=True) as server,
            running(recording(tmp_path / "a.cassette", server.url)) as proxy,
            wire.connect(proxy.url) as connection,
        ):
            for number in range(5):
                assert (await connection.ask(wire.post("/v1/chat/completions", {"n": number}))).whole
        assert len(server.visits) == 1

    run(dialogue())


def test_only_listed_fields_reach_the_cassette(tmp_path: Path) -> None:
    """Authorization, cookies and whatever key a vendor invents are passed on and never stored."""
    cassette = tmp_path / "a.cassette"
    secrets = (("Authorization", "Bearer sk-canary-1"), ("Cookie", "c=sk-canary-2"), ("X-New-Api-Key", "sk-canary-3"))

    async def dialogue() -> None:
        async with scripted(Send(stream(2))) as server, running(recording(cassette, server.url)) as proxy:
            request = wire.post("/v1/chat/completions", {"stream": True})
            got = await wire.ask(proxy.url, replace(request, headers=request.headers + secrets))
        assert got.head.get("set-cookie") == "session=secret"
        assert server.heard.count(b"sk-canary") == 3
        kept = exchanges(cassette)[0]
        assert "sk-canary" not in repr(kept)
        assert "session" not in repr(kept.response.headers)
        assert b"sk-canary" not in cassette.read_bytes()

    run(dialogue())
