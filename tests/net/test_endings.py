"""How a stream ends on real sockets: where closing is the end of the body, and where the client leaves at its end."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from replayproxy.model import Ending, Request
from replayproxy.net import lingering
from tests import wire
from tests.apps import Running, endings, exchanges, recording, replaying, run, running
from tests.doubles.upstreams import DONE, Close, Hang, Reset, Scripted, Send, Step, Wait, chunk, event, scripted

CHAT, RESPONSES, MESSAGES, OTHER = "/v1/chat/completions", "/v1/responses", "/v1/messages", "/generate"
ERROR = b'data: {"error":{"message":"out of memory","code":500}}\n\n'
COMPLETED = b'data: {"type":"response.completed","response":{"text":"' + b"w" * 9000 + b'"}}\n\n'
STOPPED = b'event: message_stop\rdata: {"type":"message_stop"}\r\r'


def asked(path: str) -> Request:
    """A request for a stream."""
    return wire.post(path, {"model": "tiny", "stream": True})


def gzipped(body: bytes) -> bytes:
    """As a server codes a stream: flushed, and not ended."""
    packer = zlib.compressobj(wbits=31)
    return packer.compress(body) + packer.flush(zlib.Z_SYNC_FLUSH)


LAST: list[tuple[str, str, bytes, Callable[[bytes], bytes] | None]] = [
    ("no space", CHAT, b"data:[DONE]\n\n", None),
    ("two spaces", CHAT, b"data:  [DONE]\n\n", None),
    ("lone CR", CHAT, b"data: [DONE]\r\r", None),
    ("CRLF", CHAT, b"data: [DONE]\r\n\r\n", None),
    ("comments behind", CHAT, DONE + b": keep-alive\n\n" * 400, None),
    ("an error", CHAT, ERROR, None),
    ("an error by name", CHAT, b"event: error\ndata: no\n\n", None),
    ("gzip", CHAT, DONE, gzipped),
    ("gzip in two members", CHAT, DONE, lambda body: gzip.compress(body[:99]) + gzip.compress(body[99:])),
    ("response.completed of 9 kB", RESPONSES, COMPLETED, None),
    ("message_stop", MESSAGES, STOPPED, None),
    ("another endpoint", OTHER, DONE, None),
]
ROWS = [row[1:] for row in LAST]
NAMES = [row[0] for row in LAST]


def head(framing: bytes, coded: Callable[[bytes], bytes] | None) -> bytes:
    """Of a stream; `framing` are the lines that tell how it ends."""
    coding = b"Content-Encoding: gzip\r\n" if coded is not None else b""
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" + coding + framing + b"\r\n"


async def ask(url: str, request: Request, version: bytes) -> wire.Answer:
    """With this version of HTTP."""
    async with wire.connect(url) as connection:
        connection.write(wire.spelled(request, "proxy").replace(b" HTTP/1.1", b" HTTP/" + version, 1))
        return await connection.answer()


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "only forwarded"])
@pytest.mark.parametrize(("path", "last", "coded"), ROWS, ids=NAMES)
def test_where_closing_is_the_end_a_whole_stream_ends_cleanly_and_a_cut_one_does_not(
    tmp_path: Path, path: str, last: bytes, coded: Callable[[bytes], bytes] | None, recorded: bool, version: bytes
) -> None:
    """However the connection ends, by FIN or RST, and whatever the client speaks."""
    cassette = tmp_path / "eof.cassette"
    code = coded or (lambda body: body)
    whole, cut = code(event(1) + last), code(event(1) + event(2))
    framing = b"Connection: close\r\n"

    async def dialogue() -> None:
        settings = recording(cassette, "http://127.0.0.1:1")
        if not recorded:
            settings = replace(settings, recording=replace(settings.recording, exclude=("*",)))
        scripts: list[tuple[bytes, Step, bool]] = [
            (whole, Close(), True),
            (whole, Reset(), True),
            (cut, Reset(), False),
        ]
        if path != OTHER:  # nobody has said how it ends: there a FIN is an end
            scripts.append((cut, Close(), False))
        for body, ending, clean in scripts:
            async with (
                scripted(Send(head(framing, coded) + body), ending) as server,
                running(replace(settings, upstream=server.url)) as proxy,
            ):
                got = await ask(proxy.url, asked(path), version)
            assert (got.body, got.whole) == (body, clean), (ending, body[-40:])

    run(dialogue())
    if recorded:
        cuts = 1 if path == OTHER else 2
        assert endings(cassette) == [Ending.COMPLETE] * 2 + [Ending.UPSTREAM_CUT] * cuts


@pytest.mark.parametrize("how", ["closes", "resets"])
@pytest.mark.parametrize(("path", "last", "coded"), ROWS, ids=NAMES)
def test_a_client_that_leaves_at_the_last_event_has_had_a_whole_answer(
    tmp_path: Path, path: str, last: bytes, coded: Callable[[bytes], bytes] | None, how: str
) -> None:
    """It is recorded as whole, with the fact that the client had left, and plays with a clean end."""
    cassette = tmp_path / "left.cassette"
    body = (coded or bytes)(event(1) + last)

    async def dialogue() -> None:
        script = (Send(head(b"Transfer-Encoding: chunked\r\n", coded) + chunk(body)), Hang())
        async with scripted(*script) as server, running(recording(cassette, server.url)) as proxy:
            async with wire.connect(proxy.url) as connection:
                connection.send(asked(path))
                await connection.head()
                frames = connection.frames()
                got = b""
                while len(got) < len(body):
                    got += (await anext(frames)).data
                connection.close() if how == "closes" else connection.reset()
                await asyncio.wait_for(server.visits[0].left, 5)
        async with running(replaying(cassette)) as proxy:
            again = await wire.ask(proxy.url, asked(path))
        assert (again.status, again.body, again.whole) == (200, body, True)

    run(dialogue())
    [exchange] = exchanges(cassette)
    assert exchange.response.ending is Ending.COMPLETE


def test_a_stream_that_has_ended_and_stays_open_is_whole_when_patience_ends(tmp_path: Path) -> None:
    """Where closing is the end of the body and the server never closes."""
    cassette = tmp_path / "open.cassette"
    script = (Send(head(b"Connection: close\r\n", None) + event(1) + DONE), Hang())

    async def dialogue() -> None:
        async with scripted(*script) as server, running(recording(cassette, server.url, stall_timeout=0.3)) as proxy:
            got = await wire.ask(proxy.url, asked(CHAT))
        assert (got.body, got.whole) == (event(1) + DONE, True)

    run(dialogue())
    assert endings(cassette) == [Ending.COMPLETE]


# A client that takes the head of an error and hangs up

REFUSED = b'{"error":{"message":"no such model"}}'
KEPT_OPEN = b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\n"
LENGTH = KEPT_OPEN + b"Content-Length: %d\r\n\r\n"
CHUNKED = KEPT_OPEN + b"Transfer-Encoding: chunked\r\n\r\n"
TO_EOF = KEPT_OPEN + b"Connection: close\r\n\r\n"

SHORT: list[tuple[str, tuple[Step, ...]]] = [
    ("with a length", (Send(LENGTH % len(REFUSED)), Wait(0.1), Send(REFUSED))),
    ("in chunks", (Send(CHUNKED), Wait(0.05), Send(chunk(REFUSED)), Wait(0.05), Send(b"0\r\n\r\n"))),
    ("to the end of the connection", (Send(TO_EOF), Wait(0.1), Send(REFUSED), Close())),
    ("without a body", (Send(b"HTTP/1.1 204 No Content\r\n\r\n"), Wait(0.1))),
    ("of 900 kB", (Send(LENGTH % 900_000), Wait(0.05), Send(b"x" * 900_000))),
]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that ends in 100 ms ends soon, however busy the machine."""
    monkeypatch.setattr(lingering, "SOON", 30.0)


async def leave_at_the_head(proxy: Running, server: Scripted, request: Request, how: str) -> float:
    """Hang up when the head is there. Gives the ms until the server sees that its client has left."""
    async with wire.connect(proxy.url) as connection:
        connection.send(request)
        await connection.head()
        left_at = proxy.app.parts.clock.now()
        connection.close() if how == "closes" else connection.reset()
        while proxy.app.parts.state.counters.in_flight:
            await asyncio.sleep(0.005)
    freed = server.visits[0].left
    return (freed.result() - left_at) / 1e6 if freed.done() else 0.0


@pytest.mark.parametrize("how", ["closes", "resets"])
@pytest.mark.parametrize("script", [row[1] for row in SHORT], ids=[row[0] for row in SHORT])
def test_a_short_answer_whose_client_leaves_at_its_head_is_read_to_its_end(
    tmp_path: Path, patient: None, script: tuple[Step, ...], how: str
) -> None:
    """vllm-router hangs up at each 403. The answer is whole; that its client had left is a fact of its own."""
    cassette = tmp_path / "left.cassette"

    async def dialogue() -> None:
        async with scripted(*script, again=True) as server, running(recording(cassette, server.url)) as proxy:
            await leave_at_the_head(proxy, server, asked(CHAT), how)
        async with running(replaying(cassette)) as proxy:
            again = await wire.ask(proxy.url, asked(CHAT))
        assert again.whole

    run(dialogue())
    [exchange] = exchanges(cassette)
    assert exchange.response.ending is Ending.COMPLETE
    body = b"".join(step.data for step in script[1:] if isinstance(step, Send))
    assert exchange.response.body in (body, REFUSED, b"")
    assert len(exchange.response.body) >= min(len(body), len(REFUSED))


def test_the_connection_of_such_an_answer_is_used_again(tmp_path: Path, patient: None) -> None:
    """It was read to its end, so nothing is left on it."""
    script = (Send(LENGTH % len(REFUSED)), Wait(0.05), Send(REFUSED))

    async def dialogue() -> None:
        async with (
            scripted(*script, again=True) as server,
            running(recording(tmp_path / "left.cassette", server.url)) as proxy,
        ):
            for _ in range(3):
                await leave_at_the_head(proxy, server, asked(CHAT), "closes")
            assert len(server.visits) == 1

    run(dialogue())


EVENT_STREAM = b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LONG: list[tuple[str, tuple[Step, ...]]] = [
    ("a stream", (Send(EVENT_STREAM + chunk(event(1))), Hang())),
    ("what does not end", (Send(CHUNKED + chunk(REFUSED)), Hang())),
    ("what ends too late", (Send(CHUNKED), Wait(10), Send(chunk(REFUSED) + b"0\r\n\r\n"))),
    ("what says that it is long", (Send(LENGTH % 2_000_000), Hang())),
    ("what turns out to be long", (Send(CHUNKED), *[Send(chunk(b"x" * 60_000))] * 40, Hang())),
]


@pytest.mark.parametrize("how", ["closes", "resets"])
@pytest.mark.parametrize("script", [row[1] for row in LONG], ids=[row[0] for row in LONG])
def test_anything_else_frees_the_server_at_once(tmp_path: Path, script: tuple[Step, ...], how: str) -> None:
    """A stream, and whatever has not ended within 250 ms of its head, or 1 MB; a busy machine needs longer."""
    cassette = tmp_path / "left.cassette"

    async def dialogue() -> None:
        async with scripted(*script) as server, running(recording(cassette, server.url)) as proxy:
            took = await leave_at_the_head(proxy, server, asked(CHAT), how)
            await asyncio.wait_for(server.visits[0].left, 5)
            assert took < 5000

    run(dialogue())
    assert endings(cassette) == [Ending.CLIENT_LEFT]
