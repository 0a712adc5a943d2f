"""What the data port makes of bytes that are not a proper request: refused at the door, and never a second request at
the server behind us.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest

from replayproxy.settings import Listen
from tests import wire
from tests.apps import exchanges, recording, replaying, run, running
from tests.doubles.upstreams import Send, answer, scripted

OK = answer("200 OK", b'{"ok":true}')

SMUGGLED = b"GET /admin HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /v1/x HTTP/1.1\r\nHost: x\r\n"

MALFORMED: list[tuple[str, bytes]] = [
    ("a length and chunks", POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED),
    ("two lengths", POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde"),
    ("two equal lengths", POST + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd"),
    ("a signed length", POST + b"Content-Length: +4\r\n\r\nabcd"),
    ("a negative length", POST + b"Content-Length: -1\r\n\r\n"),
    ("a coding that is not chunked", POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("space before the colon", POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    ("a folded field", POST + b"X-A: 1\r\n 2\r\nContent-Length: 0\r\n\r\n"),
    ("bare LF", b"GET /v1/models HTTP/1.1\nHost: x\n\n"),
    ("NUL in a field", b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX-A: a\x00b\r\n\r\n"),
    ("CR in a field", b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX-A: a\rb\r\n\r\n"),
    ("a negative chunk", POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\nabc\r\n0\r\n\r\n"),
    ("a hexadecimal prefix", POST + b"Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n"),
    ("no host", b"GET /v1/models HTTP/1.1\r\n\r\n"),
    ("two hosts", b"GET /v1/models HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"),
    ("a method with a space", b"GE T /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("CONNECT", b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n"),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64),
    ("a field line of 100 kB", b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 100_000 + b"\r\n\r\n"),
]


@pytest.mark.parametrize("sent", [row[1] for row in MALFORMED], ids=[row[0] for row in MALFORMED])
def test_malformed_requests_are_refused_and_nothing_of_them_is_smuggled(tmp_path: Path, sent: bytes) -> None:
    """4xx or a closed connection; the server behind us never hears of `/admin`, and of the bad one at most a head."""

    async def dialogue() -> None:
        async with (
            scripted(Send(OK), again=True) as server,
            running(recording(tmp_path / "a.cassette", server.url)) as proxy,
            wire.connect(proxy.url) as connection,
        ):
            connection.write(sent)
            said, _ = await asyncio.wait_for(connection.rest(), 10)
            assert said == b"" or said.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4", b"HTTP/1.1 502")), said
            heard = b"".join(bytes(visit.heard) for visit in server.visits)
            assert b"/admin" not in heard
            assert heard.count(b" HTTP/1.1\r\n") <= 1

    run(dialogue())


TARGETS = [
    (b"//evil.example/x", b"GET //evil.example/x HTTP/1.1\r\nHost: 127.0.0.1:"),
    (b"/v1/../pause", b"GET /v1/../pause HTTP/1.1\r\nHost: 127.0.0.1:"),
]


@pytest.mark.parametrize(("target", "heard"), TARGETS)
def test_no_target_changes_where_a_request_goes(tmp_path: Path, target: bytes, heard: bytes) -> None:
    """The upstream is fixed at start, and the Host field is the server's."""

    async def dialogue() -> None:
        async with (
            scripted(Send(OK)) as server,
            running(recording(tmp_path / "a.cassette", server.url)) as proxy,
            wire.connect(proxy.url) as connection,
        ):
            connection.write(b"GET " + target + b" HTTP/1.1\r\nHost: evil.example\r\n\r\n")
            assert (await connection.answer()).status == 200
            assert server.heard.startswith(heard)

    run(dialogue())


def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    """Three in one packet: three answers, three exchanges, in order."""
    cassette = tmp_path / "a.cassette"

    async def dialogue() -> None:
        async with (
            scripted(Send(OK), again=True) as server,
            running(recording(cassette, server.url)) as proxy,
            wire.connect(proxy.url) as connection,
        ):
            connection.write(b"".join(b"GET /v1/%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(3)))
            for _ in range(3):
                assert (await connection.answer()).body == b'{"ok":true}'
        assert [exchange.request.path for exchange in exchanges(cassette)] == ["/v1/0", "/v1/1", "/v1/2"]

    run(dialogue())


def test_the_api_key_file_guards_the_data_port(tmp_path: Path) -> None:
    """Without the key 401 in OpenAI's envelope, and nothing is forwarded; with it all is as before."""
    key = tmp_path / "key"
    key.write_text("sk-mine\n")

    async def dialogue() -> None:
        settings = recording(tmp_path / "a.cassette", "http://127.0.0.1:1", listen=Listen(api_key_file=key))
        async with scripted(Send(OK)) as server:
            settings = recording(tmp_path / "a.cassette", server.url, listen=Listen(api_key_file=key))
            async with running(settings) as proxy:
                refused = await wire.ask(proxy.url, wire.get("/v1/models"))
                assert refused.status == 401
                assert orjson.loads(refused.body)["error"]["code"] == "invalid_api_key"
                assert not server.visits
                allowed = await wire.ask(proxy.url, wire.get("/v1/models", ("Authorization", "Bearer sk-mine")))
                assert allowed.status == 200

    run(dialogue())


def test_a_proxy_serves_on_a_unix_socket_too(tmp_path: Path) -> None:
    """`--uds` listens there, and only there."""
    uds = tmp_path / "s.sock"

    async def dialogue() -> None:
        async with scripted(Send(OK)) as server:
            settings = recording(tmp_path / "a.cassette", server.url, listen=Listen(uds=uds))
            async with running(settings) as proxy:
                assert proxy.url == f"unix:{uds}"
                reader, writer = await asyncio.open_unix_connection(uds)
                writer.write(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                assert (await reader.read()).endswith(b'{"ok":true}')
                writer.close()

    run(dialogue())


PROBES = [("/health", 200, b""), ("/ping", 200, b""), ("/load", 200, b'{"server_load":0}'), ("/metrics", 200, b"")]


@pytest.mark.parametrize(("path", "status", "body"), PROBES)
def test_replay_answers_probes_for_the_server_that_is_not_there(
    tmp_path: Path, path: str, status: int, body: bytes
) -> None:
    """Health checks of a client or an orchestrator do not miss; while recording they go through and are not kept."""
    cassette = tmp_path / "a.cassette"

    async def dialogue() -> None:
        async with scripted(Send(OK)) as server, running(recording(cassette, server.url)) as proxy:
            assert (await wire.ask(proxy.url, wire.get(path))).body == b'{"ok":true}'
        assert exchanges(cassette) == []
        async with running(replaying(cassette)) as proxy:
            got = await wire.ask(proxy.url, wire.get(path))
        assert (got.status, got.body) == (status, body)

    run(dialogue())


def test_the_admin_port_answers_by_its_own_names_only(tmp_path: Path) -> None:
    """Another Host is DNS rebinding and gets 403, but for probes and metrics; the data port has none of it."""

    async def dialogue() -> None:
        async with scripted(Send(OK)) as server:
            async with running(recording(tmp_path / "a.cassette", server.url), admin=True) as proxy:
                assert proxy.admin_url is not None
                await wire.ask(proxy.url, wire.get("/v1/models"))
                assert orjson.loads((await wire.ask(proxy.admin_url, wire.get("/health"))).body) == {"status": "ok"}
                metrics = (await wire.ask(proxy.admin_url, wire.get("/metrics"))).body.decode()
                assert 'replayproxy_requests_total{outcome="record"} 1.0' in metrics
                stranger = await wire.ask(proxy.admin_url, wire.get("/rotate", ("Host", "evil.example")))
                assert stranger.status == 403

    run(dialogue())
