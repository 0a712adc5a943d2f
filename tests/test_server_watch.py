"""What a server publishes of its own state is kept beside its answers, and recording ends with all of it on disk."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from replayproxy.api.options import settings_of
from replayproxy.core.policy import Mode
from replayproxy.core.server_state import SCRAPED, ServerState
from replayproxy.errors import SettingsError
from replayproxy.net.clock import SystemClock
from replayproxy.net.zmq_publisher import ZmqPublisher
from replayproxy.server_watch import ServerWatch

URL = "http://127.0.0.1:8000"


def watch(taken: list[ServerState], clock: SystemClock, **options: Any) -> ServerWatch:
    """Of a recording with these options."""

    def take(state: ServerState) -> bool:
        taken.append(state)
        return True

    settings = settings_of(Mode.RECORD, (Path("a.cassette"),), {"upstream": URL, "probe": False, **options})
    return ServerWatch(settings, clock, take)


def test_without_options_nothing_is_watched() -> None:
    """No task, no entry."""
    clock = SystemClock()
    one = watch([], clock)
    assert (one.entries, one.counts) == ({}, {})
    clock.close()


def test_the_decode_servers_of_a_pair_come_first() -> None:
    """They get what is asked of `/metrics` while the pair is recorded."""
    clock = SystemClock()
    pair = {"upstream": None, "prefill": ["http://p:1"], "decode": ["http://d:1", "http://d:2"]}
    assert watch([], clock, scrape_metrics=1, **pair).entries == {SCRAPED: ["http://d:1", "http://d:2", "http://p:1"]}
    clock.close()


def test_what_was_heard_is_handed_over_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """Also what waits for more of its kind; and whoever records events is told what is in them."""
    taken: list[ServerState] = []

    async def talk() -> None:
        clock = SystemClock()
        publisher = ZmqPublisher("tcp://127.0.0.1:*", "kv")
        one = watch(taken, clock, kv_events=[publisher.endpoint])
        one.start()
        while not one.counts["heard"]:
            publisher.publish(bytes(8), b"batch")
            await asyncio.sleep(0.01)
        await one.stop()
        publisher.close()
        clock.close()

    asyncio.run(talk())
    assert taken
    assert "KV events hold the token ids of prompts" in caplog.text


def test_an_endpoint_that_cannot_be_closes_the_others() -> None:
    """And says which it was."""
    clock = SystemClock()
    with pytest.raises(SettingsError, match="--kv-events udp:1"):
        watch([], clock, kv_events=["tcp://127.0.0.1:1", "udp:1"])
    clock.close()


def test_metrics_are_not_read_all_the_time() -> None:
    """A server has other things to do."""
    with pytest.raises(SettingsError, match=r"--scrape-metrics 0.01s would keep the server busy"):
        settings_of(Mode.RECORD, (Path("a.cassette"),), {"upstream": URL, "scrape_metrics": 0.01})
