"""Other HTTP servers in front of replayproxy and behind it: nginx, HAProxy, Apache, Caddy; and `ab -k` as a client.

    client ──▶ server ──▶ replayproxy ──▶ upstream        client ──▶ replayproxy ──▶ server ──▶ upstream

The upstream is aiohttp's server, which speaks HTTP/1.0 and 1.1 as each client does. It goes on with a stream only when
the client has its first event: a server or a proxy that held the stream back would stop the test.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import orjson
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from replayproxy.model import Ending, Request
from tests import wire
from tests.apps import endings, exchanges, recording, replaying, run, running
from tests.doubles.upstreams import DONE, Close, Hang, Send, Visit, Wait, chunk, event, scripted
from tests.live.other_servers import SERVERS, ReverseProxy, program, undisturbed

BOUND = 20.0
"""Seconds for a whole dialogue, which takes a tenth of one. nginx and Apache wait 60 s for what does not come."""

EVENTS = (*(event(number) for number in range(5)), DONE)
STREAM = b"".join(EVENTS)
SHORT = orjson.dumps({"id": "chatcmpl-1", "choices": [{"message": {"role": "assistant", "content": "Hello."}}]})
UPLOAD = orjson.dumps({"input": "word " * 210_000})
RECEIVED = orjson.dumps({"bytes": len(UPLOAD)})

CHAT = "/v1/chat/completions"
CHUNKED = ("Transfer-Encoding", "chunked")


def chat(*, stream: bool) -> Request:
    """A chat of one turn."""
    return wire.post(CHAT, {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "stream": stream})


IN_CHUNKS = b"".join(chunk(UPLOAD[start : start + 50_000]) for start in range(0, len(UPLOAD), 50_000)) + chunk(b"")

DIALOGUE: tuple[tuple[Request, int, bytes], ...] = (
    (chat(stream=True), 200, STREAM),
    (chat(stream=False), 200, SHORT),
    (chat(stream=False), 200, SHORT),
    (Request("DELETE", "/v1/files/1", (("Accept", "*/*"),)), 204, b""),
    (Request("HEAD", "/v1/models", (("Accept", "*/*"),)), 200, b""),
    (wire.get("/v1/models"), 200, SHORT),
    (wire.post("/v1/embeddings", UPLOAD), 200, RECEIVED),
    (wire.post("/v1/embeddings?chunked", IN_CHUNKS, CHUNKED), 200, RECEIVED),
    (chat(stream=True), 200, STREAM),
    (chat(stream=False), 200, SHORT),
)
"""What a client sends over one connection, and the statuses and bodies that it gets."""

HEADS = 3
"""In the dialogues of the three clients. replayproxy closes its connection to the upstream behind the answer to a HEAD,
whose end its parser cannot see."""

EXPECTED = [(status, body, True) for _, status, body in DIALOGUE]

Result = tuple[int, bytes, bool]
"""Status, body, and whether the answer was whole."""


# The upstream


@dataclass
class Upstream:
    """A running upstream. `first_event`: the client of a stream has its first event, and the rest may follow; without
    `waits` it follows at once."""

    first_event: asyncio.Event
    uploads: list[bytes]
    waits: bool
    peers: set[object] = field(default_factory=set)
    """The other ends of the connections over which requests came."""
    port: int = 0

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @web.middleware
    async def note_peer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Remember who asks."""
        assert request.transport is not None
        self.peers.add(request.transport.get_extra_info("peername"))
        return await handler(request)

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """A stream or a short answer, by what is wanted."""
        if not orjson.loads(await request.read())["stream"]:
            return web.Response(body=SHORT, content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        self.first_event.clear()
        for piece in EVENTS:
            await response.write(piece)
            if self.waits:
                await self.first_event.wait()
        await response.write_eof()
        return response

    async def embeddings(self, request: web.Request) -> web.Response:
        """How many bytes the body has."""
        self.uploads.append(await request.read())
        answer = orjson.dumps({"bytes": len(self.uploads[-1])})
        return web.Response(body=answer, content_type="application/json")

    async def models(self, request: web.Request) -> web.Response:
        """A GET; aiohttp makes a HEAD of it."""
        return web.Response(body=SHORT, content_type="application/json")

    async def no_content(self, request: web.Request) -> web.Response:
        """An answer without a body."""
        return web.Response(status=204)


@asynccontextmanager
async def upstream(*, waits: bool = True) -> AsyncIterator[Upstream]:
    """Start one on a free port."""
    server = Upstream(asyncio.Event(), [], waits)
    app = web.Application(client_max_size=8 << 20, middlewares=[server.note_peer])
    app.router.add_post(CHAT, server.chat)
    app.router.add_post("/v1/embeddings", server.embeddings)
    app.router.add_get("/v1/models", server.models)
    app.router.add_delete("/v1/files/1", server.no_content)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()


def port_of(url: str) -> int:
    """The port of a URL that has one."""
    port = urlsplit(url).port
    assert port is not None
    return port


# The clients


async def converse(url: str, first_event: asyncio.Event) -> list[Result]:
    """The whole dialogue over one connection, which every server has to keep. Raises `TimeoutError`, `wire.Ended`."""
    results: list[Result] = []
    async with asyncio.timeout(BOUND), wire.connect(url) as connection:
        for request, _, _ in DIALOGUE:
            connection.send(request)
            head = await connection.head()
            body = b""
            async for frame in connection.frames():
                first_event.set()
                body += frame.data
            results.append((head.status, body, connection.whole))
    return results


def http_1_0(request: Request, *, keep: bool) -> bytes:
    """A request as `ab` sends it: HTTP/1.0, with or without `Connection: keep-alive`."""
    fields = (*request.headers, *((("Connection", "keep-alive"),) if keep else ()))
    spelled = wire.spelled(Request(request.method, request.target, fields, request.body), "127.0.0.1")
    return spelled.replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1)


async def converse_http_1_0(url: str, first_event: asyncio.Event, *, keep: bool) -> list[Result]:
    """The dialogue (without the chunked upload) in HTTP/1.0, over another connection wherever one is not kept.

    A connection that is not said to be kept has to be closed at once, and one that is said to be kept has to carry
    the next request. Raises `TimeoutError` and `wire.Ended`.
    """
    results: list[Result] = []
    connections = 0
    todo = [request for request, _, _ in DIALOGUE if CHUNKED not in request.headers]
    async with asyncio.timeout(BOUND):
        while todo:
            async with wire.connect(url) as connection:
                connections += 1
                kept = True
                while todo and kept:
                    request = todo.pop(0)
                    connection.write(http_1_0(request, keep=keep), request.method)
                    head = await connection.head()
                    body = b""
                    async for frame in connection.frames():
                        first_event.set()
                        body += frame.data
                    results.append((head.status, body, connection.whole))
                    assert head.get("transfer-encoding") is None, "HTTP/1.0 has no chunks"
                    kept = (head.get("connection") or "").lower() == "keep-alive"
                    assert keep or not kept, "a connection is kept that the client wanted closed"
                if not kept:
                    assert await connection.rest() == (b"", "closed")
    # Kept as long as it can be: two of the answers are streams, which end with their connections.
    assert connections == (3 if keep else len(results))
    return results


async def everything(url: str, first_event: asyncio.Event) -> list[list[Result]]:
    """The dialogue by three clients: HTTP/1.1, HTTP/1.0 with a kept connection, HTTP/1.0."""
    return [
        await converse(url, first_event),
        await converse_http_1_0(url, first_event, keep=True),
        await converse_http_1_0(url, first_event, keep=False),
    ]


IN_HTTP_1_0 = [(status, body, True) for request, status, body in DIALOGUE if CHUNKED not in request.headers]
EVERYTHING = [EXPECTED, IN_HTTP_1_0, IN_HTTP_1_0]


def check_recorded(cassette: Path) -> None:
    """All of it was recorded, whole, with the bodies that were sent."""
    recorded = exchanges(cassette)
    assert {exchange.response.ending for exchange in recorded} == {Ending.COMPLETE}
    assert sorted((exchange.response.status, exchange.response.body) for exchange in recorded) == sorted(
        (status, body) for results in EVERYTHING for status, body, _ in results
    )
    uploads = [exchange.request.body for exchange in recorded if exchange.request.target.startswith("/v1/embeddings")]
    assert uploads == [UPLOAD] * 4


# The tests


@pytest.mark.parametrize("server", SERVERS, ids=str)
def test_a_server_in_front_records_and_replays(server: ReverseProxy, tmp_path: Path) -> None:
    """Each client of the server gets each answer as the upstream gave it, streams as they come, and its connection is
    kept or closed as it was told; everything is recorded as complete, and the same comes through replay."""

    def attempt(folder: Path) -> None:
        cassette = folder / "a.cassette"

        async def recorded() -> list[list[Result]]:
            async with (
                upstream() as behind,
                running(recording(cassette, behind.url)) as proxy,
                server.started(port_of(proxy.url), folder / "record") as url,
            ):
                results = await everything(url, behind.first_event)
                assert behind.uploads == [UPLOAD] * 4
                assert len(behind.peers) == 1 + HEADS, "replayproxy did not keep its connection to the upstream"
                return results

        async def replayed() -> list[list[Result]]:
            async with (
                running(replaying(cassette)) as proxy,
                server.started(port_of(proxy.url), folder / "replay") as url,
            ):
                return await everything(url, asyncio.Event())

        assert run(recorded()) == EVERYTHING
        check_recorded(cassette)
        assert run(replayed()) == EVERYTHING

    undisturbed(server, tmp_path, attempt)


@pytest.mark.parametrize("server", SERVERS, ids=str)
def test_a_server_behind_is_recorded_and_replayed(server: ReverseProxy, tmp_path: Path) -> None:
    """As `test_a_server_in_front_records_and_replays`, with the server between replayproxy and the upstream."""

    def attempt(folder: Path) -> None:
        cassette = folder / "a.cassette"

        async def recorded() -> list[list[Result]]:
            async with (
                upstream() as behind,
                server.started(behind.port, folder / "record") as url,
                running(recording(cassette, url)) as proxy,
            ):
                results = await everything(proxy.url, behind.first_event)
                assert behind.uploads == [UPLOAD] * 4
                return results

        async def replayed() -> list[list[Result]]:
            async with running(replaying(cassette)) as proxy:
                return await everything(proxy.url, asyncio.Event())

        assert run(recorded()) == EVERYTHING
        check_recorded(cassette)
        assert run(replayed()) == EVERYTHING

    undisturbed(server, tmp_path, attempt)


GOES_ON = tuple(step for number in range(100) for step in (Wait(0.05), Send(chunk(event(number)))))
"""Five seconds of a stream."""

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("place", ["in front", "behind"])
@pytest.mark.parametrize("server", SERVERS, ids=str)
def test_a_stream_that_breaks_off_is_not_whole_for_anybody(server: ReverseProxy, place: str, tmp_path: Path) -> None:
    """The upstream closes its connection within a stream: the client sees that something is missing, and so does the
    cassette. Towards HTTP/1.0, which nginx speaks, only a reset tells it. Where a server gives a clean end to what
    broke off, its own clients cannot know: neither the last one nor a recorder."""

    def attempt(folder: Path) -> None:
        cassette = folder / "a.cassette"

        async def dialogue() -> wire.Answer:
            async with (
                scripted(Send(HEAD + chunk(event(0))), Close()) as upstream,
                _between(server, place, cassette, upstream.port, folder) as url,
                asyncio.timeout(BOUND),
            ):
                return await wire.ask(url, chat(stream=True))

        answer = run(dialogue())
        assert answer.body == event(0)
        assert not answer.whole or server.may_hide_breaks
        hidden = answer.whole and place == "behind"
        assert endings(cassette) == [Ending.COMPLETE if hidden else Ending.UPSTREAM_CUT]

    undisturbed(server, tmp_path, attempt)


@pytest.mark.parametrize("place", ["in front", "behind"])
@pytest.mark.parametrize("server", SERVERS, ids=str)
def test_a_client_that_leaves_takes_its_request_with_it(server: ReverseProxy, place: str, tmp_path: Path) -> None:
    """Within a stream that goes on: the upstream sees its own client leave, and the cassette says who left. (A stream
    that falls silent would be held open by HAProxy and Apache: they notice a client that is gone when they write.)"""

    def attempt(folder: Path) -> None:
        cassette = folder / "a.cassette"

        async def dialogue() -> None:
            async with (
                scripted(Send(HEAD + chunk(event(0))), *GOES_ON, Hang()) as upstream,
                _between(server, place, cassette, upstream.port, folder) as url,
                asyncio.timeout(BOUND),
            ):
                async with wire.connect(url) as connection:
                    connection.send(chat(stream=True))
                    await connection.head()
                    async for _ in connection.frames():
                        break
                await _with_request(upstream.visits).left

        run(dialogue())
        assert endings(cassette) == [Ending.CLIENT_LEFT]

    undisturbed(server, tmp_path, attempt)


def _with_request(visits: list[Visit]) -> Visit:
    """A recorder that starts connects without a request, to see whether anybody is there."""
    (visit,) = (visit for visit in visits if visit.heard)
    return visit


@asynccontextmanager
async def _between(server: ReverseProxy, place: str, cassette: Path, port: int, folder: Path) -> AsyncIterator[str]:
    """A recorder and the server, one in front of the other, in front of this port. Gives the client's URL."""
    if place == "in front":
        async with (
            running(recording(cassette, f"http://127.0.0.1:{port}")) as proxy,
            server.started(port_of(proxy.url), folder / "server") as url,
        ):
            yield url
    else:
        async with (
            server.started(port, folder / "server") as url,
            running(recording(cassette, url)) as proxy,
        ):
            yield proxy.url


# ab

REQUESTS = 40


async def ab(url: str, folder: Path, *, stream: bool) -> dict[str, str]:
    """What ApacheBench reports of `REQUESTS` chats, four at a time, over kept connections (HTTP/1.0)."""
    question = folder / "question.json"
    question.write_bytes(chat(stream=stream).body)
    process = await asyncio.create_subprocess_exec(
        *(program("ab", "apache2-utils"), "-k", "-q", "-n", str(REQUESTS), "-c", "4", "-s", "10"),
        *("-p", question, "-T", "application/json", url + CHAT),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(BOUND):
        output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    pairs = (line.partition(":") for line in output.splitlines())
    return {name.strip(): value.split()[0] for name, _, value in pairs if value.split()}


def check_ab(report: dict[str, str], body: bytes, *, kept: int) -> None:
    """Every request was answered with this body, so many over connections that stayed open."""
    assert report["Complete requests"] == str(REQUESTS)
    assert report["Failed requests"] == "0"
    assert "Non-2xx responses" not in report
    assert report.get("Keep-Alive requests") == str(kept)
    assert report["HTML transferred"] == str(REQUESTS * len(body))


@pytest.mark.parametrize("stream", [False, True], ids=["short", "stream"])
@pytest.mark.parametrize("server", [None, *SERVERS], ids=str)
def test_apache_bench_with_kept_connections(server: ReverseProxy | None, stream: bool, tmp_path: Path) -> None:
    """`ab -k` gets all of its answers, from replayproxy itself and through each server: short ones over connections
    that stay open, streams over one connection each, which ends with the answer."""

    def attempt(folder: Path) -> None:
        cassette = folder / "a.cassette"
        body = STREAM if stream else SHORT

        async def measured(url: str, name: str) -> dict[str, str]:
            if server is None:
                return await ab(url, folder, stream=stream)
            async with server.started(port_of(url), folder / name) as front:
                return await ab(front, folder, stream=stream)

        async def dialogue() -> None:
            async with upstream(waits=False) as behind, running(recording(cassette, behind.url)) as proxy:
                check_ab(await measured(proxy.url, "record"), body, kept=0 if stream else REQUESTS)
            async with running(replaying(cassette)) as proxy:
                check_ab(await measured(proxy.url, "replay"), body, kept=0 if stream else REQUESTS)

        run(dialogue())
        assert endings(cassette) == [Ending.COMPLETE] * REQUESTS

    undisturbed(server, tmp_path, attempt)
