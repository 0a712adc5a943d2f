"""HTTP/1.0 clients, as `ab` and gateways are towards us: every answer has an end that they can see."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests import wire
from tests.apps import recording, replaying, run, running
from tests.doubles.upstreams import END, Close, Send, answer, chunk, scripted

OK = answer("200 OK", b'{"ok":true}')
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
STREAM = HEAD + chunk(b"data: 1\n\n") + chunk(b"data: [DONE]\n\n") + END
KEPT = b"GET /v1/x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
ONCE = b"GET /v1/x HTTP/1.0\r\n\r\n"


async def said_to(url: str, sent: bytes) -> bytes:
    """All until the connection is closed."""
    async with wire.connect(url) as connection:
        connection.write(sent)
        return (await asyncio.wait_for(connection.rest(), 5))[0]


@pytest.mark.parametrize("sent", [KEPT, ONCE], ids=["kept", "once"])
@pytest.mark.parametrize("replayed", [False, True], ids=["live", "replayed"])
def test_a_stream_ends_with_its_connection(tmp_path: Path, sent: bytes, replayed: bool) -> None:
    """A body without a length has no other end: the connection does close, whatever the client asked for."""
    cassette = tmp_path / "a.cassette"

    async def dialogue() -> bytes:
        async with scripted(Send(STREAM), again=True) as server:
            async with running(recording(cassette, server.url)) as proxy:
                live = await said_to(proxy.url, sent)
        async with running(replaying(cassette)) as proxy:
            return await said_to(proxy.url, sent) if replayed else live

    head, _, body = run(dialogue()).partition(b"\r\n\r\n")
    assert body == b"data: 1\n\ndata: [DONE]\n\n"
    assert b"Connection: close" in head
    assert b"chunked" not in head


def test_a_kept_connection_says_so(tmp_path: Path) -> None:
    """`ab -k` waits for that; without the field it would hang at the second request (RFC 9112 9.3)."""

    async def dialogue() -> None:
        async with (
            scripted(Send(OK), again=True) as server,
            running(recording(tmp_path / "a.cassette", server.url)) as proxy,
            wire.connect(proxy.url) as connection,
        ):
            for _ in range(3):
                connection.write(KEPT)
                got = await connection.answer()
                assert (got.body, got.head.get("connection")) == (b'{"ok":true}', "keep-alive")

    run(dialogue())


def test_a_connection_that_is_not_kept_is_closed(tmp_path: Path) -> None:
    """HTTP/1.0 without `Connection: keep-alive`; and HTTP/1.1 with `close`."""

    async def dialogue() -> None:
        async with (
            scripted(Send(OK), again=True) as server,
            running(recording(tmp_path / "a.cassette", server.url)) as proxy,
        ):
            for sent in (ONCE, b"GET /v1/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"):
                said = await said_to(proxy.url, sent)
                assert said.endswith(b'{"ok":true}')
                assert b"Connection: close\r\n" in said

    run(dialogue())


def test_a_stream_that_broke_does_not_end_like_a_whole_one(tmp_path: Path) -> None:
    """To HTTP/1.0 only a reset tells."""

    async def dialogue() -> None:
        async with (
            scripted(Send(HEAD + chunk(b"data: 1\n\n")), Close()) as server,
            running(recording(tmp_path / "a.cassette", server.url)) as proxy,
            wire.connect(proxy.url) as connection,
        ):
            connection.write(KEPT)
            _, how = await asyncio.wait_for(connection.rest(), 5)
            assert how == "reset"

    run(dialogue())


NO_BODY = [b"204 No Content", b"304 Not Modified"]


@pytest.mark.parametrize("status", NO_BODY)
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_an_answer_without_a_body_has_no_framing_of_one(tmp_path: Path, status: bytes, version: bytes) -> None:
    """Also where the server says Content-Length; and the connection carries the next request."""

    async def dialogue() -> None:
        async with (
            scripted(Send(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n"), again=True) as server,
            running(recording(tmp_path / "a.cassette", server.url)) as proxy,
            wire.connect(proxy.url) as connection,
        ):
            for _ in range(2):
                connection.write(b"GET /v1/x HTTP/%b\r\nHost: x\r\nConnection: keep-alive\r\n\r\n" % version)
                got = await connection.answer()
                assert got.status == int(status[:3])
                assert not {"content-length", "transfer-encoding"} & {name.lower() for name, _ in got.headers}

    run(dialogue())
