"""Events leave in full batches at once, and others when they are a second old, without anything else happening."""

from __future__ import annotations

import asyncio

from replayproxy.simulator.kv_cache import BlocksRemoved
from replayproxy.simulator.kv_events import EventLog
from replayproxy.simulator.kv_feed import KvEventFeed
from tests.doubles.virtual_clock import VirtualClock

SECOND = 1_000_000_000
EVENT = BlocksRemoved((bytes(8),))


class Published:
    """Keeps the time in s and the number of each batch."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.batches: list[tuple[float, int]] = []

    def publish(self, sequence: bytes, payload: bytes) -> None:
        """Keep it."""
        assert payload
        self.batches.append((self.clock.now() / SECOND, int.from_bytes(sequence, "big")))


def feed(arrivals: list[tuple[float, int]], until: float, *, closes: bool = False) -> list[tuple[float, int]]:
    """What is published of numbers of events at these times, in s."""
    clock = VirtualClock()
    published = Published(clock)
    one = KvEventFeed(EventLog(batch_size=3), clock, published)

    async def talk() -> None:
        for at, count in arrivals:
            await clock.sleep_until(round(at * SECOND))
            one.take([EVENT] * count)
        await clock.sleep_until(round(until * SECOND))
        if closes:
            one.close()

    asyncio.run(clock.run(talk()))
    return published.batches


def test_full_batches_leave_at_once() -> None:
    """And what is left of them with its time."""
    assert feed([(0.5, 7)], 1.4) == [(0.5, 0), (0.5, 1)]
    assert feed([(0.5, 7)], 2.0) == [(0.5, 0), (0.5, 1), (1.5, 2)]


def test_each_event_waits_a_second_at_most() -> None:
    """Also those that came after the first of their batch."""
    assert feed([(0.0, 1), (0.9, 1), (1.5, 1)], 9.0) == [(1.0, 0), (2.5, 1)]


def test_the_end_publishes_what_is_pending() -> None:
    """Before its time."""
    assert feed([(0.0, 1)], 0.2, closes=True) == [(0.2, 0)]


def test_a_gap_can_be_read_again() -> None:
    """By the number of its first batch, as frames."""
    clock = VirtualClock()
    published = Published(clock)
    one = KvEventFeed(EventLog(batch_size=1), clock, published)
    one.take([EVENT] * 3)
    assert [number for number, _ in one.since(1)] == [bytes(7) + b"\1", bytes(7) + b"\2"]
    assert all(payload for _, payload in one.since(0))
