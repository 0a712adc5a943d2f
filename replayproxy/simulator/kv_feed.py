"""Events of the KV cache on their way out: into batches, and the batches out when they are full or a second old.

Knows no socket: `EventPublisher` is one, in `net`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from replayproxy.ports import Clock
from replayproxy.simulator.kv_cache import CacheEvent
from replayproxy.simulator.kv_events import EventBatch, EventLog


class EventPublisher(Protocol):
    """Sends batches to all who have subscribed."""

    def publish(self, sequence: bytes, payload: bytes) -> None:
        """Send one batch. Never waits."""
        ...


class KvEventFeed:
    """Takes events and publishes them. Used by one event loop."""

    def __init__(self, log: EventLog, clock: Clock, publisher: EventPublisher) -> None:
        self._log = log
        self._clock = clock
        self._publisher = publisher
        self._flushing: asyncio.Task[None] | None = None

    def take(self, events: Sequence[CacheEvent]) -> None:
        """Take events; publish the batches that are full."""
        self._publish(self._log.add(events, self._clock.now(), self._clock.today()))
        if self._log.due_at is not None and (self._flushing is None or self._flushing.done()):
            self._flushing = asyncio.get_running_loop().create_task(self._flush())

    def since(self, sequence: int) -> list[tuple[bytes, bytes]]:
        """The kept batches from this number on, as frames: number and payload."""
        return [(batch.sequence_bytes, batch.payload) for batch in self._log.since(sequence)]

    def close(self) -> None:
        """Publish what is pending."""
        if self._flushing is not None:
            self._flushing.cancel()
        self._publish(self._log.flush(self._clock.today()))

    async def _flush(self) -> None:
        while (due := self._log.due_at) is not None:
            await self._clock.sleep_until(due)
            self._publish(self._log.add((), self._clock.now(), self._clock.today()))

    def _publish(self, batches: Sequence[EventBatch]) -> None:
        for batch in batches:
            self._publisher.publish(batch.sequence_bytes, batch.payload)
