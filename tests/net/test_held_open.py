"""A client that leaves in mid-stream on purpose, and its replay: as far as it went, and then held open."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from replayproxy.model import Ending
from tests import wire
from tests.apps import exchanges, recording, replaying, run, running
from tests.doubles.upstreams import DONE, Hang, Send, Step, chunk, event, scripted
from tests.net.test_endings import CHAT, MESSAGES, ask, asked, head

HALF = event(1) + event(2) + event(3)
STREAMED = head(b"Transfer-Encoding: chunked\r\n", None) + b"".join(chunk(event(number)) for number in (1, 2, 3))


async def leave_after(connection: wire.Connection, size: int) -> bytes:
    """Read so many bytes of the body, and hang up."""
    await connection.head()
    got = b""
    async for frame in connection.frames():
        got += frame.data
        if len(got) >= size:
            break
    connection.close()
    return got


async def record_one_that_left(cassette: Path, script: tuple[Step, ...] = (Send(STREAMED), Hang())) -> None:
    """A stop button after three events."""
    async with scripted(*script) as server, running(recording(cassette, server.url)) as proxy:
        async with wire.connect(proxy.url) as connection:
            connection.send(asked(CHAT))
            assert await leave_after(connection, len(HALF)) == HALF
            await asyncio.wait_for(server.visits[0].left, 5)


@pytest.mark.parametrize("speed", [None, 1, 10])
def test_a_client_that_leaves_again_where_it_left_sees_no_difference(tmp_path: Path, speed: float | None) -> None:
    """The answer is played as far as it goes and stays open; the same run can be replayed as often as it likes."""
    cassette = tmp_path / "left.cassette"

    async def dialogue() -> None:
        await record_one_that_left(cassette)
        settings = replaying(cassette)
        settings = replace(settings, replaying=replace(settings.replaying, speed=speed))
        async with running(settings) as proxy:
            for _ in range(3):
                async with wire.connect(proxy.url) as connection:
                    connection.send(asked(CHAT))
                    assert await leave_after(connection, len(HALF)) == HALF
            while proxy.app.parts.state.counters.in_flight:
                await asyncio.sleep(0.01)
            assert (
                proxy.app.parts.state.counters.requests["replay"],
                sum(proxy.app.parts.state.counters.misses.values()),
            ) == (
                3,
                0,
            )

    run(dialogue())
    [exchange] = exchanges(cassette)
    assert (exchange.response.ending, exchange.response.body) == (Ending.CLIENT_LEFT, HALF)


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize("speed", [None, 1])
def test_a_client_that_stays_gets_an_unclean_end(tmp_path: Path, speed: float | None, version: bytes) -> None:
    """After `--stall`, and not a moment before; nothing invented."""
    cassette = tmp_path / "left.cassette"

    async def dialogue() -> None:
        await record_one_that_left(cassette)
        settings = replaying(cassette)
        settings = replace(settings, replaying=replace(settings.replaying, speed=speed, stall=0.3))
        async with running(settings) as proxy:
            began = proxy.app.parts.clock.now()
            got = await ask(proxy.url, asked(CHAT), version)
            assert proxy.app.parts.clock.now() - began >= 300_000_000
        assert (got.status, got.body, got.whole) == (200, HALF, False)

    run(dialogue())


@pytest.mark.parametrize("speed", [None, 1])
def test_stopping_does_not_wait_for_an_answer_that_is_held_open(tmp_path: Path, speed: float | None) -> None:
    """SIGTERM with a drain of 25 s, and the client stays: over at once, with an unclean end."""
    cassette = tmp_path / "left.cassette"

    async def dialogue() -> None:
        await record_one_that_left(cassette)
        settings = replaying(cassette)
        settings = replace(settings, replaying=replace(settings.replaying, speed=speed))
        serving = AsyncExitStack()
        proxy = await serving.enter_async_context(running(settings, drain=25))
        async with wire.connect(proxy.url) as connection:
            connection.send(asked(CHAT))
            await connection.head()
            frames = connection.frames()
            for _ in range(3):
                await anext(frames)
            await asyncio.wait_for(serving.aclose(), 5)
            with pytest.raises(wire.Ended):
                await anext(frames)

    run(dialogue())


def test_equal_requests_get_the_one_that_left_in_its_turn(tmp_path: Path) -> None:
    """It counts among the occurrences; one that left before the head does not, and is what a miss then says."""
    cassette = tmp_path / "left.cassette"

    async def dialogue() -> None:
        await record_one_that_left(cassette)
        async with (
            scripted(Send(STREAMED + chunk(DONE) + b"0\r\n\r\n")) as server,
            running(recording(cassette, server.url)) as proxy,
        ):
            assert (await wire.ask(proxy.url, asked(CHAT))).whole
        async with scripted(Hang()) as server, running(recording(cassette, server.url)) as proxy:
            async with wire.connect(proxy.url) as connection:
                connection.send(asked(MESSAGES))
                await server.visited.wait()
                await server.visits[0].arrived.wait()
            await asyncio.wait_for(server.visits[0].left, 5)
        settings = replaying(cassette)
        settings = replace(settings, replaying=replace(settings.replaying, stall=0.1))
        async with running(settings) as proxy:
            answers = [await wire.ask(proxy.url, asked(CHAT)) for _ in range(2)]
            missed = await wire.ask(proxy.url, asked(MESSAGES))
        assert [(answer.body, answer.whole) for answer in answers] == [(HALF, False), (HALF + DONE, True)]
        assert (missed.status, missed.head.get("x-replayproxy-error")) == (404, "incomplete_only")

    run(dialogue())
