"""A listener between a leg and the client's listener: keeps what it hears, and passes it on, on the client's clock.

It can hold the head back: while the prefill may still fail, the client shall hear that, and not a 200 that vLLM's
decode says before it has anything to say. The end is told by `finish`, when the legs are over.
"""

from __future__ import annotations

import asyncio

from replayproxy.model import Chunk, End, Ending, Head, Leg, Response
from replayproxy.net.response_collector import ResponseCollector
from replayproxy.ports import Listener


class Relay:
    """A `Listener`. `held`: nothing is passed on before `let_go`, which is due when `spoke` is done at the latest."""

    def __init__(self, listener: Listener, *, held: bool = False) -> None:
        self._listener = listener
        self._held = held
        self._offset = 0
        self._head: Head | None = None
        self._waiting: list[Chunk] = []
        self._passing = False
        self._door = asyncio.Lock()
        self._end: End | None = None
        self._end_reported = False
        self.collector = ResponseCollector()
        self.is_open = False
        """Whether a request has been sent, whose answer this hears."""
        self.spoke: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the first chunk is there."""

    def begin(self, started: int) -> ResponseCollector:
        """A request is sent now, so many ns after the client's was complete."""
        self.is_open = True
        self._offset = started
        return self.collector

    async def let_go(self) -> None:
        """Pass on what was held back, and from now on everything."""
        self._held = False
        await self._pass_head()

    async def finish(self) -> None:
        """Tell the end."""
        await self.let_go()
        if self._end is not None:
            self._end_reported = True
            await self._listener.end(self._end._replace(at=self._end.at + self._offset))

    @property
    def broken_off(self) -> Ending | None:
        """How the answer ended, if it broke off and the client has not seen that yet."""
        if not self._held or self.spoke.done() or self._end is None or self._end.ending is Ending.COMPLETE:
            return None
        return self._end.ending

    async def _pass_head(self) -> None:
        async with self._door:  # the end must not overtake a head that waits for the client's socket
            if self._head is None or self._held:
                return
            head, self._head = self._head, None
            await self._listener.head(head)
            for chunk in self._waiting:
                self._listener.chunk(chunk)
            self._waiting.clear()
            self._passing = True

    # Hearing

    @property
    def is_over(self) -> bool:
        """Whether the answer has ended and the client has not seen that yet."""
        return self._end is not None and not self._end_reported

    @property
    def wants_whole(self) -> bool:
        """As the client's listener."""
        return self._listener.wants_whole

    @property
    def congested(self) -> bool:
        """The client takes less than it is sent."""
        return self._listener.congested

    async def ready(self) -> None:
        """Wait for the client."""
        await self._listener.ready()

    async def head(self, head: Head) -> None:
        """Keep it, and pass it on."""
        await self.collector.head(head)
        self._head = head._replace(at=head.at + self._offset)
        await self._pass_head()

    def chunk(self, chunk: Chunk) -> None:
        """Keep it, and pass it on."""
        self.collector.chunk(chunk)
        shifted = chunk._replace(at=chunk.at + self._offset)
        if self._passing:
            self._listener.chunk(shifted)
            return
        self._waiting.append(shifted)
        if not self.spoke.done():
            self.spoke.set_result(None)

    def burst(self, response: Response) -> None:
        """Keep them, and pass them on."""
        for chunk in response.chunks():
            self.chunk(chunk)

    def leg(self, leg: Leg) -> None:
        """Legs have no legs."""

    async def end(self, end: End) -> None:
        """Keep it."""
        await self.collector.end(end)
        self._end = end
