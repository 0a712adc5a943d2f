"""The one writing thread: takes pieces of tapes from the event loop and puts them on the cassette in batches.

Recording must never hurt traffic. `keep` never waits and never raises; what does not fit into the queue is refused,
whole exchanges at a time, and counted. A full disk or an I/O error makes the writer `degraded`: it goes on trying, the
queue fills, and when the disk is well again so is the recording.

    loop ── keep ──▶ queue (bounded in bytes) ──▶ thread: begin, keep …, commit every 250 ms, 256 pieces or 4 MiB
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from replayproxy.cassette.keeper import Keeper
from replayproxy.errors import ReplayProxyError
from replayproxy.model import Key
from replayproxy.ports import Clock, Piece

log = logging.getLogger("replayproxy.recording")

BATCH_NANOSECONDS = 250_000_000
BATCH_PIECES = 256
BATCH_BYTES = 4 * 1024 * 1024
CHECKPOINT_NANOSECONDS = 1_000_000_000
QUEUE_BYTES = 256 * 1024 * 1024
RETRY_SECONDS = 1.0
WORDS_EVERY = 60_000_000_000
"""Nanoseconds between two complaints in the log."""


@dataclass(frozen=True, slots=True)
class _Drop:
    tape: int
    size: int = 0


@dataclass(frozen=True, slots=True)
class _Settle:
    done: Callable[[], None]
    size: int = 0


class _Stop:
    size = 0


_Order = Piece | _Drop | _Settle | _Stop


class Writer:
    """An `Archive` over a `Keeper`. `start` it; `await stop()` writes everything that is waiting and seals."""

    def __init__(self, keeper: Keeper, clock: Clock, *, queue_bytes: int = QUEUE_BYTES) -> None:
        self._keeper = keeper
        self._clock = clock
        self._queue: queue.SimpleQueue[_Order] = queue.SimpleQueue()
        self._queue_bytes = queue_bytes
        # Each counter has one writing thread, so no lock is needed: bytes in the queue = offered - taken.
        self._offered = 0
        self._taken = 0
        self._unsettled: Counter[Key] = Counter()
        self._dropped: Counter[str] = Counter()
        self._dropped_noted: Counter[str] = Counter()
        self._room: list[asyncio.Future[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="replayproxy-writer", daemon=True)
        self._last_checkpoint = clock.now()
        self._last_words = clock.now() - WORDS_EVERY
        self._stopping = threading.Event()
        self.recorded = 0
        self._trouble: str | None = None
        self._sealed = False

    # In the event loop

    def start(self) -> None:
        """Start the thread. Call it in the event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    @property
    def started(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def trouble(self) -> str | None:
        """Why recording is degraded; None when it is well."""
        if self._loop is not None and not self._sealed and not self._thread.is_alive():
            return "the writing thread has died: nothing more is recorded; its log says why; restart the proxy"
        return self._trouble

    @property
    def queued_bytes(self) -> int:
        """What waits to be written."""
        return self._offered - self._taken

    @property
    def dropped(self) -> Counter[str]:
        """Exchanges that were not recorded, by reason."""
        return self._dropped

    @property
    def full(self) -> bool:
        """No room for more now."""
        return self.queued_bytes >= self._queue_bytes

    def keep(self, piece: Piece) -> bool:
        """Take a piece; False when there is no room for it or nobody to write it."""
        if self.queued_bytes + piece.size > self._queue_bytes or not self._thread.is_alive():
            return False
        if piece.end is not None and piece.key is not None:
            self._unsettled[piece.key] += 1
        self._put(piece)
        return True

    def drop(self, tape: int, reason: str) -> None:
        """Forget a tape."""
        self._dropped[reason] += 1
        self._put(_Drop(tape))

    async def room(self) -> None:
        """Wait until no longer full."""
        while self.full and self._thread.is_alive():
            waiter = asyncio.get_running_loop().create_future()
            self._room.append(waiter)
            await waiter

    async def settled(self, key: Key) -> None:
        """Wait until everything kept with this key has been committed."""
        if not self._unsettled[key] or self.trouble is not None:
            return
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        self._put(_Settle(lambda: self._call(_resolve, done)))
        await done

    async def stop(self) -> None:
        """Write what is waiting, seal the file, end the thread. A disk that is still not well is not waited for."""
        self._stopping.set()
        self._put(_Stop())
        await asyncio.to_thread(self._thread.join)
        if not self._sealed:
            self._keeper.close()

    def _put(self, order: _Order) -> None:
        self._offered += order.size
        self._queue.put(order)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop has ended
            if self._loop is not None:
                self._loop.call_soon_threadsafe(function, *arguments)

    # In the writing thread

    def _run(self) -> None:
        stopping = False
        while not stopping:
            batch = self._next_batch()
            stopping = any(isinstance(order, _Stop) for order in batch)
            pieces = [order for order in batch if isinstance(order, Piece | _Drop)]
            if pieces or self._dropped != self._dropped_noted:
                self._write_until_done(pieces, give_up=stopping)
            self._taken += sum(order.size for order in batch)
            self._call(self._after, [o.key for o in pieces if isinstance(o, Piece) and o.key and o.end is not None])
            for order in batch:
                if isinstance(order, _Settle):
                    order.done()
        try:
            self._keeper.seal()
            self._sealed = True
        except (sqlite3.Error, OSError, ReplayProxyError) as error:
            self._degrade(f"the cassette could not be sealed: {error}; its -wal file belongs to it")

    def _after(self, keys: list[Key]) -> None:
        """Back in the loop: what was written is settled, and there may be room."""
        self._unsettled.subtract(keys)
        for key in keys:
            if self._unsettled[key] <= 0:
                del self._unsettled[key]
        if not self.full:
            waiting, self._room = self._room, []
            for waiter in waiting:
                _resolve(waiter)

    def _next_batch(self) -> list[_Order]:
        """Wait for something, then gather more for a moment; somebody who waits cuts the moment short."""
        try:
            batch = [self._queue.get(timeout=CHECKPOINT_NANOSECONDS / 1e9)]
        except queue.Empty:
            self._checkpoint_when_due()
            return []
        deadline = self._clock.now() + BATCH_NANOSECONDS
        size = batch[0].size
        while len(batch) < BATCH_PIECES and size < BATCH_BYTES and not isinstance(batch[-1], _Settle | _Stop):
            try:
                batch.append(self._queue.get(timeout=max(0, deadline - self._clock.now()) / 1e9))
            except queue.Empty:
                break
            size += batch[-1].size
        return batch

    def _write_until_done(self, pieces: list[Piece | _Drop], *, give_up: bool) -> None:
        """Write a batch. Trouble of the disk is waited out; a piece that cannot be written alone is dropped."""
        while True:
            try:
                self._write(pieces)
                if self._trouble is not None:
                    log.warning("recording works again")
                    self._trouble = None
                return
            except (sqlite3.OperationalError, OSError) as error:
                self._rollback(error)
                self._degrade(f"the cassette cannot be written: {error}")
                if give_up or self._stopping.wait(RETRY_SECONDS):
                    self._dropped["write failed"] += sum(isinstance(p, Piece) and p.end is not None for p in pieces)
                    return
            except Exception as error:  # a piece that cannot be written must not take the others with it
                self._rollback(error)
                if len(pieces) == 1:
                    log.exception("an exchange cannot be written and is dropped")
                    self._dropped["cannot be written"] += 1
                    return
                for piece in pieces:
                    self._write_until_done([piece], give_up=give_up)
                return

    def _write(self, pieces: list[Piece | _Drop]) -> None:
        self._keeper.begin()
        for piece in pieces:
            if isinstance(piece, Piece):
                self._keeper.keep(piece)
            else:
                self._keeper.drop(piece.tape)
        dropped = Counter(self._dropped)
        for reason, count in (dropped - self._dropped_noted).items():
            self._keeper.note_dropped(reason, count, self._clock.today())
        self._keeper.commit()
        self._dropped_noted = dropped
        self.recorded += sum(isinstance(piece, Piece) and piece.end is not None for piece in pieces)
        self._keeper.train_when_due()
        self._checkpoint_when_due()

    def _rollback(self, cause: Exception) -> None:
        try:
            self._keeper.rollback()
            if isinstance(cause, sqlite3.OperationalError) and cause.sqlite_errorcode != sqlite3.SQLITE_FULL:
                self._keeper.reopen()
        except (sqlite3.Error, OSError, ReplayProxyError) as error:
            self._degrade(f"the cassette cannot be opened again: {error}")

    def _checkpoint_when_due(self) -> None:
        if self._clock.now() - self._last_checkpoint < CHECKPOINT_NANOSECONDS:
            return
        self._last_checkpoint = self._clock.now()
        with suppress(sqlite3.OperationalError):  # busy, or no disk: the log keeps what was committed
            self._keeper.checkpoint()

    def _degrade(self, trouble: str) -> None:
        self._trouble = trouble
        if self._clock.now() - self._last_words >= WORDS_EVERY:
            self._last_words = self._clock.now()
            log.error("recording is degraded, traffic flows on: %s", trouble)


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
