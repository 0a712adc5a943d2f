"""Recording must never hurt traffic: a full disk, a dead writer, a queue without room. Every client gets its answer."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from replayproxy.model import Ending, Request
from replayproxy.settings import RecordingSettings
from tests import wire
from tests.apps import Running, endings, exchanges, recording, replaying, run, running
from tests.doubles.upstreams import DONE, Hang, Send, chunk, scripted, stream


def _chat(number: int, size: int = 10) -> Request:
    return wire.post(
        "/v1/chat/completions", {"stream": True, "n": number, "messages": random.Random(number).randbytes(size).hex()}
    )


async def _ready(proxy: Running) -> dict[str, object]:
    assert proxy.admin_url is not None
    said: dict[str, object] = orjson.loads((await wire.ask(proxy.admin_url, wire.get("/ready"))).body)
    return said


async def _until_ready_says(proxy: Running, status: str) -> dict[str, object]:
    async with asyncio.timeout(10):
        while (said := await _ready(proxy))["status"] != status:
            await asyncio.sleep(0.05)
    return said


def test_a_full_disk_degrades_recording_and_nothing_else_and_heals_by_itself(tmp_path: Path) -> None:
    """Requests succeed while SQLite says that the disk is full; `/ready` says so; what waited is written later."""
    cassette = tmp_path / "full.cassette"

    async def dialogue() -> None:
        async with scripted(Send(stream(5)), again=True) as server:
            async with running(recording(cassette, server.url), admin=True) as proxy:
                assert (await _ready(proxy))["status"] == "ready"
                assert proxy.app.parts.recording is not None
                database = proxy.app.parts.recording.cassette_writer._connection
                database.execute("PRAGMA max_page_count = 30")  # SQLite's own way to say SQLITE_FULL
                for number in range(20):
                    got = await wire.ask(proxy.url, _chat(number, size=20_000 if number < 10 else 10))
                    assert (got.status, got.whole) == (200, True)
                said = await _until_ready_says(proxy, "degraded")
                assert "full" in str(said["reasons"])
                database.execute("PRAGMA max_page_count = 1000000")
                await _until_ready_says(proxy, "ready")
        assert endings(cassette) == [Ending.COMPLETE] * 20

    run(dialogue())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dead_writer_loses_recordings_and_no_answers(tmp_path: Path) -> None:
    """A thread that is gone is degraded, what comes is counted as dropped, and clients do not notice."""

    async def dialogue() -> None:
        async with scripted(Send(stream(5)), again=True) as server:
            async with running(recording(tmp_path / "dead.cassette", server.url), admin=True) as proxy:
                assert proxy.app.parts.recording is not None
                writer = proxy.app.parts.recording.writer_thread
                proxy.app.parts.recording.cassette_writer.begin = _die  # type: ignore[method-assign]  # a fault that cannot be asked for
                await wire.ask(proxy.url, _chat(99))
                await asyncio.to_thread(writer._thread.join)
                for number in range(5):
                    got = await wire.ask(proxy.url, _chat(number))
                    assert (got.status, got.whole) == (200, True)
                assert (await _ready(proxy))["status"] == "degraded"
                assert sum(writer.dropped.values()) == 5

    run(dialogue())


def test_a_full_queue_drops_whole_exchanges_and_counts_them(tmp_path: Path) -> None:
    """What does not fit is not on the cassette at all, and the cassette says how many there were."""
    cassette = tmp_path / "drops.cassette"

    async def dialogue() -> None:
        async with scripted(Send(stream(60)), again=True) as server:
            async with running(recording(cassette, server.url, recording=RecordingSettings(queue_bytes=5000))) as proxy:
                for number in range(5):
                    got = await wire.ask(proxy.url, _chat(number))
                    assert got.whole
                assert proxy.app.parts.recording is not None
                assert dict(proxy.app.parts.recording.writer_thread.dropped) == {"queue full": 5}
        assert exchanges(cassette) == []

    run(dialogue())


def test_sigterm_lets_answers_finish_and_marks_what_it_cuts(tmp_path: Path) -> None:
    """Within the drain an answer ends well; after it the client sees an unclean end and the tape says why."""
    cassette = tmp_path / "drain.cassette"

    async def dialogue() -> None:
        async with (
            scripted(Send(stream(3)[: -5 - len(chunk(DONE))]), Hang()) as server,
            running(recording(cassette, server.url), drain=0.2) as proxy,
            wire.connect(proxy.url) as connection,
        ):
            connection.send(_chat(1))
            await connection.head()
            stopping = asyncio.create_task(proxy.app.stop())
            got = [frame.data async for frame in _frames(connection)]
            await stopping
        assert len(got) == 3
        assert not connection.whole
        assert endings(cassette) == [Ending.PROXY_STOPPED]

    run(dialogue())


def _die() -> None:
    raise SystemExit  # what no thread survives


async def _frames(connection: wire.Connection) -> AsyncIterator[wire.Frame]:
    try:
        async for frame in connection.frames():
            yield frame
    except wire.Ended:
        return


def test_equal_requests_walk_their_recordings_and_replay_opens_no_connection(tmp_path: Path) -> None:
    """Recorded 1, 2, 3: played 1, 2, 3 and, by default, 1 again; the server is never asked."""
    cassette = tmp_path / "again.cassette"

    async def dialogue() -> None:
        async with scripted(Send(stream(2)), again=True) as server:
            async with running(recording(cassette, server.url)) as proxy:
                for _ in range(3):
                    await wire.ask(proxy.url, _chat(1))
            visits = len(server.visits)
            async with running(replaying(cassette)) as proxy:
                for _ in range(4):
                    assert (await wire.ask(proxy.url, _chat(1))).status == 200
                assert (await wire.ask(proxy.url, _chat(2))).status == 404
            assert len(server.visits) == visits

    run(dialogue())
