"""How late this process is scheduled while answers run.

A recorder that shares its cores with an engine is not run while that computes: then whole streams arrive in one read,
and the recorded gaps are the scheduler's and not the server's. One timer for all answers in flight rings every 10 ms;
what it is late is kept with each of them, the largest delay only.

    answers in flight   ───────────┬──────────┬─────────────────┬────
    timer due                      10         20        30 … 90 │
    timer rings                    10.3       20.2              91.0      61 ms late: the largest delay so far

Of a delay up to one period goes unseen, so what is kept is rather too little than too much.
"""

from __future__ import annotations

import asyncio

from replayproxy.ports import Clock

PERIOD = 10_000_000
"""Nanoseconds. A wake-up costs about 5 us: a two-thousandth of a core, and nothing while nothing runs."""

GRAIN = 2_000_000
"""Nanoseconds that a timer may be late by itself: the event loop's timers have the grain of a millisecond."""


class Delay:
    """The largest delay, in ns, while one answer ran; 0 where none was longer than the timer's own grain."""

    __slots__ = ("begun", "largest")

    def __init__(self, begun: int) -> None:
        self.begun = begun
        self.largest = 0


class Starvation:
    """Measures it. `start` it on the loop that records; until then nothing is measured."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0
        self._running: set[Delay] = set()

    def start(self) -> None:
        """From now on, on this loop."""
        self._loop = asyncio.get_running_loop()
        if self._running:
            self._arm()

    def stop(self) -> None:
        """Measure nothing any more."""
        self._loop = None
        self._disarm()

    def begin(self) -> Delay:
        """An answer begins."""
        delay = Delay(self._clock.now())
        self._running.add(delay)
        if self._timer is None:
            self._arm()
        return delay

    def end(self, delay: Delay) -> int:
        """It is over. Gives its largest delay; one that lasts until now counts, though the timer has not rung yet."""
        self._note()
        self._running.discard(delay)
        if not self._running:
            self._disarm()
        return delay.largest

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
        for delay in self._running:
            late = now - max(self._due, delay.begun)
            if late >= GRAIN and late > delay.largest:
                delay.largest = late
