"""The proxies behind the tests: one per settings, few at a time, and never two where one of them records."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from replayproxy import ProxyServer
from replayproxy.errors import CassetteError
from replayproxy.pytest_plugin import proxies
from replayproxy.pytest_plugin.options import TestChoice
from replayproxy.pytest_plugin.proxies import Proxies, recording, replaying
from tests import recordings

CHOICE = TestChoice(mode="once", upstream="http://127.0.0.1:9")


@pytest.fixture
def stopped() -> list[ProxyServer]:
    """The proxies that were stopped, in their order."""
    return []


@pytest.fixture
def running(stopped: list[ProxyServer]) -> Iterator[Proxies]:
    """No proxies yet."""
    before = threading.active_count()
    running = Proxies(stopped.append)
    yield running
    running.close()
    assert running.thread_ids == set()
    assert threading.active_count() == before


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    """One chat."""
    return recordings.record(
        tmp_path / "chat.cassette", [recordings.exchange(recordings.asked("hello"), recordings.said([b"{}"]), 0)]
    )


def test_tests_with_equal_settings_share_a_proxy(running: Proxies, stopped: list[ProxyServer], cassette: Path) -> None:
    """It runs in a thread that may leave the machine, until all are closed; then its result is there."""
    server = running.server(replaying(cassette, CHOICE))
    assert running.server(replaying(cassette, CHOICE)) is server
    assert running.server(replaying(cassette, replace(CHOICE, match="exact"))) is not server
    assert server.thread_id in running.thread_ids
    assert len(running.thread_ids) == 2
    running.close()
    assert stopped[0] is server
    assert [(proxy.report().recordings, proxy.calls) for proxy in stopped] == [(1, []), (1, [])]


def test_the_live_server_is_not_contacted_at_the_start(running: Proxies, tmp_path: Path) -> None:
    """No server listens there: only a request that is recorded needs it."""
    assert running.server(recording(tmp_path / "new.cassette", (), CHOICE)).url.startswith("http://127.0.0.1:")


def test_a_proxy_that_records_has_its_cassette_for_itself(
    running: Proxies, stopped: list[ProxyServer], cassette: Path, tmp_path: Path
) -> None:
    """Another one that plays it, or records to it with other options, starts when the first has stopped."""
    other = running.server(recording(tmp_path / "other.cassette", (), CHOICE))
    playing = running.server(replaying(cassette, CHOICE))
    recorder = running.server(recording(cassette, (), CHOICE))
    assert stopped == [playing]
    second = running.server(recording(cassette, (), replace(CHOICE, speed=2.0)))
    assert stopped == [playing, recorder]
    running.server(replaying(cassette, CHOICE))
    assert stopped == [playing, recorder, second]
    assert other not in stopped


def test_few_are_open_at_a_time(
    running: Proxies, stopped: list[ProxyServer], cassette: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that was not used for the longest time is stopped first."""
    monkeypatch.setattr(proxies, "OPEN", 2)
    settings = [replaying(cassette, replace(CHOICE, speed=speed)) for speed in (1.0, 2.0, 3.0)]
    first, second = running.server(settings[0]), running.server(settings[1])
    assert running.server(settings[0]) is first
    running.server(settings[2])
    assert stopped == [second]


def test_a_start_that_fails_leaves_nothing(running: Proxies, tmp_path: Path) -> None:
    """The next test gets the same error, and not a proxy that does not run."""
    for _ in range(2):
        with pytest.raises(CassetteError):
            running.server(replaying(tmp_path / "missing.cassette", CHOICE))
    assert running.thread_ids == set()
