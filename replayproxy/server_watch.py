"""Keep what a server publishes of its own state while its answers are recorded.

    MetricsScraper, KvEventSubscriber ──▶ writer thread ──▶ the cassette

The place where `net` and `cassette` meet for this. None of it is on the way of a request, and what fails here costs no
exchange.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from replayproxy.core.server_state import SCRAPED, ServerState
from replayproxy.net.scraper import MetricsScraper
from replayproxy.ports import Clock
from replayproxy.settings import Settings

if TYPE_CHECKING:
    from replayproxy.net.zmq_subscriber import KvEventSubscriber

log = logging.getLogger("replayproxy.recording")


class ServerWatch:
    """Of one recording."""

    def __init__(self, settings: Settings, clock: Clock, take: Callable[[ServerState], bool]) -> None:
        """Raises `SettingsError` where an endpoint cannot be used."""
        recording, pair = settings.recording, settings.pair
        self._urls: tuple[str, ...] = ()
        if recording.scrape_metrics is not None:
            self._urls = (settings.upstream or "",) if pair is None else (*pair.decode, *pair.prefill)
        interval = recording.scrape_metrics or 0.0
        self._scrapers = [MetricsScraper(url, clock, interval, take, settings.upstream_fields) for url in self._urls]
        self._subscribers: list[KvEventSubscriber] = []
        self._tasks: list[asyncio.Task[None]] = []
        try:
            for endpoint in recording.kv_events:
                from replayproxy.net.zmq_subscriber import KvEventSubscriber  # loads pyzmq

                self._subscribers.append(KvEventSubscriber(endpoint, clock, take))
        except BaseException:
            self.close()
            raise

    @property
    def entries(self) -> dict[str, object]:
        """What the cassette says of this: entries of `meta`."""
        return {SCRAPED: list(self._urls)} if self._urls else {}

    @property
    def counts(self) -> Counter[str]:
        """Pages and messages by what became of them."""
        counts: Counter[str] = Counter()
        for scraper in self._scrapers:
            counts += scraper.counts
        for subscriber in self._subscribers:
            counts += subscriber.counts
        return counts

    def start(self) -> None:
        """Begin. Call it in the event loop, when the cassette is open."""
        if self._subscribers:
            log.warning(
                "KV events hold the token ids of prompts, in which no secret can be found and masked: share this"
                " cassette only where the prompts may be read"
            )
        self._tasks = [
            *(asyncio.create_task(scraper.run()) for scraper in self._scrapers),
            *(asyncio.create_task(subscriber.run()) for subscriber in self._subscribers),
        ]

    async def stop(self) -> None:
        """Hand over what is there, and end."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        self.close()

    def close(self) -> None:
        """Close the sockets."""
        for subscriber in self._subscribers:
            subscriber.close()
        self._subscribers.clear()
