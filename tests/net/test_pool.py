"""Idle connections: how long they are kept, how many, and what happens when one dies under a request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from replayproxy.model import Request
from tests import wire
from tests.apps import recording, run, running

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Mortal:
    """A server that answers `lives` requests on each connection, and ends the next one with `last`, then a close."""

    def __init__(self, lives: int, last: bytes) -> None:
        self._lives = lives
        self._last = last
        self.asked: list[list[bytes]] = []
        self.left = 0
        self.url = ""
        self.tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        asked: list[bytes] = []
        self.asked.append(asked)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                asked.append(head.split(b" ")[0])
                if b"content-length: 2" in head.lower():
                    await reader.readexactly(2)
                if len(asked) > self._lives:
                    writer.write(self._last)
                    return
                writer.write(OK if asked[-1] != b"HEAD" else OK[:-2])
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.left += 1
        finally:
            writer.close()


@asynccontextmanager
async def mortal(lives: int = 1, last: bytes = b"") -> AsyncIterator[Mortal]:
    """Such a server on a free port."""
    server = Mortal(lives, last)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()
        for task in server.tasks:
            task.cancel()
        await asyncio.gather(*server.tasks, return_exceptions=True)
        await asyncio.sleep(0)


WARM = wire.get("/warm")


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "TRACE", "HEAD"])
def test_a_safe_request_that_an_idle_connection_did_not_answer_is_sent_once_more(tmp_path: Path, method: str) -> None:
    """On a new connection; the client knows nothing of it, and metrics count it."""

    async def dialogue() -> None:
        async with mortal() as server, running(recording(tmp_path / "a.cassette", server.url), admin=True) as proxy:
            assert (await wire.ask(proxy.url, WARM)).status == 200
            assert (await wire.ask(proxy.url, Request(method, "/v1/models"))).status == 200
            assert server.asked == [[b"GET", method.encode()], [method.encode()]]
            assert proxy.admin_url is not None
            metrics = (await wire.ask(proxy.admin_url, wire.get("/metrics"))).body.decode()
            assert "replayproxy_upstream_repeated_total 1.0" in metrics

    run(dialogue())


@pytest.mark.parametrize(
    "request_",
    [
        Request("POST", "/v1/x"),
        wire.post("/v1/x", b"{}"),
        Request("PUT", "/v1/x"),
        Request("DELETE", "/v1/x"),
        Request("PATCH", "/v1/x", (), b"{}"),
        Request("GET", "/v1/x", (), b"{}"),
    ],
    ids=lambda request: f"{request.method} with {len(request.body)} bytes",
)
def test_nothing_else_is_ever_repeated(tmp_path: Path, request_: Request) -> None:
    """Who may have changed something is told that nobody knows."""

    async def dialogue() -> None:
        async with mortal() as server, running(recording(tmp_path / "a.cassette", server.url)) as proxy:
            assert (await wire.ask(proxy.url, WARM)).status == 200
            assert (await wire.ask(proxy.url, request_)).status == 502
            assert server.asked == [[b"GET", request_.method.encode()]]

    run(dialogue())


@pytest.mark.parametrize(
    ("lives", "last", "visits"),
    [
        (0, b"", 1),  # a new connection that dies is a server that fails
        (1, b"HTTP/1.1 2", 1),  # it had begun to answer
        (1, b"HTTP/1.1 103 Early Hints\r\n\r\n", 1),
    ],
)
def test_what_was_not_an_idle_connection_or_had_begun_to_answer_is_not_repeated(
    tmp_path: Path, lives: int, last: bytes, visits: int
) -> None:
    """Each of them is a 502."""

    async def dialogue() -> None:
        async with mortal(lives, last) as server, running(recording(tmp_path / "a.cassette", server.url)) as proxy:
            for _ in range(lives):
                assert (await wire.ask(proxy.url, WARM)).status == 200
            assert (await wire.ask(proxy.url, WARM)).status == 502
            assert len(server.asked) == visits

    run(dialogue())


def test_it_is_repeated_once_only(tmp_path: Path) -> None:
    """A server that answers nothing any more is asked twice, and no third time."""

    async def dialogue() -> None:
        async with mortal() as server, running(recording(tmp_path / "a.cassette", server.url)) as proxy:
            assert (await wire.ask(proxy.url, WARM)).status == 200
            server._lives = 0
            assert (await wire.ask(proxy.url, WARM)).status == 502
            assert server.asked == [[b"GET", b"GET"], [b"GET"]]

    run(dialogue())


def test_idle_connections_are_closed_when_their_time_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without another request; until then metrics show them."""
    monkeypatch.setattr("replayproxy.net.pool.KEEP_ALIVE", 300_000_000)

    async def dialogue() -> None:
        async with mortal(9) as server, running(recording(tmp_path / "a.cassette", server.url), admin=True) as proxy:
            await asyncio.gather(*(wire.ask(proxy.url, wire.get(f"/{number}")) for number in range(4)))
            assert proxy.admin_url is not None
            metrics = (await wire.ask(proxy.admin_url, wire.get("/metrics"))).body.decode()
            assert f"replayproxy_upstream_idle_connections {len(server.asked)}.0" in metrics
            while server.left < len(server.asked):
                await asyncio.sleep(0.01)
            metrics = (await wire.ask(proxy.admin_url, wire.get("/metrics"))).body.decode()
            assert "replayproxy_upstream_idle_connections 0.0" in metrics

    run(dialogue())


def test_idle_connections_are_bounded_in_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was idle for longest goes."""
    monkeypatch.setattr("replayproxy.net.pool.MOST_IDLE", 3)

    async def dialogue() -> None:
        async with mortal(9) as server, running(recording(tmp_path / "a.cassette", server.url)) as proxy:
            answers = await asyncio.gather(*(wire.ask(proxy.url, wire.get(f"/{number}")) for number in range(12)))
            assert [answer.status for answer in answers] == [200] * 12
            assert proxy.app.parts.upstream is not None
            assert 1 <= proxy.app.parts.upstream.counts["idle"] <= 3

    run(dialogue())
