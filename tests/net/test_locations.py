"""A redirect to the server itself leads the client back to the proxy, live and in replay."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from pathlib import Path

import pytest

from replayproxy.core.origins import NEUTRAL
from replayproxy.core.policy import Mode
from replayproxy.model import Request
from replayproxy.settings import Listen, Pair, Settings
from tests import wire
from tests.apps import exchanges, recording, replaying, run, running
from tests.doubles.upstreams import Send, answer, scripted


def redirect(url: str) -> bytes:
    """As Starlette answers a slash too many."""
    return answer("307 Temporary Redirect", b"", b"Location: " + url.encode(), b"Content-Location: " + url.encode())


REQ = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"

ASKED = wire.get("/v1/models/")


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("http://{host}/v1/models", "http://{proxy}/v1/models"),
        ("//{host}/v1/models?a=b", "http://{proxy}/v1/models?a=b"),
        ("HTTP://{host}/v1/models", "http://{proxy}/v1/models"),
        ("/v1/models", "/v1/models"),
        ("models", "models"),
        ("http://elsewhere.example/v1/models", "http://elsewhere.example/v1/models"),
    ],
)
def test_a_redirect_leads_back_to_the_proxy(tmp_path: Path, form: str, expected: str) -> None:
    """To the host that the client named, at another port in replay too; the cassette names nobody's host."""
    cassette = tmp_path / "a.cassette"

    async def dialogue() -> None:
        async with scripted() as server:
            server._script = (Send(redirect(form.format(host=f"127.0.0.1:{server.port}"))),)
            async with running(recording(cassette, server.url)) as proxy:
                live, here = await wire.ask(proxy.url, ASKED), proxy.url.removeprefix("http://")
        assert live.head.get("location") == live.head.get("content-location") == expected.format(proxy=here)
        (kept,) = exchanges(cassette)
        stored = dict(kept.response.headers)["Location"]
        assert str(server.port) not in stored
        assert stored.startswith(NEUTRAL) == expected.startswith("http://{proxy}")
        async with running(replaying(cassette)) as proxy:
            again, here = await wire.ask(proxy.url, ASKED), proxy.url.removeprefix("http://")
            assert again.head.get("location") == expected.format(proxy=here)
            other = await wire.ask(proxy.url, Request("GET", "/v1/models/", (("Host", "llm.test"),)))
            assert other.head.get("location") == expected.format(proxy="llm.test")

    run(dialogue())


def test_a_redirect_stays_in_the_scope_of_the_client(tmp_path: Path) -> None:
    """`/t/<scope>` stands before it where the client's own path had it; a header names no path."""
    cassette = tmp_path / "a.cassette"

    async def dialogue() -> None:
        async with scripted() as server:
            server._script = (Send(redirect(f"{server.url}/v1/models")),)
            async with running(Settings(Mode.AUTO, (cassette,), server.url)) as proxy:
                live = await wire.ask(proxy.url, wire.get("/t/a%20b/v1/models/"))
                assert live.head.get("location") == f"{proxy.url}/t/a%20b/v1/models"
        async with running(replaying(cassette)) as proxy:
            again = await wire.ask(proxy.url, wire.get("/t/c/v1/models/"))
            assert again.head.get("location") == f"{proxy.url}/t/c/v1/models"
            named = await wire.ask(proxy.url, wire.get("/v1/models/", ("X-Replayproxy-Scope", "d")))
            assert named.head.get("location") == f"{proxy.url}/v1/models"

    run(dialogue())


def test_a_prefix_of_the_upstream_is_taken_away(tmp_path: Path) -> None:
    """The client never sent it; a path outside of it is not the proxy's."""

    async def dialogue() -> None:
        for given, expected in (("/base/v1", "/v1"), ("{url}/base/v1", "{proxy}/v1"), ("{url}/login", "{url}/login")):
            async with scripted() as server:
                server._script = (Send(redirect(given.format(url=server.url))),)
                async with running(recording(tmp_path / "a.cassette", server.url + "/base")) as proxy:
                    got = await wire.ask(proxy.url, ASKED)
                    assert got.head.get("location") == expected.format(url=server.url, proxy=proxy.url)

    run(dialogue())


def test_a_redirect_to_any_server_of_a_pair_leads_back(tmp_path: Path) -> None:
    """A decode server that sends the client to the prefill server."""

    async def dialogue() -> None:
        async with scripted() as prefill, scripted() as decode:
            decode._script = (Send(redirect(f"{prefill.url}/v1/models")),)
            pair = Pair(prefill=(prefill.url,), decode=(decode.url,), protocol="plain")
            async with running(Settings(Mode.RECORD, (tmp_path / "a.cassette",), pair=pair)) as proxy:
                got = await wire.ask(proxy.url, ASKED)
                assert got.head.get("location") == f"{proxy.url}/v1/models"

    run(dialogue())


def test_over_tls_it_is_an_https_url(tmp_path: Path) -> None:
    """The scheme is the one that the client used."""
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    subprocess.run(
        ["openssl", *REQ.split(), "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )

    async def dialogue() -> None:
        async with scripted() as server:
            server._script = (Send(redirect(f"{server.url}/v1/models")),)
            listen = Listen(ssl_certfile=certificate, ssl_keyfile=key)
            async with running(recording(tmp_path / "a.cassette", server.url, listen=listen)) as proxy:
                port = int(proxy.url.rpartition(":")[2])
                context = ssl.create_default_context(cafile=str(certificate))
                context.check_hostname = False
                reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
                writer.write(b"GET /v1/models/ HTTP/1.1\r\nHost: localhost:1\r\n\r\n")
                head = await reader.readuntil(b"\r\n\r\n")
                writer.close()
        assert b"\r\nLocation: https://localhost:1/v1/models\r\n" in head

    run(dialogue())


def test_urls_in_bodies_are_counted_and_warned_about_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """They pass unchanged: a body is content."""

    async def dialogue() -> None:
        async with scripted(again=True) as server:
            body = b'{"url":"%b/files/1"}' % server.url.encode()
            server._script = (Send(answer("200 OK", body)),)
            async with running(recording(tmp_path / "a.cassette", server.url), admin=True) as proxy:
                for _ in range(3):
                    assert (await wire.ask(proxy.url, ASKED)).body == body
                assert proxy.admin_url is not None
                metrics = (await wire.ask(proxy.admin_url, wire.get("/metrics"))).body.decode()
        assert "replayproxy_upstream_urls_in_bodies_total 3.0" in metrics
        assert sum("in its body" in record.getMessage() for record in caplog.records) == 1

    run(dialogue())
