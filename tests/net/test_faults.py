"""What every fault of a server gets: the client sees the bytes that arrived and an unclean end, nothing invented; the
exchange is marked; replay refuses it. Before the head: 502 or 504 with an OpenAI error body.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest

from replayproxy.model import Ending
from tests import wire
from tests.apps import endings, exchanges, recording, replaying, run, running
from tests.doubles.upstreams import (
    DONE,
    STREAM,
    STREAM_TO_EOF,
    Close,
    Hang,
    Reset,
    Send,
    Step,
    answer,
    chunk,
    event,
    scripted,
    stream,
)
from tests.unused_ports import refusing_port

CHAT = wire.post("/v1/chat/completions", {"model": "tiny", "messages": [], "stream": True})

EVENTS = chunk(event(1)) + chunk(event(2))
BODY = event(1) + event(2)

BROKEN: list[tuple[str, tuple[Step, ...], bytes, Ending]] = [
    ("closes between chunks", (Send(STREAM + EVENTS), Close()), BODY, Ending.UPSTREAM_CUT),
    ("resets between chunks", (Send(STREAM + EVENTS), Reset()), BODY, Ending.UPSTREAM_CUT),
    ("closes within a chunk", (Send(STREAM + EVENTS + b"20\r\nhalf"), Close()), BODY + b"half", Ending.UPSTREAM_CUT),
    ("resets within a chunk", (Send(STREAM + EVENTS + b"20\r\nhalf"), Reset()), BODY + b"half", Ending.UPSTREAM_CUT),
    ("closes after [DONE]", (Send(STREAM + EVENTS + chunk(DONE)), Close()), BODY + DONE, Ending.UPSTREAM_CUT),
    ("sends garbage", (Send(STREAM + EVENTS + b"zzz\r\nwhat\r\n"), Hang()), BODY, Ending.UPSTREAM_CUT),
    ("sends a bare LF", (Send(STREAM + EVENTS + b"4\nwhat\n"), Hang()), BODY, Ending.UPSTREAM_CUT),
    ("stalls", (Send(STREAM + EVENTS), Hang()), BODY, Ending.TIMEOUT),
    ("ends a stream at EOF without [DONE]", (Send(STREAM_TO_EOF + BODY), Close()), BODY, Ending.UPSTREAM_CUT),
    ("resets a stream that ends at EOF", (Send(STREAM_TO_EOF + BODY), Reset()), BODY, Ending.UPSTREAM_CUT),
    (
        "is short of its length",
        (Send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{}"), Close()),
        b"{}",
        Ending.UPSTREAM_CUT,
    ),
]


def patience(script: tuple[Step, ...]) -> float:
    """A timeout in seconds: short where the script falls silent, else longer than a busy machine ever takes."""
    return 0.5 if any(isinstance(step, Hang) for step in script) else 30


@pytest.mark.parametrize(("script", "body", "ending"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_a_broken_answer_is_passed_on_as_far_as_it_came_and_never_replayed(
    tmp_path: Path, script: tuple[Step, ...], body: bytes, ending: Ending
) -> None:
    """The client gets every byte that arrived, then an unclean end; replay answers 404 `incomplete_only`."""
    cassette = tmp_path / "broken.cassette"

    async def dialogue() -> None:
        async with (
            scripted(*script) as server,
            running(recording(cassette, server.url, stall_timeout=patience(script))) as proxy,
        ):
            got = await wire.ask(proxy.url, CHAT)
        assert (got.status, got.body, got.whole) == (200, body, False)
        assert endings(cassette) == [ending]
        assert exchanges(cassette)[0].response.body == body
        async with running(replaying(cassette)) as proxy:
            refused = await wire.ask(proxy.url, CHAT)
        assert refused.status == 404
        assert orjson.loads(refused.body)["error"]["code"] == "incomplete_only"
        assert refused.head.get("x-should-retry") == "false"

    run(dialogue())


def test_incomplete_answers_break_again_at_the_same_byte_when_they_are_allowed(tmp_path: Path) -> None:
    """`--allow-incomplete` plays the bytes, with their boundaries, and the unclean end."""
    cassette = tmp_path / "broken.cassette"

    async def dialogue() -> None:
        async with (
            scripted(Send(STREAM + EVENTS + b"20\r\nhalf"), Reset()) as server,
            running(recording(cassette, server.url)) as proxy,
        ):
            await wire.ask(proxy.url, CHAT)
        settings = replaying(cassette)
        settings = type(settings)(
            settings.mode, settings.cassettes, replaying=type(settings.replaying)(allow_incomplete=True)
        )
        async with running(settings) as proxy:
            got = await wire.ask(proxy.url, CHAT)
        assert (got.body, got.whole) == (BODY + b"half", False)
        assert [frame.data for frame in got.frames] == [event(1), event(2), b"half"]

    run(dialogue())


GARBLED = (502, "upstream_garbled", Ending.UPSTREAM_CUT)
TWO_LENGTHS = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
UNASKED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
LONG = b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 300_000 + b"\r\n\r\n"

BEFORE_THE_HEAD: list[tuple[str, tuple[Step, ...], int, str, Ending]] = [
    ("closes", (Close(),), *GARBLED),
    ("resets", (Reset(),), *GARBLED),
    ("closes within the head", (Send(b"HTTP/1.1 200 OK\r\nConte"), Close()), *GARBLED),
    ("speaks SSH", (Send(b"SSH-2.0-OpenSSH_9.2\r\n"), Hang()), *GARBLED),
    ("has a length and chunks", (Send(TWO_LENGTHS), Hang()), *GARBLED),
    ("has a head without end", (Send(LONG), Hang()), *GARBLED),
    ("switches protocols unasked", (Send(UNASKED), Hang()), *GARBLED),
    ("is silent", (Hang(),), 504, "upstream_timeout", Ending.TIMEOUT),
]


@pytest.mark.parametrize(
    ("script", "status", "code", "ending"),
    [row[1:] for row in BEFORE_THE_HEAD],
    ids=[row[0] for row in BEFORE_THE_HEAD],
)
def test_a_failure_before_the_head_is_an_openai_error(
    tmp_path: Path, script: tuple[Step, ...], status: int, code: str, ending: Ending
) -> None:
    """502 or 504, `X-Replayproxy-Error`, an error body; the exchange is marked; the connection serves on."""
    cassette = tmp_path / "failed.cassette"

    async def dialogue() -> None:
        async with (
            scripted(*script) as server,
            running(recording(cassette, server.url, upstream_timeout=patience(script))) as proxy,
            wire.connect(proxy.url) as connection,
        ):
            got = await connection.ask(CHAT)
            again = await connection.ask(CHAT)
        assert (got.status, got.whole, got.head.get("x-replayproxy-error")) == (status, True, code)
        assert orjson.loads(got.body)["error"]["code"] == code
        assert again.status == status
        assert endings(cassette) == [ending, ending]

    run(dialogue())


def test_nobody_listening_is_a_502_that_names_the_upstream(tmp_path: Path) -> None:
    """A refused connection gets a sentence with the URL and what to do."""

    async def dialogue(url: str) -> None:
        async with running(recording(tmp_path / "a.cassette", url)) as proxy:
            got = await wire.ask(proxy.url, CHAT)
        assert (got.status, got.head.get("x-replayproxy-error")) == (502, "upstream_unreachable")
        assert url in got.body.decode()

    with refusing_port() as port:
        run(dialogue(f"http://127.0.0.1:{port}"))


def test_a_stream_cut_at_any_byte_is_never_complete(tmp_path: Path) -> None:
    """Whatever the byte at which a server dies, the client gets exactly those bytes of the body and no clean end."""
    whole = stream(2)
    begin = len(STREAM)
    cassette = tmp_path / "cut.cassette"

    async def cut(at: int) -> None:
        async with scripted(Send(whole[:at]), Close()) as server, running(recording(cassette, server.url)) as proxy:
            got = await wire.ask(proxy.url, CHAT)
        assert not got.whole, at
        assert (event(0) + event(1) + DONE).startswith(got.body), at

    for at in range(begin, len(whole), 7):
        run(cut(at))
    assert set(endings(cassette)) == {Ending.UPSTREAM_CUT}


def test_an_eof_delimited_stream_with_its_terminal_event_is_complete_even_after_a_reset(tmp_path: Path) -> None:
    """`[DONE]` says that everything was said; how the connection then ends does not matter."""
    cassette = tmp_path / "eof.cassette"

    async def dialogue() -> None:
        for ending in (Close(), Reset()):
            async with (
                scripted(Send(STREAM_TO_EOF + BODY + DONE), ending) as server,
                running(recording(cassette, server.url)) as proxy,
            ):
                got = await wire.ask(proxy.url, CHAT)
            assert (got.body, got.whole) == (BODY + DONE, True)
        assert endings(cassette) == [Ending.COMPLETE, Ending.COMPLETE]

    run(dialogue())


def test_http_10_clients_get_a_reset_where_a_close_would_look_complete(tmp_path: Path) -> None:
    """A body that ends with the connection has no framing: after a cut only RST tells."""

    async def dialogue() -> None:
        async with (
            scripted(Send(STREAM + EVENTS), Reset()) as server,
            running(recording(tmp_path / "old.cassette", server.url)) as proxy,
            wire.connect(proxy.url) as connection,
        ):
            connection.write(b"POST /v1/chat/completions HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}")
            got = await connection.answer()
        assert (got.framing, got.whole, got.ending) == ("eof", False, "reset")

    run(dialogue())


def test_errors_of_the_server_pass_unchanged(tmp_path: Path) -> None:
    """429 with its Retry-After is the server's word: passed on, recorded, replayed, and not asked again."""
    cassette = tmp_path / "busy.cassette"
    busy = answer("429 Too Many Requests", b'{"error":{"message":"slow down"}}', b"Retry-After: 2")

    async def dialogue() -> None:
        async with scripted(Send(busy), again=True) as server, running(recording(cassette, server.url)) as proxy:
            live = await wire.ask(proxy.url, CHAT)
        assert len(server.visits) == 1
        async with running(replaying(cassette)) as proxy:
            again = await wire.ask(proxy.url, CHAT)
        for got in (live, again):
            assert (got.status, got.head.get("retry-after"), got.body) == (
                429,
                "2",
                b'{"error":{"message":"slow down"}}',
            )
            assert got.head.get("x-replayproxy-error") is None

    run(dialogue())


def test_bytes_behind_an_answer_poison_the_connection(tmp_path: Path) -> None:
    """What nobody asked for must not become the next client's answer."""
    poisoned = answer("200 OK", b"{}") + answer("200 OK", b'{"of":"somebody else"}')

    async def dialogue() -> None:
        async with (
            scripted(Send(poisoned), again=True) as server,
            running(recording(tmp_path / "p.cassette", server.url)) as proxy,
        ):
            bodies = [(await wire.ask(proxy.url, CHAT)).body for _ in range(3)]
        assert bodies == [b"{}"] * 3
        assert len(server.visits) == 3

    run(dialogue())


@pytest.mark.parametrize("how", ["closes", "resets"])
@pytest.mark.parametrize("when", ["before the first byte", "mid-stream"])
def test_a_client_that_leaves_closes_the_upstream_request_at_once(tmp_path: Path, how: str, when: str) -> None:
    """The server sees its client gone, also before it has said a byte; the exchange is marked. A busy machine may need
    ten times the 250 ms that `tests/live/test_departure.py` measures."""
    cassette = tmp_path / "left.cassette"
    script: tuple[Step, ...] = (Send(STREAM + EVENTS), Hang()) if when == "mid-stream" else (Hang(),)

    async def dialogue() -> None:
        async with scripted(*script) as server, running(recording(cassette, server.url)) as proxy:
            async with wire.connect(proxy.url) as connection:
                connection.send(CHAT)
                if when == "mid-stream":
                    await connection.head()
                await server.visited.wait()
                await server.visits[0].arrived.wait()
                left_at = proxy.app.parts.clock.now()
                connection.close() if how == "closes" else connection.reset()
                seen_at = await asyncio.wait_for(server.visits[0].left, 5)
            assert (seen_at - left_at) / 1e6 < 2500
        assert endings(cassette) == [Ending.CLIENT_LEFT]

    run(dialogue())
