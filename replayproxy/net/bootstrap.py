"""Which engines are behind a prefill server: Mooncake's bootstrap server knows, and is asked over HTTP.

What it said is believed for some seconds: a prefill server that was started anew has other engines, and a decode that
presents an old one waits for nothing.
"""

from __future__ import annotations

import asyncio

import orjson

from replayproxy.core.pd import PrefillFailed
from replayproxy.errors import UpstreamError, UpstreamUnreachable
from replayproxy.model import Request
from replayproxy.net.response_collector import ResponseCollector
from replayproxy.net.upstream import HttpUpstream
from replayproxy.ports import Clock

BELIEVED = 5_000_000_000
"""Nanoseconds. vLLM takes longer than that to start."""

PATIENCE = 5.0
"""Seconds for an answer that is a table look-up."""


class Bootstrap:
    """One bootstrap server, `http://HOST:PORT`."""

    def __init__(self, url: str, clock: Clock) -> None:
        self.source = HttpUpstream(url, clock, first_byte=PATIENCE, stall=PATIENCE)
        self._clock = clock
        self._engines: list[tuple[str, str]] = []
        self._read_at = 0
        self._turn = 0
        self._asking: asyncio.Task[list[tuple[str, str]]] | None = None

    async def engine(self) -> tuple[str, str]:
        """Data parallel rank and id of the engine whose turn it is.

        Raises `UpstreamUnreachable`, or `PrefillFailed` for an answer that names none. Who asks while an answer is
        awaited waits for the same one.
        """
        engines = self._engines
        if not engines or self._clock.now() - self._read_at > BELIEVED:
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask())
                self._asking.add_done_callback(lambda task: task.cancelled() or task.exception())  # maybe nobody waits
            engines = await asyncio.shield(self._asking)
        self._turn += 1
        return engines[self._turn % len(engines)]

    def forget(self) -> None:
        """The server behind it has failed: it may be another one when it comes back."""
        self._engines = []

    def close(self) -> None:
        """Close what is idle."""
        if self._asking is not None:
            self._asking.cancel()
        self.source.close()

    async def _ask(self) -> list[tuple[str, str]]:
        collector = ResponseCollector()
        try:
            await self.source.prepare()
        except UpstreamError as error:
            raise UpstreamUnreachable(f"{error}; --bootstrap-port says where bootstrap servers are") from error
        try:
            await self.source.play(Request("GET", "/query"), collector)
            ranks = orjson.loads(collector.response.body)
            engines = [(str(int(rank)), str(entry["engine_id"])) for rank, entry in ranks.items()]
        except (UpstreamError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._silent(error) from error
        if not engines:
            raise self._silent("it knows none")
        self._engines, self._read_at = engines, self._clock.now()
        return engines

    def _silent(self, why: object) -> PrefillFailed:
        return PrefillFailed(
            f"the bootstrap server {self.source.url} does not say which engines it has ({why}): start the prefill"
            " server with its Mooncake connector, or correct --bootstrap-port"
        )
