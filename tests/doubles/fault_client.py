"""A client's connection that writes down what it gets, and can be reset; and a clock for several who wait at once."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count

from replayproxy.model import Chunk, End, Ending, Head, Leg, Response
from tests.doubles.fakes import MILLISECOND, ManualClock

IDLE_TURNS = 20
"""Turns of the loop in which nobody begins to wait: by then all others wait too."""


class SharedClock(ManualClock):
    """Time goes on to the earliest deadline when everybody waits."""

    def __init__(self) -> None:
        super().__init__()
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = count()
        self._idle = 0
        self._is_watching = False

    async def sleep_until(self, at: int) -> None:
        """Wait until the time has come."""
        if at <= self.now():
            return
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (at, next(self._numbers), future))
        self._idle = 0
        if not self._is_watching:
            self._is_watching = True
            asyncio.get_running_loop().call_soon(self._watch)
        await future

    def _watch(self) -> None:
        self._idle += 1
        if self._idle > IDLE_TURNS and self._sleepers:
            at, _, future = heapq.heappop(self._sleepers)
            self._idle = 0
            if not future.done():
                self.move(max(0, at - self.now()))
                future.set_result(None)
        self._is_watching = bool(self._sleepers)
        if self._is_watching:
            asyncio.get_running_loop().call_soon(self._watch)


class ConnectionDouble:
    """A `ClientListener`. `log` has what the client gets, with the time in ms."""

    wants_whole = False
    congested = False

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.log: list[str] = []
        self.headers: dict[str, str] = {}
        self.whole = False
        self.status = 0

    @property
    def succeeded(self) -> bool:
        """A whole answer that reports no error."""
        return self.whole and self.status < 400

    async def head(self, head: Head) -> None:
        """Note the status."""
        self.headers = {name.lower(): value for name, value in head.headers}
        self.status = head.status
        self._note(str(head.status))

    def chunk(self, chunk: Chunk) -> None:
        """Note the bytes."""
        self._note(chunk.data.decode("latin-1").strip())

    def burst(self, response: Response) -> None:
        """Note the bytes of all."""
        self._note(" ".join(chunk.data.decode("latin-1").strip() for chunk in response.chunks()))

    def leg(self, leg: Leg) -> None:
        """Nothing to see."""

    async def end(self, end: End) -> None:
        """Note how it ended."""
        self.whole = end.ending is Ending.COMPLETE
        self._note("end" if self.whole else "cut")

    async def ready(self) -> None:
        """Always."""

    async def reset(self) -> None:
        """Note it."""
        self._note("reset")

    def _note(self, what: str) -> None:
        self.log.append(f"{self._clock.now() // MILLISECOND} {what}")
