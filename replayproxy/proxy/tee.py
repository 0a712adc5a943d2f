"""The listener that is two: what the client gets, the recorder keeps."""

from __future__ import annotations

import asyncio

from replayproxy.model import Chunk, End, Head, Leg, Response
from replayproxy.ports import Listener
from replayproxy.proxy.counters import Counters
from replayproxy.proxy.exchange_recorder import ExchangeRecorder


class Tee:
    """A `Listener` that is two: the client, who comes first, and the tape."""

    wants_whole = True

    def __init__(self, client: Listener, tape: ExchangeRecorder, tally: Counters) -> None:
        self._client = client
        self._tape = tape
        self._tally = tally
        self._to_client = client.chunk
        self._to_tape = tape.chunk

    @property
    def congested(self) -> bool:
        """Either of them."""
        return self._client.congested or self._tape.congested

    async def ready(self) -> None:
        """Both of them. Counts, because from here on recorded times are not the server's own."""
        self._tape.stalled += 1
        self._tally.stalled += 1
        await asyncio.gather(self._client.ready(), self._tape.ready())

    async def head(self, head: Head) -> None:
        """The tape first: it does not wait, so nothing can come between."""
        await self._tape.head(head)
        await self._client.head(head)

    def chunk(self, chunk: Chunk) -> None:
        """To both."""
        self._to_client(chunk)
        self._to_tape(chunk)

    def burst(self, response: Response) -> None:
        """To both."""
        self._client.burst(response)
        self._tape.burst(response)

    def leg(self, leg: Leg) -> None:
        """To both."""
        self._client.leg(leg)
        self._tape.leg(leg)

    async def end(self, end: End) -> None:
        """The tape first: a client that goes now does not undo what the server said.

        With `--on-full block` the last piece waits for room too; the client has its answer, and sends its next request
        when that is over.
        """
        await self._tape.end(end)
        await self._client.end(end)
        if self._tape.congested:
            await self._tape.ready()
