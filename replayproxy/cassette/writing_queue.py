"""The queue between the event loop and the writing thread, bounded in bytes, and those in the loop who wait for it.

    loop ── put ──▶ orders, in order ──▶ next_batch ── thread
    loop ◀── settle, make_room ── thread

A batch is what comes within 250 ms, or within 1 s while much is recorded; at most 256 orders or 4 MiB.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from replayproxy.core.server_state import KvMessages, ScrapedPage
from replayproxy.errors import CassetteError
from replayproxy.model import Key
from replayproxy.ports import ExchangePart

BATCH_NANOSECONDS = 250_000_000
BUSY_BATCH_NANOSECONDS = 1_000_000_000
"""While much is recorded. A transaction writes each page that it touches once, whatever it puts there, so fewer of them
cost less per event. A crash costs up to a second of what has ended."""

BUSY_PARTS = 25
"""Parts that come within the shorter time, 100 per second."""

BATCH_PIECES = 256
BATCH_BYTES = 4 * 1024 * 1024

LOOK_SECONDS = 0.5
"""How long `next_batch` waits for a first order. The thread looks after its file in between."""

QUEUE_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Drop:
    """Forget an exchange, by its number."""

    number: int
    size: int = 0


@dataclass(frozen=True, slots=True)
class Settle:
    """Tell a waiter that all before this has been committed."""

    waiter: asyncio.Future[None]
    size: int = 0


@dataclass(frozen=True, slots=True)
class Rotate:
    """Go on onto another file, then tell the waiter."""

    path: Path
    waiter: asyncio.Future[None]
    size: int = 0


class Stop:
    """Seal the file and end."""

    size = 0


ToWrite = ExchangePart | Drop | ScrapedPage | KvMessages
Order = ToWrite | Settle | Rotate | Stop
_HURRIED = (Settle, Rotate, Stop)
"""Orders for which somebody waits."""


class WritingQueue:
    """Orders to the writing thread. Methods are called in the event loop, but those below `In the writing thread`."""

    def __init__(self, limit: int) -> None:
        """`limit`: bytes above which `has_room_for` refuses."""
        self._limit = limit
        self._orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
        # Each counter has one writing thread, so no lock is needed: bytes in the queue = offered - taken.
        self._offered = 0
        self._taken = 0
        self._unsettled: Counter[Key] = Counter()
        """Exchanges that have ended and are not committed, by their key."""
        self._room: list[asyncio.Future[None]] = []
        self._settling: set[asyncio.Future[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._hurry = threading.Event()
        """Somebody waits, or there is enough for a batch."""

    def start(self) -> None:
        """Remember the running event loop, in which all who wait are told."""
        self._loop = asyncio.get_running_loop()

    @property
    def queued_bytes(self) -> int:
        """What waits to be written."""
        return self._offered - self._taken

    @property
    def is_full(self) -> bool:
        """Who can wait should. It is half of the queue, so that of those who wait nothing is refused."""
        return self.queued_bytes >= self._limit // 2

    def has_room_for(self, size: int) -> bool:
        """Whether so many bytes fit."""
        return self.queued_bytes + size <= self._limit

    def put(self, order: Order) -> None:
        """Add an order, whether there is room or not."""
        if isinstance(order, ExchangePart) and order.end is not None and order.key is not None:
            self._unsettled[order.key] += 1
        self._offered += order.size
        self._orders.put(order)
        if self.queued_bytes >= BATCH_BYTES or isinstance(order, _HURRIED):
            self._hurry.set()

    async def wait_for_room(self) -> None:
        """Wait until `make_room` is called, or a batch was taken and the queue is no longer full."""
        waiter = asyncio.get_running_loop().create_future()
        self._room.append(waiter)
        await waiter

    def is_settled(self, key: Key) -> bool:
        """Whether every exchange with this key that was put here has been committed."""
        return not self._unsettled[key]

    async def wait_for_all_before(self) -> None:
        """Wait until everything that was put here so far is committed, or `settle_all` is called."""
        waiter = asyncio.get_running_loop().create_future()
        self._settling.add(waiter)
        waiter.add_done_callback(self._settling.discard)
        self.put(Settle(waiter))
        await waiter

    def _after(self, keys: list[Key], settled: list[asyncio.Future[None]]) -> None:
        self._unsettled.subtract(keys)
        for key in keys:
            if self._unsettled[key] <= 0:
                del self._unsettled[key]
        for waiter in settled:
            _resolve(waiter)
        if not self.is_full:
            self._end_room()

    def _end_room(self) -> None:
        waiting, self._room = self._room, []
        for waiter in waiting:
            _resolve(waiter)

    def _end_settling(self) -> None:
        for waiter in list(self._settling):
            _resolve(waiter)

    # In the writing thread

    def next_batch(self) -> list[Order]:
        """Wait for an order, then gather more for a moment; somebody who waits cuts the moment short.

        Returns nothing where nothing came within `LOOK_SECONDS`. The moment is slept through: to take each part as it
        comes would wake this thread for every one of them, in the middle of what the event loop does.
        """
        try:
            batch = [self._orders.get(timeout=LOOK_SECONDS)]
        except queue.Empty:
            return []
        hurried = self._hurry.wait(BATCH_NANOSECONDS / 1e9)
        if not hurried and self._orders.qsize() >= BUSY_PARTS:
            self._hurry.wait((BUSY_BATCH_NANOSECONDS - BATCH_NANOSECONDS) / 1e9)
        self._hurry.clear()
        size = batch[0].size
        while len(batch) < BATCH_PIECES and size < BATCH_BYTES and not isinstance(batch[-1], _HURRIED):
            try:
                batch.append(self._orders.get_nowait())
            except queue.Empty:
                return batch
            size += batch[-1].size
        self._hurry.set()  # more may be waiting
        return batch

    def give_back(self, batch: list[Order]) -> None:
        """Count the bytes of a batch as no longer waiting."""
        self._taken += sum(order.size for order in batch)

    def settle(self, batch: list[Order]) -> None:
        """Tell those who wait for what is in this batch, and those who wait for room if there is some."""
        ended = [order for order in batch if isinstance(order, ExchangePart) and order.end is not None]
        settled = [order.waiter for order in batch if isinstance(order, Settle)]
        self.in_loop(self._after, [part.key for part in ended if part.key], settled)

    def settle_all(self) -> None:
        """Tell all who wait for something to be committed: they would wait for as long as there is trouble."""
        self.in_loop(self._end_settling)

    def make_room(self) -> None:
        """Tell all who wait for room to wait no longer."""
        self.in_loop(self._end_room)

    def succeed(self, order: Rotate) -> None:
        """Tell who ordered this that it is done."""
        self.in_loop(_resolve, order.waiter)

    def fail(self, order: Rotate, error: Exception) -> None:
        """Tell who ordered this why it was not done, by a `CassetteError`."""
        self.in_loop(_fail, order.waiter, error)

    def in_loop(self, function: Callable[..., None], *arguments: object) -> None:
        """Call a function in the event loop, soon, unless the loop has ended."""
        with suppress(RuntimeError):  # the loop has ended
            if self._loop is not None:
                self._loop.call_soon_threadsafe(function, *arguments)


def _fail(waiter: asyncio.Future[None], error: Exception) -> None:
    if not waiter.done():
        waiter.set_exception(error if isinstance(error, CassetteError) else CassetteError(str(error)))


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
