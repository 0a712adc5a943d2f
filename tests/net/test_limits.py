"""No client holds the proxy up: what takes too long is closed, what is too much is refused, and both are counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from replayproxy.errors import SettingsError
from replayproxy.net.http_connection import PIPELINED
from replayproxy.net.limits import Limits
from replayproxy.settings import Listen
from tests import wire
from tests.apps import Running, exchanges, recording, replaying, run, running
from tests.doubles.upstreams import Hang, Scripted, Send, Step, answer, scripted
from tests.net.test_smuggling import judging

OK = answer("200 OK", b'{"ok":true}')
ANSWERS = Send(OK)
HEAD = b"POST /v1/x HTTP/1.1\r\nHost: x\r\n"
SOON = 0.2
"""Seconds of a time-out in these tests."""


@asynccontextmanager
async def proxied(folder: Path, step: Step = ANSWERS, **limits: Any) -> AsyncIterator[tuple[Running, Scripted]]:
    """A recorder with these limits, and its server."""
    async with scripted(step, again=True) as server:
        settings = recording(folder / "a.cassette", server.url, listen=Listen(limits=Limits(**limits)))
        async with running(settings) as proxy:
            yield proxy, server


async def rest_of(proxy: Running, sent: bytes) -> bytes:
    """What comes back until the connection is closed."""
    async with wire.connect(proxy.url) as connection:
        connection.write(sent)
        return (await asyncio.wait_for(connection.rest(), 10))[0]


LATE: list[tuple[str, bytes, str, bytes]] = [
    ("half a head", HEAD + b"X-A: b", "header_timeout", b"HTTP/1.1 408 "),
    ("a request line", b"GET / HTTP/1.1\r\n", "header_timeout", b"HTTP/1.1 408 "),
    ("a byte", b"G", "header_timeout", b"HTTP/1.1 408 "),
    ("an empty line, half", b"\r", "header_timeout", b"HTTP/1.1 408 "),
    ("half a body", HEAD + b"Content-Length: 5\r\n\r\nab", "body_timeout", b"HTTP/1.1 408 "),
    ("half a chunk", HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", "body_timeout", b"HTTP/1.1 408 "),
    ("no last chunk", HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", "body_timeout", b"HTTP/1.1 408 "),
]


@pytest.mark.parametrize(("sent", "limit", "said"), [row[1:] for row in LATE], ids=[row[0] for row in LATE])
def test_a_request_that_does_not_arrive_is_refused(tmp_path: Path, sent: bytes, limit: str, said: bytes) -> None:
    """408, closed, counted; the server behind us never gets a whole request."""

    async def dialogue() -> None:
        async with proxied(tmp_path, Hang(), **{limit: SOON}) as (proxy, server):
            got = await rest_of(proxy, sent)
            assert got.startswith(said), got
            assert orjson.loads(got.partition(b"\r\n\r\n")[2])["error"]["code"] == limit
            assert proxy.app.parts.server.refusals == {limit: 1}
            assert not any(visit.heard.endswith((b"0\r\n\r\n", b"abcde")) for visit in server.visits)

    run(dialogue())


def test_replay_does_not_wait_for_half_a_body_either(tmp_path: Path) -> None:
    """There the whole request is waited for before anything is looked up."""

    async def dialogue() -> None:
        async with proxied(tmp_path) as (proxy, _):
            await wire.ask(proxy.url, wire.get("/v1/models"))
        settings = replaying(tmp_path / "a.cassette", listen=Listen(limits=Limits(body_timeout=SOON)))
        async with running(settings) as proxy:
            got = await rest_of(proxy, HEAD + b"Content-Length: 5\r\n\r\nab")
            assert got.startswith(b"HTTP/1.1 408 ")

    run(dialogue())


@pytest.mark.parametrize("sent", [b"", b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"], ids=["new", "used"])
def test_an_idle_connection_is_closed(tmp_path: Path, sent: bytes) -> None:
    """Without a word; in the answer to a request before it there is nothing of a close."""

    async def dialogue() -> None:
        async with proxied(tmp_path, idle_timeout=SOON) as (proxy, _):
            got = await rest_of(proxy, sent)
            assert got.endswith(b'{"ok":true}') if sent else not got
            assert proxy.app.parts.server.closings == {"idle_timeout": 1}
            await asyncio.sleep(0)
            assert proxy.app.parts.server.connections == 0

    run(dialogue())


def test_an_answer_under_way_is_no_idle_connection(tmp_path: Path) -> None:
    """A stream that says nothing for longer than every time-out of a client."""
    late = asyncio.Event()

    async def dialogue() -> None:
        async with scripted(Send(OK[:-5]), again=True) as server:
            limits = Limits(header_timeout=SOON, body_timeout=SOON, idle_timeout=SOON, send_timeout=SOON)
            settings = recording(tmp_path / "a.cassette", server.url, listen=Listen(limits=limits))
            async with running(settings) as proxy, wire.connect(proxy.url) as connection:
                connection.send(wire.get("/v1/models"))
                await connection.head()
                await asyncio.sleep(5 * SOON)
                assert proxy.app.parts.server.connections == 1
                assert not proxy.app.parts.server.closings
                late.set()

    run(dialogue())


def test_the_longest_idle_connection_makes_room(tmp_path: Path) -> None:
    """With `--max-connections 3`: a fourth client is served, and the first, which had nothing to do, is closed."""

    async def dialogue() -> None:
        async with proxied(tmp_path, connections=3) as (proxy, _):
            async with (
                wire.connect(proxy.url) as first,
                wire.connect(proxy.url) as second,
                wire.connect(proxy.url) as third,
            ):
                for connection in (first, second, third):
                    assert (await connection.ask(wire.get("/v1/models"))).status == 200
                assert (await wire.ask(proxy.url, wire.get("/v1/models"))).status == 200
                assert await asyncio.wait_for(first.rest(), 5) == (b"", "closed")
                assert (await second.ask(wire.get("/v1/models"))).status == 200
                assert proxy.app.parts.server.closings == {"max_connections": 1}

    run(dialogue())


def test_beyond_the_bound_a_client_is_told(tmp_path: Path) -> None:
    """Where all are in use: 503 with a sentence, at once; and those under way are not touched."""

    async def dialogue() -> None:
        async with proxied(tmp_path, connections=2) as (proxy, _):
            async with wire.connect(proxy.url) as one, wire.connect(proxy.url) as other:
                one.write(HEAD + b"Content-Length: 5\r\n\r\nab")
                other.write(HEAD)
                while proxy.app.parts.server.resting:
                    await asyncio.sleep(0.01)
                got = await rest_of(proxy, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert got.startswith(b"HTTP/1.1 503 ")
                assert b"--max-connections" in got
                one.write(b"cde")
                assert (await one.answer()).status == 200

    run(dialogue())


def test_two_thousand_half_requests_are_gone_when_their_time_is_over(tmp_path: Path) -> None:
    """While they are there others are served; afterwards nothing is left of them."""
    count = 500  # sockets of both ends are this process's: 2 000 need more descriptors than a shell has

    async def dialogue() -> None:
        async with proxied(tmp_path, header_timeout=2.0) as (proxy, _):
            address = proxy.url.removeprefix("http://").split(":")
            half = [await asyncio.open_connection(*address) for _ in range(count)]
            for _, writer in half:
                writer.write(HEAD)
            assert (await wire.ask(proxy.url, wire.get("/v1/models"))).status == 200
            for reader, writer in half:
                assert (await asyncio.wait_for(reader.read(), 30)).startswith(b"HTTP/1.1 408 ")
                writer.close()
            assert proxy.app.parts.server.refusals == {"header_timeout": count}
            while proxy.app.parts.server.connections:
                await asyncio.sleep(0.01)

    run(dialogue())


FIELDS = [(129, 200), (500, 200), (999, 200), (1001, 431)]


@pytest.mark.parametrize(("count", "status"), FIELDS)
def test_many_fields_are_no_mistake(tmp_path: Path, count: int, status: int) -> None:
    """A thousand of them, Host among them; then 431 with a sentence of ours."""

    async def dialogue() -> None:
        async with proxied(tmp_path) as (proxy, server):
            fields = [(f"X-{number}", "a") for number in range(count)]
            got = await wire.ask(proxy.url, wire.get("/v1/models", *fields))
            assert got.status == status
            if status == 200:
                assert f"X-{count - 1}: a\r\n".encode() in server.heard
            else:
                assert b"1000 field lines" in got.body

    run(dialogue())


def test_an_upload_beyond_the_bound_is_413_in_replay(tmp_path: Path) -> None:
    """The client gets the answer although it is still sending, and nothing of the body is kept."""

    async def dialogue() -> None:
        async with proxied(tmp_path) as (proxy, _):
            await wire.ask(proxy.url, wire.get("/v1/models"))
        settings = replaying(tmp_path / "a.cassette", listen=Listen(limits=Limits(body=100_000)))
        async with running(settings) as proxy, wire.connect(proxy.url) as connection:
            connection.write(HEAD + b"Content-Length: 100000000\r\n\r\n")
            for _ in range(100):
                connection.write(bytes(10_000))
            got = await connection.answer()
            assert got.status == 413
            assert b"--max-body" in got.body

    run(dialogue())


def test_time_outs_of_nothing_are_refused() -> None:
    """They would close every connection at once."""
    with pytest.raises(SettingsError, match="time-out"):
        replaying(Path("a.cassette"), listen=Listen(limits=Limits(idle_timeout=0)))


def test_what_was_recorded_is_whole(tmp_path: Path) -> None:
    """A refused request leaves nothing on the cassette that could be played."""

    async def dialogue() -> None:
        async with proxied(tmp_path, header_timeout=SOON) as (proxy, _):
            await rest_of(proxy, HEAD)
            await wire.ask(proxy.url, wire.get("/v1/models"))

    run(dialogue())
    assert [exchange.request.target for exchange in exchanges(tmp_path / "a.cassette")] == ["/v1/models"]


@pytest.mark.parametrize("size", [99_999, 100_000, 100_001, 1_000_000])
def test_of_a_long_upload_the_beginning_is_kept(tmp_path: Path, size: int) -> None:
    """The server gets all of it; the recording says that its request is cut, and answers nobody."""

    async def dialogue() -> int:
        async with judging() as judge:
            settings = recording(tmp_path / "a.cassette", judge.url, listen=Listen(limits=Limits(body=100_000)))
            async with running(settings) as proxy, wire.connect(proxy.url) as connection:
                connection.write(HEAD + b"Content-Length: %d\r\n\r\n" % size)
                await asyncio.sleep(0.01)
                connection.write(b"a" * size)
                assert (await connection.answer()).status == 200
                assert proxy.app.parts.state.counters.uploads_cut == (size > 100_000)
            return len(judge.requests[0][2])

    assert run(dialogue()) == size
    [exchange] = exchanges(tmp_path / "a.cassette")
    assert (len(exchange.request.body), exchange.request_cut) == (min(size, 100_000), size > 100_000)


def test_of_an_upload_in_many_small_chunks_the_beginning_is_kept(tmp_path: Path) -> None:
    """200 000 chunks of a byte, whose end nobody announced."""
    size = 200_000

    async def dialogue() -> int:
        async with judging() as judge:
            settings = recording(tmp_path / "a.cassette", judge.url, listen=Listen(limits=Limits(body=100_000)))
            async with running(settings) as proxy, wire.connect(proxy.url) as connection:
                connection.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
                for _ in range(0, size, 10_000):
                    connection.write(b"1\r\na\r\n" * 10_000)
                    await asyncio.sleep(0)
                connection.write(b"0\r\n\r\n")
                assert (await connection.answer()).status == 200
                assert proxy.app.parts.state.counters.uploads_cut == 1
            return len(judge.requests[0][2])

    assert run(dialogue()) == size
    [exchange] = exchanges(tmp_path / "a.cassette")
    assert (len(exchange.request.body), exchange.request_cut) == (100_000, True)


DRIPS = [(HEAD, b"X-A: b\r\n"), (b"GET /", b"a")]


@pytest.mark.parametrize(("begin", "drip"), DRIPS, ids=["field by field", "byte by byte"])
def test_a_head_that_drips_has_no_more_time(tmp_path: Path, begin: bytes, drip: bytes) -> None:
    """Its time counts from its first byte, not from its last."""

    async def dialogue() -> None:
        async with proxied(tmp_path, header_timeout=2 * SOON) as (proxy, _), wire.connect(proxy.url) as connection:
            connection.write(begin)
            for _ in range(100):
                if proxy.app.parts.server.refusals:
                    break
                connection.write(drip)
                await asyncio.sleep(SOON / 4)
            assert proxy.app.parts.server.refusals == {"header_timeout": 1}
            assert (await connection.rest())[0].startswith(b"HTTP/1.1 408 ")

    run(dialogue())


def test_pipelined_requests_whose_answers_nobody_reads_wait_in_the_socket(tmp_path: Path) -> None:
    """Behind the one that is being answered at most 64 KiB are read."""

    async def dialogue() -> None:
        async with proxied(tmp_path, Hang()) as (proxy, _), wire.connect(proxy.url) as connection:
            request = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
            for _ in range(1000):
                connection.write(request * 100)
            [served] = proxy.app.parts.server._connections
            while not served._paused:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            assert len(served._received) <= PIPELINED + 256 * 1024  # and one read of the loop

    run(dialogue())
