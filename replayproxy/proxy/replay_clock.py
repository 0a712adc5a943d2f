"""Which moment of the recording it is while it is replayed.

    at a speed     from the first recording that is played on, time passes: so many times as fast
    at max         the end of the latest recording that has been played

Knows no cassette: it is told when recordings were made.
"""

from __future__ import annotations

import asyncio

from replayproxy.ports import Clock


class ReplayClock:
    """Of one replay. Moments are in ns since the Unix epoch, as recordings have them."""

    def __init__(self, clock: Clock, speed: float | None) -> None:
        """`speed` None: as fast as possible."""
        self._clock = clock
        self._speed = speed
        self._moment: int | None = None
        self._began = 0
        self._changed = asyncio.Event()

    @property
    def needs_more(self) -> bool:
        """Whether it has to hear of the next recording that is played."""
        return self._speed is None or self._moment is None

    def reset(self) -> None:
        """Nothing has been played."""
        self._moment = None

    def play(self, recorded_at: int, total: int) -> None:
        """A recording is played now that was made then and took so many ns."""
        if self._speed is None:
            end = recorded_at + total
            if self._moment is None or end > self._moment:
                self._moment = end
                self._notify()
        elif self._moment is None:
            self._moment, self._began = recorded_at, self._clock.now()
            self._notify()

    def moment(self) -> int | None:
        """Which moment it is. None: nothing has been played."""
        if self._moment is None or self._speed is None:
            return self._moment
        return self._moment + round((self._clock.now() - self._began) * self._speed)

    async def reach(self, moment: int) -> None:
        """Wait until it is this moment or later."""
        while (here := self.moment()) is None or here < moment:
            if here is None or self._speed is None:
                await self._changed.wait()
            else:
                await self._clock.sleep_until(self._clock.now() + max(1, round((moment - here) / self._speed)))

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
