"""Play a recorded answer, on time. Deadlines are absolute; what is late goes out at once and is counted."""

from __future__ import annotations

from replayproxy.core.timing import Pace
from replayproxy.model import End, Head, Response
from replayproxy.ports import Clock, Listener
from replayproxy.proxy.tally import Tally


class Player:
    """Plays responses at one pace."""

    def __init__(self, clock: Clock, pace: Pace, tally: Tally) -> None:
        self._clock = clock
        self._pace = pace
        self._tally = tally

    async def play(self, response: Response, listener: Listener, started: int) -> None:
        """Play the whole response; `started` is when the request was complete."""
        due = self._pace(response.timeline)
        if due is None:
            await listener.head(Head(0, response.status, response.headers))
            listener.burst(response)
            await listener.end(End(0, response.ending))
            return
        await self._until(started + due.head)
        await listener.head(Head(due.head, response.status, response.headers))
        for at, chunk in zip(due.chunks, response.chunks(), strict=True):
            await self._until(started + at)
            listener.chunk(chunk)
            if listener.congested:
                await listener.ready()
        await self._until(started + due.end)
        await listener.end(End(due.end, response.ending))

    async def _until(self, due: int) -> None:
        now = self._clock.now()
        if due > now:
            await self._clock.sleep_until(due)
            now = self._clock.now()
        self._tally.late(now - due)
