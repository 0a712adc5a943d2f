"""Read the metrics of a server at equal intervals, beside the traffic and never in its way.

    GET /metrics every second ──▶ ScrapedPage ──▶ take

Each has a connection and a time-out of its own; what fails is counted and logged once, and so is its end. Does not know
what a page says.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable

from replayproxy.core.server_state import MOST_PAGE, ScrapedPage
from replayproxy.core.upstream_fields import with_fields
from replayproxy.errors import ReplayProxyError
from replayproxy.model import Ending, Headers, Request, Response
from replayproxy.net.waiting import ask
from replayproxy.ports import Clock

log = logging.getLogger("replayproxy.recording")

PATIENCE = 5.0
"""Seconds for one page."""

REQUEST = Request("GET", "/metrics", (("Accept", "text/plain; version=0.0.4"), ("Accept-Encoding", "identity")))


class MetricsScraper:
    """Scrapes one server. `run` it as a task."""

    def __init__(
        self,
        url: str,
        clock: Clock,
        interval: float,
        take: Callable[[ScrapedPage], bool],
        fields: Headers = (),
        *,
        fetch: Callable[[str, Request, Clock], Awaitable[Response]] = ask,
    ) -> None:
        """`interval` is in seconds. `take` returns False where it has no room. `fields` are set on each request.

        `fetch` asks the server; it raises `UpstreamError`.
        """
        self.url = url
        self.counts: Counter[str] = Counter()
        """`scraped` pages; those that `failed`; those that were `dropped` because the queue was full."""
        self._clock = clock
        self._interval = round(interval * 1e9)
        self._take = take
        self._request = Request(REQUEST.method, REQUEST.target, with_fields(REQUEST.headers, fields))
        self._fetch = fetch
        self._trouble: str | None = None

    async def run(self) -> None:
        """Scrape until cancelled. A page that takes longer than the interval is not asked for twice at once."""
        due = self._clock.now()
        while True:
            await self._scrape()
            passed = self._clock.now() - due
            due += self._interval * (1 + max(0, passed) // self._interval)
            await self._clock.sleep_until(due)

    async def _scrape(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await self._fetch(self.url, self._request, self._clock)
        except TimeoutError:
            self._fail(f"it was silent for {PATIENCE:g} s")
            return
        except ReplayProxyError as error:
            self._fail(str(error))
            return
        at = self._clock.today()
        if answer.status != 200 or answer.ending is not Ending.COMPLETE:
            self._fail(f"it answered {answer.status}" if answer.status != 200 else "its answer broke off")
        elif len(answer.body) > MOST_PAGE:
            self._fail(f"its page has {len(answer.body)} bytes, more than {MOST_PAGE}")
        elif self._take(ScrapedPage(self.url, at, answer.body)):
            self.counts["scraped"] += 1
            if self._trouble is not None:
                self._trouble = None
                log.info("the metrics of %s are recorded again", self.url)
        else:
            self.counts["dropped"] += 1
            self._say("the writer's queue is full")

    def _fail(self, why: str) -> None:
        self.counts["failed"] += 1
        self._say(why)

    def _say(self, why: str) -> None:
        if self._trouble is None:
            log.warning("the metrics of %s are not recorded now: %s (said once)", self.url, why)
        self._trouble = why
