"""A server answers and closes before it has read an upload: the recording has the whole request, or says it has not."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from replayproxy.cassette.reader import CassetteReader
from replayproxy.core.policy import Mode
from replayproxy.model import Ending, Exchange, Request
from replayproxy.settings import Pair, Settings
from tests import wire
from tests.apps import exchanges, recording, replaying, run, running
from tests.doubles.upstreams import Hang, Read, Send, answer, chunk, scripted
from tests.processes import replayproxy

SIZE = 1_000_025
FILE = bytes(range(256)) * (SIZE // 256) + b"x" * (SIZE % 256)
REFUSED = b"HTTP/1.1 413 Too Large\r\nContent-Type: text/plain\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnope"
UPLOAD = Request("POST", "/v1/files", (("Content-Type", "application/octet-stream"),), FILE)


@asynccontextmanager
async def refusing(
    *, read: int = 0, reset: bool = False, delay: float = 0, answer: bytes = REFUSED
) -> AsyncIterator[str]:
    """A server that reads `read` bytes of a body, answers, and closes with the rest unread (so by RST), or resets."""
    open_ones: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_ones.add(task)
        try:
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(read)
            await asyncio.sleep(delay)
            writer.write(answer)
            await writer.drain()
            if reset:
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        finally:
            writer.transport.abort() if reset else writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, limit=4096)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()
        for task in open_ones:
            task.cancel()
        await asyncio.gather(*open_ones, return_exceptions=True)
        await asyncio.sleep(0)


def as_length(body: bytes) -> bytes:
    """The upload with a length."""
    return b"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def as_chunks(body: bytes) -> bytes:
    """The same in chunks."""
    head = b"POST /v1/files HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = [chunk(body[at : at + 50_000]) for at in range(0, len(body), 50_000)]
    return head + b"".join(pieces) + b"0\r\n\r\n"


async def upload_slowly(connection: wire.Connection, data: bytes, size: int = 20_000) -> None:
    """Send it in many writes, with turns of the loop between them."""
    for at in range(0, len(data), size):
        connection.write(data[at : at + size])
        await asyncio.sleep(0.001)


def only(cassette: Path) -> Exchange:
    """The one exchange of a cassette."""
    (exchange,) = exchanges(cassette)
    return exchange


@pytest.mark.parametrize("form", [as_length, as_chunks], ids=["a length", "chunks"])
@pytest.mark.parametrize("read", [0, 300_000], ids=["unread", "read in part"])
@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
def test_an_upload_that_is_refused_early_is_recorded_whole_and_found_again(
    tmp_path: Path, form: object, read: int, reset: bool
) -> None:
    """The client has its 413 whole, the recording the whole body; replay answers the same request with it."""
    assert callable(form)
    cassette = tmp_path / "a.cassette"

    async def dialogue() -> None:
        async with (
            refusing(read=read, reset=reset, delay=0.02 if reset else 0) as server,
            running(recording(cassette, server)) as proxy,
            wire.connect(proxy.url) as connection,
        ):
            sending = asyncio.create_task(upload_slowly(connection, form(FILE)))
            got = await connection.answer()
            assert (got.status, got.body, got.whole) == (413, b"nope", True)
            await sending
        kept = only(cassette)
        assert (kept.request.body, kept.request_cut) == (FILE, False)
        assert kept.response.ending is Ending.COMPLETE
        async with running(replaying(cassette)) as proxy:
            again = await wire.ask(proxy.url, UPLOAD)
        assert (again.status, again.body) == (413, b"nope")

    run(dialogue())


def test_a_client_that_stops_sending_leaves_a_recording_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes its answer and sends nothing more, but stays: it is waited for until it has been silent for too long."""
    monkeypatch.setattr("replayproxy.net.sending.REST_PATIENCE", 0.2)
    assert_cut(tmp_path, as_length(FILE)[:500_000], leaves=False)


def test_a_client_that_pauses_its_upload_is_not_a_silent_server(tmp_path: Path) -> None:
    """`--upstream-timeout` counts from when the request is sent whole."""

    async def dialogue() -> None:
        async with (
            scripted(Read(b"the end"), Send(answer("200 OK", b"ok"))) as server,
            running(recording(tmp_path / "a.cassette", server.url, upstream_timeout=1.0)) as proxy,
            wire.connect(proxy.url) as connection,
        ):
            connection.write(as_length(b"the beginning, the end")[:-8])
            await asyncio.sleep(1.5)
            connection.write(b" the end")
            got = await connection.answer()
            assert (got.status, got.body) == (200, b"ok")

    run(dialogue())


def test_a_server_that_stays_silent_after_an_upload_is_given_up(tmp_path: Path) -> None:
    """The same time-out, once it is the server's turn."""

    async def dialogue() -> None:
        async with (
            scripted(Read(b"the end"), Hang()) as server,
            running(recording(tmp_path / "a.cassette", server.url, upstream_timeout=0.2)) as proxy,
            wire.connect(proxy.url) as connection,
        ):
            connection.write(as_length(b"the beginning, the end"))
            got = await connection.answer()
            assert (got.status, got.head.get("x-replayproxy-error")) == (504, "upstream_timeout")

    run(dialogue())


def test_an_upload_above_the_bound_leaves_a_recording_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound is at least 8 MB; here it is lower."""
    monkeypatch.setattr("replayproxy.net.sending.REST", 100_000)
    assert_cut(tmp_path, as_length(FILE), leaves=False)


def assert_cut(tmp_path: Path, sent: bytes, *, leaves: bool) -> None:
    """Record; what was kept of the request is marked, is a beginning of it, and answers nothing in replay."""
    cassette = tmp_path / "a.cassette"

    async def dialogue() -> None:
        async with refusing() as server, running(recording(cassette, server)) as proxy:
            async with wire.connect(proxy.url) as connection:
                sending = asyncio.create_task(upload_slowly(connection, sent))
                got = await connection.answer()
                assert (got.status, got.body) == (413, b"nope")
                if not leaves:
                    await asyncio.gather(sending, return_exceptions=True)
                    await asyncio.sleep(0.3)
                sending.cancel()
        kept = only(cassette)
        assert kept.request_cut
        assert FILE.startswith(kept.request.body)
        assert len(kept.request.body) < SIZE
        assert kept.response.status == 413
        async with running(replaying(cassette)) as proxy:
            for body in (FILE, kept.request.body):
                missed = await wire.ask(proxy.url, Request("POST", "/v1/files", UPLOAD.headers, body))
                assert missed.status == 404
                assert b"one recording of this endpoint matches nothing: the request was cut" in missed.body

    run(dialogue())


def test_ls_show_and_verify_say_that_a_request_was_cut(tmp_path: Path) -> None:
    """Of a client that hangs up as soon as it has its answer, as curl does. It is no damage: `verify` ends with 0."""
    assert_cut(tmp_path, as_length(FILE)[:500_000], leaves=True)
    cassette = tmp_path / "a.cassette"
    with CassetteReader(cassette) as opened:
        (row,) = opened.rows()
    for arguments in (["ls", cassette], ["show", cassette, row["id"]], ["verify", cassette]):
        ran = replayproxy(*arguments)
        assert (ran.returncode, "cut" in ran.stdout) == (0, True), ran


@pytest.mark.parametrize("role", ["prefill", "decode"])
def test_a_pair_whose_server_refuses_early_records_the_whole_request(tmp_path: Path, role: str) -> None:
    """Both legs are made of the whole body, so it is known whichever of them fails; it is found again in replay."""
    cassette = tmp_path / "a.cassette"
    body = b'{"prompt":"' + b"x" * SIZE + b'"}'
    sent = (
        b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(body) + b"0\r\n\r\n"
    )

    async def dialogue() -> None:
        good = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
        async with refusing() as bad, refusing(read=SIZE, answer=good) as fine:
            urls = {"prefill": fine, "decode": fine} | {role: bad}
            pair = Pair(prefill=(urls["prefill"],), decode=(urls["decode"],), protocol="plain")
            async with running(Settings(Mode.RECORD, (cassette,), pair=pair)) as proxy, wire.connect(proxy.url) as one:
                sending = asyncio.create_task(upload_slowly(one, sent))
                assert (await one.answer()).status == 413
                await sending
        kept = only(cassette)
        assert (kept.request.body, kept.request_cut) == (body, False)
        async with running(replaying(cassette)) as proxy:
            again = await wire.ask(proxy.url, Request("POST", "/v1/completions", (), body))
        assert (again.status, again.body) == (413, b"nope")

    run(dialogue())
