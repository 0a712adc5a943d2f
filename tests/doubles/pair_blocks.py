"""KV blocks between servers: who pinned which, who read them, and what became of the rest.

One table for all servers of a double. A pinned block waits for one read, for its lease to end, or for its release;
whatever else is presented is an error, as in vLLM. Knows no HTTP; time comes in from outside.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

PATIENCE = 30.0
"""Seconds: what a test waits for comes, or the test fails."""


class Lost(Exception):
    """Blocks that cannot be had."""


class Bell:
    """Rings whenever something has changed that can be waited for."""

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []

    def ring(self) -> None:
        """Something has changed."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until this holds."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                waiter = asyncio.get_running_loop().create_future()
                self._waiters.append(waiter)
                await waiter


class Counts(Counter[str]):
    """Counters that ring."""

    def __init__(self, bell: Bell) -> None:
        super().__init__()
        self._bell = bell

    def add(self, name: str) -> None:
        """One more."""
        self[name] += 1
        self._bell.ring()


@dataclass
class Blocks:
    """What one prefill left for one decode."""

    engine: str
    name: str
    ids: list[list[int]]
    prompt: str
    cached: int
    expires: float
    state: str = "pinned"


@dataclass
class Table:
    """All blocks. `counts`: `pinned` so far, and of those `read`, `released`, `expired`; `reused`: attempts after."""

    now: Callable[[], float]
    bell: Bell

    def __post_init__(self) -> None:
        self.counts = Counts(self.bell)
        self._blocks: dict[tuple[str, str], Blocks] = {}
        self._ids = count(1)

    @property
    def pinned(self) -> int:
        """How many wait now."""
        self._expire()
        return sum(blocks.state == "pinned" for blocks in self._blocks.values())

    def pin(self, engine: str, name: str, prompt: str, lease: float) -> Blocks:
        """A prefill is done: its blocks wait for a decode."""
        size = 1 + len(prompt) // 64
        ids = [[next(self._ids) for _ in range(size)]]
        blocks = Blocks(engine, name, ids, prompt, cached=len(prompt) % 7, expires=self.now() + lease)
        self._blocks[engine, name] = blocks
        self.counts.add("pinned")
        return blocks

    def read(self, engine: str, name: str, ids: object = None) -> Blocks:
        """A decode reads them, which frees them. Raises `Lost`."""
        self._expire()
        blocks = self._blocks.get((engine, name))
        if blocks is None:
            raise Lost(f"engine {engine} knows no request {name}")
        if blocks.state == "read":
            self.counts.add("reused")
        if blocks.state != "pinned":
            raise Lost(f"the blocks of {name} are gone: {blocks.state}")
        if ids is not None and ids != blocks.ids:
            raise Lost(f"the blocks of {name} are others")
        self._become("read", blocks)
        return blocks

    def release(self, engine: object, name: object) -> None:
        """Whoever should have read them does not want them any more."""
        blocks = self._blocks.get((str(engine), str(name)))
        if blocks is not None and blocks.state == "pinned":
            self._become("released", blocks)

    def expire_now(self) -> None:
        """All leases end."""
        for blocks in self._blocks.values():
            blocks.expires = self.now()
        self._expire()

    def forget(self, engine: str) -> None:
        """A server was killed, and its memory with it."""
        for key in [key for key in self._blocks if key[0] == engine]:
            del self._blocks[key]

    def _expire(self) -> None:
        for blocks in self._blocks.values():
            if blocks.state == "pinned" and blocks.expires <= self.now():
                self._become("expired", blocks)

    def _become(self, state: str, blocks: Blocks) -> None:
        blocks.state = state
        self.counts.add(state)


class Meetings:
    """Two who wait for each other under a name. Each may come once."""

    def __init__(self) -> None:
        self._places: dict[tuple[object, str], asyncio.Future[None]] = {}

    def _place(self, name: object, who: str) -> asyncio.Future[None]:
        return self._places.setdefault((name, who), asyncio.get_running_loop().create_future())

    def come(self, name: object, who: str) -> None:
        """Be there. Raises `Lost` for the second time."""
        place = self._place(name, who)
        if place.done():
            raise Lost(f"{name} is taken")
        place.set_result(None)

    async def wait_for(self, name: object, who: str, patience: float) -> None:
        """Until the other one is there. Raises `Lost` when it does not come."""
        try:
            async with asyncio.timeout(patience):
                await asyncio.shield(self._place(name, who))
        except TimeoutError:
            raise Lost(f"nobody came to {name} within {patience:g} s") from None
