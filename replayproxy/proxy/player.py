"""Play a recorded answer, on time. Deadlines are absolute; what is late goes out at once and is counted."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace

from replayproxy.core.timing import Pace
from replayproxy.model import Chunk, End, Head, Response, Timeline
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
        times, heard, pieces = due.chunks, response.timeline.chunks, response.chunks().data()
        position = 0
        while position < len(pieces):
            await self._until(started + times[position])
            # A server that was held up says much at once: what is due by now goes out together, which takes 16 streams
            # a third of the time that a write each would.
            now = self._clock.now()
            stop = bisect_right(times, now - started, lo=position + 1)
            if stop == position + 1:
                listener.chunk(Chunk(heard[position], pieces[position]))
            else:
                listener.burst(
                    replace(
                        response,
                        body=b"".join(pieces[position:stop]),
                        cuts=response.cuts[position:stop],
                        timeline=Timeline(0, heard[position:stop], 0),
                    )
                )
                for at in times[position + 1 : stop]:
                    self._tally.late(now - started - at)
            position = stop
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
