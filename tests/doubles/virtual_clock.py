"""A clock whose time jumps to the next deadline as soon as everybody waits, so that a test of hours takes no time.

Unlike `ManualClock`, several tasks may wait at once: they wake in the order of their deadlines.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable
from itertools import count
from typing import TypeVar

T = TypeVar("T")

TURNS = 40
"""Turns of the event loop after which everybody waits who is going to."""

EPOCH = 1_760_000_000_000_000_000


class VirtualClock:
    """A `Clock` for `run`."""

    def __init__(self) -> None:
        self._now = 0
        self._heap: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()

    def now(self) -> int:
        """The virtual time."""
        return self._now

    def today(self) -> int:
        """The same as a date."""
        return EPOCH + self._now

    async def sleep_until(self, at: int) -> None:
        """Wait until `run` has come to this time."""
        if at <= self._now:
            return
        waiter = asyncio.get_running_loop().create_future()
        heapq.heappush(self._heap, (at, next(self._order), waiter))
        await waiter

    async def run(self, work: Awaitable[T]) -> T:
        """Await `work`, and let time pass whenever everybody waits."""
        task = asyncio.ensure_future(work)
        while not task.done():
            for _ in range(TURNS):
                await asyncio.sleep(0)
                if task.done():
                    break
            else:
                self._advance()
        return await task

    def _advance(self) -> None:
        """Go to the next deadline, and wake all that have it."""
        while self._heap and self._heap[0][2].done():
            heapq.heappop(self._heap)
        if not self._heap:
            return
        self._now = self._heap[0][0]
        while self._heap and self._heap[0][0] <= self._now:
            waiter = heapq.heappop(self._heap)[2]
            if not waiter.done():
                waiter.set_result(None)
