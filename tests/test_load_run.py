"""Recordings driven at a real server over sockets, onto a new cassette that `compare` joins with the first."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from replayproxy.cassette.browse import CassetteBrowser
from replayproxy.drive.changes import RequestChanges
from replayproxy.drive.driver import Driver
from replayproxy.drive.plan import PlanOptions, plan_of
from replayproxy.errors import SettingsError, UpstreamUnreachable
from replayproxy.load_run import (
    LoadResult,
    LoadRun,
    Stopping,
    drive,
    is_loopback,
    read_turns,
    refuse_existing,
)
from replayproxy.model import Ending
from replayproxy.net.clock import SystemClock
from replayproxy.net.pool import MOST_IDLE
from replayproxy.net.upstream import HttpUpstream
from replayproxy.views.comparison import ComparisonPolicy, compare_run, judge
from replayproxy.views.joining import joined_by_source
from replayproxy.views.port import EVERYTHING
from tests.apps import endings, exchanges, replaying, run, running
from tests.cli.tapes import chat, writing
from tests.doubles.upstreams import Hang, Send, scripted

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"


def recorded(path: Path, *prompts: str) -> Path:
    """A cassette with a chat per prompt, 20 ms apart."""
    with writing(path) as keep:
        keep(*(chat(prompt, started=20 * place, at=[1, 2, 3]) for place, prompt in enumerate(prompts)))
    return path


def load_run(cassette: Path, upstream: str, output: Path | None = None, **more: Any) -> LoadRun:
    """A run at twice the speed."""
    turns, _ = read_turns(cassette, EVERYTHING, lambda *_: None)
    plan = plan_of(turns, PlanOptions(speed=2))
    return LoadRun(cassette, upstream, plan, RequestChanges("r"), output=output, **more)


def test_a_run_is_recorded_and_compares_equal(tmp_path: Path) -> None:
    """Against a replay of the recording itself: every answer the same, joined by what the driver noted."""
    first, second = recorded(tmp_path / "a.cassette", "one", "two", "three", "one"), tmp_path / "b.cassette"
    shown: list[Driver] = []

    async def whole() -> LoadResult:
        async with running(replaying(first)) as server:
            return await drive(
                load_run(first, server.url, second, notes={"drive": {"run": "r"}}), Stopping(), shown.append
            )

    result = run(whole())
    assert result.summary.outcomes == {"ok": 4}
    assert result.summary.verdict[0] in (0, 9)  # 9: this machine was too busy for its times to count
    assert [one.planned.place for one in result.requests] == [0, 1, 2, 3]
    assert len(shown) == 1
    with CassetteBrowser.open(first) as one, CassetteBrowser.open(second) as other:
        pairing = joined_by_source(one, other)
        comparison = compare_run(("a", "b"), pairing, one, other)
        assert other.summary().meta["drive"] == '{"run":"r"}'
    assert (len(pairing.pairs), len(pairing.missing), len(pairing.extra)) == (4, 0, 0)
    assert pairing.noted  # equal exchanges have one id, and are joined by key and occurrence
    assert judge([comparison], ComparisonPolicy()).exit_code == 0
    ids = {dict(exchange.request.headers)["X-Request-Id"] for exchange in exchanges(second)}
    assert ids == {f"rp-r-{place}-0" for place in range(4)}


def test_credentials_are_sent_and_not_recorded(tmp_path: Path) -> None:
    """They are not on the new cassette, in no spelling."""
    first, second = recorded(tmp_path / "a.cassette", "one"), tmp_path / "b.cassette"
    heard: list[bytes] = []

    async def whole() -> None:
        async with scripted(Send(HEAD), Send(b"0\r\n\r\n")) as server:
            fields = (("Authorization", "Bearer sk-not-for-disk-0123456789"),)
            await drive(load_run(first, server.url, second, fields=fields), Stopping(), lambda _: None)
            heard.extend(bytes(visit.heard) for visit in server.visits)

    run(whole())
    assert any(b"Authorization: Bearer sk-not-for-disk-0123456789" in one for one in heard)
    assert b"sk-not-for-disk" not in second.read_bytes()
    assert all(name.lower() != "authorization" for one in exchanges(second) for name, _ in one.request.headers)


def test_an_interrupted_run_keeps_what_it_has(tmp_path: Path) -> None:
    """The first signal waits for the grace time, then the answer is cut, and marked as cut by us."""
    first, second = recorded(tmp_path / "a.cassette", "one", "two"), tmp_path / "b.cassette"

    async def whole() -> LoadResult:
        async with scripted(Send(HEAD), Hang()) as server:
            stopping = Stopping()

            def started(driver: Driver) -> None:
                async def interrupt() -> None:
                    while driver.in_flight < 2:  # noqa: ASYNC110  the driver tells nobody
                        await asyncio.sleep(0.01)
                    await asyncio.gather(*(visit.arrived.wait() for visit in server.visits))
                    stopping.receive(2)

                tasks.append(asyncio.create_task(interrupt()))

            tasks: list[asyncio.Task[None]] = []
            return await drive(load_run(first, server.url, second, grace=0.05), stopping, started)

    result = run(whole())
    assert result.summary.outcomes == {"cancelled": 2}
    assert result.summary.verdict == (9, "the run was interrupted")
    assert endings(second) == [Ending.PROXY_STOPPED, Ending.PROXY_STOPPED]


def test_no_server_and_no_file(tmp_path: Path) -> None:
    """Nothing is left of a run that could not begin."""
    first, second = recorded(tmp_path / "a.cassette", "one"), tmp_path / "b.cassette"
    with pytest.raises(UpstreamUnreachable, match="nobody answers"):
        run(drive(load_run(first, "http://127.0.0.1:9", second), Stopping(), lambda _: None))
    assert not second.exists()


def test_a_run_needs_a_file_of_its_own(tmp_path: Path) -> None:
    """Neither the recording nor another run."""
    first = recorded(tmp_path / "a.cassette", "one")
    with pytest.raises(SettingsError, match="the recording itself"):
        refuse_existing(first, first)
    other = recorded(tmp_path / "b.cassette", "one")
    with pytest.raises(SettingsError, match="there already"):
        refuse_existing(other, first)
    (tmp_path / "empty").touch()
    refuse_existing(tmp_path / "empty", first)


def test_requests_that_were_cut_are_left_out(tmp_path: Path) -> None:
    """And counted."""
    path = tmp_path / "a.cassette"
    with writing(path, sealed=False) as keep:
        keep(chat("one"), replace(chat("two"), request_cut=True))
    turns, skipped = read_turns(path, EVERYTHING, lambda *_: None)
    assert (len(turns), skipped) == (1, 1)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8000", True), ("http://localhost", True), ("http://a.localhost:1", True),
        ("http://[::1]:8000", True), ("http://127.1.2.3", True), ("http://10.0.0.1", False),
        ("https://gpu.example.com", False), ("http://0.0.0.0:1", False),
    ],
)  # fmt: skip
def test_what_is_on_this_machine(url: str, expected: bool) -> None:
    """By address, and by the name that always is."""
    assert is_loopback(url) is expected


def test_stopping_twice() -> None:
    """The second signal does not wait."""

    async def both() -> list[bool]:
        stopping = Stopping()
        stopping.receive(2)
        before = stopping.second.is_set()
        stopping.receive(2)
        return [stopping.first.is_set(), before, stopping.second.is_set()]

    assert asyncio.run(both()) == [True, False, True]


def test_no_more_connections_are_opened_than_are_kept() -> None:
    """A burst of a thousand requests does not connect again and again; what is there already counts."""

    async def opened() -> list[int]:
        async with scripted(Hang()) as server:
            clock = SystemClock()
            upstream = HttpUpstream(server.url, clock)
            counts = []
            for wanted in (2, 2, 3, MOST_IDLE + 100):
                await asyncio.gather(upstream.open_connections(wanted), upstream.open_connections(1))
                counts.append(upstream.idle)
            upstream.close()
            clock.close()
            return counts

    assert run(opened()) == [2, 2, 3, MOST_IDLE]
