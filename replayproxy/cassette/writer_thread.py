"""The one writing thread: takes parts of exchanges from the event loop and writes them in batches.

Recording must never hurt traffic. `keep` never waits and never raises; what does not fit into the queue is refused,
whole exchanges at a time, and counted. A full disk or an I/O error makes the writer `degraded`: it goes on trying, the
queue fills, and when the disk is well again so is the recording. A part that cannot be written takes its whole exchange
with it, and nothing else: an answer with a hole is none.

    loop ── keep ──▶ queue (bounded in bytes) ──▶ thread: begin, keep …, commit every 250 ms or 1 s, 256 parts or 4 MiB
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
from pathlib import Path

from replayproxy.cassette.file_guard import FileLost
from replayproxy.cassette.hand_over_counts import HandOverCounts
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.core.server_state import KvMessages, ScrapedPage, ServerState
from replayproxy.errors import CassetteError, Damaged, ReplayProxyError
from replayproxy.model import Key
from replayproxy.ports import Clock, ExchangePart
from replayproxy.views.access import AccessEntry

log = logging.getLogger("replayproxy.recording")

BATCH_NANOSECONDS = 250_000_000
BUSY_BATCH_NANOSECONDS = 1_000_000_000
"""While much is recorded. A transaction writes each page that it touches once, whatever it puts there, so fewer of them
cost less per event. A crash costs up to a second of what has ended."""

BUSY_PARTS = 25
"""Parts that come within the shorter time, 100 per second."""

BATCH_PIECES = 256
BATCH_BYTES = 4 * 1024 * 1024
CHECKPOINT_NANOSECONDS = 1_000_000_000
LOOK_SECONDS = 0.5
"""Between two looks at the file while nothing is written."""

QUEUE_BYTES = 256 * 1024 * 1024
RETRY_SECONDS = 1.0
PATIENCE_NANOSECONDS = 60_000_000_000
"""How long `--on-full block` lets clients wait for a disk that is not well; after that it is as `drop`, until it is."""
WORDS_EVERY = 60_000_000_000
"""Nanoseconds between two complaints in the log."""


@dataclass(frozen=True, slots=True)
class _Drop:
    number: int
    size: int = 0


@dataclass(frozen=True, slots=True)
class _Settle:
    waiter: asyncio.Future[None]
    size: int = 0


@dataclass(frozen=True, slots=True)
class _Rotate:
    path: Path
    waiter: asyncio.Future[None]
    size: int = 0


class _Stop:
    size = 0


_Written = ExchangePart | _Drop | ScrapedPage | KvMessages
_Order = _Written | _Settle | _Rotate | _Stop
_HURRIED = (_Settle, _Rotate, _Stop)


class WriterThread:
    """An `Archive` over a `CassetteWriter`. `start` it; `await stop()` writes everything that is waiting and seals."""

    def __init__(
        self,
        writer: CassetteWriter,
        clock: Clock,
        *,
        queue_bytes: int = QUEUE_BYTES,
        block: bool = False,
        access: Callable[[AccessEntry], None] | None = None,
    ) -> None:
        """`block`: clients wait for room, so nothing is refused for want of it (see PATIENCE_NANOSECONDS).

        `access` is called in the writing thread with each exchange that has been committed; it must not wait.
        """
        self._writer = writer
        self._access = access
        writer.keeps_entries = access is not None
        self._clock = clock
        self._queue: queue.SimpleQueue[_Order] = queue.SimpleQueue()
        self._queue_bytes = queue_bytes
        self._block = block
        self._trouble_since = 0
        # Each counter has one writing thread, so no lock is needed: bytes in the queue = offered - taken.
        self._offered = 0
        self._taken = 0
        self._unsettled: Counter[Key] = Counter()
        self._dropped: Counter[str] = Counter()
        self._dropped_noted: Counter[str] = Counter()
        self._room: list[asyncio.Future[None]] = []
        self._settling: set[asyncio.Future[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="replayproxy-writer", daemon=True)
        self._last_checkpoint = clock.now()
        self._last_words = clock.now() - WORDS_EVERY
        self._stopping = threading.Event()
        self._hurry = threading.Event()
        """Somebody waits, or there is enough for a batch."""
        self._lost: set[int] = set()
        """Exchanges of which a part could not be written."""
        self._suspect = False
        """The connection has seen an I/O error: the file is to be opened again."""
        self._gave_up = False
        """Stopping, and the disk is not well: nothing more is written, for it would have holes."""
        self.hand_overs = HandOverCounts()
        """What `verify --pair` would find of the exchanges that were recorded so far."""
        self.recorded = 0
        self._recorded_here = 0
        """Of these, those on the file that is being written now."""
        self.loss: str | None = None
        """What was recorded and is lost, as a sentence; None where nothing is."""
        self.moved: Callable[[Path, Path], None] | None = None
        """Called in the loop when recording goes on in another file, with the old and the new name."""
        self.trouble: str | None = None
        """Why recording is degraded; None when it is well."""
        self._writing = False
        self._sealed = False

    # In the event loop

    def start(self) -> None:
        """Start the thread. Call it in the event loop."""
        self._loop = asyncio.get_running_loop()
        self._writing = True
        self._thread.start()

    @property
    def started(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

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
        """Who can wait should. It is half of the queue, so that of those who wait nothing is refused."""
        return self.queued_bytes >= self._queue_bytes // 2

    def keep(self, part: ExchangePart) -> bool:
        """Take a part. Return False if there is no room for it, or no thread to write it."""
        if not self._writing:
            return False
        # A client that waits may leave, and then what it got is kept at once; and when there is room again, all who
        # waited go on. Of requests in flight nothing is refused therefore; only new ones have to wait.
        if self.queued_bytes + part.size > self._queue_bytes and not (self._block and self._is_waited_for):
            return False
        if part.end is not None and part.key is not None:
            self._unsettled[part.key] += 1
        self._put(part)
        return True

    def keep_state(self, state: ServerState) -> bool:
        """Take what the server published of its own state. Return False if there is no room for it.

        It has half of the queue: exchanges come first.
        """
        if not self._writing or self.full:
            return False
        self._put(state)
        return True

    def drop(self, number: int, reason: str) -> None:
        """Forget an exchange."""
        self._dropped[reason] += 1
        self._put(_Drop(number))

    async def room(self) -> None:
        """Wait until no longer full."""
        while self.full and self._is_waited_for:
            waiter = asyncio.get_running_loop().create_future()
            self._room.append(waiter)
            await waiter

    @property
    def _is_waited_for(self) -> bool:
        """Whether waiting makes sense: there is a thread that writes, and its trouble has not lasted for too long."""
        lasted = self.trouble is not None and self._clock.now() - self._trouble_since >= PATIENCE_NANOSECONDS
        return self._writing and not lasted

    async def settled(self, key: Key) -> None:
        """Wait until everything kept with this key has been committed. Trouble is not waited for."""
        if not self._unsettled[key] or self.trouble is not None:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._settling.add(waiter)
        waiter.add_done_callback(self._settling.discard)
        self._put(_Settle(waiter))
        await waiter

    async def rotate(self, path: Path) -> None:
        """Go on onto a new cassette at `path`, streams in flight too, and seal the old one.

        Raises `CassetteError` where that cannot be; then recording goes on where it was.
        """
        if not self._writing:
            raise CassetteError(f"nothing is being recorded any more: {self.trouble or 'the proxy is stopping'}")
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._put(_Rotate(path, waiter))
        await waiter

    async def stop(self) -> None:
        """Write what is waiting, seal the file, end the thread. A disk that is still not well is not waited for."""
        self._stopping.set()
        self._put(_Stop())
        await asyncio.to_thread(self._thread.join)
        if not self._sealed:
            self._writer.close()

    def _put(self, order: _Order) -> None:
        self._offered += order.size
        self._queue.put(order)
        if self.queued_bytes >= BATCH_BYTES or isinstance(order, _HURRIED):
            self._hurry.set()

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop has ended
            if self._loop is not None:
                self._loop.call_soon_threadsafe(function, *arguments)

    # In the writing thread

    def _run(self) -> None:
        try:
            stopping = False
            while not stopping:
                batch = self._next_batch()
                stopping = any(isinstance(order, _Stop) for order in batch)
                self._take(batch)
            self._seal()
        except BaseException:
            log.exception("the writing thread has died: please report this")
            self._degrade("the writing thread has died: nothing more is recorded; its log says why; restart the proxy")
        finally:
            self._writing = False
            self._call(self._let_pass)

    def _take(self, batch: list[_Order]) -> None:
        """Write what there is to write, then say so."""
        orders = [order for order in batch if isinstance(order, _Written)]
        if orders or dict(self._dropped) != self._dropped_noted:
            self._write_until_done(orders)
            self._note_written()
            self._tend()
        ended = [order for order in orders if isinstance(order, ExchangePart) and order.end is not None]
        self._lost.difference_update(
            order.number
            for order in orders
            if isinstance(order, _Drop) or (isinstance(order, ExchangePart) and order.end is not None)
        )
        self._taken += sum(order.size for order in batch)
        for order in batch:
            if isinstance(order, _Rotate):
                self._rotate(order)
        settled = [order.waiter for order in batch if isinstance(order, _Settle)]
        self._call(self._after, [part.key for part in ended if part.key], settled)

    def _note_written(self) -> None:
        for part in self._writer.take_handed_over():
            self.hand_overs.note(part)
        access = self._access
        if access is None:
            return
        for entry in self._writer.take_entries():
            try:
                access(entry())
            except Exception:  # recording goes on, whatever a recorded text does to the line about it
                log.exception("a line of the access log could not be made: please report this")

    def _rotate(self, order: _Rotate) -> None:
        """The old file is only let go of when the new one is there."""
        self._look_after_file()
        try:
            if self.trouble is not None:
                raise CassetteError(f"{self._writer.path} cannot be left now: {self.trouble}")
            if order.path.exists():
                raise CassetteError(f"{order.path} is there already: name another file, or remove it")
            fresh = CassetteWriter(order.path, self._writer.matcher, full_durability=self._writer.full_durability)
        except (sqlite3.Error, OSError, ReplayProxyError) as error:
            self._call(_fail, order.waiter, error)
            return
        fresh.keeps_entries = self._access is not None
        old, self._writer = self._writer, fresh
        self._recorded_here = 0
        try:
            self._lost |= old.hand_over(fresh)
            old.seal()
        except (sqlite3.Error, OSError, ReplayProxyError) as error:
            log.error("%s could not be sealed: %s; its -wal file belongs to it", old.path, error)
            with suppress(sqlite3.Error):
                old.close()
        self._call(_resolve, order.waiter)

    def _seal(self) -> None:
        try:
            self._seal_what_is_there()
        except (sqlite3.Error, OSError, ReplayProxyError) as error:
            self._degrade(f"the cassette could not be sealed: {error}; its -wal file belongs to it")

    def _seal_what_is_there(self) -> None:
        for _ in range(3):  # somebody may take it away again
            was = self._writer.path
            try:
                if self._suspect:
                    self._writer.reopen()
                    self._suspect = False
                self._writer.seal()
                self._sealed = True
                if self._writer.path != was:
                    self._call(self._say_moved, was, self._writer.path)
                return
            except FileLost as lost:
                if not self._save(lost):
                    break
        self._lose_all(f"{self._writer.path} could not be put back")

    # A file that is taken away

    def _look_after_file(self) -> None:
        """Once a second, whether anything is written or not."""
        try:
            if not self._suspect:
                self._writer.look_for_strangers()
        except FileLost as lost:
            self._save(lost)

    def _save(self, lost: FileLost) -> bool:
        """Put what a lost file holds under a name again, and go on there. False: it cannot be done now."""
        self._degrade(str(lost))
        was = self._writer.path
        try:
            try:
                self._writer.rescue()
            except (CassetteError, sqlite3.DatabaseError) as error:
                if isinstance(error, sqlite3.OperationalError) and not _is_damage(error):
                    raise
                self._writer.begin_again()
                self._lose_all(f"{lost}")
                self.trouble = None  # the loss stays to be said
                log.error("recording goes on onto %s", self._writer.path)
            else:
                self.trouble = None
                log.warning("%s: nothing is lost, recording goes on onto %s", lost, self._writer.path)
        except (OSError, sqlite3.Error, ReplayProxyError) as error:
            self._degrade(f"{lost}, and what it held cannot be put back: {error}")
            return False
        self._suspect = False
        self._call(self._say_moved, was, self._writer.path)
        return True

    def _say_moved(self, old: Path, new: Path) -> None:
        if self.moved is not None:
            self.moved(old, new)

    def _lose_all(self, why: str) -> None:
        """What was recorded onto this file is not there."""
        lost, self._recorded_here = self._recorded_here, 0
        self.recorded -= lost
        self._dropped["lost with its file"] += lost
        self.loss = f"{why}: {lost} recorded exchanges are lost"
        log.error("%s", self.loss)

    def _after(self, keys: list[Key], settled: list[asyncio.Future[None]]) -> None:
        """Back in the loop: what was written is settled, and there may be room."""
        self._unsettled.subtract(keys)
        for key in keys:
            if self._unsettled[key] <= 0:
                del self._unsettled[key]
        for waiter in settled:
            _resolve(waiter)
        if not self.full:
            self._make_room()

    def _make_room(self) -> None:
        waiting, self._room = self._room, []
        for waiter in waiting:
            _resolve(waiter)

    def _let_pass(self) -> None:
        """Back in the loop: nothing is written any more, so end all waiting for it."""
        self._make_room()
        self._settle_nothing()

    def _settle_nothing(self) -> None:
        """Back in the loop: who waits to find what is being written would wait for as long as there is trouble."""
        for waiter in list(self._settling):
            _resolve(waiter)

    def _next_batch(self) -> list[_Order]:
        """Wait for something, then gather more for a moment; somebody who waits cuts the moment short.

        The moment is slept through: to take each part as it comes would wake this thread for every one of them, in the
        middle of what the event loop does.
        """
        try:
            batch = [self._queue.get(timeout=LOOK_SECONDS)]
        except queue.Empty:
            self._look_after_file()
            self._checkpoint_when_due()
            return []
        hurried = self._hurry.wait(BATCH_NANOSECONDS / 1e9)
        if not hurried and self._queue.qsize() >= BUSY_PARTS:
            self._hurry.wait((BUSY_BATCH_NANOSECONDS - BATCH_NANOSECONDS) / 1e9)
        self._hurry.clear()
        size = batch[0].size
        while len(batch) < BATCH_PIECES and size < BATCH_BYTES and not isinstance(batch[-1], _HURRIED):
            try:
                batch.append(self._queue.get_nowait())
            except queue.Empty:
                return batch
            size += batch[-1].size
        self._hurry.set()  # more may be waiting
        return batch

    def _write_until_done(self, orders: list[_Written]) -> None:
        """Write a batch and wait out trouble of the disk. A part that cannot be written goes with its exchange."""
        while not self._gave_up:
            try:
                self._write(orders)
            except FileLost as lost:
                self._roll_back()
                if not self._save(lost):
                    self._gave_up = self._stopping.wait(RETRY_SECONDS)
            except Exception as error:
                self._roll_back()
                if _is_of_the_disk(error):
                    self._suspect = self._suspect or getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_FULL
                    self._degrade(f"the cassette cannot be written: {error}")
                    self._gave_up = self._stopping.wait(RETRY_SECONDS)
                elif len(orders) == 1:
                    log.exception("%s cannot be written and is dropped", _name_of(orders[0]))
                    self._lose(orders[0])
                    return
                else:
                    for order in orders:
                        self._write_until_done([order])
                    return
            else:
                if self.trouble is not None:
                    log.warning("recording works again")
                    self.trouble = None
                return
        self._dropped["write failed"] += sum(
            isinstance(order, ExchangePart) and order.end is not None for order in orders
        )

    def _write(self, orders: list[_Written]) -> None:
        if self._suspect:
            try:
                self._writer.reopen()
            except ReplayProxyError as error:
                raise OSError(f"it cannot be opened again: {error}") from error
            self._suspect = False
        self._writer.begin()
        recorded = 0
        for order in orders:
            if isinstance(order, _Drop):
                self._writer.drop(order.number)
            elif isinstance(order, ServerState):
                self._writer.keep_state(order)
            elif order.number not in self._lost:
                self._writer.keep(order)
                recorded += order.end is not None
        dropped = Counter(dict(self._dropped))
        for reason, count in (dropped - self._dropped_noted).items():
            self._writer.note_dropped(reason, count, self._clock.today())
        self._writer.commit()
        self._dropped_noted = dropped
        self.recorded += recorded
        self._recorded_here += recorded

    def _lose(self, order: _Written) -> None:
        """Drop the whole exchange: what is written of it, and what is still to come."""
        if isinstance(order, ExchangePart):
            self._dropped["cannot be written"] += 1
            self._lost.add(order.number)
            self._write_until_done([_Drop(order.number)])

    def _roll_back(self) -> None:
        try:
            self._writer.rollback()
        except sqlite3.Error:
            self._suspect = True

    def _tend(self) -> None:
        """Between batches: train once, checkpoint every second. What fails here has cost no exchange."""
        if self._suspect or self._gave_up:
            return
        try:
            self._writer.train_when_due()
        except Damaged as error:  # what stood there before; `verify` names it, and what is new is written all the same
            log.warning("the cassette stays larger than it need be: %s", error)
        except Exception as error:
            log.exception("the cassette stays larger than it need be")
            self._suspect = True
            self._degrade(f"the cassette cannot be packed again: {error}")
        self._checkpoint_when_due()

    def _checkpoint_when_due(self) -> None:
        if self._clock.now() - self._last_checkpoint < CHECKPOINT_NANOSECONDS:
            return
        self._last_checkpoint = self._clock.now()
        self._look_after_file()
        with suppress(
            sqlite3.Error, FileLost
        ):  # busy, or no disk: the log keeps what was committed, and the next batch will say
            self._writer.checkpoint()

    def _degrade(self, trouble: str) -> None:
        if self.trouble is None:
            self._trouble_since = self._clock.now()
        self.trouble = trouble
        self._call(self._settle_nothing)
        if not self._is_waited_for:
            self._call(self._make_room)
        if self._clock.now() - self._last_words >= WORDS_EVERY:
            self._last_words = self._clock.now()
            log.error("recording is degraded, %s: %s", self._meanwhile, trouble)

    @property
    def _meanwhile(self) -> str:
        """What becomes of traffic."""
        if not self._block or not self._is_waited_for:
            return "traffic flows on"
        return f"clients wait when the queue is full, for {PATIENCE_NANOSECONDS // 10**9} s at most"


def _is_of_the_disk(error: Exception) -> bool:
    """Whether it may get well by itself; else the part is at fault."""
    return isinstance(error, OSError | sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError


def _name_of(order: _Written) -> str:
    return "the state of the server" if isinstance(order, ServerState) else "an exchange"


def _is_damage(error: sqlite3.Error) -> bool:
    """Whether it says that the content is not there, and not that it cannot be read now."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR_SHORT_READ)


def _fail(waiter: asyncio.Future[None], error: Exception) -> None:
    if not waiter.done():
        waiter.set_exception(error if isinstance(error, CassetteError) else CassetteError(str(error)))


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
