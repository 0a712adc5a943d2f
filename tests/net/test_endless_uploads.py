"""A body that never ends, or comes a byte at a time: each limit holds, in every mode."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from replayproxy.core.policy import Mode
from replayproxy.model import Ending
from replayproxy.net import http_connection
from replayproxy.net.body import LINES_PER_CALL, ChunkedReader
from replayproxy.net.incoming import UPLOAD_BUFFER
from replayproxy.net.limits import Limits
from replayproxy.settings import Listen, Settings
from tests import wire
from tests.apps import Running, exchanges, pairing, recording, replaying, run, running
from tests.doubles.pair_double import pair
from tests.doubles.upstreams import Hang, Send, answer, chunk, scripted
from tests.net.test_smuggling import judging
from tests.net.test_uploads import refusing

OK = answer("200 OK", b'{"ok":true}')
HEAD = b"POST /v1/files HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
SOON = 0.1
"""Seconds of --body-timeout in these tests."""


@asynccontextmanager
async def in_mode(mode: str, folder: Path, limits: Limits) -> AsyncIterator[Running]:
    """A proxy in this mode; its server never answers."""
    listen = Listen(limits=limits)
    async with scripted(Send(OK), again=True) as server:
        async with running(recording(folder / "a.cassette", server.url)) as proxy:
            await wire.ask(proxy.url, wire.get("/v1/models"))
    async with scripted(Hang()) as server, pair("plain") as double:
        settings = {
            "record": lambda: recording(folder / "b.cassette", server.url, listen=listen),
            "pair": lambda: pairing(folder / "c.cassette", double, listen=listen),
            "replay": lambda: replaying(folder / "a.cassette", listen=listen),
            "simulate": lambda: Settings(Mode.SIMULATE, (), listen=listen),
        }[mode]()
        async with running(settings, drain=0.2) as proxy:
            yield proxy


async def send_for_ever(connection: wire.Connection, piece: bytes, pause: float = 0) -> None:
    """Until nobody takes it."""
    try:
        while True:
            connection.write(piece)
            await asyncio.sleep(pause)
    except (wire.Ended, OSError):
        pass


MODES = ["record", "pair", "replay", "simulate"]

DRIPS: list[tuple[str, bytes, bytes]] = [
    ("a chunk of a byte", CHUNKED, b"1\r\na\r\n"),
    ("bytes of a chunk", CHUNKED + b"fffff\r\n", b"a"),
    ("bytes of a length", HEAD + b"Content-Length: 1000000\r\n\r\n", b"a"),
    ("extensions", CHUNKED + b"5;", b"x"),
    ("zeros of a size", CHUNKED, b"1;a=b\r\na\r\n"),
    ("trailers", CHUNKED + b"0\r\n", b"X-A: b\r\n"),
]


@pytest.mark.parametrize(
    ("mode", "begin", "drip"),
    [*(("record", *row[1:]) for row in DRIPS), *((mode, *DRIPS[1][1:]) for mode in MODES[1:])],
    ids=[*(row[0] for row in DRIPS), *MODES[1:]],
)
def test_a_body_that_drips_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, begin: bytes, drip: bytes
) -> None:
    """408 when it has been waited for several times as long as for a byte: no byte keeps a connection for ever."""
    monkeypatch.setattr(http_connection, "PATIENCE", 3)

    async def dialogue() -> None:
        async with in_mode(mode, tmp_path, Limits(body_timeout=SOON)) as proxy, wire.connect(proxy.url) as connection:
            connection.write(begin)
            dripping = asyncio.create_task(send_for_ever(connection, drip, SOON / 4))
            said, _ = await asyncio.wait_for(connection.rest(), 20)
            assert said.startswith(b"HTTP/1.1 408 "), said
            assert proxy.app.parts.server.refusals == {"body_timeout": 1}
            dripping.cancel()

    run(dialogue())


@pytest.mark.parametrize("mode", ["record", "replay"])
def test_a_slow_body_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """It brings a thousand bytes per second, for longer than it is waited for at any rate."""
    monkeypatch.setattr(http_connection, "PATIENCE", 0.1)

    async def dialogue() -> None:
        async with scripted(Send(OK), again=True) as server:
            async with running(recording(tmp_path / "a.cassette", server.url)) as proxy:
                await wire.ask(proxy.url, wire.get("/v1/models"))
            listen = Listen(limits=Limits(body_timeout=2.0))
            settings = {
                "record": recording(tmp_path / "b.cassette", server.url, listen=listen),
                "replay": replaying(tmp_path / "a.cassette", listen=listen),
            }[mode]
            async with running(settings) as proxy, wire.connect(proxy.url) as connection:
                connection.write(HEAD + b"Content-Length: 2500\r\n\r\n")
                for _ in range(50):
                    connection.write(b"a" * 50)
                    await asyncio.sleep(0.02)
                assert (await connection.answer()).status == (200 if mode == "record" else 404)
                assert not proxy.app.parts.server.refusals

    run(dialogue())


@pytest.mark.parametrize("mode", ["pair", "replay", "simulate"])
def test_an_endless_body_that_must_be_whole_is_413(tmp_path: Path, mode: str) -> None:
    """Also in chunks, where no length tells it; nothing of it is kept longer than it takes to say so."""

    async def dialogue() -> None:
        async with in_mode(mode, tmp_path, Limits(body=100_000)) as proxy, wire.connect(proxy.url) as connection:
            connection.write(CHUNKED)
            sending = asyncio.create_task(send_for_ever(connection, chunk(b"a" * 10_000)))
            got = await connection.answer()
            assert got.status == 413
            assert b"--max-body" in got.body
            sending.cancel()

    run(dialogue())


@pytest.mark.parametrize(
    ("reads", "status", "ending"),
    [(True, 408, Ending.CLIENT_LEFT), (False, 504, Ending.TIMEOUT)],
    ids=["reads", "does not read"],
)
def test_a_long_recorded_body_that_stops_ends_with_the_patience_for_whoever_stopped(
    tmp_path: Path, reads: bool, status: int, ending: Ending
) -> None:
    """408 for a client that sends no more, 504 for a server that does not read; then we do not read either.

    The recording holds the beginning, and says so.
    """
    waiting: list[int] = []
    done = asyncio.Event()

    async def stuck(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a WriteTransport only by its type
        await done.wait()
        writer.transport.abort()

    async def send(proxy: Running, connection: wire.Connection) -> None:
        piece = chunk(b"a" * 50_000)
        try:
            for _ in range(2000):
                connection.write(piece)
                await asyncio.sleep(0.001)
                waiting.extend(
                    len(one._incoming.waiting) for one in proxy.app.parts.server._connections if one._incoming
                )
                if connection._heard.transport.get_write_buffer_size() > 1_000_000:
                    await asyncio.sleep(0.01)
        except (wire.Ended, OSError):
            pass

    async def dialogue() -> None:
        async with scripted(Hang()) as server:
            blocked = await asyncio.start_server(stuck, "127.0.0.1", 0)
            url = server.url if reads else f"http://127.0.0.1:{blocked.sockets[0].getsockname()[1]}"
            limits = Limits(body=100_000, body_timeout=1.0)
            settings = recording(tmp_path / "a.cassette", url, upstream_timeout=1.0, listen=Listen(limits=limits))
            try:
                async with running(settings) as proxy, wire.connect(proxy.url) as connection:
                    connection.write(CHUNKED)
                    sending = asyncio.create_task(send(proxy, connection))
                    assert (await connection.answer()).status == status
                    sending.cancel()
            finally:
                done.set()
                blocked.close()
                await asyncio.sleep(0.05)

    run(dialogue())
    [exchange] = exchanges(tmp_path / "a.cassette")
    assert exchange.request_cut
    assert len(exchange.request.body) <= 100_000
    assert exchange.response.ending is ending
    assert max(waiting) <= 2 * UPLOAD_BUFFER


def test_a_body_that_goes_on_behind_its_answer_ends_with_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is told 413 and sends on is read for a while, so that the answer arrives, and is then cut."""
    monkeypatch.setattr("replayproxy.net.sending.REST_PATIENCE", 0.2)
    monkeypatch.setattr("replayproxy.net.sending.REST", 1_000_000)
    monkeypatch.setattr(http_connection, "LINGER", 0.3)

    async def dialogue() -> None:
        async with refusing() as server, running(recording(tmp_path / "a.cassette", server)) as proxy:
            async with wire.connect(proxy.url) as connection:
                connection.write(CHUNKED)
                sending = asyncio.create_task(send_for_ever(connection, chunk(b"a" * 1000), 0.001))
                got = await connection.answer()
                assert (got.status, got.body) == (413, b"nope")
                await asyncio.wait_for(sending, 20)
                while proxy.app.parts.server.connections:
                    await asyncio.sleep(0.01)

    run(dialogue())


@pytest.mark.parametrize("mode", MODES)
def test_an_endless_body_does_not_keep_the_proxy_from_stopping(tmp_path: Path, mode: str) -> None:
    """Draining has its end."""

    async def dialogue() -> None:
        async with in_mode(mode, tmp_path, Limits()) as proxy, wire.connect(proxy.url) as connection:
            connection.write(CHUNKED)
            sending = asyncio.create_task(send_for_ever(connection, b"1\r\na\r\n", 0.01))
            await asyncio.sleep(0.1)
            assert proxy.app.parts.server._answering == 1
            await proxy.app.parts.server.drain(0.2)
            await proxy.app.parts.server.cut()
            await asyncio.wait_for(sending, 20)

    run(dialogue())


@pytest.mark.parametrize("behind_head", [b"", b"1\r\na\r\n" * 5000], ids=["in packets", "with the head"])
def test_many_small_chunks_are_read_in_many_turns_of_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behind_head: bytes
) -> None:
    """Whatever a read of the socket brings; the body arrives whole, and so does the request behind it."""
    lines = []
    feed = ChunkedReader.feed

    def watching(self: ChunkedReader, data: bytes) -> tuple[bytes, bytes]:
        body, rest = feed(self, data)
        lines.append(len(body))  # of a byte each
        return body, rest

    monkeypatch.setattr(ChunkedReader, "feed", watching)

    async def dialogue() -> list[tuple[str, str, bytes]]:
        async with judging() as judge, running(recording(tmp_path / "a.cassette", judge.url)) as proxy:
            async with wire.connect(proxy.url) as connection:
                connection.write(CHUNKED + behind_head + b"1\r\na\r\n" * 40_000 + b"0\r\n\r\n", "POST")
                connection.send(wire.get("/v1/models"))
                assert [(await connection.answer()).status for _ in range(2)] == [200, 200]
            return judge.requests

    requests = run(dialogue())
    size = 40_000 + len(behind_head) // 6
    assert requests == [("POST", "/v1/files", b"a" * size), ("GET", "/v1/models", b"")]
    assert max(lines) <= LINES_PER_CALL // 2 + 1
    assert exchanges(tmp_path / "a.cassette")[0].request.body == b"a" * size


def test_a_mistake_that_comes_before_the_request_has_been_begun_is_refused(tmp_path: Path) -> None:
    """One turn of the loop may read a socket several times: the second read is here before the answer's first step."""

    async def dialogue() -> None:
        async with (
            judging() as judge,
            running(recording(tmp_path / "a.cassette", judge.url)) as proxy,
            wire.connect(proxy.url) as connection,
        ):
            while not proxy.app.parts.server.connections:
                await asyncio.sleep(0)
            [served] = proxy.app.parts.server._connections
            served.data_received(CHUNKED)
            served.data_received(b"x\r\n")
            assert (await asyncio.wait_for(connection.answer(), 10)).status == 400

    run(dialogue())


def test_a_mistake_behind_many_small_chunks_is_refused(tmp_path: Path) -> None:
    """It is read some turns later; the server gets no whole request."""

    async def dialogue() -> None:
        async with judging() as judge, running(recording(tmp_path / "a.cassette", judge.url)) as proxy:
            async with wire.connect(proxy.url) as connection:
                connection.write(CHUNKED + b"1\r\na\r\n" * 20_000 + b"x\r\n\r\n0\r\n\r\n")
                said, _ = await asyncio.wait_for(connection.rest(), 20)
                assert said.startswith(b"HTTP/1.1 400 ")
            assert proxy.app.parts.server.refusals == {"malformed_request": 1}
        assert judge.requests == []
        assert judge.errors == []

    run(dialogue())
