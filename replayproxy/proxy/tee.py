"""Pass one answer to several listeners in one stated order.

    head, end                client last     the others do not wait: a client that leaves changes nothing for them
    chunk, burst, leg        client first    nothing delays what the client gets

The others keep or watch: a recorder, an access log. Only the client's socket may wait, and a recorder's full queue.
"""

from __future__ import annotations

import asyncio

from replayproxy.model import Chunk, End, Head, Leg, Response
from replayproxy.ports import Listener


class Tee:
    """A `Listener` that passes everything on to a client and to others, in the order in which they are given."""

    def __init__(self, client: Listener, *others: Listener) -> None:
        self._client = client
        self._others = others
        self._listeners = (client, *others)
        self._chunk_calls = tuple(listener.chunk for listener in self._listeners)
        """Bound once: this is called per chunk."""

    def joined_by(self, listener: Listener) -> Tee:
        """The same with another listener, the first after the client. One tee is quicker than a tee within a tee."""
        return Tee(self._client, listener, *self._others)

    @property
    def wants_whole(self) -> bool:
        """Any of them."""
        return any(listener.wants_whole for listener in self._listeners)

    @property
    def congested(self) -> bool:
        """Any of them."""
        for listener in self._listeners:  # noqa: SIM110  asked after each read: a generator takes twice as long
            if listener.congested:
                return True
        return False

    async def ready(self) -> None:
        """Wait for all of them."""
        await asyncio.gather(*(listener.ready() for listener in self._listeners))

    async def head(self, head: Head) -> None:
        """Pass it to the client last."""
        for listener in self._others:
            await listener.head(head)
        await self._client.head(head)

    def chunk(self, chunk: Chunk) -> None:
        """Pass it to the client first."""
        for call in self._chunk_calls:
            call(chunk)

    def burst(self, response: Response) -> None:
        """Pass it to the client first."""
        for listener in self._listeners:
            listener.burst(response)

    def leg(self, leg: Leg) -> None:
        """Pass it to the client first."""
        for listener in self._listeners:
            listener.leg(leg)

    async def end(self, end: End) -> None:
        """Pass it to the client last.

        With `--on-full block` the last part waits for room too. The client has its answer by then, and its next request
        is read when that wait is over.
        """
        for listener in self._others:
            await listener.end(end)
        await self._client.end(end)
        for listener in self._others:
            if listener.congested:
                await listener.ready()
