"""Play a recorded answer, on time. Deadlines are absolute; what is late goes out at once and is counted.

head, chunks ──▶ the end that was recorded          complete, or broken as it was
             ──▶ held open ──▶ the client leaves    where the recorded client had left in the middle
                           ──▶ an unclean end       where this one does not, or the app stops
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from dataclasses import replace

from replayproxy.core.timing import Pace
from replayproxy.model import Chunk, End, Ending, Head, Response, Timeline
from replayproxy.ports import Clock, Listener
from replayproxy.proxy.counters import Counters


class Player:
    """Plays responses at one pace.

    `stall` is how long, in ns, an answer is held open whose recorded client had left.
    """

    def __init__(self, clock: Clock, pace: Pace, counters: Counters, *, stall: int = 0) -> None:
        self._clock = clock
        self._pace = pace
        self._counters = counters
        self._stall = stall
        self._released = asyncio.Event()

    def release(self) -> None:
        """End the answers that are held open, and hold none from now on: the proxy stops."""
        self._released.set()

    async def play_response(self, response: Response, listener: Listener, started: int) -> None:
        """Play the whole response; `started` is when the request was complete, in ns of the clock."""
        at, recorded = self._pace.at, response.timeline
        if self._pace.speed is None:
            await listener.head(Head(0, response.status, response.headers))
            listener.burst(response)
            await self._end(listener, End(0, response.ending))
            return
        await self._until(started + at(recorded.head))
        await listener.head(Head(at(recorded.head), response.status, response.headers))
        # The chunks are cut out as they are due: a list of all of them would be a second copy of the answer for each
        # client that reads slowly.
        times, body, cuts = recorded.chunks, response.body, response.cuts
        position = at_byte = 0
        while position < len(cuts):
            await self._until(started + at(times[position]))
            # A server that was held up says much at once: what is due by now goes out together, which takes 16 streams
            # a third of the time that a write each would.
            now = self._clock.now()
            stop = bisect_right(times, now - started, lo=position + 1, key=at)
            before, at_byte = at_byte, at_byte + sum(cuts[position:stop])
            if stop == position + 1:
                listener.chunk(Chunk(times[position], body[before:at_byte]))
            else:
                listener.burst(
                    replace(
                        response,
                        body=body[before:at_byte],
                        cuts=cuts[position:stop],
                        continued=(),  # at a pace, reads go out at their times
                        timeline=Timeline(0, times[position:stop], 0),
                    )
                )
                for time in times[position + 1 : stop]:
                    self._counters.late(now - started - at(time))
            position = stop
            if listener.congested:
                await listener.ready()
        await self._until(started + at(recorded.end))
        await self._end(listener, End(at(recorded.end), response.ending))

    async def _end(self, listener: Listener, end: End) -> None:
        if end.ending is Ending.CLIENT_LEFT:
            await self._hold()
        await listener.end(end)

    async def _hold(self) -> None:
        """Wait until the client leaves, which cancels this, or `stall` has passed, or the proxy stops.

        What the server would have sent next is unknown, because the recorded client had left. A client that leaves at
        the same place sees no difference; one that stays must not take the answer for a whole one.
        """
        waiting = [
            asyncio.ensure_future(self._clock.sleep_until(self._clock.now() + self._stall)),
            asyncio.ensure_future(self._released.wait()),
        ]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waiting:
                one.cancel()

    async def _until(self, due: int) -> None:
        now = self._clock.now()
        if due > now:
            await self._clock.sleep_until(due)
            now = self._clock.now()
        self._counters.late(now - due)
