"""Measure how late this process is scheduled while answers run.

A recorder that shares its cores with an engine does not run while the engine computes: then whole streams arrive in one
read, and the recorded gaps show the scheduler, not the server. One timer for all answers in flight rings every 10 ms.
Each answer keeps the largest delay of the timer while it ran.

    answers in flight   ───────────┬──────────┬─────────────────┬────
    timer due                      10         20        30 … 90 │
    timer rings                    10.3       20.2              91.0      61 ms late: the largest delay so far

Up to one period of a delay is not seen, so the result is too small rather than too large.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from operator import attrgetter
from typing import NamedTuple

from replayproxy.ports import Clock

PERIOD = 10_000_000
"""Nanoseconds. A wake-up costs about 5 us, so a two-thousandth of a core, and nothing while no answer runs."""

GRAIN = 2_000_000
"""Nanoseconds that a timer may be late anyway: timers of the event loop have a resolution of a millisecond."""


MOST_RINGS = 64
"""Late rings that are kept before the ones that concern no running answer are dropped."""


class Running:
    """One answer in flight, since `begun` (ns)."""

    __slots__ = ("begun",)

    def __init__(self, begun: int) -> None:
        self.begun = begun


class Ring(NamedTuple):
    """A ring of the timer that came late: when it was due and when it came, in ns."""

    due: int
    at: int


class Starvation:
    """The timer and its late rings. Call `start` on the loop that records; nothing is measured before.

    A late ring concerns all answers in flight, and 300 streams may end while the loop is late. So the rings are kept,
    and not a delay per answer. A ring is dropped when a later one was at least as late.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0
        self._running: dict[Running, None] = {}
        """Answers in flight, in the order in which they began."""
        self._rings: list[Ring] = []
        """Late rings, each less late than the previous one."""

    def start(self) -> None:
        """Begin to measure, on the running event loop."""
        self._loop = asyncio.get_running_loop()
        if self._running:
            self._arm()

    def stop(self) -> None:
        """Stop measuring."""
        self._loop = None
        self._disarm()

    def begin(self) -> Running:
        """Note that an answer begins."""
        running = Running(self._clock.now())
        self._running[running] = None
        if self._timer is None:
            self._arm()
        return running

    def end(self, running: Running) -> int:
        """Return the largest delay, in ns, while this answer ran; 0 if none was longer than the timer's own grain.

        A delay that lasts until now counts, although the timer has not rung yet.
        """
        self._note()
        self._running.pop(running, None)
        largest = 0
        for ring in self._rings[bisect_right(self._rings, running.begun, key=attrgetter("at")) :]:
            late = ring.at - max(ring.due, running.begun)
            if late >= GRAIN:
                largest = max(largest, late)
            if ring.due >= running.begun:
                break  # all that follow are less late
        if not self._running:
            self._disarm()
            self._rings.clear()
        return largest

    def _arm(self) -> None:
        if self._loop is not None:
            self._due = self._clock.now() + PERIOD
            self._timer = self._loop.call_later(PERIOD / 1e9, self._ring)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._note()
        self._arm()

    def _note(self) -> None:
        if self._timer is None or (now := self._clock.now()) - self._due < GRAIN:
            return
        rings = self._rings
        while rings and rings[-1].at - rings[-1].due <= now - self._due:
            rings.pop()
        rings.append(Ring(self._due, now))
        if len(rings) > MOST_RINGS:
            oldest = next(iter(self._running)).begun if self._running else now
            self._rings = [ring for ring in rings if ring.at > oldest]
