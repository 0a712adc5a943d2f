"""Nothing of a client's bytes is quoted: not in an answer, not in the log, on neither port, whoever would say it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from replayproxy.cli.terminal.messages import speaking
from replayproxy.model import Request
from tests import wire
from tests.apps import recording, replaying, run, running
from tests.doubles.upstreams import Send, answer, scripted

KEY = b"q7Zp3vXw9Rk2Lm5T"
"""Of no known shape: only who quotes nothing does not quote it."""

REFUSED: dict[str, bytes] = {
    "version": b"GET /v1/x?api_key=" + KEY + b" HTTP/9.9\r\nHost: x\r\n\r\n",
    "request line": b"GET /v1/x?api_key=" + KEY + b"\r\n\r\n",
    "line ends": b"GET /v1/x HTTP/1.1\nAuthorization: Bearer " + KEY + b"\n\n",
    "method": KEY + b" / HTTP/1.1\r\nHost: x\r\n\r\n",
    "field": b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization : Bearer " + KEY + b"\r\n\r\n",
    "name": b"GET / HTTP/1.1\r\nHost: x\r\n(" + KEY + b"): a\r\n\r\n",
    "length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + KEY + b"\r\n\r\n",
    "coding": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: " + KEY + b"\r\n\r\n",
    "host": b"GET / HTTP/1.1\r\nHost: " + KEY + b"@x\r\n\r\n",
    "target": b"GET ftp://user:" + KEY + b"@x/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "another host": b"GET http://" + KEY + b".example/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT": b"CONNECT " + KEY + b":443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "expectation": b"POST / HTTP/1.1\r\nHost: x\r\nExpect: " + KEY + b"\r\nContent-Length: 1\r\n\r\n",
    "chunk": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + KEY + b"\r\n",
    "too long": b"GET /" + KEY * 10_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "noise": KEY + b"\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00" + KEY,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + KEY,
}


def everything_said(folder: Path, *, admin: bool) -> bytes:
    """By the port, to all of them."""

    async def dialogue() -> bytes:
        said = b""
        async with (
            scripted(Send(answer("200 OK", b"{}")), again=True) as server,
            running(recording(folder / "a.cassette", server.url), admin=True) as proxy,
        ):
            url = proxy.admin_url if admin else proxy.url
            assert url is not None
            for name, sent in REFUSED.items():
                async with wire.connect(url) as connection:
                    connection.write(sent)
                    got, _ = await asyncio.wait_for(connection.rest(), 10)
                    assert got.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")), (name, got)
                    assert b'"message":"' in got, (name, got)
                    said += got
            assert proxy.admin_url is not None
            metrics = (await wire.ask(proxy.admin_url, wire.get("/metrics"))).body
            for code in ("malformed_request", "http2", "forward_proxy", "connect", "tls_on_plain_port"):
                assert b'replayproxy_refused_total{code="%b"}' % code.encode() in metrics
        return said + metrics

    return run(dialogue())


@pytest.mark.parametrize("admin", [False, True], ids=["data port", "admin port"])
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_refusal_is_a_sentence_without_the_request(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], admin: bool, form: str
) -> None:
    """To the client and on the log, which has a line per kind, and no traceback; each kind is counted."""
    with speaking(form):
        said = everything_said(tmp_path, admin=admin)
        logging.getLogger("quart.app").error("Exception on request GET /%s", KEY.decode())
        logging.getLogger("asyncio").error("Task exception was never retrieved\nValueError(%r)", KEY)
        try:
            raise ValueError(KEY)
        except ValueError as error:
            logging.getLogger("replayproxy.server").error("a request failed", exc_info=error)
    logged = capfd.readouterr().err
    assert KEY not in said
    assert KEY.decode() not in logged
    assert KEY.decode()[:8] not in logged
    assert logged.count("a request was refused") == len(
        {"malformed", "505", "2", "host", "connect", "417", "414", "tls"}
    )
    assert "ValueError" in logged


def test_what_the_admin_port_does_not_know_it_does_not_repeat(tmp_path: Path) -> None:
    """A path, a miss, a name, an origin."""
    key = KEY.decode()

    async def dialogue() -> bytes:
        async with (
            scripted(Send(answer("200 OK", b"{}"))) as server,
            running(recording(tmp_path / "a.cassette", server.url)) as proxy,
        ):
            await wire.ask(proxy.url, wire.get("/v1/models"))
        said = b""
        async with running(replaying(tmp_path / "a.cassette"), admin=True) as proxy:
            assert proxy.admin_url is not None
            for request in (
                wire.get(f"/{key}"),
                wire.get(f"/misses/{key}"),
                wire.get("/report", ("Host", f"{key}.example")),
                Request("POST", "/reset", (("Origin", f"http://{key}.example"),)),
                Request("PUT", f"/health?{key}"),
            ):
                got = await wire.ask(proxy.admin_url, request)
                assert got.status in (403, 404, 405)
                said += got.body
        return said

    assert KEY not in run(dialogue())
