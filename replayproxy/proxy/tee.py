"""Pass one answer to two listeners in a fixed order: what the client gets, the recorder keeps."""

from __future__ import annotations

import asyncio

from replayproxy.model import Chunk, End, Head, Leg, Response
from replayproxy.ports import Listener
from replayproxy.proxy.counters import Counters
from replayproxy.proxy.exchange_recorder import ExchangeRecorder


class Tee:
    """A `Listener` that passes everything on: chunks to the client first, head and end to the recorder first."""

    wants_whole = True

    def __init__(self, client: Listener, exchange: ExchangeRecorder, counters: Counters) -> None:
        self._client = client
        self._recorder = exchange
        self._counters = counters
        self._to_client = client.chunk
        self._to_recorder = exchange.chunk

    @property
    def congested(self) -> bool:
        """Either of them."""
        return self._client.congested or self._recorder.congested

    async def ready(self) -> None:
        """Both of them. Counts, because from here on recorded times are not the server's own."""
        self._recorder.stalled += 1
        self._counters.stalled += 1
        await asyncio.gather(self._client.ready(), self._recorder.ready())

    async def head(self, head: Head) -> None:
        """The recorder first: it does not wait, so that nothing can come between."""
        await self._recorder.head(head)
        await self._client.head(head)

    def chunk(self, chunk: Chunk) -> None:
        """To both."""
        self._to_client(chunk)
        self._to_recorder(chunk)

    def burst(self, response: Response) -> None:
        """To both."""
        self._client.burst(response)
        self._recorder.burst(response)

    def leg(self, leg: Leg) -> None:
        """To both."""
        self._client.leg(leg)
        self._recorder.leg(leg)

    async def end(self, end: End) -> None:
        """The recorder first: a client that leaves now does not change how the server ended its answer.

        With `--on-full block` the last piece waits for room too; the client has its answer, and sends its next request
        when that is over.
        """
        await self._recorder.end(end)
        await self._client.end(end)
        if self._recorder.congested:
            await self._recorder.ready()
