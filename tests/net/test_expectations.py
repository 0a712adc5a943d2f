"""`Expect: 100-continue`: a client that was refused before it sent its body is refused so again in replay."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from replayproxy.cassette.checking.verify import verify
from replayproxy.core.policy import Mode
from replayproxy.core.sequence import AtEnd
from replayproxy.model import Request
from replayproxy.settings import Replaying, Settings
from tests import wire
from tests.apps import exchanges, recording, replaying, run, running
from tests.doubles.upstreams import Close, Read, Send, Step, answer, chunk, scripted

REFUSED = answer("405 Method Not Allowed", b"no", b"Allow: GET")
CREATED = answer("201 Created", b"yes")
ASKED_FOR: tuple[Step, ...] = (Send(b"HTTP/1.1 100 Continue\r\n\r\n"), Read(b"hello"), Send(CREATED))

HEADS = {
    "a length": b"PUT /v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    "chunks": b"PUT /v1/files HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nexpect: 100-Continue\r\n\r\n",
}
BODIES = {"a length": b"hello", "chunks": chunk(b"hello") + b"0\r\n\r\n"}


async def put(url: str, form: str) -> tuple[int, bool]:
    """PUT as curl does: the body is sent when it is asked for. Gives the status, and whether it was."""
    async with wire.connect(url) as connection:
        connection.write(HEADS[form])
        heading = asyncio.create_task(connection.head())
        while not heading.done() and 100 not in connection.interim:
            await asyncio.sleep(0.002)
        asked = 100 in connection.interim
        if asked:
            connection.write(BODIES[form])
        return (await heading).status, asked


@pytest.mark.parametrize("form", HEADS)
def test_a_body_that_was_never_sent_is_not_asked_for_in_replay(tmp_path: Path, form: str) -> None:
    """405 live is 405 in replay, again and again; the recording is whole, and sound."""
    cassette = tmp_path / "a.cassette"

    async def dialogue() -> None:
        async with scripted(Send(REFUSED)) as server, running(recording(cassette, server.url)) as proxy:
            assert await put(proxy.url, form) == (405, False)
        (kept,) = exchanges(cassette)
        assert (kept.request.body, kept.request_cut) == (b"", False)
        assert verify(cassette) == (1, [])
        async with running(replaying(cassette)) as proxy:
            for other in HEADS:
                assert await put(proxy.url, other) == (405, False)

    run(dialogue())


@pytest.mark.parametrize("form", HEADS)
def test_a_body_that_was_sent_is_asked_for_in_replay(tmp_path: Path, form: str) -> None:
    """It matches with its body, whether the client then waits to be asked or not."""
    cassette = tmp_path / "a.cassette"

    async def dialogue() -> None:
        async with scripted(*ASKED_FOR) as server, running(recording(cassette, server.url)) as proxy:
            assert await put(proxy.url, form) == (201, True)
        (kept,) = exchanges(cassette)
        assert kept.request.body == b"hello"
        async with running(replaying(cassette)) as proxy:
            assert await put(proxy.url, form) == (201, True)
            assert (await wire.ask(proxy.url, Request("PUT", "/v1/files", (), b"hello"))).status == 201
            assert (await wire.ask(proxy.url, Request("PUT", "/v1/files", (), b"world"))).status == 404

    run(dialogue())


@pytest.mark.parametrize("at_end", [AtEnd.CYCLE, AtEnd.REFUSE])
def test_refused_first_and_taken_then(tmp_path: Path, at_end: AtEnd) -> None:
    """401 without a body and 201 with it, as with credentials at the second try: replayed in this order."""
    cassette = tmp_path / "a.cassette"

    async def dialogue() -> None:
        async with scripted(Send(REFUSED)) as server, running(recording(cassette, server.url)) as proxy:
            assert await put(proxy.url, "a length") == (405, False)
        async with scripted(*ASKED_FOR) as server, running(recording(cassette, server.url)) as proxy:
            assert await put(proxy.url, "a length") == (201, True)
        async with running(replaying(cassette, replaying=Replaying(at_end=at_end))) as proxy:
            assert await put(proxy.url, "a length") == (405, False)
            assert await put(proxy.url, "a length") == (201, True)

    run(dialogue())


def test_a_request_without_a_body_is_another_one(tmp_path: Path) -> None:
    """A recording of an empty PUT never answers one whose body was kept back, nor the other way round."""
    cassette, refused = tmp_path / "a.cassette", tmp_path / "b.cassette"
    empty = Request("PUT", "/v1/files")

    async def dialogue() -> None:
        async with scripted(Send(CREATED)) as server, running(recording(cassette, server.url)) as proxy:
            assert (await wire.ask(proxy.url, empty)).status == 201
        async with running(replaying(cassette)) as proxy:
            assert await put(proxy.url, "a length") == (404, True)
        async with scripted(Send(REFUSED)) as server, running(recording(refused, server.url)) as proxy:
            assert await put(proxy.url, "a length") == (405, False)
        async with running(replaying(refused)) as proxy:
            assert (await wire.ask(proxy.url, empty)).status == 404
            expecting = Request("PUT", "/v1/files", (("Expect", "100-continue"), ("Content-Length", "0")))
            assert (await wire.ask(proxy.url, expecting)).status == 404

    run(dialogue())


def test_auto_records_what_has_no_recording_left(tmp_path: Path) -> None:
    """Played once, then the body is asked for and sent to the server."""
    cassette = tmp_path / "a.cassette"

    async def dialogue() -> None:
        async with scripted(Send(REFUSED)) as server, running(recording(cassette, server.url)) as proxy:
            assert await put(proxy.url, "a length") == (405, False)
        async with scripted(Read(b"hello"), Send(CREATED), Close()) as server:
            async with running(Settings(Mode.AUTO, (cassette,), server.url)) as proxy:
                assert await put(proxy.url, "a length") == (405, False)
                assert await put(proxy.url, "a length") == (201, True)
            assert b"expect" not in server.heard.lower()

    run(dialogue())
